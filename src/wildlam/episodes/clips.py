"""Clips of states with the real actions between them, cut side by side from episodes and encoded once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.episode import Episode
from wildlam.episodes.vectors import described
from wildlam.errors import WildlamError
from wildlam.fileio import readable
from wildlam.types import Encoder, Split

log = logging.getLogger(__name__)

TOLERATED = 1.2
"""Effective over asked for rate, or the other way round, beyond which a warning is given."""
READ = "by time"
"""How frames are paired with states: to be changed with it, or states kept from before would be taken for those now."""
AT_ONCE = 16
"""Clips encoded together; one on a CPU, which is no faster with more."""

Place = tuple[Episode, np.ndarray]
"""A clip's episode and the numbers of its frames there."""


@dataclass
class LabelledClips:
    """Clips whose real actions are known.

    Attributes:
        states: ``bfloat16 [C, T, N, D]``.
        poses: pose at each state, ``float64 [C, T, P]``.
        actions: between them, ``float32 [C, T - 1, A]``.
        places: each clip's episode and the numbers of its frames there.
        space: what poses and actions are.
        fps: states per second, as they really are.
    """

    states: Tensor
    poses: Tensor
    actions: Tensor
    places: list[Place]
    space: ActionSpace
    fps: float

    def __len__(self) -> int:
        return len(self.places)

    @property
    def names(self) -> list[str]:
        """Each clip's episode."""
        return [episode.name for episode, _ in self.places]

    @property
    def recordings(self) -> list[str]:
        """Each clip's recording, of which there may be several episodes, one by each camera."""
        return [episode.recording for episode, _ in self.places]

    def choose(self, clips: Sequence[int]) -> LabelledClips:
        """Some of the clips, by number."""
        index = list(clips)
        places = [self.places[i] for i in index]
        return LabelledClips(self.states[index], self.poses[index], self.actions[index], places, self.space, self.fps)

    def few(self, count: int | None, seed: int) -> LabelledClips:
        """``count`` clips drawn without replacement; a smaller draw of a seed is part of a larger. None for all."""
        order = np.random.default_rng(seed).permutation(len(self))
        return self.choose(sorted(order[:count].tolist()))

    def folds(self, count: int, most: int, seed: int) -> list[tuple[list[int], list[int]]]:
        """Numbers of clips to learn from, and of others to judge that by, ``count`` times.

        The others are each time other ones, one clip of ``count``, ``most`` clips at most: whole recordings, as far as
        there are as many, but for one at either end that has more clips than were needed.
        """
        order = np.random.default_rng(seed).permutation(len(self)).tolist()
        recordings = self.recordings
        turns = {name: turn for turn, name in enumerate(dict.fromkeys(recordings[clip] for clip in order))}
        order.sort(key=lambda clip: turns[recordings[clip]])
        found = []
        for k in range(count):
            apart = order[len(order) * k // count : len(order) * (k + 1) // count][:most]
            found.append((sorted({*order} - {*apart}), sorted(apart)))
        return found


@dataclass(frozen=True)
class Cut:
    """Clips cut from episodes, whose frames have not been read yet.

    Attributes:
        places: each clip's episode and the numbers of its frames there.
        space: what poses and actions are.
        fps: states per second, as they really are.
        kept: file that their states are kept in; None if they are not kept.
    """

    places: list[Place]
    space: ActionSpace
    fps: float
    kept: Path | None

    @property
    def is_kept(self) -> bool:
        """Whether their states are there from an earlier call."""
        return self.kept is not None and self.kept.is_file()

    def encoded(self, encoder: Encoder, progress: bool = True) -> LabelledClips:
        """The clips with their states, read where they are kept, or else made and kept."""
        states = _read(self.kept, len(self.places)) if self.kept else None
        if states is None:
            states = encode_places(self.places, encoder, progress)
            if self.kept:
                try:
                    self.kept.parent.mkdir(parents=True, exist_ok=True)
                    save_file({"states": states}, self.kept)
                    readable(self.kept)
                except (OSError, SafetensorError) as error:
                    log.warning(
                        "cannot keep the states in %s: %s; the next call encodes them again", self.kept.parent, error
                    )
        return self.with_states(states)

    def with_states(self, states: Tensor) -> LabelledClips:
        """The first clips, of which these are the states ``[C, T, N, D]``."""
        places = self.places[: len(states)]
        poses = [episode.poses[frames] for episode, frames in places]
        actions = np.stack([episode.actions(frames) for episode, frames in places]).astype(np.float32)
        return LabelledClips(
            states, torch.from_numpy(np.stack(poses)), torch.from_numpy(actions), places, self.space, self.fps
        )


def cut_clips(
    episodes: Sequence[Episode], encoder: Encoder, split: Split, *, states: int, fps: float, cache: Path | None = None
) -> Cut:
    """Cut the episodes of a split into clips of ``states`` states, side by side.

    Each frame makes a state of its own: an encoder that makes one state of two frames is shown every frame twice, so
    that one real action is one latent action.

    Args:
        episodes: episodes of one action space.
        encoder: encoder of the states.
        split: whose episodes to take.
        states: states per clip, two at least.
        fps: about how many a second; a whole stride of the recorded rate is taken.
        cache: folder in which the states are kept, and found the next time.

    Raises:
        WildlamError: no episode of the split is long enough, or the episodes differ in kind or rate.
    """
    places: list[Place] = []
    kinds: dict[tuple[ActionSpace, float], str] = {}  # and an episode of each
    for episode in episodes:
        if episode.split == split:
            runs, rate = episode.sampled(fps)
            kinds.setdefault((episode.space_at(fps), round(rate, 2)), episode.name)
            places += [(episode, run[i : i + states]) for run in runs for i in range(0, len(run) - states + 1, states)]
    if not places:
        raise WildlamError(f"no {split} episode holds {states} states at {fps:g} a second; bring longer ones")
    if len(kinds) > 1:
        told = "; ".join(f"{name} has {described(space)} at {rate:g} Hz" for (space, rate), name in kinds.items())
        raise WildlamError(f"the episodes differ in kind of action or in rate: {told}; give them apart")
    ((space, rate),) = kinds
    if not 1 / TOLERATED < rate / fps < TOLERATED:
        log.warning(
            "the episodes give %g states a second where %g are asked for: their actions have another duration than "
            "in training",
            rate,
            fps,
        )
    kept = cache and cache / f"labelled-{_key(places, encoder)}.safetensors"
    return Cut(places, space, rate, kept)


def labelled_clips(
    episodes: Sequence[Episode],
    encoder: Encoder,
    split: Split,
    *,
    states: int,
    fps: float,
    cache: Path | None = None,
    progress: bool = True,
) -> LabelledClips:
    """Cut the episodes of a split into clips and encode them, with a progress bar if asked for; see ``cut_clips``."""
    return cut_clips(episodes, encoder, split, states=states, fps=fps, cache=cache).encoded(encoder, progress)


def encode_frames(encoder: Encoder, video: Tensor) -> Tensor:
    """A state of each frame of ``uint8 [B, T, 3, S, S]``, ``[B, T, N, D]``: see ``labelled_clips``."""
    return encoder.encode(video.repeat_interleave(encoder.spec.frames_per_state, dim=1))


def encode_places(places: Sequence[Place], encoder: Encoder, progress: bool = False) -> Tensor:
    """Read and encode clips: ``bfloat16 [C, T, N, D]``, on the CPU."""
    spec, parts = encoder.spec, []
    with tqdm(total=len(places), desc="encoding labelled clips", unit="clip", disable=not progress) as bar:
        at_once = 1 if encoder.device.type == "cpu" else AT_ONCE
        for first in range(0, len(places), at_once):
            some = places[first : first + at_once]
            video = torch.stack([episode.frames(frames.tolist(), spec.image_size) for episode, frames in some])
            parts.append(encode_frames(encoder, video).to("cpu", torch.bfloat16))
            bar.update(len(some))
    return torch.cat(parts)


def _key(places: Sequence[Place], encoder: Encoder) -> str:
    """Changes with the encoder, with the films, with which frames are taken and with what is known of them."""
    digest = hashlib.sha256(f"{READ} {encoder.spec.fingerprint}".encode())
    for file in dict.fromkeys(episode.file for episode, _ in places):
        if file is not None:
            found = file.stat()
            digest.update(f"{found.st_size} {found.st_mtime_ns}".encode())
    for episode, frames in places:
        digest.update(episode.view.encode())
        digest.update(episode.name.encode() + frames.astype(np.int64).tobytes() + episode.poses[frames].tobytes())
    return digest.hexdigest()[:16]


def _read(path: Path, clips: int) -> Tensor | None:
    try:
        with safe_open(path, "pt") as file:
            states = file.get_tensor("states")
    except (OSError, SafetensorError):
        return None  # not there, or cut short: made again
    return states if len(states) == clips else None
