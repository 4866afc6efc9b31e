"""The navigation world behind gymnasium's API."""

import numpy as np
import pytest

from wildlam.episodes.action_spaces import PLANAR

pytest.importorskip("vizdoom")

from gymnasium.utils.env_checker import check_env

from wildlam.worlds.nav import DoomWalk


@pytest.fixture(scope="module")
def nav():
    with DoomWalk("arena", size=32) as world:
        yield world


def test_it_keeps_gymnasiums_contract(nav):
    check_env(nav, skip_render_check=True)


def test_a_seed_decides_where_it_begins(nav):
    one, info = nav.reset(seed=3)
    again, same = nav.reset(seed=3)
    assert np.array_equal(one, again)
    assert np.array_equal(info["pose"], same["pose"])


def test_turns_are_exact_and_walking_comes_near(nav):
    """Inertia makes the first step short; kept up, a step is what was asked for."""
    nav.reset(seed=0)
    poses = [nav.pose]
    for _ in range(3):
        nav.step(np.array([0, 0, 10.0]))
        poses.append(nav.pose)
    assert PLANAR.between(np.stack(poses))[:, 2] == pytest.approx([10, 10, 10], abs=0.1)
    start = nav.pose
    for heading in range(0, 360, 30):  # until one is found in which nothing is in the way
        nav.reset(seed=0)
        for _ in range(heading // 10):
            nav.step(np.array([0, 0, 10.0]))
        for _ in range(4):  # an episode may begin in the middle of a walk
            nav.step(np.zeros(3))
        poses = [nav.pose]
        for _ in range(6):
            nav.step(np.array([20.0, 0, 0]))
            poses.append(nav.pose)
        forward = PLANAR.between(np.stack(poses))[:, 0]
        if forward[-1] > 10:
            break
    assert forward[-1] == pytest.approx(20, rel=0.1)
    assert forward[0] < forward[-1]
    assert not np.allclose(start, nav.pose)
