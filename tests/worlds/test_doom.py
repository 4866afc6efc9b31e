import numpy as np
import pytest

from wildlam.errors import WildlamError
from wildlam.worlds import DoomNav

vizdoom = pytest.importorskip("vizdoom")


def test_nothing_is_left_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with DoomNav("garden", size=64) as world:
        world.reset(0)
    assert not list(tmp_path.iterdir())


def test_nodes_that_took_long_are_not_left_there_either(tmp_path, monkeypatch):
    class Slow(vizdoom.DoomGame):
        """An engine to which building a level's nodes always takes long, so that it may want to keep them."""

        def add_game_args(self, args):
            super().add_game_args(f"{args} +gl_cachetime 0")

    monkeypatch.setattr(vizdoom, "DoomGame", Slow)
    monkeypatch.chdir(tmp_path)
    with DoomNav("e2m9", size=32) as world:
        world.reset(0)
    assert not list(tmp_path.iterdir())


def test_pose_follows_the_action():
    with DoomNav("map04", size=64) as world:
        frame = world.reset(0)
        assert frame.shape == (64, 64, 3)
        assert frame.dtype == np.uint8

        start = world.pose
        for _ in range(3):
            world.step((0, 0, 5))
        assert world.pose[2] == pytest.approx(start[2] - 15, abs=0.1)  # clockwise lowers the heading
        assert np.allclose(world.pose[:2], start[:2])

        for action, sideways in (((20, 0, 0), 0.0), ((0, 20, 0), -90.0)):
            world.reset(0)
            before = world.pose
            for _ in range(4):
                world.step(action)
            moved = world.pose[:2] - before[:2]
            direction = np.degrees(np.arctan2(moved[1], moved[0]))
            assert (direction - before[2] - sideways + 180) % 360 - 180 == pytest.approx(0, abs=1)
            assert np.hypot(*moved) > 30


@pytest.mark.parametrize("kwargs", [{"level": "E9M9"}, {"level": "maze", "size": 63}, {"level": "maze", "size": 1024}])
def test_impossible_worlds_are_refused(kwargs):
    with pytest.raises(WildlamError):
        DoomNav(**kwargs)


def test_what_is_clear_shrinks_as_one_walks_towards_a_wall():
    with DoomNav("map01", size=32, sees=True) as world:
        world.reset(3)
        ahead, x = [], []
        for _ in range(32):
            world.skip((20.0, 0.0, 0.0))
            ahead.append(world.clear[1])
            x.append(world.pose[0])
    gone, nearer = x[-1] - x[-6], ahead[-6] - ahead[-1]
    assert gone > 100
    assert nearer == pytest.approx(gone, rel=0.15)  # the units agree
