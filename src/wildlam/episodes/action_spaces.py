"""Real actions derived from recorded poses: what happened between two moments, in documented units.

All definitions are exact inverses: integrated from the first pose, the actions give the recorded poses again, of the
body that acts. Other actions, such as commands, are those of ``vectors``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class ActionSpace:
    """A kind of action, a vector a step; two are equal if they mean the same.

    Attributes:
        name: name shown to people.
        pose_names: names of what is recorded of the body at each frame.
        action_names: names of an action's components.
        position: how many of the first components of an action are a displacement.
        said: names and units that the user has said, of commands or states.
    """

    name: str
    pose_names: tuple[str, ...]
    action_names: tuple[str, ...]
    position: int
    said: tuple[tuple[str, str], ...] = field(default=(), compare=False, kw_only=True)

    @property
    def zero_stays(self) -> bool:
        """Whether an action of zeros is to stay where one is, so that actions in a row add up."""
        return True

    @property
    def units(self) -> dict[str, str]:
        """Units of an action's components, by name, where they are known."""
        return {}

    def with_unit(self, component: str) -> str:
        """A component of an action with its unit, if that is known."""
        unit = self.units.get(component)
        return f"{component} ({unit})" if unit else component


@dataclass(frozen=True)
class PoseSpace(ActionSpace, ABC):
    """A kind of pose and the action between two of them.

    Attributes:
        angles: components of a pose that are angles.
        full_turn: a turn in their unit.
    """

    angles: tuple[str, ...]
    full_turn: float

    @abstractmethod
    def between(self, poses: np.ndarray) -> np.ndarray:
        """Actions ``float64 [T - 1, A]`` between the poses ``[T, P]``."""

    @abstractmethod
    def integrate(self, start: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Poses ``[T, P]`` that the actions ``[T - 1, A]`` lead through from the pose ``start`` on."""


class Planar(PoseSpace):
    """A camera that drives on the ground (RECON, Doom): pose (x, y, heading), heading in degrees counter-clockwise.

    Action: displacement along and across the heading before it, and the turn, in (-180, 180] degrees.
    """

    def between(self, poses: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``."""
        heading = np.radians(poses[:-1, 2])
        dx, dy = np.diff(poses[:, 0]), np.diff(poses[:, 1])
        forward = np.cos(heading) * dx + np.sin(heading) * dy
        left = np.cos(heading) * dy - np.sin(heading) * dx
        return np.column_stack([forward, left, 180 - (180 - np.diff(poses[:, 2])) % 360])

    @property
    def units(self) -> dict[str, str]:
        """See ``ActionSpace``; that of a length is the data set's own."""
        return {"turn": "degrees"}

    def integrate(self, start: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``; headings go on beyond 360 degrees."""
        headings = start[2] + np.concatenate([[0.0], np.cumsum(actions[:, 2])])
        angle = np.radians(headings[:-1])
        dx = np.cos(angle) * actions[:, 0] - np.sin(angle) * actions[:, 1]
        dy = np.sin(angle) * actions[:, 0] + np.cos(angle) * actions[:, 1]
        x, y = (s + np.concatenate([[0.0], np.cumsum(d)]) for s, d in ((start[0], dx), (start[1], dy)))
        return np.column_stack([x, y, headings])


class Arm(PoseSpace):
    """A robot's end effector (DROID): pose (x, y, z in metres, xyz-Euler angles in radians, gripper).

    Action: displacement, xyz-Euler angles of ``R_{t+1} R_t^T``, and change of the gripper.
    """

    def between(self, poses: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``."""
        from scipy.spatial.transform import Rotation

        rotation = Rotation.from_euler("xyz", poses[:, 3:6])
        turned = (rotation[1:] * rotation[:-1].inv()).as_euler("xyz")
        return np.column_stack([np.diff(poses[:, :3], axis=0), turned, np.diff(poses[:, 6])])

    @property
    def units(self) -> dict[str, str]:
        """See ``ActionSpace``."""
        return dict.fromkeys(self.action_names[:3], "m") | dict.fromkeys(self.action_names[3:6], "rad")

    def integrate(self, start: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``; angles are those of the same rotations, perhaps written otherwise."""
        from scipy.spatial.transform import Rotation

        rotations = [Rotation.from_euler("xyz", start[3:6])]
        for turn in actions[:, 3:6]:
            rotations.append(Rotation.from_euler("xyz", turn) * rotations[-1])
        angles = np.stack([rotation.as_euler("xyz") for rotation in rotations])
        moved = start[:3] + np.concatenate([np.zeros((1, 3)), np.cumsum(actions[:, :3], axis=0)])
        gripper = start[6] + np.concatenate([[0.0], np.cumsum(actions[:, 6])])
        return np.column_stack([moved, angles, gripper])


class Mover(PoseSpace):
    """A thing that moves in front of a background: pose (x, y, angle), over the ground, in the picture's axes.

    x goes to the right and y down, in pixels; the angle is clockwise, in degrees. Action: displacement and turn, the
    turn in (-180, 180] degrees.
    """

    def between(self, poses: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``."""
        return np.column_stack([np.diff(poses[:, :2], axis=0), 180 - (180 - np.diff(poses[:, 2])) % 360])

    @property
    def units(self) -> dict[str, str]:
        """See ``ActionSpace``."""
        return {"right": "pixels", "down": "pixels", "spin": "degrees"}

    def integrate(self, start: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``; angles go on beyond 360 degrees."""
        return start + np.concatenate([np.zeros((1, 3)), np.cumsum(actions, axis=0)])


class Pusher(PoseSpace):
    """A disc that pushes a block over a table (PushT): pose (x, y, and x, y and angle of the block).

    x goes to the right and y down, in pixels; the angle is clockwise, in radians. Action: the disc's displacement. What
    the block does by it is up to the world, so that integrated actions leave it where it is.
    """

    def between(self, poses: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``."""
        return np.diff(poses[:, :2], axis=0)

    @property
    def units(self) -> dict[str, str]:
        """See ``ActionSpace``."""
        return dict.fromkeys(self.action_names, "pixels")

    def integrate(self, start: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``; of the disc."""
        way = np.repeat(start[None], len(actions) + 1, axis=0)
        way[1:, :2] += np.cumsum(actions, axis=0)
        return way


PLANAR = Planar("planar", ("x", "y", "heading"), ("forward", "left", "turn"), 2, ("heading",), 360.0)
ARM = Arm(
    "arm",
    ("x", "y", "z", "roll", "pitch", "yaw", "gripper"),
    ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "dgripper"),
    3,
    ("roll", "pitch", "yaw"),
    2 * np.pi,
)
MOVER = Mover("mover", ("x", "y", "angle"), ("right", "down", "spin"), 2, ("angle",), 360.0)
PUSHER = Pusher(
    "pusher",
    ("x", "y", "block_x", "block_y", "block_angle"),
    ("right", "down"),
    2,
    ("block_angle",),
    2 * np.pi,
)
SPACES = {space.name: space for space in (PLANAR, ARM, MOVER, PUSHER)}
