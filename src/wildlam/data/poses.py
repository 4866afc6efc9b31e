"""True poses of a camera on the ground, beside some videos: never read in training, only to ask what z knows of them.

The poses of ``walk.mp4`` lie in ``walk.poses.csv``: a line ``time,x,y,heading``, then one per frame; seconds, any unit
of length, and degrees counter-clockwise from the x axis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wildlam.data.action_spaces import PLANAR
from wildlam.types import WildlamError

HEADER = "time,x,y,heading"
ACTIONS = PLANAR.action_names
"""The dimensions of a planar action: lengths along and across the heading before it, and degrees counter-clockwise."""


class TimedClips(Protocol):
    """Clips of videos: ``names`` relative to a folder, timestamps ``times`` ``[clips, T]`` in seconds."""

    names: list[str]
    times: Tensor


def poses_path(video: Path) -> Path:
    """Where the poses of a video lie, if it has any."""
    return video.with_suffix(".poses.csv")


def write_poses(video: Path, poses: np.ndarray, fps: float) -> None:
    """Write ``[frames, 3]`` poses (x, y, heading), of frames at ``k / fps`` seconds, beside their video."""
    times = np.arange(len(poses)) / fps
    path = poses_path(video)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.column_stack([times, poses]), "%.6f", delimiter=",", header=HEADER, comments="")


def read_poses(video: Path) -> np.ndarray:
    """Poses of a video, ``float64 [frames, 4]``: time, x, y, heading.

    Raises:
        WildlamError: they are missing or malformed, naming the file.
    """
    path = poses_path(video)
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
        rows = np.array([line.split(",") for line in lines], dtype=np.float64)
    except (OSError, ValueError) as error:
        raise WildlamError(f"cannot read the poses {path}: {error}") from error
    if head != HEADER or len(rows) < 2 or rows.shape[1] != 4 or not np.isfinite(rows).all():
        raise WildlamError(f"{path}: expected the line {HEADER!r} and then two or more rows of four finite numbers")
    if not (np.diff(rows[:, 0]) > 0).all():
        raise WildlamError(f"{path}: its times must rise from row to row")
    return rows


def planar_actions(poses: np.ndarray, times: np.ndarray) -> np.ndarray:
    """True actions between the moments ``times`` ``[T]``, ``float64 [T - 1, 3]`` in the order of ``ACTIONS``.

    The displacement is told in the frame of the pose before it. Between two frames a pose moves at constant speed.
    """
    heading = np.unwrap(poses[:, 3], period=360)  # so that north-by-a-hair does not pass through south
    at_times = [np.interp(times, poses[:, 0], values) for values in (poses[:, 1], poses[:, 2], heading)]
    return PLANAR.between(np.column_stack(at_times))


def true_actions(clips: TimedClips, root: Path) -> tuple[Tensor, Tensor]:
    """True planar actions between the states of clips, where poses lie beside their videos.

    Where a state is made of several frames, the moments are those of its first ones.

    Args:
        clips: clips of states.
        root: the folder that their names are relative to.

    Returns:
        Actions ``float32 [clips, T - 1, 3]`` in the order of ``ACTIONS``, NaN in clips without poses; and which clips
        have them, ``bool [clips]``.

    Raises:
        WildlamError: poses are malformed, or end before their video's clip does.
    """
    times = clips.times.double().numpy()
    actions = np.full((len(times), times.shape[1] - 1, len(ACTIONS)), np.nan, dtype=np.float32)
    poses = {name: read_poses(root / name) for name in set(clips.names) if poses_path(root / name).exists()}
    for i, name in enumerate(clips.names):
        if name in poses:
            moments = poses[name][:, 0]
            # Containers round timestamps, and a video may start a hair after zero: a frame more or less is let pass.
            if times[i, -1] > moments[-1] + np.diff(moments).max():
                raise WildlamError(
                    f"{poses_path(root / name)}: ends at {moments[-1]:.2f} s, a clip of its video at "
                    f"{times[i, -1]:.2f} s; write the poses of every frame, or delete the file"
                )
            actions[i] = planar_actions(poses[name], times[i])
    return torch.from_numpy(actions), torch.tensor([name in poses for name in clips.names], dtype=torch.bool)
