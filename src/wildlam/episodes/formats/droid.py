"""DROID as released: ``LAB/success|failure/DATE/DATETIME/`` with ``trajectory.h5``, ``metadata_*.json`` and mp4 files.

The state is ``observation/robot_state/cartesian_position`` ``(T, 6)`` (metres, xyz-Euler angles in radians) and
``gripper_position`` ``(T,)`` at 15 Hz. Actions are derived from states, not from the recorded commands.

A film is written one frame a state, and its header may state any rate: its clock is not that of the states, but its
frames' spacing is one state's, and a spacing of two is a frame that was lost. The film may be a frame shorter than the
trajectory.

Where the metadata state a camera's ``extrinsics`` (six numbers: position and xyz-Euler angles in the robot's base) and
its ``field_of_view``, which DROID's own do not, the episode has that camera.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wildlam.episodes.action_spaces import ARM
from wildlam.episodes.camera import Camera
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format, check_kind
from wildlam.episodes.formats.hdf5 import h5py, opened_hdf5
from wildlam.episodes.pairing import TOLERANCE, pair, read_film, report_pairs
from wildlam.errors import WildlamError
from wildlam.video.mp4 import write_mp4
from wildlam.video.splits import splits_of

log = logging.getLogger(__name__)

RATE = 15.0
"""Frames per second, whatever the film's header says."""
STATE = "observation/robot_state"


def is_droid(path: Path) -> bool:
    """Whether a folder holds this layout."""
    return any(path.rglob("trajectory.h5"))


def read_droid(path: Path, camera: str = "ext1", tolerance: float = TOLERANCE) -> list[Episode]:
    """Read all episodes below a folder.

    Args:
        path: the folder.
        camera: ``ext1``, ``ext2`` or ``wrist``: whose film to take.
        tolerance: seconds that a state may be away from every frame; see ``pair``.

    Raises:
        WildlamError: one is malformed, naming the file and what is wrong; or h5py is not installed.
    """
    files = {str(file.parent.relative_to(path)): file for file in sorted(path.rglob("trajectory.h5"))}
    splits = splits_of(files)
    found, paired = [], {}
    for name, file in files.items():
        try:
            with opened_hdf5(file) as data:
                for key in ("cartesian_position", "gripper_position"):
                    if f"{STATE}/{key}" not in data:
                        raise WildlamError(f"{file}: there is no {STATE}/{key}")
                arm = np.asarray(data[f"{STATE}/cartesian_position"], dtype=np.float64)
                gripper = np.asarray(data[f"{STATE}/gripper_position"], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise WildlamError(f"{file}: its states must be numbers ({error})") from error
        if arm.ndim != 2 or arm.shape[1] != 6 or gripper.shape not in ((len(arm),), (len(arm), 1)):
            raise WildlamError(
                f"{file}: cartesian_position {arm.shape} and gripper_position {gripper.shape} do not fit"
            )
        film_path, seen_by = _film(file.parent, camera)
        film = read_film(film_path)
        poses = np.column_stack([arm, gripper.reshape(-1)])
        times, frames = np.arange(len(poses)) / RATE, counted(film.times) / RATE
        surplus = round((frames[-1] - times[-1]) * RATE) if len(times) else 0
        if surplus > 0:
            problem = f"{film.path}: goes on for {surplus} frames after the last of the {len(times)} states of {name}"
            if surplus > tolerance * RATE:
                raise WildlamError(f"{problem}: it is another recording's, or not of one frame a state")
            log.warning("%s: its times and the number of states do not agree", problem)
        paired[name] = pairs = pair(times, frames, f"{film.path}, {name}", tolerance)
        times, poses = times[pairs.states], poses[pairs.states]
        frames_of = film.frames(pairs.frames)
        found.append(Episode(name, splits[name], times, poses, ARM, frames_of, film.path, camera=seen_by))
    report_pairs(path, paired)
    return found


def counted(times: np.ndarray) -> np.ndarray:
    """Places of frames ``[F]`` in the row of states, from when they are shown: 0, 1, 2, 4 where the fourth was lost.

    Each is counted from the one before, and of what it then is off (jitter) a tenth is forgotten, so that an error in
    the rate does not add up. A place such as 3.6 is that of a frame of which no one can be sure.
    """
    places, number, off = [], 0, 0.0
    for step in np.diff(times) / np.median(np.diff(times)) if len(times) > 1 else ():
        places.append(number + off)
        place = number + 0.9 * off + step
        number = max(round(place), number + 1)
        off = min(max(place - number, -0.5), 0.5)
    return np.array([*places, number + off])


def write_droid(path: Path, episodes: Sequence[Episode], size: int = 128) -> None:
    """Write episodes of an arm as DROID is released, ``LAB/success/SPLIT/NAME/``, 15 frames a second.

    Args:
        path: the folder.
        episodes: what to write, of 15 frames a second.
        size: side of the square pictures.

    Raises:
        WildlamError: they are of another kind or rate, or h5py is not installed.
    """
    check_kind(episodes, f"DROID holds {RATE:g} poses of an arm a second", ARM, RATE)
    for episode in episodes:
        name = episode.file_name
        folder = path / "WILDLAM" / "success" / episode.split / name
        folder.mkdir(parents=True, exist_ok=True)
        with h5py().File(folder / "trajectory.h5", "w") as data:
            data[f"{STATE}/cartesian_position"] = episode.poses[:, :6]
            data[f"{STATE}/gripper_position"] = episode.poses[:, 6]
        film = Path("recordings") / "MP4" / "0.mp4"
        metadata: dict[str, Any] = {"ext1_mp4_path": str(film)}
        if episode.camera:
            metadata["ext1_cam_extrinsics"] = episode.camera.extrinsics
            metadata["ext1_cam_field_of_view"] = episode.camera.field_of_view
        (folder / f"metadata_{name}.json").write_text(json.dumps(metadata))
        frames = episode.frames(range(len(episode.times)), size)
        write_mp4(folder / film, (frame.permute(1, 2, 0).numpy() for frame in frames), RATE)


def _film(folder: Path, camera: str) -> tuple[Path, Camera | None]:
    """The film that the metadata name, and its camera if they state all of it.

    It is looked for below the episode's folder; paths that lead out of that are refused.
    """
    files = sorted(folder.glob("metadata_*.json"))
    if not files:
        raise WildlamError(f"{folder}: there is no metadata_*.json")
    try:
        metadata = json.loads(files[0].read_text())
        named = metadata[f"{camera}_mp4_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise WildlamError(f"{files[0]}: there is no {camera}_mp4_path in it") from error
    film = folder / "recordings" / "MP4" / Path(str(named)).name
    if not film.is_file():
        raise WildlamError(f"{film}: there is no such film, which {files[0].name} names")
    if not {f"{camera}_cam_extrinsics", f"{camera}_cam_field_of_view"} <= metadata.keys():
        return film, None
    try:
        return film, Camera.of(metadata[f"{camera}_cam_extrinsics"], metadata[f"{camera}_cam_field_of_view"])
    except ValueError as error:
        raise WildlamError(f"{files[0]}: {error}") from error


FORMAT = Format(
    "droid",
    order=1,
    detects=is_droid,
    read=lambda path, tolerance, reading: read_droid(path, reading.camera or "ext1", tolerance),
    cameras=True,
    names_of_cameras=lambda path: ["ext1", "ext2", "wrist"],
    spaces=(ARM,),
    fps=RATE,
    write=write_droid,
    check=h5py,
    metres=True,
)
