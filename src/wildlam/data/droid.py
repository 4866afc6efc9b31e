"""DROID as released: ``LAB/success|failure/DATE/DATETIME/`` with ``trajectory.h5``, ``metadata_*.json`` and mp4 files.

The state is ``observation/robot_state/cartesian_position`` ``(T, 6)`` (metres, xyz-Euler angles in radians) and
``gripper_position`` ``(T,)`` at 15 Hz. Actions are derived from states, not from the recorded commands. A film may be a
frame shorter than its trajectory: the shorter counts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wildlam.data.action_spaces import ARM
from wildlam.data.episodes import Episode, frames_at, splits_of
from wildlam.data.hdf5 import h5py
from wildlam.data.mp4 import write_mp4
from wildlam.data.video import probe
from wildlam.types import WildlamError

RATE = 15.0
"""Frames per second, whatever the film's header says."""
STATE = "observation/robot_state"


def is_droid(path: Path) -> bool:
    """Whether a folder holds this layout."""
    return any(path.rglob("trajectory.h5"))


def read_droid(path: Path, camera: str = "ext1") -> list[Episode]:
    """Read all episodes below a folder.

    Args:
        path: the folder.
        camera: ``ext1``, ``ext2`` or ``wrist``: whose film to take.

    Raises:
        WildlamError: one is malformed, naming the file and what is wrong; or h5py is not installed.
    """
    files = {str(file.parent.relative_to(path)): file for file in sorted(path.rglob("trajectory.h5"))}
    splits = splits_of(files)
    found = []
    for name, file in files.items():
        try:
            with h5py().File(file) as data:
                for key in ("cartesian_position", "gripper_position"):
                    if f"{STATE}/{key}" not in data:
                        raise WildlamError(f"{file}: there is no {STATE}/{key}")
                arm = np.asarray(data[f"{STATE}/cartesian_position"], dtype=np.float64)
                gripper = np.asarray(data[f"{STATE}/gripper_position"], dtype=np.float64)
        except OSError as error:
            raise WildlamError(f"{file}: not a whole HDF5 file ({error})") from error
        except (TypeError, ValueError) as error:
            raise WildlamError(f"{file}: its states must be numbers ({error})") from error
        if arm.ndim != 2 or arm.shape[1] != 6 or gripper.shape not in ((len(arm),), (len(arm), 1)):
            raise WildlamError(
                f"{file}: cartesian_position {arm.shape} and gripper_position {gripper.shape} do not fit"
            )
        film = _film(file.parent, camera)
        info = probe(film)
        length = min(len(arm), info.frames)
        poses = np.column_stack([arm, gripper.reshape(-1)])[:length]
        if length < 2 or not np.isfinite(poses).all():
            raise WildlamError(f"{file}: expected two or more frames with finite states, got {length}")
        # The film's header may tell another rate than that of the states.
        frames = frames_at(film, np.arange(info.frames) * info.duration / info.frames)
        found.append(Episode(name, splits[name], np.arange(length) / RATE, poses, ARM, frames, film))
    return found


def write_droid(path: Path, episodes: Sequence[Episode], size: int = 128) -> None:
    """Write episodes of an arm as DROID is released, ``LAB/success/SPLIT/NAME/``, 15 frames a second.

    Args:
        path: the folder.
        episodes: what to write, of 15 frames a second.
        size: side of the square pictures.

    Raises:
        WildlamError: they are of another kind or rate, or h5py is not installed.
    """
    for episode in episodes:
        if episode.space is not ARM or abs(episode.rate - RATE) > 0.01:
            raise WildlamError(f"DROID holds {RATE:g} poses of an arm a second; {episode.name} does not")
        name = episode.file_name
        folder = path / "WILDLAM" / "success" / episode.split / name
        folder.mkdir(parents=True, exist_ok=True)
        with h5py().File(folder / "trajectory.h5", "w") as data:
            data[f"{STATE}/cartesian_position"] = episode.poses[:, :6]
            data[f"{STATE}/gripper_position"] = episode.poses[:, 6]
        film = Path("recordings") / "MP4" / "0.mp4"
        (folder / f"metadata_{name}.json").write_text(json.dumps({"ext1_mp4_path": str(film)}))
        frames = episode.frames(range(len(episode.times)), size)
        write_mp4(folder / film, (frame.permute(1, 2, 0).numpy() for frame in frames), RATE)


def _film(folder: Path, camera: str) -> Path:
    """The film that the metadata name, looked for below the episode's folder; paths that lead out of it are refused."""
    metadata = sorted(folder.glob("metadata_*.json"))
    if not metadata:
        raise WildlamError(f"{folder}: there is no metadata_*.json")
    try:
        told = json.loads(metadata[0].read_text())[f"{camera}_mp4_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise WildlamError(f"{metadata[0]}: there is no {camera}_mp4_path in it") from error
    film = folder / "recordings" / "MP4" / Path(str(told)).name
    if not film.is_file():
        raise WildlamError(f"{film}: there is no such film, which {metadata[0].name} names")
    return film
