"""Held-out clips with their latent actions, inferred once and shared by all evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

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
        counted: is told how many clips an evaluation is done with, as it goes on.
    """

    states: Tensor
    z: Tensor
    names: list[str]
    sources: list[str]
    times: Tensor
    counted: Callable[[int], object] = lambda _: None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def partners(self) -> list[int]:
        """For each clip another one, of another video of the same source where there is one."""
        return another_clip(self.sources, self.names)

    def where(self, chosen: Tensor) -> InferredClips:
        """The clips that ``chosen``, ``bool [clips]``, marks."""
        index = chosen.nonzero()[:, 0].tolist()
        names, sources = [self.names[i] for i in index], [self.sources[i] for i in index]
        return InferredClips(self.states[index], self.z[index], names, sources, self.times[index])

    def batches(self) -> Iterator[slice]:
        """The clips in portions."""
        for first in range(0, len(self), BATCH):
            part = slice(first, min(first + BATCH, len(self)))
            yield part
            self.counted(part.stop - part.start)


@torch.no_grad()
def infer_clips(model: LatentActionModel, batches: Iterable[StateBatch]) -> InferredClips:
    """Infer the latent actions of clips of equal length.

    Args:
        model: in evaluation mode.
        batches: at least one.
    """
    device = next(model.parameters()).device
    batches = list(batches)
    return InferredClips(
        states=torch.cat([batch.states.cpu() for batch in batches]),
        z=torch.cat([model.infer(batch.states.to(device).float()).float().cpu() for batch in batches]),
        names=[name for batch in batches for name in batch.names],
        sources=[source for batch in batches for source in batch.sources],
        times=torch.cat([batch.times for batch in batches]),
    )


def another_clip(sources: list[str], names: list[str]) -> list[int]:
    """For each clip the index of another: of another video of the same source where there is one, never itself.

    Clips of a source are ranked by video; the partner is the one half the source further on. So the pairing depends on
    the clips alone, and a source of one clip borrows from the next clip of all.
    """
    partner = [(i + 1) % len(sources) for i in range(len(sources))]
    for source in set(sources):
        members = sorted((i for i, s in enumerate(sources) if s == source), key=lambda i: (names[i], i))
        for rank, i in enumerate(members):
            half = (rank + len(members) // 2) % len(members)
            candidates = [j for j in members[half:] + members[:half] if j != i]
            if candidates:
                partner[i] = next((j for j in candidates if names[j] != names[i]), candidates[0])
    return partner
