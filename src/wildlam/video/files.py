"""Where videos lie: on a disk, in an object store (any URL that fsspec knows), or inside a tar shard of either.

Tar shards are WebDataset's: videos side by side in a ``.tar``, other files ignored. Indexing reads their headers; after
that a video is read from its place in the shard.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from wildlam.errors import WildlamError

if TYPE_CHECKING:
    Location = Path
    """A local path or, behaving like one, a ``upath.UPath``."""
else:

    class Location:
        """A local path, or a URL such as ``s3://bucket/folder``."""

        def __new__(cls, text: str | Path) -> Path:
            """See `location`."""
            return location(text)


_TAR = re.compile(r"\.tar(?=/|$)", re.IGNORECASE)
_BUFFER = 1 << 20  # bytes read at a time from a tar shard


def location(text: str | Path) -> Location:
    """A path, or the path-like of a URL.

    Raises:
        WildlamError: for a URL, its file system is unknown, or its package not installed.
    """
    if not isinstance(text, str):
        return text
    if "://" not in text:
        return Path(text)
    try:
        from upath import UPath

        path = UPath(text)
        _ = path.fs  # finds out whether its package is there
    except ImportError as error:
        raise WildlamError(f"{text}: {error}; pip install 'wildlam[cloud]' brings what S3 needs") from error
    except ValueError as error:
        raise WildlamError(f"{text}: no file system that fsspec knows ({error})") from error
    return cast(Path, path)


@contextmanager
def reachable(path: Location) -> Iterator[None]:
    """Make of whatever a URL's file system raises one error that names the URL."""
    try:
        yield
    except WildlamError:
        raise
    except Exception as error:
        if not is_remote(path):
            raise
        reason = (str(error).splitlines() or [""])[0]
        raise WildlamError(f"{path}: cannot be read: {type(error).__name__}: {reason}") from error


def is_remote(path: Location) -> bool:
    """Whether a path is a URL's."""
    return not isinstance(path, Path)


MOST_PADDING = 2**20
"""Bytes of zeros at the end of a tar shard, at most; usual are 10 kB."""


@dataclass(frozen=True, slots=True)
class TarMember:
    """A file inside a tar shard.

    Attributes:
        tar: the shard.
        name: name of the file in it.
        offset: byte of the shard at which the file begins.
        size: bytes of the file.
    """

    tar: Location
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.tar}/{self.name}"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a film that holds several recordings one behind the other, such as the episodes of a LeRobotDataset.

    Attributes:
        film: the film.
        begins: where in it the part begins, in seconds since its first frame.
        ends: where it ends.
        name: names the recording.
    """

    film: Location | TarMember
    begins: float
    ends: float
    name: str

    def __str__(self) -> str:
        return f"{self.film}{part_of(self.begins, self.ends, self.name)}"


AnyFile = Location | str | TarMember | Part

_PART = re.compile(r"#t=([\d.e+-]+),([\d.e+-]+)&id=([^/]+)$")


def part_of(begins: float, ends: float, name: str) -> str:
    """The end of a part's path, behind its film's: a media fragment (www.w3.org/TR/media-frags) and its name."""
    return f"#t={begins!r},{ends!r}&id={name}"


def film_of(path: str) -> str:
    """The path of the film that a path is of, or of a part of."""
    return _PART.sub("", path)


def inside(base: Location, path: str, offset: int | None, size: int) -> Location | TarMember | Part:
    """The file of a path relative to ``base``, or to a tar shard there if it has an ``offset``; or a part of it."""
    if match := _PART.search(path):
        film = inside(base, film_of(path), offset, size)
        assert not isinstance(film, Part)
        return Part(film, float(match[1]), float(match[2]), match[3])
    if offset is not None and (end := _TAR.search(path)):
        shard, name = path[: end.end()], path[end.end() + 1 :]
        return TarMember(inside(base, shard, None, 0), name, offset, size)  # type: ignore[arg-type]
    return location(path) if "://" in path else base / path


def names_tar(path: str) -> bool:
    """Whether a path is that of a tar shard, or of a file in one, in capitals or not."""
    return _TAR.search(path) is not None


def is_hidden(path: str) -> bool:
    """Whether a file, or a folder of its path, is hidden, such as those that macOS adds for each file of a tar."""
    return any(part.startswith(".") and part not in (".", "..") for part in path.split("/"))


def tar_members(tar: Location) -> list[TarMember]:
    """The files of a tar shard, all of them, hidden ones too.

    Raises:
        OSError: it is damaged or cannot be read.
    """
    with _as_os_errors(), opened(tar) as source:
        of_file = {"name": source} if isinstance(source, str) else {"fileobj": source}
        try:
            with tarfile.open(**of_file, mode="r:") as archive:
                found = [TarMember(tar, info.name, info.offset_data, info.size) for info in archive if info.isfile()]
                # Where a header is damaged, reading ends as if it were the end of the shard.
                assert archive.fileobj is not None
                archive.fileobj.seek(archive.offset)
                rest = archive.fileobj.read(MOST_PADDING + 1)
                if len(rest) > MOST_PADDING or rest.strip(b"\0"):
                    raise OSError(
                        f"not a tar file, or damaged: no file begins at byte {archive.offset:,}, nor is it the end"
                    )
                return found
        except tarfile.TarError as error:
            raise OSError(f"not a tar file, or damaged: {error}") from error


@contextmanager
def opened(file: AnyFile) -> Iterator[str | BinaryIO]:
    """What decoders take: the name of a local file, or else an open binary file.

    Raises:
        OSError: it cannot be opened.
    """
    file = file.film if isinstance(file, Part) else file
    if isinstance(file, TarMember):
        with _unbuffered(file.tar) as tar, io.BufferedReader(_Section(tar, file.offset, file.size), _BUFFER) as section:
            yield section
    elif isinstance(file, (str, Path)):
        yield str(file)
    else:
        with _as_os_errors():
            source = file.open("rb")
        with source:
            yield source


def _unbuffered(tar: Location) -> Any:
    """Open a shard without reading ahead: an object store's file would fetch tens of megabytes for one video."""
    return tar.open("rb", **({"cache_type": "none"} if is_remote(tar) else {"buffering": 0}))


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise OSError for whatever an object store raises."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


class _Section(io.RawIOBase):
    """Bytes ``offset`` to ``offset + size`` of a file as a file."""

    def __init__(self, file: Any, offset: int, size: int) -> None:
        self.file, self.offset, self.size, self.at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = max(offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence], 0)
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        self.file.seek(self.offset + self.at)
        data = self.file.read(max(min(len(buffer), self.size - self.at), 0))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)
