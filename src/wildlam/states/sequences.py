"""Where the sequences of a store lie, and of which videos they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wildlam.types import EncoderSpec, Split
from wildlam.video.manifest import Video
from wildlam.video.timeline import RULES

_SAME_TIME = 1e-3  # seconds by which the times of one frame may differ


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video as the store knows it.

    Attributes:
        path: path relative to the data folder, with forward slashes.
        source: name of the set the video belongs to.
        split: ``"train"`` or ``"held_out"``.
        size: bytes of the file; with ``mtime_ns`` it shows whether the file has changed since it was encoded.
        mtime_ns: time of the file's last change, nanoseconds since the epoch.
        rules: version of the rules (`timeline.RULES`) by which its frames were found; None in stores of before them.
    """

    path: str
    source: str
    split: Split
    size: int
    mtime_ns: int
    rules: int | None = None

    @classmethod
    def of(cls, video: Video) -> StoredVideo:
        """The stored video for a row of a manifest, whose frames are found by the current rules."""
        return cls(video.path, video.source, video.split, video.size, video.mtime_ns, RULES)


@dataclass(frozen=True)
class Sequences:
    """Where the sequences of a store lie: one entry per sequence, in the order of its rows.

    Columns, not objects: a store may hold millions of videos.

    Attributes:
        first: row of the sequence's first state, ``int64 [S]``.
        length: number of its states, ``int64 [S]``.
        video: number of the video that it comes from, ``int64 [S]``.
        videos: the videos, each once: a column for each attribute of ``StoredVideo``.
        times: timestamp in seconds of the (first) frame of *every row* of the store, ``float64 [rows]``.
    """

    first: np.ndarray
    length: np.ndarray
    video: np.ndarray
    videos: pa.Table
    times: np.ndarray

    def of(self, sequences: np.ndarray | None = None) -> list[StoredVideo]:
        """The videos that sequences come from, by the sequences' numbers ``[n]``; of all if none are given."""
        rows = self.videos.take(pa.array(self.video if sequences is None else self.video[sequences]))
        return [StoredVideo(**row) for row in rows.to_pylist()]

    def sources(self) -> tuple[list[str], np.ndarray]:
        """Names of the sources, in order, and the number of each *sequence's* in that list, ``int64 [S]``."""
        column = self.videos["source"]
        names = sorted(pc.unique(column).to_pylist())
        return names, pc.index_in(column, pa.array(names, pa.string())).to_numpy()[self.video]

    def cut(self, cuts: Mapping[str, list[float]], spec: EncoderSpec, fps: float) -> Sequences:
        """Sequences that end where a shot does.

        A state that knows frames of two shots is in none. Where states know all frames before them in their sequence
        (context ``"clip"``), a sequence with a cut in it is left out.

        Args:
            cuts: times of the first frames of shots, in seconds, ascending, by video.
            spec: specification of the encoder.
            fps: frames per second at which videos were sampled.
        """
        known = pc.is_in(self.videos["path"], value_set=pa.array(cuts, pa.string())).to_numpy()[self.video]
        uncut, touched = np.flatnonzero(~known), np.flatnonzero(known)
        first, length, origin = (a.tolist() for a in (self.first[uncut], self.length[uncut], uncut))
        for number, video in zip(touched, self.of(touched), strict=True):
            begin, count = self.first[number], self.length[number]
            times = self.times[begin : begin + count]
            edges = np.array(cuts[video.path]) - _SAME_TIME
            shot = np.searchsorted(edges, times, side="right")
            whole = shot == np.searchsorted(edges, times + (spec.frames_per_state - 1) / fps, side="right")
            if spec.context == "clip":
                pieces = [(0, count)] if whole.all() and (shot == shot[0]).all() else []
            else:
                ends = [*np.flatnonzero(np.diff(np.where(whole, shot, -1))) + 1, count]
                pieces = [(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True) if whole[a]]
            first += [begin + a for a, _ in pieces]
            length += [b - a for a, b in pieces]
            origin += [number] * len(pieces)
        order = np.argsort(first)
        begins, lengths = (np.array(values, dtype=np.int64)[order] for values in (first, length))
        return replace(self, first=begins, length=lengths, video=self.video[np.array(origin, dtype=np.int64)[order]])
