"""Choose clips and decode them into batches: which clip comes when is a pure function of the seed and the step."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.context
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wildlam.errors import WildlamError
from wildlam.types import BatchSource, StateBatch, VideoBatch
from wildlam.video.decode import Backend, OnError, VideoError, decode_at
from wildlam.video.files import Location
from wildlam.video.frames import SLACK
from wildlam.video.manifest import Manifest, cache_folder
from wildlam.video.mixture import EVENLY, weighted
from wildlam.video.timeline import known_plain

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which videos to learn from, and how to cut clips from them.

    Args:
        path: folder of videos and tar shards of videos (searched at any depth), a manifest (.parquet) or a list of
            videos (.csv, .txt); also a URL such as s3://bucket/videos.
        frames: video frames in a clip.
        fps: frames per second at which clips are sampled.
        held_out: share of the videos, in (0, 1), that is kept from training for evaluation.
        on_error: raise on a video that cannot be used, or skip it (counted and reported).
        max_bad: share of the videos that on_error=skip may leave out, from 0 to 1.
        exclude: patterns of paths below the folder, or of file names, that are left out, such as ["*.gif", "raw/*"].
        backend: library that decodes; both give the same frames.
        workers: processes that prepare batches ahead of training; 0 for one thread of the training process.
        cache: folder for what is derived from the videos (manifest, features); <path>/.wildlam if not given.
        store: encode all videos once into a feature store; false to decode and encode clips at every step.
        cuts: look for cuts (pip install 'wildlam[cuts]'; all frames are decoded once), and take no clip across one.
        mixture: share of the training clips that comes from each source, such as {droid: 0.2}; sources not named divide
            the rest as their footage does. By default all footage is seen equally often.
    """

    path: Location
    frames: int = 8
    fps: float = 4.0
    held_out: float = 0.1
    on_error: Literal["raise", "skip"] = "raise"
    max_bad: float = 0.1
    exclude: list[str] = field(default_factory=list)
    backend: Literal["pyav", "torchcodec"] = "pyav"
    workers: int = 2
    cache: Path | None = None
    store: bool = True
    cuts: bool = False
    mixture: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ValueError(f"data.frames is {self.frames}: an action needs two frames at least")
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"data.fps is {self.fps}: give a positive number of frames per second")
        if not 0 < self.held_out < 1:
            raise ValueError(f"data.held_out is {self.held_out}: give a share between 0 and 1, such as 0.1")
        if self.on_error not in ("raise", "skip"):
            raise ValueError(f"data.on_error is {self.on_error!r}: choose raise or skip")
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"data.max_bad is {self.max_bad}: give a share between 0 and 1, such as 0.1")
        if self.backend not in ("pyav", "torchcodec"):
            raise ValueError(f"data.backend is {self.backend!r}: choose pyav or torchcodec")
        if self.workers < 0:
            raise ValueError(f"data.workers is {self.workers}: give 0 or a number of processes")
        shares = self.mixture.values()
        if not all(0 < share <= 1 for share in shares) or sum(shares) > 1 + 1e-6:
            raise ValueError(f"data.mixture is {self.mixture}: give shares above 0 that add up to at most 1")

    @property
    def cache_folder(self) -> Path:
        """The folder for what is derived from the videos."""
        return cache_folder(self.path, self.cache)


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
    remedy = "lower --data.frames, raise --data.fps"
    if not fits.any():
        raise WildlamError(f"{reason}: {remedy} or give longer videos")
    if on_error == "raise":
        raise WildlamError(f"{reason}: {remedy} or leave them out with --data.on_error=skip")
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
        "--data.frames, raise --data.fps, or go without --data.cuts"
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
        per_source: at most so many clips of each source, spread evenly over all of its clips.

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


def decode_windows(
    manifest: Manifest, windows: list[Window], frames: int, fps: float, size: int, backend: Backend = "pyav"
) -> VideoBatch:
    """Decode clips: ``video`` is ``uint8 [len(windows), frames, 3, size, size]``.

    Raises:
        VideoError: a clip cannot be decoded.
    """
    return _batch(windows, [_decoded(manifest, window, frames, fps, size, backend) for window in windows])


def _decoded(manifest: Manifest, window: Window, frames: int, fps: float, size: int, backend: Backend) -> Tensor:
    times = [window.start + k / fps for k in range(frames)]
    file = manifest.file(window.video, window.offset, window.size)
    return decode_at(file, times, size, backend, window.plain)


class ClipSource:
    """Random clips of pixels for training, decoded at every step; see ``BatchSource``.

    Args:
        manifest: the videos to draw from, such as ``manifest.split("train")``.
        frames: video frames in a clip.
        fps: frames per second at which clips are sampled.
        size: side, in pixels, of the square frames.
        batch: clips in the global batch, a multiple of ``world_size``.
        seed: of the random clips.
        backend: library that decodes.
        on_error: ``"raise"`` on a clip that cannot be decoded, or ``"skip"`` it: warn, and draw another in its place,
            as a function of seed and step too.
        mixture: shares of the sources; see `weighted`.
        rank: number of this process.
        world_size: number of processes; each returns its own contiguous share of the global batch.

    Raises:
        WildlamError: a video is too short for a clip (with ``"skip"``: all are), or the mixture does not fit.
    """

    attempts = 5
    """Clips tried, with ``on_error="skip"``, for one place in the batch before giving up."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        frames: int,
        fps: float,
        size: int,
        batch: int,
        seed: int = 0,
        backend: Backend = "pyav",
        on_error: OnError = "raise",
        mixture: Mapping[str, float] = EVENLY,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch % world_size:
            raise ValueError(f"batch is {batch}, which {world_size} processes cannot share evenly: give a multiple")
        self.manifest = long_enough(manifest, frames, fps, on_error)
        self.draws = Draws(self.manifest, frames, fps, mixture)
        self.frames, self.fps, self.size, self.seed = frames, fps, size, seed
        self.global_batch, self.backend, self.on_error = batch, backend, on_error
        share = batch // world_size
        self.places = range(rank * share, (rank + 1) * share)

    def batch(self, step: int) -> VideoBatch:
        """This process's clips of training step ``step``: ``video`` is ``uint8 [B, frames, 3, size, size]``.

        Raises:
            VideoError: a clip cannot be decoded.
        """
        windows = self.draws.windows(np.random.default_rng((self.seed, step)), self.global_batch)
        chosen, clips = zip(*(self._clip(windows[place], step, place) for place in self.places), strict=True)
        return _batch(list(chosen), list(clips))

    def _clip(self, window: Window, step: int, place: int) -> tuple[Window, Tensor]:
        rng = np.random.default_rng((self.seed, step, place + 1))  # (seed, step, 0) would be (seed, step) to numpy
        for attempt in range(1, self.attempts + 1):
            try:
                return window, _decoded(self.manifest, window, self.frames, self.fps, self.size, self.backend)
            except VideoError as error:
                if self.on_error == "raise" or attempt == self.attempts:
                    raise
                log.warning("step %d: another clip in place of %s", step, error)
                window = self.draws.windows(rng, 1)[0]
        raise AssertionError("unreachable: the last attempt returns or raises")


def prefetch(
    source: BatchSource, start: int, stop: int, workers: int
) -> Generator[VideoBatch | StateBatch, None, None]:
    """Yield the batches of steps ``start`` to ``stop - 1`` in order while the next ones are being prepared.

    Args:
        source: where batches come from; with ``workers > 0`` it must be picklable.
        start: first step.
        stop: step before which to stop.
        workers: processes that prepare batches; 0 for one thread of this process.

    Raises:
        WildlamError: what ``source.batch`` raised, in order; or a worker process died.
    """
    return _by_processes(source, start, stop, workers) if workers else _by_thread(source, start, stop)


def _by_thread(source: BatchSource, start: int, stop: int) -> Generator[VideoBatch | StateBatch, None, None]:
    pool = ThreadPoolExecutor(1, "prefetch")
    pending: deque[Future[VideoBatch | StateBatch]] = deque()
    try:
        for step in range(start, stop):
            pending.append(pool.submit(source.batch, step))
            if len(pending) > 2:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _by_processes(
    source: BatchSource, start: int, stop: int, workers: int
) -> Generator[VideoBatch | StateBatch, None, None]:
    # Forking this process would copy locked locks of its threads (of the store, of OpenMP): fork from a server that has
    # none, and that has already imported torch.
    if "forkserver" in multiprocessing.get_all_start_methods():
        context: multiprocessing.context.BaseContext = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
    else:
        context = multiprocessing.get_context("spawn")
    loader = DataLoader(
        _Steps(source, start, stop),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        generator=torch.Generator(),  # its own: drawing from the global one would change a resumed run
    )
    iterator: Any = iter(loader)
    try:
        for batch in iterator:
            if isinstance(batch, WildlamError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):  # which is how it begins to tell of a death
            raise
        raise WildlamError(
            f"a process that prepares batches died ({str(error).splitlines()[0]}): memory or /dev/shm is "
            "short; enlarge it, or choose --data.workers=0"
        ) from error
    finally:
        iterator._shutdown_workers()  # at once, though an error's traceback may keep the iterator alive


class _Steps(Dataset):
    """Steps as a map-style data set, which is what a DataLoader's processes read."""

    def __init__(self, source: BatchSource, start: int, stop: int):
        self.source, self.start, self.stop = source, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> VideoBatch | StateBatch | WildlamError:
        try:
            return self.source.batch(self.start + index)
        except WildlamError as error:
            return error  # raised again by the consumer; raised here, a DataLoader would wrap it in a traceback


def _batch(windows: list[Window], clips: list[Tensor]) -> VideoBatch:
    return VideoBatch(
        torch.stack(clips), [w.video for w in windows], [w.source for w in windows], [w.start for w in windows]
    )
