from pathlib import Path

import numpy as np
import pytest
import torch

from wildlam.episodes.action_spaces import ARM, PLANAR
from wildlam.episodes.poses import actions_at, poses_path, read_poses, true_actions, write_poses
from wildlam.errors import WildlamError
from wildlam.types import StateBatch


def test_poses_survive_the_disk_and_stand_beside_the_video(tmp_path):
    poses = np.array([[0, 0, 90], [1, 2, 95], [3, 3, 100]], float)
    write_poses(tmp_path / "a walk.mp4", poses, fps=8)
    assert poses_path(Path("a walk.mp4")) == Path("a walk.poses.csv")
    space, found = read_poses(tmp_path / "a walk.mp4")
    assert space is PLANAR
    assert np.allclose(found[:, 0], [0, 0.125, 0.25])
    assert np.allclose(found[:, 1:], poses)


def test_actions_are_told_in_the_frame_of_the_pose_before():
    # Facing north: a step north is forward, a step west is left, whatever the axes say.
    poses = np.array([[0, 0, 0, 90], [1, 0, 5, 90], [2, -3, 5, 90], [3, -3, 5, 100]], float)
    actions = actions_at(PLANAR, poses, np.arange(4.0))
    assert np.allclose(actions, [[5, 0, 0], [0, 3, 0], [0, 0, 10]])


def test_actions_integrate_back_to_the_poses():
    rng = np.random.default_rng(0)
    poses = np.column_stack([np.arange(20.0), rng.normal(size=(20, 2)).cumsum(0), rng.normal(size=20).cumsum() * 30])
    x, y, heading = poses[0, 1:]
    for forward, left, turn in actions_at(PLANAR, poses, poses[:, 0]):
        angle = np.radians(heading)
        x += forward * np.cos(angle) - left * np.sin(angle)
        y += forward * np.sin(angle) + left * np.cos(angle)
        heading += turn
    assert np.allclose([x, y, heading], poses[-1, 1:])


def test_a_turn_through_north_is_small_and_moments_between_frames_are_interpolated():
    poses = np.array([[0, 0, 0, 359], [1, 0, 0, 1]], float)
    assert np.allclose(actions_at(PLANAR, poses, np.array([0, 0.5, 1.0]))[:, 2], [1, 1])


@pytest.mark.parametrize(
    "text",
    ["", "time,x,y\n0,0,0\n", "time,x,y,heading\n0,0,0,0\n", "time,x,y,heading\n0,0,nan,0\n1,0,0,0\n",
     "time,x,y,heading\n1,0,0,0\n0,0,0,0\n", "time,x,y,heading\n0,0,0,north\n"],
)  # fmt: skip
def test_malformed_poses_are_named(tmp_path, text):
    (tmp_path / "a.poses.csv").write_text(text)
    with pytest.raises(WildlamError, match=r"a\.poses\.csv"):
        read_poses(tmp_path / "a.mp4")


def test_poses_of_an_arm_are_told_from_those_of_a_camera(tmp_path):
    poses = np.random.default_rng(0).normal(size=(5, 7)) * 0.1
    write_poses(tmp_path / "arm.mp4", poses, fps=8, space=ARM)
    write_poses(tmp_path / "walk.mp4", np.zeros((5, 3)), fps=8)
    space, rows = read_poses(tmp_path / "arm.mp4")
    assert space is ARM
    assert np.allclose(rows[:, 1:], poses, atol=1e-6)
    assert np.allclose(actions_at(ARM, rows, rows[:, 0]), ARM.between(poses), atol=1e-5)
    clips = clips_of(["arm.mp4", "walk.mp4"], [[0, 0.25], [0, 0.25]])
    assert true_actions(clips, tmp_path, ARM)[1].tolist() == [True, False]
    assert true_actions(clips, tmp_path, ARM)[0].shape == (2, 1, 7)
    assert true_actions(clips, tmp_path)[1].tolist() == [False, True]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n", "\n  \n\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_blank_last_lines_and_marks_of_spreadsheets_are_passed_over(tmp_path, end, mark):
    (tmp_path / "a.poses.csv").write_text(
        f"{mark}time,x,y,heading\n0,1,2,3\n1,4,5,6{end}", encoding="utf-8", newline=""
    )
    np.testing.assert_array_equal(read_poses(tmp_path / "a.mp4")[1], [[0, 1, 2, 3], [1, 4, 5, 6]])


def test_clips_in_a_gap_of_poses_count_as_without(tmp_path, caplog):
    write_poses(tmp_path / "a.mp4", np.arange(60.0).reshape(20, 3), fps=8)
    file = tmp_path / "a.poses.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:9] + lines[14:]))  # none between 0.875 s and 1.625 s
    clips = clips_of(["a.mp4"] * 3, [[0.25, 0.5], [1.0, 1.25], [1.75, 2.0]])
    actions, known = true_actions(clips, tmp_path)
    assert known.tolist() == [True, False, True]
    assert actions.isfinite().all(dim=(1, 2)).tolist() == [True, False, True]
    assert "a.poses.csv: no pose for up to 0.38 s" in caplog.text


def test_missing_poses_are_named(tmp_path):
    with pytest.raises(WildlamError, match=r"a\.poses\.csv"):
        read_poses(tmp_path / "a.mp4")


def clips_of(names, times):
    return StateBatch(torch.empty(0), names, [], [], torch.tensor(times, dtype=torch.float64))


def test_true_actions_of_clips_with_and_without_poses(tmp_path):
    turning = np.column_stack([np.zeros((9, 2)), 10.0 * np.arange(9)])  # 80 degrees a second
    write_poses(tmp_path / "doom" / "a.mp4", turning, fps=8)
    walking = np.column_stack([np.arange(9.0), np.zeros((9, 2))])  # 8 lengths a second, facing along x
    write_poses(tmp_path / "doom" / "b.mp4", walking, fps=8)
    clips = clips_of(
        ["doom/a.mp4", "filmed/c.mp4", "doom/b.mp4", "doom/a.mp4"],
        [[0, 0.25, 0.5], [0, 0.25, 0.5], [0.1, 0.35, 0.6], [0.5, 0.75, 1.0]],
    )
    actions, known = true_actions(clips, tmp_path)
    assert known.tolist() == [True, False, True, True]
    assert actions.shape == (4, 2, 3)
    assert actions.dtype == torch.float32
    assert torch.allclose(actions[[0, 3]], torch.tensor([0.0, 0, 20]))
    assert torch.allclose(actions[2], torch.tensor([2.0, 0, 0]), atol=1e-4)
    assert actions[1].isnan().all()


def test_poses_that_end_before_their_video_are_named(tmp_path):
    write_poses(tmp_path / "a.mp4", np.zeros((9, 3)), fps=8)
    true_actions(clips_of(["a.mp4"], [[0.5, 1.1]]), tmp_path)  # rounding is let pass
    with pytest.raises(WildlamError, match=r"a\.poses\.csv: ends at 1\.00 s"):
        true_actions(clips_of(["a.mp4"], [[0.5, 1.5]]), tmp_path)
