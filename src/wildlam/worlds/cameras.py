"""Cameras that look at a robot from many sides, one drawn for each episode, as in DROID."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wildlam.episodes.camera import Camera
from wildlam.errors import WildlamError, option
from wildlam.types import Split

CAMERAS = ("fixed", "many")
"""One camera for all episodes, or one that is drawn for each."""
SIDES: dict[Split, Sequence[tuple[float, float]]] = {
    "train": ((-100.0, 15.0), (55.0, 100.0)),
    "held_out": ((20.0, 50.0),),
}
"""From which sides the room is seen, in degrees counter-clockwise from above; at 0 one looks the robot in the face.

Held-out cameras stand where none in training does, between such as do.
"""
HEIGHT = (12.0, 50.0)
"""Angle above the horizon from which the room is seen, degrees; from higher up the forearm hides the hand."""
DISTANCE = (0.8, 1.6)
"""Metres from the room's middle."""
LENS = (28.0, 65.0)
"""Field of view, degrees."""
BESIDE = 0.08
"""How far beside the room's middle a camera looks at most, metres along each axis."""
ROLL = 6.0
"""How far it is turned about where it looks at most, degrees."""
_EDGE = 0.95  # share of the picture that the room's corners stay in
_LEAST = 0.65  # share of the picture's side that the room spans at least, so that motion is seen


def check_cameras(cameras: str, there: Sequence[str] = CAMERAS) -> str:
    """Refuse a choice of cameras that is not there; gives it.

    Raises:
        WildlamError: naming what can be chosen.
    """
    if cameras not in there:
        raise WildlamError(f"{option('cameras')} must be {' or '.join(there)}, got {cameras}")
    return cameras


def looking(eye: np.ndarray, at: np.ndarray, field_of_view: float, roll: float = 0.0) -> Camera:
    """A camera that looks from one point at another, upright but for a ``roll`` in degrees."""
    from scipy.spatial.transform import Rotation

    forward = np.subtract(at, eye)
    right = np.cross(forward, (0, 0, 1))
    axes = np.stack([right, np.cross(forward, right), forward], axis=1)
    upright = Rotation.from_matrix(axes / np.linalg.norm(axes, axis=0))
    angles = (upright * Rotation.from_euler("z", roll, degrees=True)).as_euler("xyz")
    return Camera.of([*eye, *angles], field_of_view)


def draw_camera(rng: np.random.Generator, split: Split, room: np.ndarray) -> Camera:
    """Draw position, height, angle and lens of a camera that has all of a room in view, and large enough.

    Args:
        rng: the only source of randomness.
        split: whether the episode is one to train on; see ``SIDES``.
        room: two corners of the room that the hand stays in, ``[2, 3]``, metres.
    """
    corners = np.stack(np.meshgrid(*room.T), axis=-1).reshape(-1, 3)
    while True:
        at = room.mean(axis=0) + rng.uniform(-BESIDE, BESIDE, 3)
        side, height = np.radians([_side(rng, split), rng.uniform(*HEIGHT)])
        away = [math.cos(side) * math.cos(height), math.sin(side) * math.cos(height), math.sin(height)]
        eye = room.mean(axis=0) + rng.uniform(*DISTANCE) * np.array(away)
        camera = looking(eye, at, rng.uniform(*LENS), rng.uniform(-ROLL, ROLL))
        seen = camera.project(corners)
        if np.abs(seen).max() <= _EDGE and np.ptp(seen, axis=0).max() >= 2 * _LEAST:
            return camera


def _side(rng: np.random.Generator, split: Split) -> float:
    """A side, all as likely as others."""
    sides = np.array(SIDES[split])
    widths = sides[:, 1] - sides[:, 0]
    return float(rng.uniform(*sides[rng.choice(len(sides), p=widths / widths.sum())]))
