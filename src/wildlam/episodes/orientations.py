"""Components of recorded states that are one orientation, whose change is a rotation and no difference of numbers.

Quaternions of both signs are one orientation, rotation vectors and Euler angles jump where they have gone round: their
numbers may differ most where the body has hardly turned.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wildlam.errors import WildlamError, option

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

KINDS = {"quaternion": 4, "wxyz": 4, "vector": 3, "euler": 3, "6d": 6, "6d_columns": 6}
"""Numbers of each kind: quaternions x, y, z, w, or with w first; rotation vectors, along the axis and as long as the
angle; Euler angles about the fixed axes x, y, z; and two rows of the matrix, or two columns, one behind the other."""
OFF = 0.1
"""By how much the length of what should be of length 1 may be another."""
_PARTS = re.compile(r"(.*?)[ _.]?(\d+|[xyzw])", re.IGNORECASE)
"""The name of what a component is of, and which it is."""
_TOLD = (
    (r"(.*[^a-z])?q|.*quat(ernion)?(_site)?", "quaternion", "xyzw"),
    (r".*quat(ernion)?(_site)?", "quaternion", "0123"),
    (r".*(axis_?angle|rot_?vec)", "vector", "xyz"),
    (r".*(axis_?angle|rot_?vec)", "vector", "012"),
    (r".*rot(ation)?_?6d", "6d", "012345"),
)
"""Names that tell an orientation, its kind, and its components in order."""


@dataclass(frozen=True)
class Orientation:
    """Components of states that are one orientation.

    Attributes:
        kind: of ``KINDS``.
        components: their names, in its order.
    """

    kind: str
    components: tuple[str, ...]

    @staticmethod
    def said(text: str, names: Sequence[str], where: str) -> Orientation:
        """What ``KIND=NAMES`` says of states with some names, by commas, or by the name before their numbers.

        Raises:
            WildlamError: there are no such, after ``where`` they are looked for, or too many or too few.
        """
        kind, _, said = text.partition("=")
        components = said.split(",")
        if said not in names and len(components) == 1:
            components = [name for name in names if re.fullmatch(rf"{re.escape(said)} \d+", name)] or components
        if unknown := [name for name in components if name not in names]:
            raise WildlamError(f"{where}: has no {', '.join(unknown)}; its states are {', '.join(names)}")
        if len(set(components)) != KINDS[kind]:
            raise WildlamError(
                f"{where}: {option('rotations')} {text} are {len(components)} numbers, {kind} takes {KINDS[kind]}; "
                "name as many, by commas"
            )
        return Orientation(kind, tuple(components))

    def __str__(self) -> str:
        return f"{self.kind}={','.join(self.components)}"

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the three components of its change."""
        if len(self.components) == 3:
            return self.components
        of = {found[1] for name in self.components if (found := _PARTS.fullmatch(name))} - {""}
        name = of.pop() if len(of) == 1 else self.components[0]
        return tuple(f"{name} {axis}" for axis in "xyz")

    def sound(self, values: np.ndarray) -> np.ndarray:
        """Which rows of numbers ``[T, n]`` are an orientation, ``bool [T]``."""
        finite = np.isfinite(values).all(axis=1)
        if len(self.components) == 3:
            return finite
        parts = np.split(values, 1 if len(self.components) == 4 else 2, axis=1)
        unit = [np.abs(np.linalg.norm(part, axis=1) - 1) < OFF for part in parts]
        upright = np.abs((parts[0] * parts[1]).sum(axis=1)) < OFF if len(parts) == 2 else finite
        return np.logical_and.reduce([finite, upright, *unit])

    def read(self, values: np.ndarray, full_turn: float) -> Rotation:
        """The rotations that rows of numbers ``[T, n]`` are, angles of a unit that a full turn tells; none where they
        are not ``sound``.
        """
        from scipy.spatial.transform import Rotation

        sound = self.sound(values)
        values = np.where(sound[:, None], values, 0.0)
        if self.kind in ("quaternion", "wxyz"):
            values[~sound, 3 if self.kind == "quaternion" else 0] = 1
            return Rotation.from_quat(values if self.kind == "quaternion" else values[:, [1, 2, 3, 0]])
        if self.kind in ("6d", "6d_columns"):
            values[~sound] = [1, 0, 0, 0, 1, 0]
            return Rotation.from_matrix(_matrices(values, columns=self.kind == "6d_columns"))
        radians = values * (2 * math.pi / full_turn)
        return Rotation.from_rotvec(radians) if self.kind == "vector" else Rotation.from_euler("xyz", radians)

    def turned(self, start: np.ndarray, turns: np.ndarray, full_turn: float) -> np.ndarray:
        """The numbers ``[T, n]`` that changes ``[T - 1, 3]`` lead through from ``start`` ``[n]`` on."""
        from scipy.spatial.transform import Rotation

        rotations = [self.read(start[None], full_turn)[0]]
        for turn in turns * (2 * math.pi / full_turn):
            rotations.append(Rotation.from_rotvec(turn) * rotations[-1])
        return self._written(Rotation.concatenate(rotations), full_turn, start)

    def _written(self, rotations: Rotation, full_turn: float, start: np.ndarray) -> np.ndarray:
        """The numbers ``[T, n]`` of rotations: the inverse of ``read``. Signs of quaternions go on from ``start``."""
        if self.kind in ("quaternion", "wxyz"):
            found = rotations.as_quat()
            found = found if self.kind == "quaternion" else found[:, [3, 0, 1, 2]]
            turned = (np.concatenate([start[None], found[:-1]]) * found).sum(axis=1) < 0
            return found * np.where(np.cumsum(turned) % 2, -1, 1)[:, None]
        if self.kind in ("6d", "6d_columns"):
            matrices = rotations.as_matrix()
            matrices = matrices.swapaxes(1, 2) if self.kind == "6d_columns" else matrices
            return matrices[:, :2].reshape(-1, 6)
        radians = rotations.as_rotvec() if self.kind == "vector" else rotations.as_euler("xyz")
        return radians * (full_turn / (2 * math.pi))


def orientations_in(names: Sequence[str]) -> tuple[Orientation, ...]:
    """Those that names of states tell: ``qx``, ``qy``, ``qz``, ``qw``; features called quat, rot6d or axis_angle.

    Three angles are told by no name: roll, pitch and yaw are what some sets call a rotation vector.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        if found := _PARTS.fullmatch(name):
            groups.setdefault(found[1], {})[found[2].lower()] = name
    return tuple(
        Orientation(kind, tuple(parts[part] for part in order))
        for of, parts in groups.items()
        for told, kind, order in _TOLD
        if re.fullmatch(told, of, re.IGNORECASE) and parts.keys() == set(order) and "," not in of
    )


def is_told(feature: str) -> bool:
    """Whether the name of a feature tells an orientation."""
    return any(re.fullmatch(told, feature, re.IGNORECASE) for told, *_ in _TOLD)


def _matrices(values: np.ndarray, columns: bool) -> np.ndarray:
    """Rotation matrices ``[T, 3, 3]`` by two rows, or columns, ``[T, 6]``, made upright to each other."""
    first = values[:, :3] / np.linalg.norm(values[:, :3], axis=1, keepdims=True)
    second = values[:, 3:] - (first * values[:, 3:]).sum(axis=1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=2 if columns else 1)
