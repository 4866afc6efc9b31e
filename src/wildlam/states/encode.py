"""Fill a feature store: threads decode the next videos while the encoder works on this one."""

from __future__ import annotations

import logging
import time
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from queue import Full, Queue
from threading import Event

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor
from tqdm import tqdm

from wildlam.errors import WildlamError
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import Encoder
from wildlam.video.decode import Backend, OnError, VideoError, decode_grid
from wildlam.video.files import AnyFile, Location, inside, location
from wildlam.video.index import cores
from wildlam.video.manifest import Manifest, Video
from wildlam.video.timeline import RULES

log = logging.getLogger(__name__)

_CHUNK = 64  # states, or for encoders of context "clip" video frames, that are encoded at once
ON_CPU = 16  # states, or a clip, that a CPU encodes at once: it is no faster with more, and the bar moves on
_AT_ONCE = 1 << 13  # videos that are compared with the store's at a time
_QUEUE = 2  # decoded chunks that wait for the encoder, per video


@dataclass
class EncodeReport:
    """What ``encode_videos`` did.

    Attributes:
        encoded: videos encoded now.
        kept: videos that the store held already.
        states: states added.
        seconds: time it took.
        skipped: path and reason of each video that could not be decoded.
    """

    encoded: int = 0
    kept: int = 0
    states: int = 0
    seconds: float = 0.0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def encode_videos(
    rows: Manifest | Sequence[Video],
    root: Location | str,
    encoder: Encoder,
    store: FeatureStore,
    *,
    backend: Backend = "pyav",
    workers: int | None = None,
    on_error: OnError = "raise",
    max_skipped: float = 0.1,
    progress: bool = True,
) -> EncodeReport:
    """Encode the videos that the store does not hold yet, sampled at ``store.fps``.

    A video whose size or time of change differs from the store's record is encoded again; one that only moved to
    another split or source is relabelled. Videos in the store that ``rows`` do not name stay.

    Args:
        rows: the videos, e.g. a manifest.
        root: folder that their paths are relative to.
        encoder: the store's encoder.
        store: opened with ``create_or_resume``.
        backend: decoder of videos.
        workers: videos decoded at the same time, each in a thread; by default the number of cores.
        on_error: whether a video that cannot be decoded stops the run or is skipped and reported.
        max_skipped: share of the videos above which skipping stops the run after all.
        progress: whether to show a progress bar with the time left.

    Raises:
        VideoError: a video cannot be decoded.
        WildlamError: too many videos cannot be decoded, another encoder made the store, or it cannot be written to.
    """
    began = time.monotonic()
    if encoder.spec.fingerprint != store.spec.fingerprint:
        raise WildlamError(
            f"{store.path}: made by encoder {store.spec.fingerprint}, not by {encoder.spec.fingerprint}: use another "
            "folder"
        )
    todo, seconds = refresh(rows, store)
    report = EncodeReport(kept=len(rows) - len(todo))

    rate = store.fps / store.spec.frames_per_state
    videos = (rows[row] for row in todo)
    with (
        closing(_decode_ahead(videos, location(root), store, backend, workers or cores())) as decoded,
        tqdm(total=round(seconds * rate), unit="state", desc="encoding", disable=not (progress and len(todo))) as bar,
    ):
        for video, chunks in decoded:
            try:
                report.states += store.append(StoredVideo.of(video), _encode(chunks, encoder, store, bar))
                report.encoded += 1
            except KeyboardInterrupt:
                store.commit()  # what is done need not be done again
                raise
            except VideoError as error:
                if on_error == "raise":
                    store.commit()  # the videos before this one are done
                    raise
                report.skipped.append((error.path, error.reason))
                bar.set_postfix(skipped=len(report.skipped))
                if len(report.skipped) > max_skipped * (len(todo) + report.kept):
                    raise WildlamError(
                        f"{len(report.skipped)} videos cannot be decoded, more than the {max_skipped:.0%} that may be "
                        f"skipped, the last being {error}; repair or remove them"
                    ) from error
    store.commit()
    if report.skipped:
        named = "; ".join(f"{path}: {reason}" for path, reason in report.skipped[:5])
        log.warning("skipped %d videos: %s%s", len(report.skipped), named, "; ..." if len(report.skipped) > 5 else "")
    report.seconds = time.monotonic() - began
    return report


def refresh(rows: Iterable[Video], store: FeatureStore) -> tuple[np.ndarray, float]:
    """Remove the states of videos that have changed since, and relabel those that moved to another split or source.

    States that an earlier version encoded are removed too, where their frames may not be those that the index now
    reports; a warning says so.

    Returns:
        Numbers of the rows whose video the store does not hold (any more), and how many seconds they last in all.
    """
    sequences = store.sequences()
    stored, todo, changed, doubtful, seconds = sequences.videos, array("q"), [], [], 0.0
    states = np.bincount(sequences.video, sequences.length, len(stored))
    numbered = enumerate(rows)
    while some := list(islice(numbered, _AT_ONCE)):
        place = pc.index_in(pa.array([row.path for _, row in some]), value_set=stored["path"])
        known = {row["path"]: StoredVideo(**row) for row in stored.take(place.drop_null()).to_pylist()}
        for (number, row), at in zip(some, place.to_pylist(), strict=True):
            video, old = StoredVideo.of(row), known.get(row.path)
            if old is None:
                todo.append(number)
            elif (old.size, old.mtime_ns) != (video.size, video.mtime_ns):
                changed.append(row.path)
                todo.append(number)
            elif old.rules != RULES and _other_frames(row, states[at], store):
                doubtful.append(row.path)
                todo.append(number)
            else:
                if (old.source, old.split) != (video.source, video.split):
                    store.relabel(video)
                continue
            seconds += row.duration
    store.delete([*changed, *doubtful])
    if doubtful:
        named = ", ".join(doubtful[:3]) + (", ..." if len(doubtful) > 3 else "")
        log.warning(
            "%s: %d videos are encoded again (%s): the states there are of an earlier version, which may have taken "
            "other frames than are shown",
            store.path,
            len(doubtful),
            named,
        )
    return np.array(todo, dtype=np.int64), seconds


def _other_frames(row: Video, states: float, store: FeatureStore) -> bool:
    """Whether an earlier version may have taken other frames of a video, of which the store holds so many states.

    So it may of odd films and of AVI, where it took the decoding times for those of display; of others, if there are
    not as many as the film's duration gives.
    """
    if row.odd is None:  # no one has looked
        return False
    expected = row.duration * store.fps / store.spec.frames_per_state
    # Its end is rounded to whole states.
    return bool(row.odd) or row.path.lower().endswith(".avi") or abs(states - expected) > 1.5


def _encode(
    chunks: Iterator[tuple[Tensor, Tensor]], encoder: Encoder, store: FeatureStore, bar: tqdm
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """From decoded ``(times, frames)`` to ``(sequence, times, states)``, as ``FeatureStore.append`` takes them."""
    step, sequence = store.spec.frames_per_state, 0
    for times, frames in chunks:
        usable = len(frames) // step * step
        # Encoders of context "clip" start anew with each window; a last, shorter window is a clip too. For the others
        # the whole chunk is one window, or several on a CPU, and the next continues the sequence.
        on_cpu = encoder.device.type == "cpu"
        window = store.frames if store.spec.context == "clip" else min(usable, ON_CPU * step) if on_cpu else usable
        whole = usable - usable % max(window, 1)
        for start, stop in ((0, whole), (whole, usable)):
            if start == stop:
                continue
            windows = frames[start:stop].unflatten(0, (-1, min(window, stop - start)))
            stamps = times[start:stop:step].unflatten(0, (len(windows), -1))
            at_once = 1 if on_cpu else len(windows)
            for of_some, some in zip(stamps.split(at_once), windows.split(at_once), strict=True):
                for clip_times, clip in zip(of_some, encoder.encode(some).cpu(), strict=True):
                    yield sequence, clip_times, clip
                    sequence += store.spec.context == "clip"
                bar.update(of_some.numel())


def _decode_ahead(
    videos: Iterator[Video], root: Location, store: FeatureStore, backend: Backend, workers: int
) -> Generator[tuple[Video, Iterator[tuple[Tensor, Tensor]]], None, None]:
    """Yield each video, in order, and the iterator of its decoded chunks; the videos after it decode meanwhile.

    Threads do, as decoding and resizing leave Python's lock, and frames need not be copied between processes. Each
    video may run ahead by a few chunks only, so memory stays bounded however long the videos are.
    """
    spec, stop = store.spec, Event()
    chunk = store.frames * max(1, _CHUNK // store.frames) if spec.context == "clip" else _CHUNK * spec.frames_per_state

    def put(queue: Queue, item: object) -> None:
        while not stop.is_set():
            try:
                return queue.put(item, timeout=0.1)
            except Full:
                continue

    def decode(path: AnyFile, plain: bool, queue: Queue) -> None:
        try:
            for piece in decode_grid(path, store.fps, spec.image_size, backend, chunk, plain):
                put(queue, piece)
                if stop.is_set():
                    return
            put(queue, None)
        except Exception as error:  # goes to the thread that encodes, which raises it
            put(queue, error)

    waiting: deque[tuple[Video, Queue]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            while True:
                while len(waiting) < workers and (video := next(videos, None)) is not None:
                    waiting.append((video, Queue(_QUEUE)))
                    file = inside(root, video.path, video.offset, video.size)
                    pool.submit(decode, file, video.plain, waiting[-1][1])
                if not waiting:
                    return
                video, queue = waiting.popleft()
                yield video, _drain(queue)
        finally:
            stop.set()


def _drain(queue: Queue) -> Iterator[tuple[Tensor, Tensor]]:
    while (item := queue.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item
