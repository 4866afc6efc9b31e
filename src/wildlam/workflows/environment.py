"""The learnt world as an environment of gymnasium: what a run predicts under the actions that one takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks.discrete import DiscreteBottleneck
from wildlam.models.decoder import to_uint8
from wildlam.pretrained import FILMS, TINY
from wildlam.types import check_choice, check_count
from wildlam.video.decode import decode_at, probe
from wildlam.video.given import Pictures, given_videos
from wildlam.video.index import find_videos
from wildlam.video.timeline import known_plain
from wildlam.workflows.controller import load_controller
from wildlam.workflows.decoder import find_decoder, load_decoder
from wildlam.workflows.trained import load

try:
    import gymnasium
    from gymnasium import spaces
    from gymnasium.error import InvalidAction, ResetNeeded
except ImportError as error:
    raise WildlamError("WorldModelEnv needs gymnasium; pip install 'wildlam[gym]'") from error

ID = "wildlam/WorldModel-v0"

Observation = Literal["frame", "state"]
Actions = Literal["latent", "real"]

LATENT_REACH, REAL_REACH = 2.0, 3.0
"""Deviations from the mean that latent and real actions may go. An agent that draws them evenly then draws latent ones
about as they are spread."""

MEASURED = 16
"""Clips whose latent actions tell how far these spread."""


class WorldModelEnv(gymnasium.Env):
    """A run's world model, acted in. An episode begins with a moment of a video; all that follows is predicted.

    **Observations** are decoded pictures, ``uint8 [S, S, 3]``, or states, ``float32 [N, D]``. **Actions** are latent
    ones or, through a controller, real ones in their own units. A latent action is ``float32 [Z]`` from -1 to 1: 0 is
    the mean of those that are inferred in the videos, 1 two of their deviations more. What lies beyond the bounds of
    the space is clipped to them. Of a run with codes (``Discrete``) an action is the number of a code. **The reward**
    is 0, or with a goal the negative L1 distance of the state from the goal's. Episodes never terminate, and are
    truncated after ``horizon`` steps.

    ``reset(options=...)`` takes ``video`` (a file, or a part of the name of one of the videos) and ``time`` (seconds,
    at which the last known picture is seen); drawn if not given. And ``goal``, a picture: a file, PIL's or ``uint8 [H,
    W, 3]``.

    Args:
        run: run folder, ``"tiny"``, or ``"user/name"`` on the Hub, as ``wildlam.load`` takes it.
        videos: a video file, a folder of videos or a list of them to begin in; those of the run if not given, of
            ``"tiny"`` the films that come with it.
        observation: frame or state; frames, if there is a decoder.
        actions: latent or real.
        controller: folder of a controller, or of a run with one; that of the run if not given.
        decoder: likewise, a decoder.
        horizon: steps after which an episode is truncated.
        context: states that the model sees at most; as many as in training if not given. It begins with one.
        render_mode: rgb_array, or None.

    Raises:
        WildlamError: the run, a video, the controller or the decoder cannot be had or do not fit.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self,
        run: str | Path,
        videos: str | Path | Sequence[str | Path] | None = None,
        *,
        observation: Observation | None = None,
        actions: Actions = "latent",
        controller: str | Path | None = None,
        decoder: str | Path | None = None,
        horizon: int = 32,
        context: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        check_choice("actions", actions, get_args(Actions))
        check_count("horizon", horizon)
        trained = load(run)
        self.model, self.encoder, self.data = trained.model, trained.encoder, trained.config.data
        spec = self.encoder.spec
        given = None if decoder is None else Path(decoder)
        self.decoder = None
        if find_decoder(trained.path, spec, given) is not None:
            self.decoder = load_decoder(trained.path, spec, self.encoder.device, given)
        observation = observation or ("frame" if self.decoder else "state")
        check_choice("observation", observation, get_args(Observation))
        if self.decoder is None and (observation == "frame" or render_mode is not None):
            raise WildlamError(
                f"{trained.path} has no decoder to paint pictures with; train one with `wildlam decoder train`, or "
                "choose observation='state' and no render_mode"
            )
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise WildlamError(f"render_mode must be rgb_array or None, got {render_mode!r}")
        self.observation, self.horizon, self.render_mode = observation, horizon, render_mode
        self.context = self.data.frames // spec.frames_per_state if context is None else context
        check_count("context", self.context)
        rate = self.data.fps / spec.frames_per_state
        self.metadata = {**type(self).metadata, "render_fps": rate}  # type: ignore[misc]
        own = FILMS if trained.path == TINY else self.data.path
        self.videos = _videos(own if videos is None else videos)
        self.controller = None
        if actions == "real":
            place = Path(controller or trained.path)
            self.controller, self.actions = load_controller(place, self.encoder, self.model)
        self.action_space = self._action_space()
        self.observation_space = self._observation_space()
        self.states = self.taken = torch.empty(0)
        self.goal: Tensor | None = None
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin at a moment of a video; see the class for the options.

        Raises:
            WildlamError: there is no such video, moment, picture or option.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        if unknown := options.keys() - {"video", "time", "goal"}:
            raise WildlamError(f"options {', '.join(sorted(unknown))} are unknown; there are video, time and goal")
        video = self._video(options.get("video"))
        time = self._time(video, options.get("time"))
        self.states = self._encode(self._frames(video, time))
        self.taken = self.states.new_empty(1, 0, self.model.bottleneck.dim)
        self.goal = None if options.get("goal") is None else self._goal(options["goal"])
        self.steps = 0
        return self._observed(), {"video": str(video), "time": time}

    @torch.no_grad()
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Predict what an action leads to.

        Raises:
            gymnasium.error.InvalidAction: it is of another shape or kind than those of the space, or not finite.
            gymnasium.error.ResetNeeded: there was no ``reset``, or none since the episode was truncated.
        """
        if not len(self.states):
            raise ResetNeeded("there is no state to act in yet; call reset() first")
        if self.steps >= self.horizon:
            raise ResetNeeded(f"the episode was truncated after {self.horizon} steps; call reset() to begin another")
        state = self.states[:, -1:]
        self.taken = torch.cat([self.taken, self._latent(action, state[:, 0])[:, None]], dim=1)
        following = self.model.predict(self.states, self.taken)[:, -1:].float()
        self.states = torch.cat([self.states, following], dim=1)[:, -self.context :]
        self.taken = self.taken[:, self.taken.shape[1] + 1 - self.states.shape[1] :]
        self.steps += 1
        reward = 0.0 if self.goal is None else -float((following - self.goal).abs().mean())
        return self._observed(), reward, False, self.steps >= self.horizon, {}

    def render(self) -> np.ndarray | None:
        """The state as a picture, ``uint8 [S, S, 3]``; None without a ``render_mode``."""
        return None if self.render_mode is None else self._picture()

    def _action_space(self) -> spaces.Space:
        if self.controller is not None:
            mean, std = (scale.cpu().numpy() for scale in (self.controller.action_mean, self.controller.action_std))
            return spaces.Box(
                (mean - REAL_REACH * std).astype(np.float32), (mean + REAL_REACH * std).astype(np.float32)
            )
        if isinstance(self.model.bottleneck, DiscreteBottleneck):
            return spaces.Discrete(len(self.model.bottleneck.codebook))
        self.mean, self.std = self._spread()
        return spaces.Box(-1.0, 1.0, (self.model.bottleneck.dim,), np.float32)

    def _observation_space(self) -> spaces.Box:
        if self.observation == "state":
            return spaces.Box(-np.inf, np.inf, self.model.state_shape, np.float32)
        assert self.decoder is not None
        side = self.decoder.config.image_size
        return spaces.Box(0, 255, (side, side, 3), np.uint8)

    @torch.no_grad()
    def _spread(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation ``[Z]`` of latent actions that are inferred in the middle of some of the videos."""
        chosen = [self.videos[i * len(self.videos) // MEASURED] for i in range(min(MEASURED, len(self.videos)))]
        found, step = [], self.encoder.spec.frames_per_state
        for video in chosen or self.videos:
            lasts = self._seconds(video)
            times = [lasts / 2 + k / self.data.fps for k in range(-(self.data.frames // 2), self.data.frames // 2)]
            times = [time for time in times if 0 <= time <= lasts]
            if len(times) // step > 1:
                clip = self._encode(self._decoded(video, times[: len(times) // step * step]))
                found.append(self.model.infer(clip)[0].float())
        if sum(map(len, found)) < 2:
            raise WildlamError(f"{self.videos[0]}: too short to tell how far latent actions spread; give more videos")
        z = torch.cat(found)
        return z.mean(dim=0), z.std(dim=0)

    def _video(self, given: Any) -> Path:
        """The video that was asked for, or one that is drawn."""
        if given is None:
            return self.videos[int(self.np_random.integers(len(self.videos)))]
        if Path(given).is_file():
            return Path(given)
        named = [video for video in self.videos if str(given) in str(video)]
        if not named:
            raise WildlamError(f"no video is called {given}; there are {len(self.videos)}, such as {self.videos[0]}")
        return named[0]

    def _time(self, video: Path, given: Any) -> float:
        """The moment that was asked for, or one that is drawn."""
        lasts, before = self._seconds(video), (self.encoder.spec.frames_per_state - 1) / self.data.fps
        if given is None:
            return float(self.np_random.uniform(min(before, lasts), lasts))
        if not isinstance(given, int | float) or not before <= given <= lasts:
            raise WildlamError(f"time must be {before:g} to {lasts:.2f} seconds of {video}, got {given!r}")
        return float(given)

    def _seconds(self, video: Path) -> float:
        """When the last frame is seen that is sure to be there."""
        info = probe(video)
        return max(min([info.duration, *info.breaks]) - 1 / info.fps, 0.0)

    def _frames(self, video: Path, time: float) -> Tensor:
        """The frames of the one state that an episode begins with, up to ``time``."""
        count = self.encoder.spec.frames_per_state
        return self._decoded(video, [max(time - k / self.data.fps, 0.0) for k in reversed(range(count))])

    def _decoded(self, video: Path, times: Sequence[float]) -> Tensor:
        size, odd = self.encoder.spec.image_size, probe(video).odd
        return decode_at(video, times, size, self.data.backend, known_plain(odd))

    def _goal(self, picture: Any) -> Tensor:
        if isinstance(picture, str | Path):
            try:
                picture = Image.open(picture)
                picture.load()
            except (OSError, UnidentifiedImageError) as error:
                raise WildlamError(f"goal {picture} is no picture that can be read ({error})") from error
        count, fps = self.encoder.spec.frames_per_state, self.data.fps
        given = given_videos({"goal": [picture] * count}, fps)["goal"]
        assert isinstance(given, Pictures)
        return self._encode(given.first(count, fps, self.encoder.spec.image_size, self.data.backend))

    @torch.no_grad()
    def _encode(self, frames: Tensor) -> Tensor:
        return self.encoder.encode(frames[None]).float()

    def _latent(self, action: Any, state: Tensor) -> Tensor:
        """The latent action ``[1, Z]`` that an action is in a state."""
        space = self.action_space
        if isinstance(space, spaces.Discrete):
            if not space.contains(action):
                raise InvalidAction(f"an action is the number of a code, 0 to {space.n - 1}, got {action!r}")
            return self.model.bottleneck.codebook[int(action)][None]  # type: ignore[index]
        assert isinstance(space, spaces.Box)
        expected = f"an action is {space.shape[0]} finite numbers, got"
        try:
            values = np.asarray(action, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidAction(f"{expected} {action!r}") from error
        if values.shape != space.shape:
            raise InvalidAction(f"{expected} shape {list(values.shape)}")
        if not np.isfinite(values).all():
            raise InvalidAction(f"{expected} {int((~np.isfinite(values)).sum())} that are not finite")
        given = torch.from_numpy(values.clip(space.low, space.high))[None].to(state.device)
        if self.controller is not None:
            return self.controller.act(given, state)
        return self.mean + LATENT_REACH * self.std * given

    def _observed(self) -> np.ndarray:
        return self._picture() if self.observation == "frame" else self.states[0, -1].cpu().numpy()

    @torch.no_grad()
    def _picture(self) -> np.ndarray:
        assert self.decoder is not None
        return to_uint8(self.decoder.decode(self.states)[0, -1]).permute(1, 2, 0).contiguous().numpy()


def _videos(given: Any) -> list[Path]:
    """Video files in files, folders or lists of them."""
    several = list(given) if isinstance(given, list | tuple) else [given]
    found: list[Path] = []
    for path in map(Path, several):
        found += [path / name for name in find_videos(path)] if path.is_dir() else [path]
    if not found or not found[0].is_file():
        raise WildlamError(f"{', '.join(map(str, several))}: no videos there to begin in; give videos=")
    return found


def _register() -> None:
    gymnasium.register(ID, entry_point=f"{__name__}:{WorldModelEnv.__name__}")


_register()
