"""Decode video files: the frame on display at a given time, upright, resized and cropped to a square.

All times are seconds since the first frame, taken from the frames' own timestamps and never from ``index / fps``, so
that variable frame rates come out right. A frame is on display from its timestamp until the next frame's, the last one
for the duration that the file gives it, if it does.
"""

from __future__ import annotations

import heapq
import itertools
import re
import sys
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import torch
import torch.nn.functional as F
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from wildlam.data.files import AnyFile, opened
from wildlam.data.looks import look
from wildlam.types import WildlamError

Backend = Literal["pyav", "torchcodec"]
OnError = Literal["raise", "skip"]

# Timestamps are rational and requested times are floats: without slack, rounding in ``k / fps`` would pick the frame
# before the one meant. It is far below the shortest frame interval (1 ms in Matroska).
SLACK = 1e-6


class VideoError(WildlamError):
    """A video that cannot be used.

    Attributes:
        path: the video's path.
        reason: what is wrong with it.
    """

    def __init__(self, path: AnyFile, reason: str):
        super().__init__(str(path), reason)  # both in args: the error must survive pickling between processes
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class VideoInfo:
    """What ``probe`` finds out about a video.

    Attributes:
        duration: seconds from the first frame's timestamp to the end of the last frame.
        fps: average frame rate, ``frames / duration``.
        frames: number of frames.
        width: pixels, after rotation.
        height: pixels, after rotation.
        rotation: degrees anticlockwise by which stored frames must be turned to stand upright: 0, 90, 180 or 270.
        look: of the first frame, upright: 64 mean grey levels, see `looks`.
    """

    duration: float
    fps: float
    frames: int
    width: int
    height: int
    rotation: int
    look: bytes


def probe(path: AnyFile) -> VideoInfo:
    """Read a video's duration, rate and size, and check that its first frame decodes and its end is there.

    Raises:
        VideoError: the file is missing, empty, not a video, without a video stream, damaged or cut short.
    """
    with _opened(path) as (container, stream):
        first = _first(path, container.decode(stream))
        origin = _seconds(stream, first.pts)
    with _opened(path) as (container, stream):  # anew, as not every container finds its first packet again by seeking
        declared = _seconds(stream, stream.duration)
        if not declared and len(container.streams) == 1:  # with several, the longest may not be the video
            declared = (container.duration or 0) / av.time_base
        # A header that counts the frames also indexes them: the packets from the last keyframe on then give the true
        # end. Without a count all packets are read, which is slower but still decodes none.
        if stream.frames and stream.duration:
            container.seek((stream.start_time or 0) + stream.duration, stream=stream)
        packets, end = 0, origin
        for packet in container.demux(stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is None or packet.is_discard:  # the flush packet at the end; what an edit list cuts away
                continue
            packets += 1
            end = max(end, _seconds(stream, stamp + (packet.duration or 0)))
        duration, frames = end - origin, stream.frames or packets
    # Matroska counts the declared duration from time 0, not from its first frame.
    if packets == 0 or declared - end > max(0.5, 0.05 * declared):
        raise VideoError(path, f"cut short: its header promises {declared:.2f} s, its frames end at {duration:.2f} s")
    if duration <= 0:
        raise VideoError(path, "a single picture that lasts no time")
    rotation = _quarter_turns(first) * 90
    width, height = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
    return VideoInfo(duration, frames / duration, frames, width, height, rotation, look(first, rotation // 90))


def decode_at(path: AnyFile, times: Sequence[float], size: int, backend: Backend = "pyav") -> Tensor:
    """Decode the frame on display at each of ``times``, in seconds since the first frame and in any order.

    Frames are turned upright, their short side is resized to ``size`` pixels (antialiased bilinear) and the centre
    square is cut out. Decoding starts at the keyframe before the earliest time.

    Returns:
        ``uint8 [len(times), 3, size, size]``, RGB.

    Raises:
        VideoError: the video cannot be decoded, or a time lies outside it.
        WildlamError: the torchcodec back end was asked for and cannot be loaded.
    """
    order = sorted(range(len(times)), key=lambda i: times[i])
    ordered = [float(times[i]) for i in order]
    if not ordered:
        raise ValueError("times is empty: ask for one frame at least")
    if not ordered[0] >= 0:
        raise VideoError(path, f"no frame at {ordered[0]:.3f} s: times count from the first frame, at 0 s")
    out = torch.empty(len(times), 3, size, size, dtype=torch.uint8)
    found = 0
    for _, image in _SAMPLERS[backend](path, ordered, size):
        out[order[found]] = image
        found += 1
    if found < len(times):
        raise VideoError(path, f"no frame at {ordered[found]:.3f} s: the video ends before")
    return out


def decode_grid(
    path: AnyFile, fps: float, size: int, backend: Backend = "pyav", chunk: int = 64
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decode a whole video in one pass, sampled at ``fps`` frames per second from its first frame on.

    The frames are those of ``decode_at`` at times ``0, 1 / fps, 2 / fps, ...``.

    Yields:
        Times ``float64 [F]`` in seconds and frames ``uint8 [F, 3, size, size]``, ``F <= chunk``; memory stays bounded.

    Raises:
        VideoError: the video cannot be decoded.
        WildlamError: the torchcodec back end was asked for and cannot be loaded.
    """
    samples = _SAMPLERS[backend](path, _Grid(fps), size)
    while piece := list(itertools.islice(samples, chunk)):
        times, images = zip(*piece, strict=True)
        yield torch.tensor(times, dtype=torch.float64), torch.stack(images)


class _Grid(Sequence[float]):
    """The endless ascending times ``0, 1 / fps, 2 / fps, ...``."""

    def __init__(self, fps: float):
        self.fps = fps

    def __getitem__(self, k: Any) -> Any:
        return k / self.fps

    def __len__(self) -> int:
        return sys.maxsize


def _pyav_samples(path: AnyFile, times: Sequence[float], size: int) -> Iterator[tuple[float, Tensor]]:
    """Yield ``(time, image [3, size, size])`` for ascending ``times`` until they or the video end."""
    pending = iter(times)
    time = next(pending, None)
    reformatter = VideoReformatter()  # keeps the scaler's tables from frame to frame
    for frame, end in _frames_from(path, times):
        image = None  # most frames are never sampled: convert on demand
        while time is not None and time + SLACK < end:
            if frame.is_corrupt:
                raise VideoError(path, f"the frame at {time:.3f} s is damaged")
            if image is None:
                # One thread: with a worker process for each core, more threads only get in each other's way.
                rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                image = square(torch.from_numpy(rgb), _quarter_turns(frame), size)
            yield time, image
            time = next(pending, None)
        if time is None:
            return


def _torchcodec_samples(path: AnyFile, times: Sequence[float], size: int) -> Iterator[tuple[float, Tensor]]:
    """As ``_pyav_samples``; the pixels are equal because both convert YUV to RGB by swscale's bilinear default.

    Where torchcodec selects other frames than those on display, in MPEG and AVI containers, PyAV does the work. How
    long the last frame lasts is the FFmpeg library's opinion in files with variable frame rate and B-frames.
    """
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: no FFmpeg library that fits
        raise WildlamError(
            "the torchcodec back end cannot be loaded: install the torchcodec release that matches this torch and "
            "FFmpeg's shared libraries, or choose --data.backend=pyav"
        ) from error
    _check_file(path)
    if Path(str(path)).suffix.lower() in _NOT_EXACT_IN_TORCHCODEC:
        yield from _pyav_samples(path, times, size)
        return
    with _reading(path), opened(path) as source:
        yield from _torchcodec_frames(path, source, times, size)


def _torchcodec_frames(path: AnyFile, source: Any, times: Sequence[float], size: int) -> Iterator[tuple[float, Tensor]]:
    from torchcodec.decoders import VideoDecoder

    try:
        decoder = VideoDecoder(source, num_ffmpeg_threads=1, dimension_order="NHWC")
        end = decoder.metadata.end_stream_seconds
        assert end is not None  # after the scan that a decoder begins with
        origin = decoder.get_frame_at(0).pts_seconds
        pending = itertools.takewhile(lambda time: origin + time + SLACK < end, times)
        while piece := list(itertools.islice(pending, 8)):  # whole frames, not yet resized: a few at a time
            stamps = [origin + time + SLACK for time in piece]
            frames = decoder.get_frames_played_at(stamps)
            if (frames.pts_seconds > torch.tensor(stamps, dtype=torch.float64)).any():
                raise VideoError(path, "torchcodec mixes up this file's frames: choose --data.backend=pyav")
            yield from zip(piece, (square(frame, 0, size) for frame in frames.data), strict=True)  # upright already
    except (RuntimeError, ValueError, IndexError) as error:
        reason = re.sub(r"^.*\.cpp:\d+, ", "", str(error).splitlines()[0])  # without the place in its source
        raise VideoError(path, f"torchcodec cannot decode it: {reason}") from error


# They keep no index of presentation times, on which torchcodec's frame selection relies.
_NOT_EXACT_IN_TORCHCODEC = {".avi", ".mpg", ".mpeg", ".ts"}

_SAMPLERS = {"pyav": _pyav_samples, "torchcodec": _torchcodec_samples}


def _frames_from(path: AnyFile, times: Sequence[float], seek: bool = True) -> Iterator[tuple[VideoFrame, float]]:
    """Yield frames and the times at which they leave the display; all those on display at one of ``times`` are there.

    Starts at the keyframe before the first time (without ``seek``, at the start).
    """
    origin: float | None = None  # timestamp of the first frame; until it is decoded, none is passed over

    def sampled(begin: float, end: float) -> bool:
        if origin is None:
            return True
        first = bisect_left(times, begin - origin - SLACK)
        return first < len(times) and times[first] < end - origin - SLACK

    with _opened(path) as (container, stream):
        frames = _decoded(container, stream, sampled)
        first = _first(path, frames)
        origin = _seconds(stream, first.pts)
        if seek and times[0] > 0:
            sought = _seek(container, stream, sampled, origin, origin + times[0] + SLACK)
            if sought is None:  # no keyframe to be found: decode from the start, in a container not yet moved
                yield from _frames_from(path, times, seek=False)
                return
            first, frames = sought
        ordered = _in_order(itertools.chain([first], frames))
        previous = next(ordered)
        for frame in ordered:
            if (frame.pts or 0) <= (previous.pts or 0):
                continue  # old AVI files with packed B-frames give some frames twice
            yield previous, _seconds(stream, frame.pts) - origin
            previous = frame
        yield previous, _seconds(stream, (previous.pts or 0) + (previous.duration or 0)) - origin


def _decoded(
    container: InputContainer, stream: VideoStream, sampled: Callable[[float, float], bool]
) -> Iterator[VideoFrame]:
    """Decode the container's frames, but for those that are not ``sampled`` and that no other frame refers to.

    About half of the frames of a usual H.264 file are such. A packet tells its frame's timestamp; that the next frame
    is displayed no later than some other timestamp follows from the packets already seen, as B-frames come after the
    frames around them.
    """
    recent: deque[int] = deque(maxlen=16)  # more than a codec reorders
    for packet in container.demux(stream):
        later = [stamp for stamp in recent if packet.pts is not None and stamp > packet.pts]
        idle = bool(later) and not sampled(_seconds(stream, packet.pts), _seconds(stream, min(later)))
        idle = idle and not _guessed_times(container, stream)
        stream.codec_context.skip_frame = "NONREF" if idle else "DEFAULT"
        if packet.pts is not None:
            recent.append(packet.pts)
        yield from packet.decode()


def _in_order(frames: Iterable[VideoFrame], depth: int = 4) -> Iterator[VideoFrame]:
    """Frames by ascending timestamp; slightly damaged files make the decoder give some a few places too late."""
    heap: list[tuple[int, int, VideoFrame]] = []
    for count, frame in enumerate(frames):
        heapq.heappush(heap, (frame.pts or 0, count, frame))
        if len(heap) > depth:
            yield heapq.heappop(heap)[2]
    while heap:
        yield heapq.heappop(heap)[2]


def _seek(
    container: InputContainer,
    stream: VideoStream,
    sampled: Callable[[float, float], bool],
    origin: float,
    time: float,
) -> tuple[VideoFrame, Iterator[VideoFrame]] | None:
    """The nearest keyframe at or before timestamp ``time`` and the frames after it; None if seeking finds none.

    Containers that are indexed by decoding time may land on a keyframe that is displayed after ``time``: step back
    further until one is before it.
    """
    if _guessed_times(container, stream):
        return None  # guesses after a seek differ
    assert stream.time_base is not None
    back = 0.0
    while time - back > origin:
        try:
            container.seek(int((time - back) / stream.time_base), stream=stream)
        except av.FFmpegError:
            return None  # this container cannot seek
        frames = _decoded(container, stream, sampled)
        # Frames before the keyframe refer to ones that were not decoded.
        keyframe = next((frame for frame in frames if frame.key_frame), None)
        if keyframe is not None and _seconds(stream, keyframe.pts) <= time:
            return keyframe, frames
        back = max(1.0, 2 * back)
    return None


def square(image_HWC: Tensor, quarter_turns: int, size: int) -> Tensor:
    """Turn a ``uint8 [H, W, 3]`` image anticlockwise, resize its short side, cut the centre: ``[3, size, size]``."""
    if quarter_turns:
        image_HWC = image_HWC.rot90(quarter_turns).contiguous()
    height, width, _ = image_HWC.shape
    short = min(height, width)
    height, width = round(height * size / short), round(width * size / short)
    image = image_HWC.permute(2, 0, 1)[None]  # stays channels-last in memory, which torch resizes three times faster
    image = F.interpolate(image, size=(height, width), mode="bilinear", antialias=True)[0]
    top, left = (height - size) // 2, (width - size) // 2
    return image[:, top : top + size, left : left + size]


@contextmanager
def _opened(path: AnyFile) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its best video stream; FFmpeg's errors inside the block become ``VideoError``."""
    _check_file(path)
    with _reading(path), opened(path) as source:
        try:
            container = av.open(source, "r", metadata_errors="replace")
        except av.FFmpegError as error:
            raise VideoError(path, f"not a video, or damaged: {error.strerror}") from error
        with container:
            yield container, _best_stream(path, container)


@contextmanager
def _reading(path: AnyFile) -> Iterator[None]:
    """What goes wrong while a file is read becomes a ``VideoError``."""
    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(path, f"decoding fails, the file is damaged or cut short: {error.strerror}") from error
    except FileNotFoundError as error:
        raise VideoError(path, "no such file") from error
    except OSError as error:
        raise VideoError(path, f"cannot be read: {error.strerror or error}") from error
    except (VideoError, GeneratorExit):
        raise
    except Exception as error:
        if isinstance(path, (str, Path)):
            raise
        raise VideoError(path, f"cannot be read: {type(error).__name__}: {error}") from error  # by an object store


def _best_stream(path: AnyFile, container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if stream is None or "ATTACHED_PIC" in str(stream.disposition):  # the cover of a piece of music is no video
        raise VideoError(path, "the file holds no video stream")
    assert isinstance(stream, VideoStream)
    if stream.codec_context is None:  # whatever PyAV's types say
        raise VideoError(path, "no decoder for its video stream: an unknown codec, or the file is damaged")
    stream.codec_context.thread_count = 1  # as with the scaler: processes keep the cores busy
    return stream


def _check_file(path: AnyFile) -> None:
    if not isinstance(path, (str, Path)):  # of other files, opening tells
        return
    path = Path(path)
    if path.is_dir():
        raise VideoError(path, "a folder, not a video file")
    if not path.exists():
        raise VideoError(path, "no such file")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes)")


def _first(path: AnyFile, frames: Iterator[VideoFrame]) -> VideoFrame:
    frame = next(frames, None)
    if frame is None or frame.pts is None:
        raise VideoError(path, "no frame can be decoded: the file is damaged or cut short")
    return frame


def _seconds(stream: VideoStream, stamp: int | None) -> float:
    assert stream.time_base is not None  # every stream of an open file has one
    return float((stamp or 0) * stream.time_base)


def _guessed_times(container: InputContainer, stream: VideoStream) -> bool:
    """AVI stores no presentation times; where frames are reordered, FFmpeg has to guess them."""
    return "avi" in container.format.name and stream.codec_context.has_b_frames


def _quarter_turns(frame: VideoFrame) -> int:
    """Quarter turns anticlockwise that put a frame upright (the display matrix, as phones write it)."""
    return round(frame.rotation / 90) % 4
