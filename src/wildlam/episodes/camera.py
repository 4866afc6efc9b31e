"""Where a camera that stands still was, and what it saw: kept beside each film whose camera was drawn for it.

The camera of ``film.mp4`` lies in ``film.camera.json``, an object of the attributes of ``Camera``. Position and angles
are in the frame that poses are in, the robot's base in DROID's way: whoever sees the picture alone knows neither.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wildlam.errors import WildlamError
from wildlam.fileio import read_json


@dataclass(frozen=True)
class Camera:
    """A camera at rest, without distortion.

    Attributes:
        position: x, y, z, in metres.
        angles: xyz-Euler angles, radians, of the rotation from the camera's axes (right, down, forward) to the frame
            of the poses.
        field_of_view: angle between the upper and the lower edge of the picture, degrees.
    """

    position: tuple[float, float, float]
    angles: tuple[float, float, float]
    field_of_view: float

    @classmethod
    def of(cls, extrinsics: Any, field_of_view: Any) -> Camera:
        """A camera from DROID's six numbers, position and angles, and its field of view.

        Raises:
            ValueError: these are not six finite numbers, and one between 0 and 180.
        """
        try:
            numbers = [float(number) for number in extrinsics]
            angle = float(field_of_view)
        except TypeError as error:
            raise ValueError(f"a camera is six numbers and its field of view ({error})") from error
        if len(numbers) != 6 or not all(map(math.isfinite, numbers)) or not 0 < angle < 180:
            raise ValueError(
                f"a camera is six numbers and a field of view of 0 to 180 degrees, got {extrinsics} and {field_of_view}"
            )
        x, y, z, roll, pitch, yaw = numbers
        return cls((x, y, z), (roll, pitch, yaw), angle)

    @property
    def extrinsics(self) -> list[float]:
        """Position and angles, six numbers, as DROID has them."""
        return [*self.position, *self.angles]

    @property
    def axes(self) -> np.ndarray:
        """Right, down and forward in the frame of the poses, the columns of ``float64 [3, 3]``."""
        from scipy.spatial.transform import Rotation

        return Rotation.from_euler("xyz", self.angles).as_matrix()

    def project(self, points: np.ndarray) -> np.ndarray:
        """Where points ``[..., 3]`` before the camera are seen in a square picture, ``float64 [..., 2]``.

        To the right and down from the middle, in halves of the picture's side: what is in it lies between -1 and 1.
        """
        seen = (points - np.array(self.position)) @ self.axes
        return seen[..., :2] / (seen[..., 2:] * math.tan(math.radians(self.field_of_view) / 2))


def camera_path(video: Path) -> Path:
    """Where the camera of a film lies, if it has one of its own."""
    return video.with_suffix(".camera.json")


def write_camera(video: Path, camera: Camera) -> None:
    """Write a camera beside its film, in a folder that is made if need be."""
    path = camera_path(video)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(camera)) + "\n")


def read_camera(video: Path) -> Camera | None:
    """Read the camera beside a film; None if there is none.

    Raises:
        WildlamError: it is malformed, naming the file.
    """
    path = camera_path(video)
    if not path.exists():
        return None
    found = read_json(path)
    try:
        return Camera.of([*found["position"], *found["angles"]], found["field_of_view"])
    except (KeyError, TypeError, ValueError) as error:
        raise WildlamError(
            f"{path}: no camera ({error}); film it again: `wildlam collect arm --cameras many`"
        ) from error
