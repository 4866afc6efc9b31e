"""Figures of held-out clips: the mean over clips with a bootstrap interval over recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95
"""Share of the resamples that lie within an interval."""

FEWEST_RECORDINGS, FEWEST_CLIPS = 5, 10
"""Under either, nothing is claimed of other videos and no interval is shown: of one recording it has no width, and of
few the bootstrap's is too narrow (of five normal values, 84 % hold the truth rather than 95 %; that two of them do not
overlap is much rarer by chance)."""

TOO_FEW = f"Too few for an interval, which takes {FEWEST_RECORDINGS} recordings and {FEWEST_CLIPS} clips."


@dataclass(frozen=True)
class Estimate:
    """A mean, or a ratio of means, with the ends of its 95 % bootstrap interval (over few seeds, of its range)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return interval_text(self.mean, self.low, self.high)


def interval_text(mean: float, low: float, high: float, form: str = ".3f") -> str:
    """A mean and, in brackets, its interval; an interval without width is none and left out."""
    if low == high:
        return f"{mean:{form}}"
    return f"{mean:{form}} ({low:{form}} to {high:{form}})"


@dataclass
class PerClip:
    """Values of clips by name, such as errors by method.

    Attributes:
        values: name to one value per clip, float ``[clips]``.
        names: each clip's video.
        sources: each clip's source.
        recordings: each clip's recording, which intervals draw and which are counted: all cameras of an episode and all
            parts of a film are one. By default every video is.
    """

    values: dict[str, Tensor]
    names: list[str]
    sources: list[str]
    recordings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recordings = self.recordings or self.names

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> PerClip:
        """The inverse of ``to_json``; files of earlier versions name no recordings, and every video counts as one."""
        values = {name: torch.tensor(of_clips, dtype=torch.float64) for name, of_clips in saved["values"].items()}
        return cls(values, list(saved["names"]), list(saved["sources"]), list(saved.get("recordings", ())))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_enough(self) -> bool:
        """Whether there are enough recordings and clips for an interval."""
        return enough(len(set(self.recordings)), len(self))

    @property
    def amount(self) -> str:
        """How many clips of how many recordings, in words."""
        recordings = len(set(self.recordings))
        return f"{len(self)} clip{'s' * (len(self) != 1)} of {recordings} recording{'s' * (recordings != 1)}"

    def where(self, chosen: Sequence[bool]) -> PerClip:
        """The clips that ``chosen`` marks."""
        index = [i for i, is_chosen in enumerate(chosen) if is_chosen]
        values = {name: of_clips[index] for name, of_clips in self.values.items()}
        return PerClip(values, *([of[i] for i in index] for of in (self.names, self.sources, self.recordings)))

    def estimate(self, name: str, over: str | None = None, source: str | None = None) -> Estimate:
        """Mean of ``name``, or its mean over that of ``over``, of all clips or of one source's.

        The interval is of the percentile bootstrap. It draws whole recordings, as the clips of one resemble each other.
        """
        chosen = [i for i, s in enumerate(self.sources) if source in (None, s)]
        top = self.values[name][chosen].double()
        bottom = torch.ones_like(top) if over is None else self.values[over][chosen].double()
        return ratio_of_means(top, bottom, [self.recordings[i] for i in chosen])

    def summary(self) -> dict[str, dict[str, float]]:
        """The mean of each value with its interval, over all clips, as plain numbers."""
        return {name: asdict(self.estimate(name)) for name in self.values}

    def to_json(self) -> dict[str, Any]:
        """All values as plain lists."""
        values = {name: [round(v, 6) for v in of_clips.tolist()] for name, of_clips in self.values.items()}
        return {"names": self.names, "sources": self.sources, "recordings": self.recordings, "values": values}


def ratio_of_means(top: Tensor, bottom: Tensor, groups: Sequence[str]) -> Estimate:
    """``mean(top) / mean(bottom)`` of paired values ``[n]`` with its interval, drawing whole groups (recordings)."""
    index = numbered(groups)
    count = int(index.max()) + 1
    sums = torch.zeros(2, count, dtype=torch.float64).index_add_(1, index, torch.stack([top, bottom]).double())
    draws = torch.randint(count, (RESAMPLES, count), generator=torch.Generator().manual_seed(0))
    drawn = sums[:, draws].sum(dim=-1)
    ratios = (drawn[0] / drawn[1]).nan_to_num(nan=torch.inf)
    low, high = ratios.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)).tolist()
    return Estimate(float(sums[0].sum() / sums[1].sum()), low, high)


def enough(recordings: int, clips: int) -> bool:
    """Whether so many recordings and clips are enough for an interval."""
    return recordings >= FEWEST_RECORDINGS and clips >= FEWEST_CLIPS


def numbered(names: Sequence[str]) -> Tensor:
    """Numbers in place of names, int64 ``[n]``: 0 for the first and all equal to it, 1 for the next, and so on."""
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([number[name] for name in names])
