"""The arm: reset by seed, moved as told, filmed with its poses; skipped where MuJoCo is missing."""

from importlib.util import find_spec

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from wildlam.episodes.action_spaces import ARM
from wildlam.episodes.camera import camera_path, read_camera
from wildlam.episodes.poses import read_poses
from wildlam.errors import WildlamError
from wildlam.worlds import arm as arm_module
from wildlam.worlds import recorder
from wildlam.worlds.arm import FIXED, ROOM, STEP, FetchArm, Mover, collect_arm, drawing

pytestmark = pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")


@pytest.fixture(scope="module")
def arm():
    with FetchArm(size=32) as world:
        yield world


def test_it_keeps_gymnasiums_contract(arm):
    check_env(arm, skip_render_check=True)


def test_a_seed_decides_the_scene(arm):
    one, info = arm.reset(seed=3)
    lying = arm.objects
    again, same = arm.reset(seed=3)
    other, _ = arm.reset(seed=4)
    assert np.array_equal(one, again)
    assert np.array_equal(info["pose"], same["pose"])
    assert not np.array_equal(one, other)
    assert not np.allclose(lying, arm.objects)


@pytest.mark.parametrize("dimension", range(7))
def test_an_action_does_what_it_says(arm, dimension):
    """In the middle of the room, where nothing is in the way; one dimension at a time."""
    arm.reset(seed=0)
    for _ in range(20):
        pose = arm.pose
        away = np.concatenate([ROOM.mean(axis=0) + np.array([0, 0, 0.06]) - pose[:3], [0, 0, 0], [0.5 - pose[6]]])
        arm.move(away)
    action = np.zeros(7)
    action[dimension] = STEP[dimension] / 3
    before = arm.pose
    arm.move(action)
    done = ARM.between(np.stack([before, arm.pose]))[0]
    assert done[dimension] == pytest.approx(action[dimension], rel=0.1)
    assert np.abs(np.delete(done / STEP, dimension)).max() < 0.1


def test_the_hand_stays_in_the_room(arm):
    arm.reset(seed=1)
    for _ in range(30):
        arm.move(STEP)
    assert (arm.pose[:3] <= ROOM[1] + 0.01).all()


@pytest.mark.slow
def test_exploration_moves_turns_grips_and_rests(arm):
    arm.reset(seed=5)
    mover, poses = Mover(np.random.default_rng(0)), [arm.pose]
    for _ in range(500):
        arm.move(mover.act(arm))
        poses.append(arm.pose)
    actions = ARM.between(np.stack(poses))
    assert (actions.std(axis=0) > 0.1 * STEP * (0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 1)).all()
    assert np.abs(actions[:, :3]).max() < STEP[0]
    still = np.linalg.norm(actions[:, :3], axis=1) < 0.004
    assert 0.02 < still.mean() < 0.5


def test_films_have_poses_and_are_the_same_again(tmp_path, bars):
    made = bars(recorder)
    few = {"episodes": 2, "seconds": 1, "size": 64, "progress": False, "distractors": 1.0}
    films = collect_arm(tmp_path / "a", **few)
    assert ["/".join(film.parts[-2:]) for film in films] == ["train/arm_0_0000.mp4", "held_out/arm_0_0001.mp4"]
    space, rows = read_poses(films[0])
    assert space is ARM
    assert rows.shape == (8, 8)
    assert made[0].n == made[0].total == 2 * 8
    assert set(made[0].steps[:4]) <= {0, 1}
    for film, again in zip(films, collect_arm(tmp_path / "b", **few), strict=True):
        assert film.read_bytes() == again.read_bytes()
    with pytest.raises(WildlamError, match="at least one episode"):
        collect_arm(tmp_path / "c", episodes=0, seconds=1)


def test_the_fixed_camera_is_that_of_former_films(arm):
    """Its numbers as they were before there were others: what is drawn from, in the precision of drawing."""
    arm.reset(seed=0)
    placed = arm._data.camera("watching")
    assert np.array_equal(placed.xpos, [2.05, 0.35, 1.0])
    assert arm._model.camera("watching").fovy == 40
    _, up, back = placed.xmat.reshape(3, 3).T.astype(np.float32)
    former = [-0.39917752146720886, 0.20470641553401947, 0.8937296271324158]
    assert np.array_equal(up, np.array(former, np.float32))
    former = [0.7952561974525452, -0.40782368183135986, 0.44860607385635376]
    assert np.array_equal(back, np.array(former, np.float32))


def test_points_are_drawn_where_the_camera_says():
    """Where a red box is said to be, it is red, unless the hand is before it; beside that it is not."""

    def redness(picture, place):
        column, row = ((place + 1) / 2 * len(picture)).astype(int)
        seen = picture[row - 2 : row + 3, column - 2 : column + 3].astype(int)
        return (seen[..., 0] - seen[..., 1:].max(axis=-1)).max()

    with FetchArm(size=64, draw=drawing("many", "train")) as world:
        there, beside = [], []
        for seed in range(6):
            picture, _ = world.reset(seed=seed)
            place = world.camera.project(world.objects[0])
            there.append(redness(picture, place) > 60)
            beside.append(redness(picture, place - 0.3 * np.sign(place)) > 60)
    assert sum(there) >= 5
    assert not any(beside)


def test_a_seed_decides_the_camera_and_all_else_is_as_with_the_fixed_one(arm):
    with FetchArm(size=32, draw=drawing("many", "held_out")) as world:
        first, _ = world.reset(seed=3)
        camera, poses = world.camera, []
        for one in (world, arm):
            one.reset(seed=3)
            mover = Mover(np.random.default_rng(0))
            for _ in range(6):
                one.move(mover.act(one))
            poses.append(one.pose)
        assert np.array_equal(*poses)
        assert arm.camera == FIXED != camera == world.camera
        again, _ = world.reset(seed=3)
        assert np.array_equal(first, again)
        world.reset(seed=4)
        assert world.camera != camera
        world.camera = FIXED
        arm.reset(seed=4)
        assert np.array_equal(world.frame, arm.frame)


@pytest.mark.slow
def test_films_of_many_cameras_lie_beside_them_and_go_on_where_they_were(tmp_path, monkeypatch):
    few = {"seconds": 1, "size": 64, "progress": False}
    fixed = collect_arm(tmp_path / "fixed", episodes=2, **few)
    assert not any(camera_path(film).exists() for film in fixed)
    films = collect_arm(tmp_path / "many", episodes=2, cameras="many", **few)
    cameras = [read_camera(film) for film in films]
    assert None not in cameras
    assert cameras[0] != cameras[1]
    for film, other in zip(films, fixed, strict=True):
        assert np.array_equal(read_poses(film)[1], read_poses(other)[1])  # the same, seen from elsewhere
        assert film.read_bytes() != other.read_bytes()
    whole, kept = films[0].read_bytes(), films[1].stat().st_mtime_ns
    camera_path(films[0]).unlink()
    assert collect_arm(tmp_path / "many", episodes=2, cameras="many", **few) == films
    assert read_camera(films[0]) == cameras[0]
    assert (films[0].read_bytes(), films[1].stat().st_mtime_ns) == (whole, kept)
    monkeypatch.setattr(arm_module, "FetchArm", lambda *_: pytest.fail("filmed again"))
    collect_arm(tmp_path / "many", episodes=2, cameras="many", **few)
    with pytest.raises(WildlamError, match=r"^cameras must be fixed or many, got two"):
        collect_arm(tmp_path / "none", episodes=2, cameras="two", **few)


def test_a_missing_simulator_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "mujoco", None)
    with pytest.raises(WildlamError, match=r"pip install 'wildlam\[worlds\]' and, on Debian, apt-get install libegl1"):
        collect_arm(tmp_path, episodes=1, seconds=1)
