"""Which clips there are and which are drawn: shots, windows, mixtures, as a function of a generator alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wildlam.errors import WildlamError, option
from wildlam.video.decode import OnError
from wildlam.video.frames import SLACK
from wildlam.video.manifest import Manifest
from wildlam.video.mixture import EVENLY, weighted
from wildlam.video.timeline import known_plain

log = logging.getLogger(__name__)

SLOW = 0.99
"""Share of the rate asked for below which a video's own is reported: one in a hundred of its frames is a repetition."""


@dataclass(frozen=True, slots=True)
class Window:
    """A clip that is yet to be decoded.

    Attributes:
        video: the video's path, relative to the manifest's root.
        source: the video's source.
        start: timestamp of the clip's first frame, in seconds.
        offset: byte at which the video begins, if it is inside a tar shard.
        size: bytes of the video.
        plain: whether the index found the film's times plain, so that no more of it is read than the clip.
    """

    video: str
    source: str
    start: float
    offset: int | None
    size: int
    plain: bool


def long_enough(manifest: Manifest, frames: int, fps: float, on_error: OnError = "raise") -> Manifest:
    """The videos that hold a clip, i.e. last ``frames / fps`` seconds at least.

    Raises:
        WildlamError: none is long enough; or one is not, and ``on_error`` is ``"raise"`` (with ``"skip"``, a warning
            names them).
    """
    durations = manifest.column("duration").to_numpy()
    fits = durations + SLACK >= frames / fps
    if fits.all() and len(fits):
        return manifest
    short = manifest.where(~fits)
    named = "; ".join(f"{short.file(short[i].path)}: {short[i].duration:.2f} s" for i in range(min(len(short), 5)))
    reason = (
        f"{len(short)} of {len(manifest)} videos are too short for a clip of {frames} frames at {fps:g} frames/s, "
        f"{frames / fps:.2f} s ({named}{'; ...' if len(short) > 5 else ''})"
    )
    frames_by, fps_by, skip_by = (option(f"data.{name}") for name in ("frames", "fps", "on_error"))
    remedy = f"lower {frames_by}, raise {fps_by} or " if frames_by and fps_by else ""
    if not fits.any():
        raise WildlamError(f"{reason}: {remedy}give longer videos")
    if on_error == "raise":
        raise WildlamError(f"{reason}: {remedy}{f'leave them out with {skip_by}=skip' if skip_by else 'remove them'}")
    log.warning("skipped: %s", reason)
    return manifest.where(fits)


def shots(manifest: Manifest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The shots of all videos: the row of each one's video, its begin and its duration in seconds.

    A video whose cuts are not known is one shot, but for breaks in its timestamps.
    """
    durations, cuts = manifest.column("duration").to_numpy(), manifest.column("cuts").combine_chunks()
    if pc.sum(pc.list_value_length(manifest.column("breaks"))).as_py():  # of few videos
        known = manifest.cuts()
        paths = manifest.column("path").to_pylist()
        cuts = pa.array([known.get(path, []) for path in paths], pa.list_(pa.float64()))
    counts = pc.fill_null(pc.list_value_length(cuts), 0).to_numpy()
    videos = np.repeat(np.arange(len(durations)), counts + 1)
    first = np.append(True, videos[1:] != videos[:-1])[: len(videos)]
    begins = np.zeros(len(videos))
    begins[~first] = pc.list_flatten(cuts).to_numpy()
    last = np.append(videos[1:] != videos[:-1], True)[: len(videos)]
    ends = np.where(last, durations[videos], np.append(begins[1:], 0.0)[: len(videos)])
    return videos, begins, ends - begins


def _none_long_enough(manifest: Manifest, frames: int, fps: float) -> NoReturn:
    long_enough(manifest, frames, fps)
    raise WildlamError(
        f"no shot between two cuts is long enough for a clip of {frames} frames at {fps:g} frames/s; lower "
        f"{option('data.frames')}, raise {option('data.fps')}, or go without {option('data.cuts')}"
    )


class Draws:
    """Random clips.

    A shot (a whole video, where no cuts are known) is chosen with probability proportional to its number of start
    positions on a grid of ``1 / fps``, so that all footage (of a source, where there is a mixture) is seen equally
    often; the start is uniform over the times at which the clip fits. Shots too short for a clip have none.

    Args:
        manifest: the videos.
        frames: video frames in a clip.
        fps: frames per second at which clips are sampled.
        mixture: shares of the sources; see `weighted`.

    Raises:
        WildlamError: no video is long enough, or the mixture does not fit the sources.
    """

    def __init__(self, manifest: Manifest, frames: int, fps: float, mixture: Mapping[str, float] = EVENLY) -> None:
        self.videos, self.begins, durations = shots(manifest)
        self.spans = np.maximum(durations - frames / fps, 0.0)  # over which a clip may start
        positions = np.where(durations + SLACK >= frames / fps, self.spans * fps + 1, 0.0)
        if not positions.any():
            _none_long_enough(manifest, frames, fps)
        names, of = manifest.sources() if mixture else ([], np.empty(0))
        self.edges = np.cumsum(weighted(positions, names, of[self.videos] if mixture else of, mixture))
        self.manifest = manifest

    def windows(self, rng: np.random.Generator, count: int) -> list[Window]:
        """Draw so many clips."""
        rows = np.searchsorted(self.edges, rng.random(count) * self.edges[-1], side="right")
        starts = self.begins[rows] + rng.random(count) * self.spans[rows]
        return _windows(self.manifest, self.videos[rows], starts)


def eval_windows(manifest: Manifest, frames: int, fps: float, per_source: int | None = None) -> list[Window]:
    """All clips side by side, without overlap, in the manifest's order: the same ones every time.

    Args:
        manifest: the videos; those too short for a clip give none.
        frames: video frames in a clip.
        fps: frames per second at which clips are sampled.
        per_source: largest number of clips of each source, spread evenly over all of its clips.

    Raises:
        WildlamError: no video is long enough.
    """
    videos, begins, durations = shots(manifest)
    counts = ((durations + SLACK) * fps / frames).astype(int)
    if not counts.any():
        _none_long_enough(manifest, frames, fps)
    names, of = manifest.sources()
    order = np.argsort(np.array([np.argmax(of == number) for number in range(len(names))]))  # as in the manifest
    windows = []
    for source in order:
        mine = np.flatnonzero(of[videos] == source)  # shots
        ends = np.cumsum(counts[mine])
        total = int(ends[-1])
        kept = total if per_source is None else min(per_source, total)
        # The middles of equal shares of the source's clips.
        chosen = (2 * np.arange(kept) + 1) * total // max(2 * kept, 1)
        place = np.searchsorted(ends, chosen, side="right")
        nth = chosen - (ends - counts[mine])[place]
        starts = begins[mine][place] + nth * frames / fps
        windows += _windows(manifest, videos[mine][place], starts)
    return windows


def _windows(manifest: Manifest, rows: np.ndarray, starts: np.ndarray) -> list[Window]:
    columns = manifest.take(rows, ["path", "source", "offset", "size", "odd"]).to_pydict()
    return [
        Window(path, source, start, offset, size, known_plain(odd))
        for path, source, offset, size, odd, start in zip(*columns.values(), starts.tolist(), strict=True)
    ]
