"""The videos that the playground may show: those of the run, and what people bring. All are asked for by a key, never
by a path."""

from __future__ import annotations

import fcntl
import io
import shutil
import tempfile
import threading
import time
import warnings
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from secrets import token_urlsafe
from typing import IO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.types import Split
from wildlam.video.decode import VideoInfo, decode_at, probe, probe_part
from wildlam.video.files import AnyFile, Part, film_of
from wildlam.video.geometry import square
from wildlam.video.index import list_videos
from wildlam.video.opening import NO_VIDEO, VideoError
from wildlam.video.splits import source_of

BYTES = 64 * 2**20
"""Largest upload."""
PIXELS = 25_000_000
"""Largest picture, or picture of a video, that is brought: 25 megapixels."""
SECONDS = 600.0
"""Longest video that is brought."""
MOMENTS = 7
"""Moments of a video, evenly spread, of which it begins with the clearest."""
UPLOADS = 16
"""Uploads that are kept; the oldest goes when another comes."""
KEPT_FOR = 3600.0
"""Seconds for which an upload is kept without being used."""
PREFIX = "wildlam-app-"
"""Of the names of temporary folders."""
IN_USE = "in_use"
"""A file in each, which its process holds a lock on: the system takes it back however the process ends."""
FEWER = f"one of at most {PIXELS // 10**6} megapixels"
TYPES = "a video (MP4, WebM, MOV, ...) or a picture (PNG, JPEG, WebP, ...)"


@dataclass
class Item:
    """A video, or a picture.

    Attributes:
        key: its name towards the browser.
        name: its name for people.
        source: the set that it is of.
        split: training or held out; None of an upload.
        file: its file, or what of one it is; None of a picture.
        picture: ``uint8 [H, W, 3]``; None of a video.
    """

    key: str
    name: str
    source: str
    split: Split | None = None
    file: AnyFile | None = None
    picture: Tensor | None = None
    used: float = 0.0

    def told(self) -> dict[str, object]:
        """What the browser is told."""
        kind = "picture" if self.file is None else "video"
        return {"key": self.key, "name": self.name, "source": self.source, "split": self.split, "kind": kind}


def remove_left() -> None:
    """Remove the temporary folders of playgrounds that were killed."""
    for file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{IN_USE}"):
        with suppress(OSError), file.open("r+") as lock:  # another's, or it has just gone
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(file.parent, ignore_errors=True)


def _hold(folder: Path) -> IO[str]:
    """Show others that a folder is in use, as long as what is given back is open."""
    # Locked before it has its name: until then nobody looks at the folder.
    lock = (folder / f".{IN_USE}").open("w")
    with suppress(OSError):  # no locks on this file system: nor does anybody else get one
        fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / f".{IN_USE}").rename(folder / IN_USE)
    return lock


class Library:
    """Videos by key.

    Args:
        root: folder of the run's videos, if there are any. Nothing outside is served, but for uploads.
        copied: show a copy of them, which is removed in the end: of those that come with the package, beside which
            nothing is to be written.

    Attributes:
        folder: where things lie that are removed in the end.
        root: folder of the videos.
        copied: whether they are a copy.
        left_out: why a video cannot be used, by its name, of those that were looked at; see ``usable``.
    """

    def __init__(self, root: Path | None, copied: bool = False) -> None:
        remove_left()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._in_use = _hold(self.folder)
        if copied and root is not None:
            root = Path(shutil.copytree(root, self.folder / "films"))
        self.root, self.copied = root, copied
        found = list_videos(root).items() if root else ()
        self._items = {
            f"v{i}": Item(f"v{i}", name, source_of(name, ""), split, file)
            for i, (name, (file, split)) in enumerate(found)
        }
        self._by_name = {item.name: item for item in self._items.values()}
        self.left_out: dict[str, str] = {}
        self._uploads: OrderedDict[str, Item] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Remove what was brought."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._in_use.close()

    @property
    def videos(self) -> list[Item]:
        """The run's videos."""
        return list(self._items.values())

    @property
    def sources(self) -> list[str]:
        """Sets of the run's videos."""
        return list(dict.fromkeys(item.source for item in self.videos))

    def usable(self, item: Item) -> bool:
        """Whether a video of the run can be opened. It is opened once; why not is kept in ``left_out``."""
        if item.name not in self.left_out:
            try:
                _length(_file_of(item))
            except WildlamError as error:
                self.left_out[item.name] = getattr(error, "reason", None) or str(error)
        return item.name not in self.left_out

    def find(self, key: str) -> Item:
        """A video or picture by its key.

        Raises:
            WildlamError: there is none.
        """
        item = self._items.get(key)
        if item is None:
            with self._lock:
                item = self._uploads.get(key)
                if item is not None:
                    item.used = time.monotonic()
        if item is None:
            raise WildlamError("no such video; an upload is removed after an hour, bring it again")
        return item

    def named(self, name: str) -> Item | None:
        """A video by its path relative to the folder of videos; None if it is not shown."""
        return self._by_name.get(name)

    def seconds(self, key: str) -> float:
        """How long a video lasts, up to where its timestamps jump; 0 for a picture.

        Raises:
            WildlamError: it cannot be read.
        """
        item = self.find(key)
        return 0.0 if item.file is None else _length(item.file)

    def clear_moment(self, key: str) -> float:
        """Seconds into a video at which there is most to see, by contrast; 0 for a picture.

        Raises:
            WildlamError: it cannot be read.
        """
        if not (seconds := self.seconds(key)):
            return 0.0
        times = [seconds * k / (MOMENTS + 1) for k in range(1, MOMENTS + 1)]
        grey = self.frames(key, times, 32).float().mean(dim=1)
        return times[int(grey.flatten(1).std(dim=1).argmax())]

    def frames(self, key: str, times: list[float], side: int) -> Tensor:
        """Frames ``uint8 [len(times), 3, side, side]`` as the model sees them; a picture is the same at all times.

        Raises:
            WildlamError: they cannot be read, naming the video as people know it.
        """
        item = self.find(key)
        if item.picture is not None:
            return square(item.picture, 0, side)[None].expand(len(times), -1, -1, -1)
        try:
            return decode_at(_file_of(item), times, side)
        except WildlamError as error:
            raise with_name(item, error) from error

    def add(self, name: str, data: bytes) -> Item:
        """Take what somebody brings, if it is a video or a picture.

        Raises:
            WildlamError: it is neither, is damaged, or too large.
        """
        name = Path(name.replace("\\", "/")).name[:80] or "upload"
        if not data:
            raise WildlamError(f"{name} is empty; bring {TYPES}")
        if len(data) > BYTES:
            raise WildlamError(f"{name} is larger than {BYTES >> 20} MB; bring a shorter or smaller one")
        key = f"u{token_urlsafe(9)}"
        item = Item(key, name, "uploads", used=time.monotonic())
        if (picture := _picture(name, data)) is not None:
            item.picture = picture
        else:
            item.file = brought = self.folder / f"{key}.video"
            brought.write_bytes(data)
            try:
                _check(item)
            except WildlamError:
                brought.unlink()
                raise
        with self._lock:
            self._uploads[key] = item
            late = time.monotonic() - KEPT_FOR
            gone = [old for old, one in self._uploads.items() if one.used < late]
            gone += list(self._uploads)[:-UPLOADS]
            for old in dict.fromkeys(gone):
                self._drop(old)
        return item

    def remove(self, key: str) -> None:
        """Remove an upload, if it is there."""
        with self._lock:
            self._drop(key)

    def _drop(self, key: str) -> None:
        item = self._uploads.pop(key, None)
        if item is not None and isinstance(item.file, Path):
            item.file.unlink(missing_ok=True)


def jpeg(frame: Tensor, quality: int = 88) -> bytes:
    """A frame ``uint8 [3, H, W]`` as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(frame: Tensor) -> bytes:
    """A frame ``uint8 [3, H, W]`` as a PNG file, quickly."""
    file = io.BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(file, "PNG", compress_level=1)
    return file.getvalue()


def with_name(item: Item, error: WildlamError) -> WildlamError:
    """An error that calls a video as people know it, and not by the path of its file."""
    return WildlamError(str(error).replace(film_of(str(item.file)), film_of(item.name)))


def _file_of(item: Item) -> AnyFile:
    assert item.file is not None
    return item.file


def _length(file: AnyFile) -> float:
    info = _probed(file)
    return min([info.duration, *info.breaks])


@lru_cache(maxsize=4096)
def _probed(file: AnyFile) -> VideoInfo:
    """A film is opened once for all its parts."""
    return probe_part(file, _probed(file.film)) if isinstance(file, Part) else probe(file)


def _check(item: Item) -> None:
    """Refuse a video that is no video, or too large a one."""
    try:
        info = probe(_file_of(item))
    except VideoError as error:
        if error.reason.startswith(NO_VIDEO):
            raise WildlamError(f"{item.name} cannot be read: it is none of these, or damaged; bring {TYPES}") from error
        raise with_name(item, error) from error
    if info.width * info.height > PIXELS:
        raise WildlamError(f"{item.name} is {info.width} x {info.height}; bring {FEWER}")
    if info.duration > SECONDS:
        raise WildlamError(f"{item.name} lasts {info.duration:,.0f} s; bring at most {SECONDS:g} s")


def _picture(name: str, data: bytes) -> Tensor | None:
    """A picture ``uint8 [H, W, 3]``; None for what is none, or moves.

    Raises:
        WildlamError: it is too large, or damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its size is looked at here
            image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise WildlamError(f"{name} has far too many pixels; bring {FEWER}") from error
    except OSError:
        return None
    if getattr(image, "is_animated", False):
        return None
    if image.width * image.height > PIXELS:
        raise WildlamError(f"{name} is {image.width} x {image.height}; bring {FEWER}")
    if min(image.size) < 8:
        raise WildlamError(f"{name} is {image.width} x {image.height}; bring a larger picture")
    try:
        return torch.from_numpy(np.array(image.convert("RGB")))
    except Exception as error:  # Pillow's readers raise what they like
        raise WildlamError(f"{name} is damaged or cut short; bring {TYPES}") from error
