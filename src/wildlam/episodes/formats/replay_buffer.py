"""Diffusion Policy's replay buffers (Zarr): all episodes one behind the other, such as ``pusht_cchi_v7_replay.zarr``.

``data/action`` ``(N, A)``, pictures ``data/img`` or ``data/CAMERA`` ``(N, H, W, 3)`` of 0 to 255, other numbers of
``data`` ``(N, S)`` as states, and ``meta/episode_ends`` ``(E,)``. Zarr 2 or 3, in a folder ``NAME.zarr`` or, as they
are handed on, a file ``NAME.zarr.zip``, which is read as it is. Nothing says how many frames there are a second: 10 if
the user does not, as in the data sets that are published in this layout.

An array may say that it is pickled, which would run code: only the usual compressors of numbers are admitted. A chunk
that is not there is one that holds nothing but the fill value, or one that got lost: Zarr cannot tell, so we do.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format, choose_camera
from wildlam.episodes.formats.pictures import squares
from wildlam.episodes.vectors import FIRST, Commands, Reading
from wildlam.errors import WildlamError, option
from wildlam.fileio import check_fetched
from wildlam.video.splits import splits_of

log = logging.getLogger(__name__)

RATE = 10.0
ENDS, ACTION = "meta/episode_ends", "data/action"
ZIPPED = ".zarr.zip"
COMPRESSORS = ("blosc", "zlib", "gzip", "lz4", "zstd", "bz2", "lzma", "shuffle", "delta")
CODECS = {
    "bytes",
    "transpose",
    "crc32c",
    "sharding_indexed",
    *COMPRESSORS,
    *(f"numcodecs.{one}" for one in COMPRESSORS),
}
"""What arrays of Zarr 3 may be stored by."""
ABOUT = (".zarray", "zarr.json")
"""Files that describe an array, of Zarr 2 and of Zarr 3."""


@dataclass(frozen=True)
class Buffer:
    """Where a replay buffer lies.

    Attributes:
        path: its folder, or its zip file.
        inside: folder of the zip file that it lies in; empty if that is the whole of it.
    """

    path: Path
    inside: str = ""

    def __str__(self) -> str:
        return str(self.path / self.inside)

    @property
    def name(self) -> str:
        """Its name without endings."""
        return self.path.name.removesuffix(".zip").removesuffix(".zarr")

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip file."""
        return self.path.is_file()

    def at(self, key: str) -> Path | zipfile.Path:
        """A file or folder of it.

        Raises:
            WildlamError: the zip file is damaged or cut short.
        """
        return zipped(self.path) / self.inside / key if self.is_zip else self.path / key

    def about(self, key: str) -> Path | zipfile.Path | None:
        """The file that describes an array; None if there is no such array."""
        return next((file for one in ABOUT if (file := self.at(f"{key}/{one}")).is_file()), None)

    def changed(self, key: str) -> int:
        """When an array changed last: its chunks are files, which are written over."""
        places = [self.path] if self.is_zip else [*(self.path / key).rglob("*"), self.path / key]
        return max(place.stat().st_mtime_ns for place in places)

    @contextmanager
    def opened(self, key: str) -> Iterator[Any]:
        """An array, once what it says of itself is known to run nothing.

        Raises:
            WildlamError: it is none, or not of plain numbers; or zarr is not installed.
        """
        try:
            import zarr
            from zarr.storage import LocalStore, ZipStore
        except ImportError as error:
            raise WildlamError("replay buffers need zarr: pip install 'wildlam[zarr]'") from error
        version = self._checked(key)
        store: Any = ZipStore(self.path, mode="r") if self.is_zip else LocalStore(self.path, read_only=True)
        try:
            yield zarr.open_array(store, path=f"{self.inside}/{key}".lstrip("/"), mode="r", zarr_format=version)
        except WildlamError:
            raise
        except Exception as error:  # of zarr's many, and a damaged chunk raises what its compressor does
            for chunk in () if self.is_zip else (self.path / key).rglob("*"):
                check_fetched(chunk)
            raise WildlamError(f"{self}/{key}: cannot be read, a part is missing or damaged ({error})") from error
        finally:
            store.close()

    def _checked(self, key: str) -> Any:
        """Version of Zarr of an array that holds plain numbers."""
        file = self.about(key)
        if file is None:
            raise WildlamError(f"{self}: has no array {key}; a replay buffer holds {ACTION} and {ENDS}")
        if isinstance(file, Path):
            check_fetched(file)
        try:
            about = json.loads(file.read_text())
            version = about["zarr_format"]
            if version == 2:
                codecs = [one["id"] for one in (about["compressor"], *(about["filters"] or ())) if one]
                kind, is_plain = (
                    about["dtype"],
                    np.dtype(about["dtype"]).kind in "fiub" and set(codecs) <= {*COMPRESSORS},
                )
            else:
                codecs, kind = list(_codecs(about["codecs"])), about["data_type"]
                is_plain = isinstance(kind, str) and np.dtype(kind).kind in "fiub" and set(codecs) <= CODECS
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise WildlamError(f"{self}/{key}/{file.name}: cannot be read as an array of Zarr ({error})") from error
        if not is_plain:
            raise WildlamError(
                f"{self}/{key}/{file.name}: holds {kind} by {', '.join(codecs)}; only plain numbers are read"
            )
        return version


def _codecs(about: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Names of codecs of Zarr 3, and of those within them."""
    for one in about:
        yield one["name"]
        for inner in ("codecs", "index_codecs"):
            yield from _codecs(one.get("configuration", {}).get(inner, ()))


def zipped(file: Path) -> zipfile.Path:
    """A zip file's folder.

    Raises:
        WildlamError: it is damaged or cut short.
    """
    check_fetched(file)
    try:
        return zipfile.Path(zipfile.ZipFile(file))
    except (OSError, zipfile.BadZipFile) as error:
        raise WildlamError(f"{file}: not a whole zip file ({error}); download it again") from error


def buffers_in(path: Path) -> list[Buffer]:
    """Replay buffers in a folder, or the folder or zip file itself, by name.

    Raises:
        WildlamError: a zip file is damaged, or holds none.
    """
    if path.is_file():
        return [_in_zip(path)] if path.name.endswith(ZIPPED) else []
    folders = [path, *path.glob("*.zarr")] if path.is_dir() else []
    found = [Buffer(one) for one in folders if _is_buffer(one)]
    unpacked = {buffer.name for buffer in found}
    zips = [_in_zip(one) for one in path.glob(f"*{ZIPPED}") if one.name.removesuffix(ZIPPED) not in unpacked]
    return sorted([*found, *zips], key=str)


def _is_buffer(folder: Path) -> bool:
    """Whether a folder is a replay buffer: by what it holds or, so that it is named if it lacks some, by its name."""
    parts = [folder / ENDS, folder / ACTION]
    if folder.suffix == ".zarr":
        return any(part.parent.is_dir() for part in parts)
    return all(part.is_dir() for part in parts)


def _in_zip(file: Path) -> Buffer:
    root = zipped(file)
    for folder in ("", *(one.name for one in root.iterdir() if one.is_dir())):
        buffer = Buffer(file, folder)
        if buffer.about(ENDS) and buffer.about(ACTION):
            return buffer
    raise WildlamError(f"{file}: holds no replay buffer, with {ACTION} and {ENDS}")


def is_replay_buffer(path: Path) -> bool:
    """Whether a folder holds this layout, or a file says by its name that it does."""
    names = [path] if path.is_file() else path.glob(f"*{ZIPPED}")
    return any(one.name.endswith(ZIPPED) for one in names) or bool(buffers_in(path))


def read_replay_buffers(path: Path, reading: Reading = FIRST) -> list[Episode]:
    """Read all episodes of the replay buffers in a folder.

    Args:
        path: the folder, or a replay buffer.
        reading: which actions, which camera (the first by name that is not of a wrist or a hand if not said), and how
            many frames a second (10 if not said).

    Raises:
        WildlamError: one is malformed, naming it and what is wrong; or zarr is not installed.
    """
    parts = [part for buffer in buffers_in(path) for part in _episodes(buffer, reading)]
    drawn = splits_of([name for name, *_ in parts])
    return [Episode(name, drawn[name], *of) for name, *of in parts]


def _episodes(buffer: Buffer, reading: Reading) -> list[tuple[Any, ...]]:
    """What the episodes of a replay buffer are made of."""
    commands, ends = _numbers(buffer, ACTION), _numbers(buffer, ENDS)[:, 0].astype(np.int64)
    shapes = _shapes(buffer)
    cameras = [name for name, shape in shapes.items() if len(shape) == 4 and shape[3] == 3]
    if not cameras:
        there = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise WildlamError(f"{buffer}: data has no pictures (N, H, W, 3); it has {there}")
    camera = choose_camera(cameras, reading.camera, str(buffer))
    others = [name for name, shape in shapes.items() if len(shape) <= 2 and name != "action"]
    states = [_numbers(buffer, f"data/{name}") for name in others]
    begins = np.concatenate([[0], ends[:-1]])
    lengths = {len(commands), shapes[camera][0], *map(len, states)}
    if len(lengths) > 1 or not len(ends) or (ends - begins < 2).any() or ends[-1] > len(commands):
        raise WildlamError(
            f"{buffer}: actions, pictures and states must be as many ({sorted(lengths)}), and {ENDS} rise to no more "
            "than that by 2 at least"
        )
    names = [f"{name} {k}" for name, of in zip(others, states, strict=True) for k in range(of.shape[1])]
    poses = np.column_stack(states) if states else np.empty((len(commands), 0))
    space: ActionSpace = Commands.of([f"action {k}" for k in range(commands.shape[1])], reading.block, names)
    if reading.actions == "states":
        if not names:
            raise WildlamError(f"{buffer}: records no states; {option('actions')} can be recorded")
        space = reading.changes(names, str(buffer))
    scale, view = _scale(buffer, camera), f"{camera} {buffer.changed(f'data/{camera}')}"
    _tell_missing(buffer, f"data/{camera}")
    found: list[tuple[Any, ...]] = []
    for number, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        name = f"{buffer.name}/episode_{number:06d}"
        pictures = partial(_pictures, buffer, f"data/{camera}", begin, scale)
        done = commands[begin:end] if isinstance(space, Commands) else None
        file = buffer.path if buffer.is_zip else Path(str(buffer.about(ENDS)))
        times = np.arange(end - begin) / (reading.rate or RATE)
        frames = squares(pictures)
        found.append((name, times, poses[begin:end], space, frames, file, name, None, done, view, pictures))
    return found


def cameras_in(path: Path) -> list[str]:
    """Names of the pictures of the first replay buffer in a folder."""
    return [name for name, shape in _shapes(buffers_in(path)[0]).items() if len(shape) == 4]


def _shapes(buffer: Buffer) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of frames, by name."""
    found = {}
    for name in sorted(place.name for place in buffer.at("data").iterdir()):
        if buffer.about(f"data/{name}"):
            with buffer.opened(f"data/{name}") as array:
                found[name] = array.shape
    return found


def _read(buffer: Buffer, key: str, rows: Any = slice(None)) -> np.ndarray:
    with buffer.opened(key) as array:
        return np.asarray(array[rows])


def _tell_missing(buffer: Buffer, key: str) -> None:
    """Warn of chunks of an array that are not there."""
    with buffer.opened(key) as array:
        missing, fill = array.nchunks - array.nchunks_initialized, array.fill_value
        if missing:
            log.warning(
                "%s/%s: %d of its %d chunks are not there and read as %s: if they were lost, download it again",
                buffer,
                key,
                missing,
                array.nchunks,
                fill,
            )


def _numbers(buffer: Buffer, key: str) -> np.ndarray:
    """Numbers at each frame, ``float64 [N, C]``."""
    found = _read(buffer, key).astype(np.float64)
    _tell_missing(buffer, key)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2:
        raise WildlamError(f"{buffer}/{key}: {found.shape}; expected a row of numbers a frame")
    return found


def _scale(buffer: Buffer, camera: str) -> float:
    """What makes pictures go from 0 to 255: 255 for floats that go to 1."""
    with buffer.opened(f"data/{camera}") as array:
        if array.dtype.kind != "f":
            return 1.0
        some = [np.asarray(array[int(k)]) for k in np.linspace(0, array.shape[0] - 1, 8)]
    return 255.0 if max(float(np.nanmax(one, initial=0)) for one in some) <= 1 else 1.0


def _pictures(buffer: Buffer, key: str, begin: int, scale: float, chosen: Sequence[int]) -> list[Tensor]:
    """Some pictures of an episode that begins at a frame, by number."""
    first, last = begin + min(chosen), begin + max(chosen) + 1
    pictures = _read(buffer, key, slice(first, last))
    if pictures.dtype.kind == "f" and not (known := np.isfinite(pictures).all(axis=(1, 2, 3))).all():
        number = first + int(np.argmin(known))
        raise WildlamError(f"{buffer}/{key}: picture {number} must be of finite numbers; mend or remove its episode")
    picked = torch.from_numpy(pictures[[begin + k - first for k in chosen]])
    if not picked.dtype.is_floating_point:
        return list(picked.to(torch.uint8))
    return list((picked * scale).round().clamp(0, 255).to(torch.uint8))


FORMAT = Format(
    "replay buffer",
    order=2,
    detects=is_replay_buffer,
    read=lambda path, tolerance, reading: read_replay_buffers(path, reading),
    kinds=("recorded", "states"),
    cameras=True,
    rated=True,
    names_of_cameras=cameras_in,
)
