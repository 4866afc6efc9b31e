"""Decode video files: the frame on display at a given time, upright, resized and cropped to a square.

All times are seconds since the first frame. Which frames there are and when each is shown, `timeline` decides for all
readers. A frame is on display until the next one, the last one for the duration that the file gives it, or for the
usual interval.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import av
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from wildlam.errors import WildlamError, option
from wildlam.progress import Count, uncounted
from wildlam.video.files import AnyFile, Part, opened
from wildlam.video.frames import SLACK, frames_from, line_of, slack_of
from wildlam.video.geometry import Geometry, aspect_of, geometry_of, square
from wildlam.video.looks import look
from wildlam.video.opening import VideoError, first_frame, opened_video, reading, seconds
from wildlam.video.timeline import Stamp, TimeLine, from_index, from_stamps, known_plain, packets_of
from wildlam.video.whole import missing_end

Backend = Literal["pyav", "torchcodec"]
OnError = Literal["raise", "skip"]


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video, from ``probe``.

    Attributes:
        duration: seconds from the first frame's timestamp to the end of the last frame.
        fps: average frame rate, ``frames / duration``.
        frames: number of frames that are shown.
        width: pixels, as displayed: after rotation, with square pixels.
        height: likewise.
        rotation: degrees anticlockwise by which stored frames must be turned to stand upright: 0, 90, 180 or 270.
        breaks: times at which the file's timestamps jump, in seconds; no clip may cross one. See `timeline`.
        odd: what is odd about it, each as ``"kind: details"``.
        look: look of the first frame, upright: 64 mean grey levels, see `looks`.
    """

    duration: float
    fps: float
    frames: int
    width: int
    height: int
    rotation: int
    look: bytes
    breaks: tuple[float, ...] = ()
    odd: tuple[str, ...] = ()


def probe(path: AnyFile, count: Count = uncounted) -> VideoInfo:
    """Read a video's duration, rate and size, and check that its first frame decodes and its end is there.

    ``count`` counts bytes of packets, in files that have to be read through for it.

    Raises:
        VideoError: the file is missing, empty, not a video, without a video stream, damaged or cut short.
    """
    if isinstance(path, Part):
        return probe_part(path, probe(path.film, count))
    with opened_video(path) as (container, stream):
        first = first_frame(path, container.decode(stream))
        geometry = geometry_of(first, aspect_of(stream))
    with opened_video(path) as (
        container,
        stream,
    ):  # anew, as not every container finds its first packet again by seeking
        line, end, sound_end = _whole_line(path, container, stream, first, count)
        shorter = _shorter(path, container, stream, line, end, sound_end)
        declaring = container.format.name.startswith(_DECLARING)  # of others, FFmpeg guesses
        header_rate = float(stream.average_rate or 0) if declaring else 0.0
    assert line.duration is not None
    if line.duration <= 0:
        raise VideoError(path, "a single picture that lasts no time")
    fps = line.frames / line.duration
    odd = line.odd + shorter
    if header_rate and line.frames >= 10 and abs(header_rate - fps) > 0.02 * fps:
        odd += (f"rate corrected: the header says {header_rate:g} frames/s, the frames {fps:g}",)
    if geometry.mirrored:
        odd += ("mirrored: shown as its display matrix says",)
    if geometry.aspect != 1:
        odd += (f"pixels not square: shown {geometry.aspect:.3g} times as wide",)
    width, height = geometry.size(first.width, first.height)
    turns = geometry.quarter_turns
    seen = look(first, turns)
    return VideoInfo(line.duration, fps, line.frames, width, height, turns * 90, seen, line.breaks, odd)


def probe_part(part: Part, film: VideoInfo) -> VideoInfo:
    """The properties of a part of a film, by the film's.

    Raises:
        VideoError: the film ends before it.
    """
    frame_lasts = 1 / film.fps
    if part.ends > film.duration + frame_lasts:
        raise VideoError(part, f"the film ends at {film.duration:.2f} s; mend it, or the table that names its parts")
    length = min(part.ends, film.duration) - part.begins
    if not (part.begins >= 0 and length > 0):
        raise VideoError(part, "a part that lasts no time")
    frames = frames_from(part.film, [part.begins], known_plain(film.odd))
    first = next((frame for frame, end, *_ in frames if end > part.begins + SLACK), None)
    if first is None:
        raise VideoError(part, "none of its frames can be decoded: the film is damaged or cut short")
    return replace(
        film,
        duration=length,
        frames=max(round(length * film.fps), 1),
        look=look(first, film.rotation // 90),
        breaks=tuple(at - part.begins for at in film.breaks if part.begins < at < part.ends),
    )


def _whole_line(
    path: AnyFile, container: InputContainer, stream: VideoStream, first: VideoFrame, count: Count
) -> tuple[TimeLine, float, float]:
    """The time line of a file that was just opened, and the ends of its picture and its sound by the file's clock.

    Raises:
        VideoError: it has no packets.
    """
    sound = container.streams.audio
    if (indexed := from_index(container, stream)) is not None:
        # The packets from the last keyframe on give the true end.
        container.seek((stream.start_time or 0) + (stream.duration or 0), stream=stream)
        origin = end = seconds(stream, first.pts)
        try:
            for packet in container.demux(stream):
                if packet.pts is not None and not packet.is_discard:  # what an edit list cuts away
                    end = max(end, seconds(stream, packet.pts + (packet.duration or 0)))
        except av.FFmpegError as error:
            if not indexed.odd:
                raise
            raise VideoError(path, f"cut short: {indexed.odd[0].partition(': ')[2]}") from error
        sounds = [seconds(other, (other.start_time or 0) + (other.duration or 0)) for other in sound]
        return replace(indexed, duration=end - origin), end, max(sounds, default=0.0)
    stamps, sound_end = [], 0.0
    for packet in packets_of(container, stream, *sound):
        count(packet.size)
        if packet.stream_index == stream.index:
            stamps.append(Stamp.of(packet))
        elif packet.pts is not None:
            sound_end = max(sound_end, seconds(packet.stream, packet.pts + (packet.duration or 0)))
    if not stamps:
        raise VideoError(path, "cut short: no frame is in it")
    line = from_stamps(container, stream, stamps, first.pts)
    ends = [stamp.pts + stamp.duration for stamp in stamps if stamp.pts is not None]
    return line, seconds(stream, max(ends, default=0)), sound_end


def _shorter(
    path: AnyFile, container: InputContainer, stream: VideoStream, line: TimeLine, end: float, sound_end: float
) -> tuple[str, ...]:
    """Signs that a film is shorter than it should be, where it is kept all the same.

    Raises:
        VideoError: its header promises more than is there.
    """
    declared, reached = seconds(stream, stream.duration), end
    if not declared:
        declared, reached = (container.duration or 0) / av.time_base, max(end, sound_end)
    if stream.metadata.get("DURATION"):  # of Matroska, where the container's duration is that of the longest stream
        declared, reached = _clock(stream.metadata["DURATION"]), end
    if container.format.name == "avi" and stream.average_rate:
        # FFmpeg shortens the duration to what is there; the header's number of frames stays.
        declared = max(declared, stream.frames / float(stream.average_rate))
    # Others, such as MPEG-TS, declare none: FFmpeg makes one up from the first and last packets, or from the bit rate.
    # Matroska counts it from time 0, not from the first frame.
    if container.format.name.startswith(_DECLARING) and not line.breaks and _short_of(declared, reached):
        raise VideoError(
            path, f"cut short: its header promises {declared:.2f} s, its frames end at {line.duration:.2f} s"
        )
    notes: tuple[str, ...] = ()
    if not line.breaks and sound_end and _short_of(sound_end, end):
        notes = (f"shorter than declared: its sound goes on until {sound_end:.2f} s, its picture until {end:.2f} s",)
    with opened(path) as source, open(source, "rb") if isinstance(source, str) else nullcontext(source) as file:
        if lacking := missing_end(file, container.format.name):
            notes += (f"shorter than declared: {lacking}",)
    return notes


def _short_of(declared: float, end: float) -> bool:
    return declared - end > max(0.5, 0.05 * declared)


def _clock(text: str) -> float:
    """Seconds of ``HH:MM:SS.fraction``; 0 of anything else."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)\s*", text)
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3]) if match else 0.0


def decode_at(
    path: AnyFile, times: Sequence[float], size: int, backend: Backend = "pyav", plain: bool = False
) -> Tensor:
    """Decode the frame on display at each of ``times``, in seconds since the first frame and in any order.

    Frames are turned upright, their short side is resized to ``size`` pixels (antialiased bilinear) and the centre
    square is cut out. Decoding starts at the keyframe before the earliest time.

    Args:
        path: the video.
        times: seconds.
        size: pixels.
        backend: library that decodes. However little is asked for, torchcodec reads the whole file.
        plain: whether an index found the film's times plain (`Video.plain`). PyAV then reads only what it decodes, but
            for AVI with reordered frames. Otherwise, files other than MP4 and MOV are read through once in a process.

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
    for _, image in _samples(path, ordered, size, backend, plain):
        out[order[found]] = image
        found += 1
    if found < len(times):
        raise VideoError(path, f"no frame at {ordered[found]:.3f} s: the video ends before")
    return out


def decode_grid(
    path: AnyFile, fps: float, size: int, backend: Backend = "pyav", chunk: int = 64, plain: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decode a whole video in one pass, sampled at ``fps`` frames per second from its first frame on.

    The frames are those of ``decode_at`` at times ``0, 1 / fps, 2 / fps, ...``. For ``plain``, see there.

    Yields:
        Times ``float64 [F]`` in seconds and frames ``uint8 [F, 3, size, size]``, ``F <= chunk``; memory stays bounded.

    Raises:
        VideoError: the video cannot be decoded.
        WildlamError: the torchcodec back end was asked for and cannot be loaded.
    """
    samples = _samples(path, _Grid(fps), size, backend, plain)
    while piece := list(itertools.islice(samples, chunk)):
        times, images = zip(*piece, strict=True)
        yield torch.tensor(times, dtype=torch.float64), torch.stack(images)


def _samples(
    path: AnyFile, times: Sequence[float], size: int, backend: Backend, plain: bool
) -> Iterator[tuple[float, Tensor]]:
    """Yield ``(time, image [3, size, size])`` for ascending ``times`` until they, the film, or the part of it end."""
    if not isinstance(path, Part):
        yield from _SAMPLERS[backend](path, times, size, plain)
        return
    length = path.ends - path.begins
    for time, image in _SAMPLERS[backend](path.film, _Later(times, path.begins), size, plain):
        if (since := time - path.begins) + SLACK >= length:
            return
        yield since, image


class _Later(Sequence[float]):
    """Times so much later."""

    def __init__(self, times: Sequence[float], by: float):
        self.times, self.by = times, by

    def __getitem__(self, k: Any) -> Any:
        return self.times[k] + self.by

    def __len__(self) -> int:
        return len(self.times)


class _Grid(Sequence[float]):
    """The endless ascending times ``0, 1 / fps, 2 / fps, ...``."""

    def __init__(self, fps: float):
        self.fps = fps

    def __getitem__(self, k: Any) -> Any:
        return k / self.fps

    def __len__(self) -> int:
        return sys.maxsize


def _pyav_samples(path: AnyFile, times: Sequence[float], size: int, plain: bool) -> Iterator[tuple[float, Tensor]]:
    """Yield ``(time, image [3, size, size])`` for ascending ``times`` until they or the video end."""
    pending = iter(times)
    time = next(pending, None)
    reformatter = VideoReformatter()  # keeps the scaler's tables from frame to frame
    for frame, end, aspect, slack in frames_from(path, times, plain):
        image = None  # most frames are never sampled: convert on demand
        while time is not None and time + slack < end:
            if frame.is_corrupt:
                raise VideoError(path, f"the frame at {time:.3f} s is damaged")
            if image is None:
                # One thread: with a worker process for each core, more threads only get in each other's way.
                rgb = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
                g = geometry_of(frame, aspect)
                image = square(torch.from_numpy(rgb), g.quarter_turns, size, g.mirrored, g.aspect)
            yield time, image
            time = next(pending, None)
        if time is None:
            return


def _torchcodec_samples(
    path: AnyFile, times: Sequence[float], size: int, plain: bool
) -> Iterator[tuple[float, Tensor]]:
    """As ``_pyav_samples``; the pixels are equal because both convert YUV to RGB by swscale's bilinear default.

    Where torchcodec would select other frames than those on display, or mirror none, PyAV does the work: in containers
    other than MP4, MOV, Matroska and WebM, and wherever packets' own timestamps are not the times of the frames. How
    long the last frame lasts is the FFmpeg library's opinion in files with variable frame rate and B-frames.
    """
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:  # RuntimeError: no FFmpeg library that fits
        raise WildlamError(
            "the torchcodec back end cannot be loaded: install the torchcodec release that matches this torch and "
            f"FFmpeg's shared libraries, or choose {option('data.backend')}=pyav"
        ) from error
    with opened_video(path) as (container, stream):
        slack = slack_of(stream)
        exact = container.format.name.startswith(_EXACT_IN_TORCHCODEC)
        if exact and not plain:
            line = line_of(path, container, stream)
            exact = line.plain and not line.hides  # of trimmed files it takes a wrong end
        geometry = geometry_of(first_frame(path, container.decode(stream)), aspect_of(stream)) if exact else Geometry()
    if not exact or geometry.mirrored:  # it turns frames and does not mirror them
        yield from _pyav_samples(path, times, size, plain)
        return
    with reading(path), opened(path) as source:
        yield from _torchcodec_frames(path, source, times, size, geometry, slack)


def _torchcodec_frames(
    path: AnyFile, source: Any, times: Sequence[float], size: int, geometry: Geometry, slack: float
) -> Iterator[tuple[float, Tensor]]:
    from torchcodec.decoders import VideoDecoder

    # Its frames are turned already.
    aspect = 1 / geometry.aspect if geometry.quarter_turns % 2 else geometry.aspect
    try:
        decoder = VideoDecoder(source, num_ffmpeg_threads=1, dimension_order="NHWC")
        end = decoder.metadata.end_stream_seconds
        assert end is not None  # after the scan that a decoder begins with
        origin = decoder.get_frame_at(0).pts_seconds
        pending = itertools.takewhile(lambda time: origin + time + slack < end, times)
        while piece := list(itertools.islice(pending, 8)):  # whole frames, not yet resized: a few at a time
            stamps = [origin + time + slack for time in piece]
            frames = decoder.get_frames_played_at(stamps)
            if (frames.pts_seconds > torch.tensor(stamps, dtype=torch.float64)).any():
                raise VideoError(path, f"torchcodec mixes up this file's frames: choose {option('data.backend')}=pyav")
            yield from zip(piece, (square(frame, 0, size, aspect=aspect) for frame in frames.data), strict=True)
    except (RuntimeError, ValueError, IndexError) as error:
        reason = re.sub(r"^.*\.cpp:\d+, ", "", str(error).splitlines()[0])  # without the place in its source
        remedy = f"choose {option('data.backend')}=pyav"
        raise VideoError(path, f"torchcodec cannot decode it: {reason}; {remedy}") from error


# Others keep no index of presentation times, on which torchcodec's frame selection relies.
_EXACT_IN_TORCHCODEC = ("mov", "matroska")
_DECLARING = ("mov", "matroska", "avi", "flv", "asf")
"""Containers whose headers declare a duration."""

_SAMPLERS = {"pyav": _pyav_samples, "torchcodec": _torchcodec_samples}
