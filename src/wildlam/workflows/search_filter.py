"""Transitions that a search finds, and which of them may be found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wildlam.errors import option


@dataclass(frozen=True)
class Transition:
    """A transition of a video.

    Attributes:
        video: path of the video, relative to the folder of videos.
        source: name of the set that the video belongs to.
        start: time of the state before, in seconds.
        end: time of the state after.
        speed: mean absolute change of the state's numbers, per second.
    """

    video: str
    source: str
    start: float
    end: float
    speed: float

    def __str__(self) -> str:
        """As ``--like`` takes it: the moment in its middle."""
        return f"{self.video}@{(self.start + self.end) / 2:.3f}"


@dataclass(frozen=True)
class Hit(Transition):
    """A transition that was found.

    Attributes:
        distance: from what was asked for, 0 (the same direction) to 2 (the opposite one).
        rank: share of all transitions that are slower.
    """

    distance: float
    rank: float


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which transitions may be found.

    Args:
        sources: names of the sources; all if none.
        min_speed: share of all transitions, from 0 to 1, that are too slow.
        max_speed: share of all transitions that are slow enough.
        after: seconds into the video from which on they begin.
        before: seconds into the video until which they end.
        without: videos that are left out.
        moments: the single transitions that are left, by video and start; all if not given.
        without_moments: single transitions that are left out, likewise.
    """

    sources: Sequence[str] = ()
    min_speed: float = 0.0
    max_speed: float = 1.0
    after: float = 0.0
    before: float = float("inf")
    without: frozenset[str] = frozenset()
    moments: frozenset[tuple[str, float]] | None = None
    without_moments: frozenset[tuple[str, float]] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.min_speed < self.max_speed <= 1:
            raise ValueError(
                f"{option('min_speed')} and {option('max_speed')} are shares of all transitions from 0 to 1, the first "
                f"the smaller; got {self.min_speed} and {self.max_speed}"
            )
        if not 0 <= self.after < self.before:
            raise ValueError(
                f"{option('after')} must be at least 0 and less than {option('before')}, got {self.after} and "
                f"{self.before}"
            )

    def first(
        self, found: Iterable[Hit], count: int, speeds: tuple[float, float], distinct_videos: bool = False
    ) -> list[Hit]:
        """The first of some hits that may be found.

        Args:
            found: the hits, the nearest first.
            count: how many, at most.
            speeds: the least and the greatest speed, those of the filter's ranks.
            distinct_videos: at most one of each video.
        """
        seen, kept = set(self.without), []
        for hit in found:
            moment = (hit.video, hit.start)
            if (
                hit.video not in seen
                and (not self.sources or hit.source in self.sources)
                and speeds[0] <= hit.speed <= speeds[1]
                and self.after <= hit.start
                and hit.end <= self.before
                and (self.moments is None or moment in self.moments)
                and moment not in self.without_moments
            ):
                kept.append(hit)
                if len(kept) == count:
                    break
                if distinct_videos:
                    seen.add(hit.video)
        return kept
