"""A camera beside its film: where points are seen, and what is written and read."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildlam.episodes.camera import Camera, camera_path, read_camera, write_camera
from wildlam.errors import WildlamError

# At the origin, looking along x, its right is -y and its down is -z.
AHEAD = Camera((0.0, 0.0, 0.0), (-np.pi / 2, 0.0, -np.pi / 2), 90.0)


def test_points_are_seen_where_they_are():
    assert np.allclose(AHEAD.axes.T, [[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    seen = AHEAD.project(np.array([[2.0, 0, 0], [2.0, -2, 0], [2.0, 0, -1], [4.0, 0, -1]]))
    assert np.allclose(seen, [[0, 0], [1, 0], [0, 0.5], [0, 0.25]])
    near = Camera((1.0, 0.0, 0.0), AHEAD.angles, 2 * np.degrees(np.arctan(0.5)))
    assert np.allclose(near.project(np.array([2.0, -0.5, 0])), [1, 0])


def test_extrinsics_turn_what_the_camera_sees_into_what_the_robot_knows():
    """As those of DROID do: rotation and position of the camera's frame in that of the base."""
    camera = Camera((0.3, -0.2, 1.0), (0.4, -0.1, 2.0), 50.0)
    numbers = np.array(camera.extrinsics)
    seen = np.array([0.1, 0.2, 0.9])
    point = Rotation.from_euler("xyz", numbers[3:]).apply(seen) + numbers[:3]
    assert np.allclose(camera.project(point), seen[:2] / (seen[2] * np.tan(np.radians(25))))


def test_what_is_written_is_read_again(tmp_path):
    film = tmp_path / "train" / "film.mp4"
    write_camera(film, AHEAD)
    assert read_camera(film) == AHEAD
    assert read_camera(tmp_path / "other.mp4") is None


@pytest.mark.parametrize(
    "broken",
    [
        {"position": [0, 0, 0], "angles": [0, 0, 0]},
        {"position": [0, 0, 0], "angles": [0, 0], "field_of_view": 40},
        {"position": [0, 0, "x"], "angles": [0, 0, 0], "field_of_view": 40},
        {"position": [0, 0, 0], "angles": None, "field_of_view": 40},
        {"position": [0, 0, float("nan")], "angles": [0, 0, 0], "field_of_view": 40},
        {"position": [0, 0, 0], "angles": [0, 0, 0], "field_of_view": 180},
        {"position": [0, 0, 0], "angles": [0, 0, 0], "field_of_view": None},
    ],
)
def test_a_broken_camera_names_its_file(tmp_path, broken):
    camera_path(tmp_path / "film.mp4").write_text(json.dumps(broken))
    with pytest.raises(WildlamError, match=r"film\.camera\.json: no camera .*film it again"):
        read_camera(tmp_path / "film.mp4")
