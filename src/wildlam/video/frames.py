"""Decode frames by the time line of their film, from the keyframe before the first one that is asked for."""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from wildlam.video.files import AnyFile, TarMember
from wildlam.video.geometry import aspect_of
from wildlam.video.opening import VideoError, first_frame, opened_video, seconds
from wildlam.video.timeline import Stamp, TimeLine, from_index, from_stamps, in_decoders_order, packets_of

# Timestamps are rational and requested times are floats: without slack, rounding in ``k / fps`` would pick the frame
# before the one meant. It is far below the shortest frame interval (1 ms in Matroska).
SLACK = 1e-6
# Where stamps are whole milliseconds, frame k of 15 a second is stamped up to half of one after ``k / 15``.
_SLACK_OF_MS = 5e-4


def slack_of(stream: VideoStream) -> float:
    """Seconds that a requested time may be before a frame's timestamp and still mean that frame."""
    return _SLACK_OF_MS if stream.time_base == Fraction(1, 1000) else SLACK


def all_frames(path: AnyFile, plain: bool = False) -> Iterator[tuple[VideoFrame, float, float]]:
    """All frames of a film, when each goes on display and when it leaves it, in seconds since the first frame.

    For ``plain``, see `frames_from`.

    Raises:
        VideoError: it cannot be decoded.
    """
    begin = 0.0
    for frame, end, *_ in frames_from(path, None, plain):
        yield frame, begin, end
        begin = end


def times_of(path: AnyFile) -> tuple[np.ndarray, float]:
    """When each frame of a film is shown, from all its packets, of which one is decoded.

    Returns:
        ``float64 [F]`` in seconds since the first frame, ascending, and the first frame's own timestamp in seconds.

    Raises:
        VideoError: it cannot be read.
    """
    with opened_video(path) as (container, stream):
        first = first_frame(path, container.decode(stream))
    with opened_video(path) as (container, stream):  # anew: decoding has read ahead
        stamps = [Stamp.of(packet) for packet in packets_of(container, stream)]
        line, start = from_stamps(container, stream, stamps, first.pts), seconds(stream, first.pts)
        if line.shown is not None:
            return line.shown, start
        ticks = [stamp.pts for stamp in stamps] if line.stamps is None else line.stamps.tolist()
        shown = {tick for tick, stamp in zip(ticks, stamps, strict=True) if tick is not None and not stamp.hidden}
        assert stream.time_base is not None
        times = np.array(sorted(shown), dtype=np.float64) * float(stream.time_base)
        # Packets before the first frame that decodes show nothing.
        begin = times[0] if line.breaks or line.stamps is not None else start
        return times[times >= begin - SLACK] - begin, start


def frames_from(
    path: AnyFile, times: Sequence[float] | None, plain: bool = False, seek: bool = True
) -> Iterator[tuple[VideoFrame, float, float, float]]:
    """Frames, when they leave the display, their pixels' aspect, and what `slack_of` says of the film.

    All that are on display at one of ``times`` are among them.

    Starts at the keyframe before the first time (without ``seek``, at the start). Without ``times``, all frames.

    A film that is ``plain``, as `known_plain` has it of an index, is not read through before: what is not asked for
    stays where it is. It is read through all the same where an index is not enough: in AVI with reordered frames, and
    if the last frame is reached and the container does not say how long it lasts.
    """
    origin: float | None = None  # timestamp of the first frame; until it is decoded, none is passed over

    def sampled(begin: float, end: float) -> bool:
        if origin is None or times is None:
            return True
        first = bisect_left(times, begin - origin - slack)
        return first < len(times) and times[first] < end - origin - slack

    with opened_video(path) as (container, stream):
        aspect, slack = aspect_of(stream), slack_of(stream)
        if not plain or in_decoders_order(container, stream):
            line = line_of(path, container, stream)
            if not line.plain:
                for frame, end in _by_line(container, stream, line):
                    yield frame, end, aspect, slack
                return
        frames = _decoded(container, stream, sampled)
        first = first_frame(path, frames)
        origin = seconds(stream, first.pts)
        # After a seek in MPEG-PS, FFmpeg gives the frames that have no stamps other ones than from the start.
        if seek and times is not None and times[0] > 0 and container.format.name != "mpeg":
            sought = _seek(container, stream, sampled, origin, origin + times[0] + slack)
            if sought is None:  # no keyframe to be found: decode from the start, in a container not yet moved
                yield from frames_from(path, times, plain, seek=False)
                return
            first, frames = sought
        last = lambda: line_of(path, container, stream).last  # noqa: E731
        for frame, end in _ending(stream, itertools.chain([first], frames), last):
            yield frame, end - origin, aspect, slack


def _ending(
    stream: VideoStream, frames: Iterator[VideoFrame], last: Callable[[], float]
) -> Iterator[tuple[VideoFrame, float]]:
    """Frames by ascending timestamp, and when each leaves the display, in seconds by the file's clock.

    ``last`` is how long the last frame lasts, if the container does not say.
    """
    ordered = _in_order(frames)
    previous = next(ordered)
    for frame in ordered:
        if (frame.pts or 0) <= (previous.pts or 0):
            continue  # old AVI files with packed B-frames give some frames twice
        yield previous, seconds(stream, frame.pts)
        previous = frame
    yield previous, seconds(stream, previous.pts) + (seconds(stream, previous.duration) or last())


def _by_line(container: InputContainer, stream: VideoStream, line: TimeLine) -> Iterator[tuple[VideoFrame, float]]:
    """All frames, and when each leaves the display, of a film without usable timestamps; without seeking."""

    def decoded() -> Iterator[VideoFrame]:
        for number, packet in enumerate(packets_of(container, stream)):
            if line.stamps is not None:
                packet.pts = int(line.stamps[number])
            if packet.size:  # an empty one would end the stream
                yield from packet.decode()
        yield from stream.codec_context.decode(None)

    if line.shown is not None:
        for frame, end in zip(decoded(), [*line.shown[1:], line.duration], strict=False):
            yield frame, float(end)
        return
    origin = None
    for frame, end in _ending(stream, decoded(), lambda: line.last):
        origin = seconds(stream, frame.pts) if origin is None else origin
        yield frame, end - origin


_LINES: dict[tuple[str, int, int], TimeLine] = {}
"""The time lines of files that this process has read, by name, size and time of change: found once each."""


def line_of(path: AnyFile, container: InputContainer, stream: VideoStream) -> TimeLine:
    """The time line of an open file. But for MP4 and MOV, all of the file is read, once in a process.

    Raises:
        VideoError: there are no packets.
    """
    file = path.tar if isinstance(path, TarMember) else path
    changed = Path(file).stat().st_mtime_ns if isinstance(file, (str, Path)) else 0
    key = str(path), container.size, changed
    if (line := _LINES.get(key)) is None:
        line = from_index(container, stream)
        if line is None:
            with opened_video(path) as (again, same):
                stamps = [Stamp.of(packet) for packet in packets_of(again, same)]
                if not stamps:
                    raise VideoError(path, "no frame can be decoded: the file is damaged or cut short")
                line = from_stamps(again, same, stamps)
        if len(_LINES) >= 4096:
            _LINES.clear()
        _LINES[key] = line
    return line


def _decoded(
    container: InputContainer, stream: VideoStream, sampled: Callable[[float, float], bool]
) -> Iterator[VideoFrame]:
    """Decode the container's frames, but for those that are not ``sampled`` and that no other frame refers to.

    About half of the frames of a usual H.264 file are such. A packet has its frame's timestamp; that the next frame
    is displayed no later than some other timestamp follows from the packets already seen, as B-frames come after the
    frames around them.
    """
    recent: deque[int] = deque(maxlen=16)  # more than a codec reorders
    for packet in container.demux(stream):
        later = [stamp for stamp in recent if packet.pts is not None and stamp > packet.pts]
        idle = bool(later) and not sampled(seconds(stream, packet.pts), seconds(stream, min(later)))
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
        if keyframe is not None and seconds(stream, keyframe.pts) <= time:
            return keyframe, frames
        back = max(1.0, 2 * back)
    return None
