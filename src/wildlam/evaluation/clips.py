"""Held-out clips with their latent actions, inferred once and shared by all evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor

from wildlam.evaluation.intervals import PerClip
from wildlam.models import LatentActionModel
from wildlam.types import StateBatch

BATCH = 32
"""Clips that a model is given at once."""


@dataclass
class InferredClips:
    """Held-out clips and the latent actions that a model infers in them.

    Attributes:
        states: ``bfloat16`` or ``float32 [clips, T, N, D]``, on the CPU.
        z: inferred latent actions, ``float32 [clips, T - 1, Z]``, on the CPU.
        names: each clip's video.
        sources: each clip's source.
        times: timestamps of the states in seconds, ``float64 [clips, T]``.
        recordings: each clip's recording, which several videos may be of; by default every video is one.
        counted: called with the number of clips that an evaluation has finished, as it goes on.
    """

    states: Tensor
    z: Tensor
    names: list[str]
    sources: list[str]
    times: Tensor
    recordings: list[str] = field(default_factory=list)
    counted: Callable[[int], object] = lambda _: None

    def __post_init__(self) -> None:
        self.recordings = self.recordings or self.names

    def __len__(self) -> int:
        return len(self.names)

    @property
    def partners(self) -> list[int]:
        """For each clip another one, of another recording of the same source where there is one."""
        return another_clip(self.sources, self.recordings)

    def where(self, chosen: Tensor) -> InferredClips:
        """The clips that ``chosen``, ``bool [clips]``, marks."""
        return self.choose(chosen.nonzero()[:, 0].tolist())

    def choose(self, clips: Sequence[int]) -> InferredClips:
        """Some of the clips, by number."""
        index = list(clips)
        names, sources, recordings = ([of[i] for i in index] for of in (self.names, self.sources, self.recordings))
        return InferredClips(self.states[index], self.z[index], names, sources, self.times[index], recordings)

    def per_clip(self, values: dict[str, Tensor]) -> PerClip:
        """Values of all clips, each ``[clips]``, with what the clips are of."""
        return PerClip(values, self.names, self.sources, self.recordings)

    def batches(self) -> Iterator[slice]:
        """The clips in portions."""
        for first in range(0, len(self), BATCH):
            part = slice(first, min(first + BATCH, len(self)))
            yield part
            self.counted(part.stop - part.start)


@torch.no_grad()
def infer_clips(
    model: LatentActionModel, batches: Iterable[StateBatch], recordings: Mapping[str, str] = MappingProxyType({})
) -> InferredClips:
    """Infer the latent actions of clips of equal length.

    Args:
        model: the model, in evaluation mode.
        batches: batches of clips, at least one.
        recordings: the recording of each video by its name; a video that is not in it is one by itself.
    """
    device = next(model.parameters()).device
    batches = list(batches)
    names = [name for batch in batches for name in batch.names]
    return InferredClips(
        states=torch.cat([batch.states.cpu() for batch in batches]),
        z=torch.cat([model.infer(batch.states.to(device).float()).float().cpu() for batch in batches]),
        names=names,
        sources=[source for batch in batches for source in batch.sources],
        times=torch.cat([batch.times for batch in batches]),
        recordings=[recordings.get(name, name) for name in names],
    )


def another_clip(sources: Sequence[str], recordings: Sequence[str]) -> list[int]:
    """For each clip the index of another: of another recording of the same source where there is one, never itself.

    Clips of a source are ranked by recording; the partner is the one half the source further on. So the pairing depends
    on the clips alone, and a source of one clip borrows from the next clip of all.
    """
    partner = [(i + 1) % len(sources) for i in range(len(sources))]
    for source in set(sources):
        members = sorted((i for i, s in enumerate(sources) if s == source), key=lambda i: (recordings[i], i))
        for rank, i in enumerate(members):
            half = (rank + len(members) // 2) % len(members)
            candidates = [j for j in members[half:] + members[:half] if j != i]
            if candidates:
                partner[i] = next((j for j in candidates if recordings[j] != recordings[i]), candidates[0])
    return partner


def spread(length: int, count: int) -> list[int]:
    """``count`` numbers from 0 to ``length - 1``, as far from each other as can be; all if there are no more."""
    return torch.linspace(0, length - 1, min(count, length)).round().long().tolist()


@torch.no_grad()
def infer_latents(model: LatentActionModel, states: Tensor) -> Tensor:
    """Latent actions of clips of states ``[C, T, N, D]``, ``float32 [C, T - 1, Z]`` on the model's device."""
    device = next(model.parameters()).device
    return torch.cat([model.infer(part.to(device).float()).float() for part in states.split(32)])
