"""Drive through what a world model dreams: latent actions one by one, each a picture; behind the playground's Drive."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from wildlam.encoders.base import fast_dtype
from wildlam.errors import WildlamError
from wildlam.fileio import writing
from wildlam.models.decoder import Decoder, to_uint8
from wildlam.models.world_model import Unrolling
from wildlam.video.mp4 import write_mp4
from wildlam.video.write import side_by_side
from wildlam.workflows.decoded_films import check_suffix
from wildlam.workflows.trained import Trained

LONGEST = 5000
"""Steps of a drive, after which it must begin anew: its states and pictures are kept, to go back and to be saved."""


class Drive:
    """A start, and the latent actions taken from there; every state is predicted from a bounded number before it.

    The model saw clips of W states in training and is shown no longer ones here, however long the drive: what a step
    sees begins at a state that depends on the step's number alone, so that going back and taking the same actions again
    leads to the same pictures. Between two such beginnings, keys and values are cached and a step costs one frame.

    Args:
        trained: the run.
        decoder: decoder of its encoder's states.
        frames: the frames that are known, ``uint8 [F, 3, S, S]`` at the model's rate, S as the encoder takes them: as
            many as ``frames_known`` says help; fewer will do, one picture too, which is taken to have stood still for
            as many frames as make a state.

    Raises:
        WildlamError: there is no frame.
    """

    @torch.no_grad()
    def __init__(self, trained: Trained, decoder: Decoder, frames: Tensor) -> None:
        if not len(frames):
            raise WildlamError("a drive needs a picture to start from, got none")
        self._trained, self._decoder = trained, decoder
        per_state = trained.encoder.spec.frames_per_state
        if len(frames) < per_state:
            frames = frames[-1:].repeat(per_state, 1, 1, 1)
        usable = min(len(frames) // per_state * per_state, frames_known(trained))
        known = trained.encoder.encode(frames[-usable:][None]).float()
        self._states = list(known[0].unbind())
        self._actions = list(trained.model.infer(known)[0].float().unbind()) if len(self._states) > 1 else []
        self._known = len(self._states)
        self._pictures = [self._paint()]
        self._unrolling: tuple[int, Unrolling] | None = None  # and the state that it begins at

    def __len__(self) -> int:
        """Number of steps taken."""
        return len(self._states) - self._known

    @property
    def state(self) -> Tensor:
        """The last state, ``[N, D]``."""
        return self._states[-1]

    @property
    def picture(self) -> Tensor:
        """The last state as a picture, ``uint8 [3, S, S]``."""
        return self._pictures[-1]

    @property
    def film(self) -> Tensor:
        """All pictures from the start on, ``uint8 [F, 3, S, S]``."""
        return torch.stack(self._pictures)

    @torch.no_grad()
    def predict(self, z: Tensor) -> Tensor:
        """Take a latent action ``[Z]``; return the next state ``[N, D]``, which no picture shows yet: see ``show``.

        Raises:
            WildlamError: it is of another width or not finite, or the drive is as long as it can be.
        """
        width = self._trained.model.bottleneck.dim
        if z.shape != (width,) or not z.isfinite().all():
            raise WildlamError(f"a latent action is {width} finite numbers, got {list(z.shape)}")
        if len(self) >= LONGEST:
            raise WildlamError(f"the drive is {LONGEST} steps long; save it, then reset")
        z = z.to(self.state)
        with self._autocast():
            state = self._unrolled().step(z[None])[0, 0].float()
        self._states.append(state)
        self._actions.append(z)
        return state

    @torch.no_grad()
    def show(self) -> Tensor:
        """Paint the state that was predicted last, ``uint8 [3, S, S]``."""
        if len(self._pictures) <= len(self):
            self._pictures.append(self._paint())
        return self.picture

    def step(self, z: Tensor) -> Tensor:
        """Take a latent action ``[Z]``; return the next picture, ``uint8 [3, S, S]``.

        Raises:
            WildlamError: see ``predict``.
        """
        self.predict(z)
        return self.show()

    def back(self) -> bool:
        """Take the last step back; False at the start."""
        if not len(self):
            return False
        for kept in (self._states, self._actions, self._pictures):
            kept.pop()
        self._unrolling = None
        return True

    def reset(self) -> None:
        """Go back to the start."""
        taken = len(self)
        if taken:
            del self._states[-taken:], self._actions[-taken:], self._pictures[-taken:]
        self._unrolling = None

    def save(self, path: str | Path) -> Path:
        """Write the pictures as a film (H.264, .mp4); return the path.

        Raises:
            WildlamError: it cannot be written, or is not to be an .mp4.
        """
        path = Path(path)
        check_suffix(path)
        rate = self._trained.config.data.fps / self._trained.encoder.spec.frames_per_state
        with writing(path, "choose another path"):
            write_mp4(path, side_by_side({"dreamed": self.film}), rate)
        return path

    def _unrolled(self) -> Unrolling:
        """What takes the next step."""
        last, half = len(self._states) - 1, _half(self._trained)
        begins = max(0, (last // half - 1) * half)
        if self._unrolling is None or self._unrolling[0] != begins:
            context = torch.stack(self._states[begins:])[None]
            taken = self._actions[begins:]
            past = torch.stack(taken)[None] if taken else context.new_zeros(1, 0, self._trained.model.bottleneck.dim)
            self._unrolling = begins, Unrolling(self._trained.model.world_model, context, past, room=2 * half)
        return self._unrolling[1]

    def _paint(self) -> Tensor:
        # By itself, as the first of a clip in training: pictures of a state and those before it differ little.
        return to_uint8(self._decoder.decode(self.state[None, None])[0])[-1]

    def _autocast(self) -> AbstractContextManager[object]:
        device = self._trained.encoder.device
        fast = fast_dtype(device) == torch.bfloat16 and self._trained.config.training.precision == "bf16"
        return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def frames_known(trained: Trained) -> int:
    """How many frames before a start help a drive: half of what the model is shown, and one state."""
    return (_half(trained) + 1) * trained.encoder.spec.frames_per_state


def _half(trained: Trained) -> int:
    """Half of the states that a step sees; twice as many, and the predicted one, are a clip of the training."""
    clip = trained.config.data.frames // trained.encoder.spec.frames_per_state
    return max((clip - 1) // 2, 1)
