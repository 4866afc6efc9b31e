"""Diffusion Policy's replay buffers (Zarr): all episodes one behind the other, such as ``pusht_cchi_v7_replay.zarr``.

``data/action`` ``(N, A)``, pictures ``data/img`` or ``data/CAMERA`` ``(N, H, W, 3)`` of 0 to 255, other numbers of
``data`` ``(N, S)`` as states, and ``meta/episode_ends`` ``(E,)``. Nothing says how many frames there are a second: 10,
as in the data sets that are published in this layout.

An array may say that it is pickled, which would run code: only the usual compressors of numbers are admitted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format, check_finite, choose_camera
from wildlam.episodes.vectors import FIRST, Commands, Reading
from wildlam.errors import WildlamError, option
from wildlam.video.decode import square
from wildlam.video.splits import splits_of

RATE = 10.0
ENDS, ACTION = "meta/episode_ends", "data/action"
COMPRESSORS = ("blosc", "zlib", "gzip", "lz4", "zstd", "bz2", "lzma", "shuffle", "delta")


def buffers_in(path: Path) -> list[Path]:
    """Replay buffers in a folder, or the folder itself, by name."""
    found = [path, *path.glob("*.zarr")] if path.is_dir() else []
    return sorted(one for one in found if (one / ENDS).is_dir() and (one / ACTION).is_dir())


def read_replay_buffers(path: Path, reading: Reading = FIRST) -> list[Episode]:
    """Read all episodes of the replay buffers in a folder.

    Args:
        path: the folder, or a replay buffer.
        reading: which actions and which camera; the first by name that is not of a wrist or a hand if not said.

    Raises:
        WildlamError: one is malformed, naming it and what is wrong; or zarr is not installed.
    """
    parts = [part for buffer in buffers_in(path) for part in _episodes(buffer, reading)]
    drawn = splits_of([name for name, *_ in parts])
    return [Episode(name, drawn[name], *of) for name, *of in parts]


def _episodes(buffer: Path, reading: Reading) -> list[tuple[Any, ...]]:
    """What the episodes of a replay buffer are made of."""
    commands, ends = _numbers(buffer, ACTION), _numbers(buffer, ENDS)[:, 0].astype(np.int64)
    shapes = {name: _array(buffer, f"data/{name}").shape for name in _arrays(buffer)}
    cameras = [name for name, shape in shapes.items() if len(shape) == 4 and shape[3] == 3]
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
    scale, view = _scale(buffer, camera), f"{camera} {_changed(buffer / 'data' / camera)}"
    found: list[tuple[Any, ...]] = []
    for number, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        name = f"{buffer.stem}/episode_{number:06d}"
        frames = partial(_pictures, buffer, f"data/{camera}", begin, scale)
        done = commands[begin:end] if isinstance(space, Commands) else None
        file = buffer / ENDS / ".zarray"
        found.append(
            (name, np.arange(end - begin) / RATE, poses[begin:end], space, frames, file, name, None, done, view)
        )
    return found


def cameras_in(path: Path) -> list[str]:
    """Names of the pictures of the first replay buffer in a folder."""
    buffer = buffers_in(path)[0]
    return [name for name in _arrays(buffer) if len(_array(buffer, f"data/{name}").shape) == 4]


def _arrays(buffer: Path) -> list[str]:
    """Names of the arrays of frames."""
    ends = (".zarray", "zarr.json")
    return sorted(place.name for place in (buffer / "data").iterdir() if any((place / end).is_file() for end in ends))


def _array(buffer: Path, key: str) -> Any:
    """An array, once what it says of itself is known to run nothing.

    Raises:
        WildlamError: it is none, or not of plain numbers; or zarr is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise WildlamError("replay buffers need zarr: pip install 'wildlam[zarr]'") from error
    file = buffer / key / ".zarray"
    if (buffer / key / "zarr.json").is_file():
        raise WildlamError(
            f"{buffer / key}: is of Zarr 3; replay buffers of Zarr 2 are read: save it with zarr_format=2"
        )
    try:
        about = json.loads(file.read_text())
        codecs = [one["id"] for one in (about["compressor"], *(about["filters"] or ())) if one]
        kind = np.dtype(about["dtype"]).kind
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WildlamError(f"{file}: cannot be read as an array of Zarr 2 ({error})") from error
    if kind not in "fiub" or not set(codecs) <= set(COMPRESSORS):
        raise WildlamError(f"{file}: holds {about['dtype']} by {', '.join(codecs)}; only plain numbers are read")
    try:
        return zarr.open_array(str(buffer / key), mode="r", zarr_format=2)
    except Exception as error:  # of zarr's many
        raise WildlamError(f"{file}: cannot be opened ({error})") from error


def _read(buffer: Path, key: str, rows: Any = slice(None)) -> np.ndarray:
    array = _array(buffer, key)
    try:
        return np.asarray(array[rows])
    except Exception as error:  # a damaged chunk raises what its compressor does
        raise WildlamError(f"{buffer / key}: cannot be read, a part is missing or damaged ({error})") from error


def _numbers(buffer: Path, key: str) -> np.ndarray:
    """Numbers at each frame, ``float64 [N, C]``."""
    found = _read(buffer, key).astype(np.float64)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2:
        raise WildlamError(f"{buffer / key}: {found.shape}; expected a row of numbers a frame")
    check_finite(found, f"{buffer / key}")
    return found


def _scale(buffer: Path, camera: str) -> float:
    """What makes pictures go from 0 to 255: 255 for floats that go to 1."""
    array = _array(buffer, f"data/{camera}")
    if array.dtype.kind != "f":
        return 1.0
    some = [_read(buffer, f"data/{camera}", slice(k, k + 1)) for k in np.linspace(0, array.shape[0] - 1, 8).astype(int)]
    return 255.0 if max(float(one.max()) for one in some) <= 1 else 1.0


def _changed(folder: Path) -> int:
    """When an array changed last: its chunks are files, which are written over."""
    return max(place.stat().st_mtime_ns for place in folder.iterdir())


def _pictures(buffer: Path, key: str, begin: int, scale: float, chosen: Sequence[int], size: int) -> Tensor:
    """Some pictures of an episode that begins at a frame, by number."""
    first, last = begin + min(chosen), begin + max(chosen) + 1
    pictures = _read(buffer, key, slice(first, last))
    picked = torch.from_numpy(pictures[[begin + k - first for k in chosen]])
    if not picked.dtype.is_floating_point:
        return torch.stack([square(one.to(torch.uint8), 0, size) for one in picked])
    bytes_of = (picked * scale).round().clamp(0, 255).to(torch.uint8)
    return torch.stack([square(one, 0, size) for one in bytes_of])


FORMAT = Format(
    "replay buffer",
    order=2,
    detects=lambda path: bool(buffers_in(path)),
    read=lambda path, tolerance, reading: read_replay_buffers(path, reading),
    kinds=("recorded", "states"),
    cameras=True,
    names_of_cameras=cameras_in,
)
