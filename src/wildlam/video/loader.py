"""Decode clips into batches: which clip comes when is a pure function of the seed and the step."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.context
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from wildlam.errors import WildlamError
from wildlam.types import BatchSource, StateBatch, VideoBatch
from wildlam.video.decode import Backend, OnError, VideoError, decode_at
from wildlam.video.manifest import Manifest
from wildlam.video.mixture import EVENLY
from wildlam.video.sampling import Draws, Window, long_enough

log = logging.getLogger(__name__)


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
        seed: seed of the random clips.
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
        source: source of the batches; with ``workers > 0`` it must be picklable.
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
        if "DataLoader worker (pid" not in str(error):  # how it reports a worker that died
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
