"""Demonstrations in HDF5: robomimic's and LIBERO's, many in a file, and ALOHA's (ACT), one in a file.

robomimic, LIBERO: ``*.hdf5`` with ``data/demo_N/actions`` ``(T, A)`` and ``data/demo_N/obs/CAMERA_image`` or
``CAMERA_rgb`` ``(T, H, W, 3)``; other numbers in ``obs`` are states. The rate is the control frequency that
``env_args`` names, 20 a second if it names none. Demonstrations that ``mask/valid`` or ``mask/test`` names are held
out.

ALOHA: ``*.hdf5`` with ``action`` ``(T, A)``, ``observations/qpos`` and ``observations/images/CAMERA``, pictures or
JPEGs, which may be padded with zeros; 50 a second.

LIBERO stores pictures as OpenGL draws them, the lowest row first, and says so (``macros_image_convention`` of ``data``;
of its files without that, the task's ``bddl_file_name`` tells that they are its own). They are turned upright: rows in
the other order, as robomimic does before it stores its own. That is no half turn, which would swap left and right.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
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
from wildlam.episodes.formats.hdf5 import opened_hdf5
from wildlam.episodes.formats.pictures import decode_picture, squares
from wildlam.episodes.vectors import FIRST, Commands, Reading
from wildlam.errors import WildlamError, option
from wildlam.fileio import is_pointer
from wildlam.video.splits import splits_of

log = logging.getLogger(__name__)

ALOHA_RATE, ROBOMIMIC_RATE = 50.0, 20.0
IMAGES, QPOS = "observations/images", "observations/qpos"
PARTS = {"actions", "obs"}
"""What a demonstration of robomimic or LIBERO holds at least."""
PICTURES = ("_image", "_rgb")
"""Endings of names of robomimic's and LIBERO's pictures."""


@dataclass(frozen=True)
class Demo:
    """Where a demonstration lies in a file.

    Attributes:
        name: unique in the data set.
        group: its group in the file; empty if it is the whole file.
        commands: its commands, below the group.
        states: its states, below the group; none if there are none.
        cameras: its pictures by camera, below the group.
        rate: frames a second.
        held_out: whether the file says that it is held out; None if it says nothing.
        lowest_first: whether the lowest row of a picture comes first.
    """

    name: str
    group: str
    commands: str
    states: tuple[str, ...]
    cameras: dict[str, str]
    rate: float
    held_out: bool | None = None
    lowest_first: bool = False


def is_demos(path: Path) -> bool:
    """Whether a folder holds demonstrations of either layout, by its first file."""
    files = _files(path)
    if not files:
        return False
    try:
        with opened_hdf5(files[0]) as data:
            return _is_aloha(data) or _is_robomimic(data)
    except WildlamError:
        return is_pointer(files[0])  # what it is of is not known, but what is wrong with it


def _is_aloha(data: Any) -> bool:
    return IMAGES in data or ("action" in data and QPOS in data)


def _is_robomimic(data: Any) -> bool:
    """Whether a file holds demonstrations, whole or not."""
    demos = data.get("data")
    return hasattr(demos, "values") and any(hasattr(one, "keys") and PARTS & set(one) for one in demos.values())


def _check_parts(group: Any, parts: Sequence[str], where: str) -> None:
    """Refuse a demonstration that lacks a part."""
    if missing := [part for part in parts if part not in group]:
        raise WildlamError(
            f"{where}: has no {' and no '.join(missing)}; write it again with {' and '.join(parts)}, or remove it"
        )


def _files(path: Path) -> list[Path]:
    found = [*path.rglob("*.hdf5"), *path.rglob("*.h5")]
    return sorted(file for file in found if not file.name.startswith("."))


def read_demos(path: Path, reading: Reading = FIRST) -> list[Episode]:
    """Read all demonstrations below a folder.

    Args:
        path: the folder.
        reading: which actions, which camera (the first by name that is not of a wrist or a hand if not said), and how
            many frames a second (if not said, as the file or else the layout has them).

    Raises:
        WildlamError: one is malformed, naming the file and what is wrong; or h5py is not installed.
    """
    demos = []
    for file in _files(path):
        of_file = _demos(file, path)
        if not of_file:
            log.warning("%s: holds no demonstrations, and is left out", file)
        demos += [(file, demo) for demo in of_file]
    drawn = splits_of([demo.name for _, demo in demos])
    found = []
    for file, demo in demos:
        camera = choose_camera(list(demo.cameras), reading.camera, f"{file}, {demo.name}")
        with opened_hdf5(file) as data:
            group = data[demo.group] if demo.group else data
            where = f"{file}, {demo.group or 'the file'}"
            commands = _numbers(group, demo.commands, where)
            states = [_numbers(group, key, where) for key in demo.states]
            pictures = group[demo.cameras[camera]]
            lengths = {len(commands), len(pictures), *map(len, states)}
        if len(lengths) > 1 or len(commands) < 2:
            raise WildlamError(f"{where}: commands, states and pictures must be as many, two at least; got {lengths}")
        names = [
            f"{key.rsplit('/', 1)[-1]} {k}"
            for key, of in zip(demo.states, states, strict=True)
            for k in range(of.shape[1])
        ]
        poses = np.column_stack(states) if states else np.empty((len(commands), 0))
        space: ActionSpace
        if reading.actions == "states":
            if not names:
                raise WildlamError(f"{where}: records no states; {option('actions')} can be recorded")
            space, done = reading.changes(names, where), None
        else:
            space = Commands.of([f"action {k}" for k in range(commands.shape[1])], reading.block, names)
            done = commands
        split = drawn[demo.name] if demo.held_out is None else "held_out" if demo.held_out else "train"
        stored = partial(_pictures, file, demo, camera)
        frames = squares(stored)
        view = (
            f"{camera} turned upright" if demo.lowest_first else camera
        )  # states of the pictures as stored are others
        times = np.arange(len(commands)) / (reading.rate or demo.rate)
        found.append(
            Episode(demo.name, split, times, poses, space, frames, file, commands=done, view=view, pictures=stored)
        )
    return found


def _demos(file: Path, root: Path) -> list[Demo]:
    """The demonstrations of a file; none if it is of neither layout."""
    name = file.relative_to(root).with_suffix("").as_posix()
    with opened_hdf5(file) as data:
        if _is_aloha(data):
            _check_parts(data, ("action", IMAGES), str(file))
            cameras = {key: f"{IMAGES}/{key}" for key in sorted(data[IMAGES])}
            return [Demo(name, "", "action", (QPOS,) if QPOS in data else (), cameras, ALOHA_RATE)]
        if not _is_robomimic(data):
            return []
        demos = data["data"]
        held_out = {_text(one) for part in ("valid", "test") if f"mask/{part}" in data for one in data[f"mask/{part}"]}
        rate, lowest_first = _rate(demos.attrs.get("env_args")), _is_lowest_first(demos.attrs)
        found = []
        for key in sorted(demos, key=lambda key: (len(key), key)):
            group = demos[key]
            _check_parts(group, sorted(PARTS), f"{file}, data/{key}")
            obs = group["obs"]
            cameras = {one.rsplit("_", 1)[0]: f"obs/{one}" for one in sorted(obs) if one.endswith(PICTURES)}
            states = tuple(f"obs/{one}" for one in sorted(obs) if obs[one].ndim <= 2 and obs[one].dtype.kind in "fiu")
            is_held_out = key in held_out if held_out else None
            found.append(
                Demo(f"{name}/{key}", f"data/{key}", "actions", states, cameras, rate, is_held_out, lowest_first)
            )
        return found


def _is_lowest_first(attributes: Any) -> bool:
    """Whether the lowest row of pictures comes first, as in LIBERO's, which have robosuite's usual convention."""
    usual = "opengl" if "bddl_file_name" in attributes else "opencv"
    return _text(attributes.get("macros_image_convention", usual)) == "opengl"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _rate(env_args: Any) -> float:
    """The control frequency that robomimic's description of the environment names."""
    try:
        arguments = json.loads(env_args or "{}")
        rate = float(arguments.get("env_kwargs", {}).get("control_freq", ROBOMIMIC_RATE))
    except (AttributeError, TypeError, ValueError):
        return ROBOMIMIC_RATE
    return rate if rate > 0 else ROBOMIMIC_RATE


def _numbers(group: Any, key: str, where: str) -> np.ndarray:
    """Numbers at each frame, ``float64 [F, C]``."""
    try:
        found = np.asarray(group[key], dtype=np.float64)
    except (KeyError, TypeError, ValueError, OSError) as error:  # of texts HDF5 says OSError, as of damage
        raise WildlamError(f"{where}: {key} cannot be read as numbers ({error}); write it again") from error
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2:
        raise WildlamError(f"{where}: {key} is {found.shape}; expected a row of numbers a frame")
    return found


def _pictures(file: Path, demo: Demo, camera: str, chosen: Sequence[int]) -> list[Tensor]:
    """Some pictures of a demonstration, by number."""
    with opened_hdf5(file) as data:
        pictures = (data[demo.group] if demo.group else data)[demo.cameras[camera]]
        parts = []
        for k in chosen:
            picture = np.asarray(pictures[k])
            where = f"{file}: {pictures.name} {k}"
            if picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
                parts.append(torch.from_numpy(picture[::-1].copy() if demo.lowest_first else picture))
            elif picture.ndim == 1 and picture.dtype == np.uint8:
                parts.append(decode_picture(picture.tobytes(), where))
            else:
                raise WildlamError(f"{where}: {picture.shape} of {picture.dtype} is no picture (H, W, 3) of bytes")
    return parts


FORMAT = Format(
    "demos",
    order=2,  # before RECON's, which are HDF5 files, too
    detects=is_demos,
    read=lambda path, tolerance, reading: read_demos(path, reading),
    kinds=("recorded", "states"),
    cameras=True,
    rated=True,
    names_of_cameras=lambda path: list(_demos(_files(path)[0], path)[0].cameras),
)
