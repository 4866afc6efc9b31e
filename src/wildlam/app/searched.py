"""Where the playground searches: in the run's index of all transitions of the videos, or in those that are mapped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from wildlam.app.library import Library
from wildlam.errors import WildlamError
from wildlam.workflows.search_filter import Filter, Hit, Transition
from wildlam.workflows.search_index import SearchIndex
from wildlam.workflows.transitions import Transitions
from wildlam.workflows.video_transitions import VideoTransitions


class Searched(Protocol):
    """What is asked of ``SearchIndex``, where more is said, and of ``Mapped``."""

    def __len__(self) -> int: ...

    def of_video(self, video: str) -> list[Transition]:
        """The transitions of a video, in order of time."""
        ...

    def vectors(self, transitions: Sequence[Transition]) -> np.ndarray:
        """Latent actions of transitions, ``float32 [n, Z]``."""
        ...

    def nearest(
        self, z: np.ndarray, count: int, only: Filter | None = None, *, distinct_videos: bool = False
    ) -> list[Hit]:
        """The transitions nearest to a latent action ``[Z]``, or to any of ``[K, Z]``, nearest first."""
        ...


class Mapped:
    """The transitions that are mapped, by number and by video and time, and searched as an index is.

    Args:
        known: the transitions.
        names: path of each video, relative to their folder.

    Attributes:
        all: the transitions, by number.
    """

    def __init__(self, known: Transitions, names: Sequence[str]) -> None:
        self._known = known
        speed = known.change / (known.end - known.start)
        columns = (known.video.tolist(), known.start.tolist(), known.end.tolist(), speed.tolist())
        self.all = [
            Transition(names[v], known.sources[v], start, end, quick)
            for v, start, end, quick in zip(*columns, strict=True)
        ]
        self._number = {(one.video, one.start): n for n, one in enumerate(self.all)}
        self._speeds = np.sort(speed)

    def __len__(self) -> int:
        return len(self.all)

    def numbers(self, transitions: Sequence[Transition]) -> np.ndarray:
        """Numbers of those of some transitions that are here, ``int64 [n]``."""
        found = (self._number.get((one.video, one.start)) for one in transitions)
        return np.array([n for n in found if n is not None], dtype=np.int64)

    def of_video(self, video: str) -> list[Transition]:
        """As ``SearchIndex.of_video``."""
        return [one for one in self.all if one.video == video]

    def vectors(self, transitions: Sequence[Transition]) -> np.ndarray:
        """As ``SearchIndex.vectors``, of transitions that are here."""
        return self._known.z[self.numbers(transitions)].numpy()

    def nearest(
        self, z: np.ndarray, count: int, only: Filter | None = None, *, distinct_videos: bool = False
    ) -> list[Hit]:
        """As ``SearchIndex.nearest``."""
        only = only or Filter()
        everything = np.arange(len(self))
        of_each = [self._known.distances(torch.from_numpy(one), everything).numpy() for one in np.atleast_2d(z)]
        distances = np.min(of_each, axis=0)

        def in_order() -> Iterator[Hit]:
            for n in distances.argsort(kind="stable").tolist():
                one = self.all[n]
                rank = float(np.searchsorted(self._speeds, one.speed)) / len(self)
                yield Hit(**vars(one), distance=float(distances[n]), rank=rank)

        low = -np.inf if only.min_speed == 0 else float(np.quantile(self._speeds, only.min_speed))
        high = np.inf if only.max_speed == 1 else float(np.quantile(self._speeds, only.max_speed))
        return only.first(in_order(), count, (low, high), distinct_videos)


class RunIndex:
    """A run's index of the videos that are shown, if there is one; looked for again when it changes.

    Args:
        folder: that of the index.
        weights: fingerprint of the run's model.
        library: the videos.

    Attributes:
        why_not: why the one that is there is not used; empty if it is, or none is there.
        unshown: videos of it that are not shown.
    """

    def __init__(self, folder: Path, weights: str, library: Library) -> None:
        self._folder, self._weights, self._library = folder, weights, library
        self._opened: SearchIndex | None = None
        self._changed = 0
        self.why_not = ""
        self.unshown: frozenset[str] = frozenset()

    def open(self) -> SearchIndex | None:
        """The index; None if there is none that can be used."""
        try:
            changed = os.stat(self._folder / "index.json").st_mtime_ns
        except OSError:
            changed = 0
        if changed != self._changed:
            opened, why_not = None, ""
            try:
                opened = self._checked() if changed else None
            except WildlamError as error:
                why_not = f"not searched in its index: {error}"
            # All at once, and the time last: another request may ask meanwhile.
            self._opened, self.why_not, self._changed = opened, why_not, changed
        return self._opened

    def transitions_of(self, video: str) -> VideoTransitions | None:
        """The transitions of a video, by its name; None if the index has none of it, is damaged, or not there."""
        if (index := self.open()) is None:
            return None
        try:
            found = index.of_video(video)
            z = index.vectors(found)
        except WildlamError:  # which a search tells of
            return None
        start, end, speed = (np.array([getattr(one, name) for one in found]) for name in ("start", "end", "speed"))
        return VideoTransitions(z, start, end, speed.astype(np.float32)) if found else None

    def _checked(self) -> SearchIndex:
        """The index.

        Raises:
            WildlamError: it is not of this run and these videos.
        """
        index = SearchIndex.open(self._folder, self._weights)
        if not index.settled:
            raise WildlamError(
                f"{self._folder} is being built, or was interrupted; `wildlam search build` completes it"
            )
        root = self._library.root
        if root is None or not index.is_of(root):
            raise WildlamError(f"{self._folder} is an index of {index.root}")
        names = set(index.videos())
        self.unshown = frozenset(name for name in names if self._library.named(name) is None)
        if len(self.unshown) == len(names):
            raise WildlamError(f"none of the videos of {self._folder} is shown here")
        return index
