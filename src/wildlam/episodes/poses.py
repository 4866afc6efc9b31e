"""True poses of some videos, in files next to them: never read in training, only in evaluations and to act.

The poses of ``walk.mp4`` lie in ``walk.poses.csv``: a line that names the columns, then one per frame. Of a camera on
the ground they are ``time,x,y,heading`` (seconds, any unit of length, degrees counter-clockwise from the x axis), of an
arm ``time,x,y,z,roll,pitch,yaw,gripper`` (metres, radians, opening of 0 to 1), of a thing that moves in front of a
background ``time,x,y,angle`` (pixels to the right and down, degrees clockwise), of a disc that pushes a block
``time,x,y,block_x,block_y,block_angle`` (pixels to the right and down, radians clockwise).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.action_spaces import PLANAR, SPACES, PoseSpace
from wildlam.episodes.pairing import nearest_to
from wildlam.errors import WildlamError
from wildlam.fileio import check_fetched
from wildlam.video.files import AnyFile

log = logging.getLogger(__name__)


class TimedClips(Protocol):
    """Clips of videos: ``names`` relative to a folder, timestamps ``times`` ``[clips, T]`` in seconds."""

    names: list[str]
    times: Tensor


def poses_path(video: Path) -> Path:
    """Path of the poses of a video, if it has any."""
    return video.with_suffix(".poses.csv")


def has_poses(video: AnyFile) -> bool:
    """Whether a video has poses; only local files have some."""
    return isinstance(video, Path) and poses_path(video).exists()


def write_poses(video: Path, poses: np.ndarray, fps: float, space: PoseSpace = PLANAR) -> None:
    """Write poses ``[frames, P]``, of frames at ``k / fps`` seconds, next to their video."""
    times = np.arange(len(poses)) / fps
    path = poses_path(video)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.column_stack([times, poses]), "%.6f", delimiter=",", header=_header(space), comments="")


def read_poses(video: Path) -> tuple[PoseSpace, np.ndarray]:
    """Poses of a video: what they are, and ``float64 [frames, 1 + P]``, the time before them.

    Raises:
        WildlamError: they are missing or malformed, naming the file.
    """
    path = poses_path(video)
    check_fetched(path)
    try:
        head, *lines = path.read_text(encoding="utf-8-sig").splitlines() or [""]  # spreadsheets write the mark
        spaces = {_header(space): space for space in SPACES.values()}
        if head not in spaces:
            raise WildlamError(f"{path}: expected the line {' or '.join(map(repr, spaces))}, got {head[:80]!r}")
        rows = np.array([line.split(",") for line in lines if line.strip()], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise WildlamError(f"cannot read the poses {path}: {error}") from error
    columns = head.count(",") + 1
    if len(rows) < 2 or rows.shape[1:] != (columns,) or not np.isfinite(rows).all():
        raise WildlamError(f"{path}: expected two or more rows of {columns} finite numbers below {head!r}")
    if not (np.diff(rows[:, 0]) > 0).all():
        raise WildlamError(f"{path}: its times must rise from row to row")
    return spaces[head], rows


def check_reach(video: Path, moments: np.ndarray, end: float, what: str = "its video") -> None:
    """Refuse poses that end before what they are of does.

    Args:
        video: path of the video that they belong to.
        moments: moments of the poses, seconds ``[F]``.
        end: end of ``what``, seconds.
        what: they are of.

    Raises:
        WildlamError: they do, by more than a frame: containers round timestamps, and a video may begin a hair late.
    """
    if end > moments[-1] + np.diff(moments).max():
        raise WildlamError(
            f"{poses_path(video)}: ends at {moments[-1]:.2f} s, {what} at {end:.2f} s; write the poses of every frame, "
            "or delete the file"
        )


def _header(space: PoseSpace) -> str:
    return ",".join(["time", *space.pose_names])


def actions_at(space: PoseSpace, poses: np.ndarray, times: np.ndarray) -> np.ndarray:
    """True actions ``float64 [T - 1, A]`` between the moments ``times`` ``[T]``, of rows as ``read_poses`` gives them.

    Between two rows a pose moves at constant speed.
    """
    turning = [column in space.angles for column in space.pose_names]
    columns = [
        np.unwrap(values, period=space.full_turn) if turns else values  # or a half turn would pass through zero
        for turns, values in zip(turning, poses[:, 1:].T, strict=True)
    ]
    return space.between(np.column_stack([np.interp(times, poses[:, 0], values) for values in columns]))


def true_actions(clips: TimedClips, root: Path, space: PoseSpace = PLANAR) -> tuple[Tensor, Tensor]:
    """True actions between the states of clips, where their videos have poses of a kind.

    Where a state is made of several frames, the moments are those of its first ones.

    Args:
        clips: clips of states.
        root: the folder that their names are relative to.
        space: the kind of action.

    Returns:
        Actions ``float32 [clips, T - 1, A]``, NaN in clips without such poses, or with a gap in them; and which clips
        have them, ``bool [clips]``.

    Raises:
        WildlamError: poses are malformed, or end before their video's clip does.
    """
    times = clips.times.double().numpy()
    actions = np.full((len(times), times.shape[1] - 1, len(space.action_names)), np.nan, dtype=np.float32)
    found = {name: read_poses(root / name) for name in set(clips.names) if has_poses(root / name)}
    poses = {name: rows for name, (kind, rows) in found.items() if kind is space}
    known = np.array([name in poses for name in clips.names], dtype=bool)
    gaps: dict[str, float] = {}
    for i in np.flatnonzero(known):
        rows = poses[clips.names[i]]
        check_reach(root / clips.names[i], rows[:, 0], float(times[i, -1]), "a clip of its video")
        far = float(nearest_to(times[i], rows[:, 0])[1].max())
        if far > np.median(np.diff(rows[:, 0])) * (1 + 1e-6):
            known[i], gaps[clips.names[i]] = False, max(far, gaps.get(clips.names[i], 0.0))
        else:
            actions[i] = actions_at(space, rows, times[i])
    for name, far in gaps.items():
        log.warning("%s: no pose for up to %.2f s; the clips there count as without", poses_path(root / name), far)
    return torch.from_numpy(actions), torch.from_numpy(known)
