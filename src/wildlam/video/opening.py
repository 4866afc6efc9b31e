"""Open a video file and choose its stream: one choice, and one kind of error, for every reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from wildlam.errors import WildlamError
from wildlam.fileio import POINTER, is_pointer
from wildlam.video.files import AnyFile, opened

NO_VIDEO = "not a video, or damaged"
"""What a ``VideoError``'s reason begins with where FFmpeg finds nothing that it knows."""


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


@contextmanager
def opened_video(path: AnyFile) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its best video stream; FFmpeg's errors inside the block become ``VideoError``."""
    check_file(path)
    with reading(path), opened(path) as source:
        try:
            container = av.open(source, "r", metadata_errors="replace")
        except av.FFmpegError as error:
            why = "" if isinstance(error, av.InvalidDataError) else f": {error.strerror}"
            raise VideoError(path, NO_VIDEO + why) from error
        with container:
            yield container, _best_stream(path, container)


@contextmanager
def reading(path: AnyFile) -> Iterator[None]:
    """Raise a ``VideoError`` for what goes wrong while a file is read."""
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


def check_file(path: AnyFile) -> None:
    """Refuse what is no file.

    Raises:
        VideoError: it is missing, empty, a folder, or not fetched by Git LFS.
    """
    if not isinstance(path, (str, Path)):  # other files fail when they are opened
        return
    path = Path(path)
    if path.is_dir():
        raise VideoError(path, "a folder, not a video file")
    if not path.exists():
        raise VideoError(path, "no such file")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes)")
    if is_pointer(path):
        raise VideoError(path, POINTER)


def declared_seconds(path: AnyFile) -> float:
    """How long a file says that it lasts, in seconds, without reading it through; 0 where it does not say.

    Raises:
        VideoError: it cannot be opened.
    """
    with opened_video(path) as (container, _):
        return max(container.duration or 0, 0) / av.time_base


def first_frame(path: AnyFile, frames: Iterator[VideoFrame]) -> VideoFrame:
    """The first of some frames.

    Raises:
        VideoError: there is none.
    """
    frame = next(frames, None)
    if frame is None:
        raise VideoError(path, "no frame can be decoded: the file is damaged or cut short")
    return frame


def seconds(stream: Stream, stamp: int | None) -> float:
    """A stream's stamp in seconds by the file's clock; 0 for none."""
    assert stream.time_base is not None  # every stream of an open file has one
    return float((stamp or 0) * stream.time_base)
