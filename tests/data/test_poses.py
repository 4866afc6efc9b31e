from pathlib import Path

import numpy as np
import pytest

from wildlam.data.poses import planar_actions, poses_path, read_poses, write_poses
from wildlam.types import WildlamError


def test_poses_survive_the_disk_and_stand_beside_the_video(tmp_path):
    poses = np.array([[0, 0, 90], [1, 2, 95], [3, 3, 100]], float)
    write_poses(tmp_path / "a walk.mp4", poses, fps=8)
    assert poses_path(Path("a walk.mp4")) == Path("a walk.poses.csv")
    found = read_poses(tmp_path / "a walk.mp4")
    assert np.allclose(found[:, 0], [0, 0.125, 0.25])
    assert np.allclose(found[:, 1:], poses)


def test_actions_are_told_in_the_frame_of_the_pose_before():
    # Facing north: a step north is forward, a step west is left, whatever the axes say.
    poses = np.array([[0, 0, 0, 90], [1, 0, 5, 90], [2, -3, 5, 90], [3, -3, 5, 100]], float)
    actions = planar_actions(poses, np.arange(4.0))
    assert np.allclose(actions, [[5, 0, 0], [0, 3, 0], [0, 0, 10]])


def test_actions_integrate_back_to_the_poses():
    rng = np.random.default_rng(0)
    poses = np.column_stack([np.arange(20.0), rng.normal(size=(20, 2)).cumsum(0), rng.normal(size=20).cumsum() * 30])
    x, y, heading = poses[0, 1:]
    for forward, left, turn in planar_actions(poses, poses[:, 0]):
        angle = np.radians(heading)
        x += forward * np.cos(angle) - left * np.sin(angle)
        y += forward * np.sin(angle) + left * np.cos(angle)
        heading += turn
    assert np.allclose([x, y, heading], poses[-1, 1:])


def test_a_turn_through_north_is_small_and_moments_between_frames_are_interpolated():
    poses = np.array([[0, 0, 0, 359], [1, 0, 0, 1]], float)
    assert np.allclose(planar_actions(poses, np.array([0, 0.5, 1.0]))[:, 2], [1, 1])


@pytest.mark.parametrize(
    "text",
    ["", "time,x,y\n0,0,0\n", "time,x,y,heading\n0,0,0,0\n", "time,x,y,heading\n0,0,nan,0\n1,0,0,0\n",
     "time,x,y,heading\n1,0,0,0\n0,0,0,0\n", "time,x,y,heading\n0,0,0,north\n"],
)  # fmt: skip
def test_malformed_poses_are_named(tmp_path, text):
    (tmp_path / "a.poses.csv").write_text(text)
    with pytest.raises(WildlamError, match=r"a\.poses\.csv"):
        read_poses(tmp_path / "a.mp4")


def test_missing_poses_are_named(tmp_path):
    with pytest.raises(WildlamError, match=r"a\.poses\.csv"):
        read_poses(tmp_path / "a.mp4")
