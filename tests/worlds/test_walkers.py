import os
import signal
from pathlib import Path

import av
import numpy as np
import pytest

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.poses import poses_path, read_poses
from wildlam.errors import WildlamError
from wildlam.video.mp4 import write_mp4
from wildlam.worlds import LEVELS, DoomNav, collect_doom, doom, recorder
from wildlam.worlds.doom import LevelLeft
from wildlam.worlds.walkers import Rover, Walker, begin_walk, walk

pytest.importorskip("vizdoom")
TINY = {"levels": ["maze"], "episodes": 2, "seconds": 1.5, "fps": 8.0, "size": 64, "progress": False}


def pixels(path: Path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    return collect_doom(tmp_path_factory.mktemp("doom"), **TINY)


def test_files_are_named_and_split(walks):
    assert ["/".join(path.parts[-2:]) for path in walks] == ["train/maze_0_000.mp4", "held_out/maze_0_001.mp4"]


def test_timestamps_are_exact(walks):
    with av.open(str(walks[0])) as file:
        times = [frame.time for frame in file.decode(video=0)]
    assert times == [k / 8 for k in range(12)]


def test_same_seed_same_pixels_other_seed_others(walks, tmp_path):
    again = collect_doom(tmp_path / "again", **TINY)
    other = collect_doom(tmp_path / "other", **TINY, seed=1)
    for a, b, c in zip(walks, again, other, strict=True):
        assert np.array_equal(pixels(a), pixels(b))
        assert not np.array_equal(pixels(a), pixels(c))
    assert not np.array_equal(pixels(walks[0]), pixels(walks[1]))


def test_resumes_over_missing_cut_off_and_unfit_files(walks, tmp_path):
    whole = walks[0].read_bytes()
    (tmp_path / "train").mkdir()
    (tmp_path / "held_out").mkdir()
    kept, cut = tmp_path / "train" / walks[0].name, tmp_path / "held_out" / walks[1].name
    kept.write_bytes(whole)
    cut.write_bytes(whole[: len(whole) // 2])
    poses_path(kept).write_bytes(poses_path(walks[0]).read_bytes())
    before = kept.stat().st_mtime_ns
    collect_doom(tmp_path, **TINY)
    assert kept.stat().st_mtime_ns == before
    assert cut.read_bytes() == walks[1].read_bytes()
    assert not list(tmp_path.rglob("*.part"))

    collect_doom(tmp_path, **{**TINY, "seconds": 1.0})
    assert len(pixels(kept)) == 8


def test_true_poses_stand_beside_each_film(walks, tmp_path):
    _, poses = read_poses(walks[0])
    assert np.allclose(poses[:, 0], np.arange(12) / 8, atol=1e-6)
    assert not np.allclose(poses[0, 1:], poses[-1, 1:])
    for path in collect_doom(tmp_path, **TINY):
        poses_path(path).unlink()
    assert all(poses_path(path).exists() for path in collect_doom(tmp_path, **TINY))


def test_an_interrupted_call_leaves_no_film(tmp_path, monkeypatch):
    def dies(self, pose, clear):
        raise RuntimeError("killed")

    monkeypatch.setattr(Walker, "act", dies)
    with pytest.raises(RuntimeError, match="killed"):
        collect_doom(tmp_path, **TINY)
    assert not list(tmp_path.rglob("*.mp4"))


def test_a_killed_writer_leaves_no_film(tmp_path):
    def frames():
        yield np.zeros((64, 64, 3), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mp4(tmp_path / "film.mp4", frames(), 8)
    assert not (tmp_path / "film.mp4").exists()


def test_a_walk_through_the_exit_is_begun_anew():
    class Leaky:
        tics, pose, resets, clear = 4, np.zeros(3), 0, None
        frame = np.zeros((8, 8, 3), np.uint8)

        def reset(self, seed):
            self.resets += 1
            self.steps = 0

        def step(self, action):
            self.steps += 1
            if self.resets == 1 and self.steps == 3:
                raise LevelLeft
            return self.frame

        skip = step

    world = Leaky()
    counted = []
    frames, poses = walk(world, np.random.default_rng(0), 10, count=counted.append)
    assert sum(counted) >= 9  # and those of a walk that is dropped
    assert len(frames) == len(poses) == 10
    assert world.resets == 2


def test_the_bar_counts_frames(tmp_path, bars):
    made = bars(recorder)
    collect_doom(tmp_path, **TINY)
    assert made[0].n == made[0].total == 2 * 12
    assert set(made[0].steps[:4]) <= {0, 1}


def test_missing_vizdoom_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "vizdoom", None)
    with pytest.raises(WildlamError, match=r"pip install 'wildlam\[worlds\]'"):
        collect_doom(tmp_path, **TINY)


def test_every_level_gets_its_share(tmp_path):
    small = {"seconds": 0.25, "size": 32, "progress": False}
    paths = collect_doom(tmp_path, levels=list(LEVELS)[:3], episodes=5, **small)
    assert [path.name.split("_")[0] for path in paths] == ["map04", "map04", "map09", "map09", "map15"]


def test_an_engine_that_stands_still_is_ended_and_another_one_films(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(doom, "PATIENCE", 1.0)
    stopped = []
    start = DoomNav.reset

    def reset(self, seed):
        if not stopped:  # as it happens by itself once in some hundred starts
            stopped.extend(self._engine._pids)
            os.kill(stopped[0], signal.SIGSTOP)
        return start(self, seed)

    monkeypatch.setattr(DoomNav, "reset", reset)
    (film, _) = collect_doom(tmp_path / "stopped", **TINY)
    assert "started again" in caplog.text
    assert not Path(f"/proc/{stopped[0]}").exists() or "Z" in Path(f"/proc/{stopped[0]}/stat").read_text().split()[2]
    (again, _) = collect_doom(tmp_path / "whole", **TINY)
    assert film.read_bytes() == again.read_bytes()


def test_a_teleporter_ends_a_walk(monkeypatch):
    with DoomNav("garden", size=32) as world:
        world.reset(0)
        where = world.pose
        monkeypatch.setattr(doom, "JUMP", 0.5)  # as if a step were one
        world.step((0.0, 0.0, 5.0))
        with pytest.raises(doom.LevelLeft):
            world.step((25.0, 0.0, 0.0))
        assert np.hypot(*(world.pose - where)[:2]) > 2


def drive(level, walker, walks=4, frames=60):
    """What was moved of what was asked for, and the poses of each walk."""
    rng, moved, asked, poses = np.random.default_rng(0), 0.0, 0.0, []
    with DoomNav(level, size=32, sees=walker.sees) as world:
        for _ in range(walks):
            who = begin_walk(world, rng, walker, turn=5.0)
            poses.append([world.pose])
            for _ in range(frames):
                action = who.act(world.pose, world.clear)
                world.skip(action)
                poses[-1].append(world.pose)
                moved += np.hypot(*(poses[-1][-1] - poses[-1][-2])[:2])
                asked += np.hypot(*action[:2]) / doom.SPEED * world.tics
    return moved / asked, [np.stack(of_walk) for of_walk in poses]


def test_who_sees_turns_away_from_walls():
    rover, _ = drive("map09", Rover)
    walker, _ = drive("map09", Walker)
    assert rover > 0.75
    assert walker < 0.6


def test_two_seconds_of_a_rover_are_told_by_one_motion():
    def errors(walker):
        """Of the mean motion of two seconds, done again and again, over that of staying; and the fastest turn."""
        _, poses = drive("map09", walker, walks=6, frames=96)
        steps = [PLANAR.between(of_walk[::2]).reshape(-1, 8, 3) for of_walk in poses]
        windows = np.concatenate(steps)
        left = np.linalg.norm((windows - windows.mean(axis=1, keepdims=True))[..., :2], axis=-1).mean()
        return left / np.linalg.norm(windows[..., :2], axis=-1).mean(), np.abs(windows[..., 2]).max()

    rover, most = errors(Rover)
    walker, _ = errors(Walker)
    assert rover < 0.7 * walker
    assert most < 10.1  # degrees in a quarter second


def test_a_rover_goes_through_levels_without_sight():
    rng = np.random.default_rng(0)
    rover, pose = Rover(rng, tics=4, turn=5.0), np.zeros(3)
    actions = np.stack([rover.act(pose + 10 * i, None) for i in range(64)])
    assert np.abs(actions[:, 0]).max() > 4


@pytest.mark.parametrize("tics", [4, 9])
def test_stretches_last_as_long_at_any_rate(tics):
    rng, lengths = np.random.default_rng(0), []
    who = Rover(rng, tics)
    for _ in range(300):
        who.frames_left = 0
        who._next_stretch()
        lengths.append((who.frames_left, who.target[0]))
    driven = np.array([frames * tics / 35 for frames, ahead in lengths if ahead > 0])
    assert driven.min() > 1.4
    assert 5 < driven.max() < 5.5  # seconds, of 35 tics
