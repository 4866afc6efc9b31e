"""PushT: moved as told, restored, judged as the public benchmarks do, filmed with its poses and commands."""

from importlib.util import find_spec
from itertools import islice

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from wildlam.episodes.action_spaces import PUSHER
from wildlam.episodes.commands_file import read_commands
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.vectors import Commands, Reading
from wildlam.errors import WildlamError
from wildlam.worlds import pusht_tasks, recorder
from wildlam.worlds.pusht import (
    AGENT,
    RATE,
    TABLE,
    TOLERANCE,
    TURN,
    PushT,
    ToldPushT,
    distance_to_block,
    is_reached,
    off,
    outline,
)
from wildlam.worlds.pusht_films import Explorer, collect_pusht, exploration
from wildlam.worlds.simulators import SIMULATORS

pytestmark = pytest.mark.skipif(not find_spec("gym_pusht"), reason="needs gym-pusht")


@pytest.fixture(scope="module")
def table():
    return PushT(size=32, fps=2)


def test_it_keeps_gymnasiums_contract(table):
    check_env(table, skip_render_check=True)


def test_the_disc_moves_as_far_as_it_is_told_whatever_its_speed(table):
    table.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        toward = (256 - table.pose[:2]) * 0.2
        before, action = table.pose, toward + rng.normal(size=2) * 20
        *_, info = table.step(action)
        assert info["pose"][:2] - before[:2] == pytest.approx(action, abs=1e-6)
        assert PUSHER.between(np.stack([before, info["pose"]]))[0] == pytest.approx(action, abs=1e-6)


def test_the_same_state_and_the_same_commands_lead_to_the_same_place():
    world = PushT(size=32)
    moments = list(islice(exploration(world, np.random.default_rng(3)), 60))
    moved = off(moments[-1][0], moments[20][0])
    assert moved["disc"] > 5
    world.restore(moments[20][0])
    for _, target in moments[20:-1]:
        world.command(target)
    again = off(world.state, moments[-1][0])
    assert again["disc"] < 1e-9  # nothing stops it
    assert again["block"] < 0.5  # what touches what is found anew
    assert again["turn"] < 0.01
    with pytest.raises(WildlamError, match=r"takes 10 commands a second, of which 3 steps take no whole number"):
        PushT(fps=3)


def test_told_where_to_go_it_does_what_a_film_did():
    world, seen = PushT(size=32), []
    for state, target in islice(exploration(world, np.random.default_rng(3)), 21):
        seen.append((state, target))
    states, targets = (np.stack(part) for part in zip(*seen, strict=True))
    told = ToldPushT(size=32, fps=2)
    check_env(told, skip_render_check=True)
    told.reset(options={"state": states[0]})
    for k in range(0, 20, 5):
        told.step(targets[k : k + 5].reshape(-1))
        assert off(told.pose, states[k + 5])["disc"] < 1e-6
    told.reset(options={"state": states[0]})
    for _ in range(4):
        told.step(np.full(10, 1000.0))
    assert (told.pose[:2] <= TABLE).all()  # it stays on the table


def test_a_pushed_block_moves_and_another_does_not(table):
    table.restore(np.array([100.0, 271, 256, 256, 0, 0, 0]))  # left of the bar, at its height
    table.step(np.array([0.0, -60]))
    assert table.pose[2:] == pytest.approx([256, 256, 0])
    table.restore(np.array([100.0, 271, 256, 256, 0, 0, 0]))
    for _ in range(4):
        table.step(np.array([40.0, 0]))
    assert table.pose[2] > 300
    assert float(distance_to_block(table.pose[:2], table.pose[2:])) == pytest.approx(AGENT, abs=3)


def test_where_the_t_is_drawn():
    """Its outline, at any angle: grey within, not grey without."""
    world = PushT(size=512)
    for angle in (0.0, 0.7, 2.5, -1.2):
        block = np.array([300.0, 180, angle])
        frame = world.seen_in(np.array([60.0, 450, *block, 0, 0])).astype(int)
        grey = np.abs(frame - np.array([131, 150, 168])).sum(axis=-1) < 60
        rows, columns = np.mgrid[:512, :512]
        inside = distance_to_block(np.stack([columns, rows], axis=-1), block)
        assert grey[inside == 0].mean() > 0.9
        assert grey[inside > 3].mean() < 0.002
        corners = outline(block)
        assert distance_to_block(corners, block) == pytest.approx(np.zeros(8), abs=1e-6)


def test_a_goal_is_reached_by_disc_and_t_together():
    goal = np.array([100.0, 100, 200, 200, 3.1])
    poses = goal + np.array(
        [
            [0, 0, 0, 0, 0],
            [12, 0, 0, 15.9, 0],  # 19.9 together
            [12, 0, 0, 16.1, 0],
            [0, 0, 0, 0, 0.34],  # across the half turn
            [0, 0, 0, 0, 0.36],
            [21, 0, 0, 0, 0],
        ]
    )
    poses[:, 4] = (poses[:, 4] + np.pi) % (2 * np.pi) - np.pi
    assert is_reached(poses, goal).tolist() == [True, True, False, True, False, False]


def test_an_episode_ends_where_its_goal_is_reached(table):
    (task,) = pusht_tasks.tasks(0, 1)
    table.reset(options={"state": task["goal"], "goal": task["goal"]})
    _, _, ended, _, info = table.step(np.zeros(2))
    assert ended
    assert info["is_success"]
    table.reset(options=task)
    _, _, ended, _, info = table.step(np.zeros(2))
    assert not ended
    assert not info["is_success"]
    assert table.reset(seed=1)[0].shape == (32, 32, 3)  # and without a goal never
    assert not table.step(np.zeros(2))[2]


def test_what_commands_say_without_opening_it_is_so():
    simulator = SIMULATORS["pusht"]
    assert (simulator.near, simulator.rate) == (TOLERANCE, RATE)
    assert f"{np.degrees(TURN):.0f} degrees" in simulator.criterion


def test_the_tasks_are_those_of_the_file_and_not_solved():
    found = [one for seed in range(pusht_tasks.SEEDS) for one in pusht_tasks.tasks(seed, pusht_tasks.EPISODES)]
    states, goals = (np.array([one[key] for one in found]) for key in ("state", "goal"))
    assert states.shape == (150, 7)
    assert len(np.unique(states, axis=0)) == 150
    assert not is_reached(states, goals).any()
    assert pusht_tasks.fingerprint() == "d7a87c7405db"
    assert np.array(pusht_tasks.drawn(1, 2)) == pytest.approx(
        np.array([[one["state"], one["goal"]] for one in pusht_tasks.tasks(1, 2)]), abs=0.5
    )
    with pytest.raises(WildlamError, match=r"50 starts and goals for each of the seeds 0 to 2; give seed below 3"):
        pusht_tasks.tasks(3, 1)
    with pytest.raises(WildlamError, match="episodes up to 50"):
        pusht_tasks.tasks(0, 51)


@pytest.mark.slow
def test_exploration_is_mostly_contact_in_many_directions_on_the_table():
    world, touching, moves, turns, places = PushT(size=16), [], [], [], []
    for n in range(20):
        states = np.stack([state for state, _ in islice(exploration(world, np.random.default_rng([5, n])), 200)])
        touching += [float(distance_to_block(one[:2], one[2:5])) < AGENT + 2 for one in states]
        moves += list(states[25:, 2:4] - states[:-25, 2:4])
        turns += list(states[25:, 4] - states[:-25, 4])
        places += [outline(one[2:5]) for one in states[::10]]
    assert np.mean(touching) > 0.5
    far = np.array(moves)[np.linalg.norm(moves, axis=1) > 20]
    assert 0.4 < len(far) / len(moves) < 0.9
    sectors = np.histogram(np.arctan2(far[:, 1], far[:, 0]), bins=8, range=(-np.pi, np.pi))[0] / len(far)
    assert sectors.min() > 0.04
    assert 0.3 < np.mean(np.array(turns)[np.abs(turns) > 0.1] > 0) < 0.7
    assert np.mean((np.array(places) > 0) & (np.array(places) < 512)) > 0.97


def test_films_have_poses_and_commands_and_are_the_same_again(tmp_path, bars):
    made = bars(recorder)
    paths = collect_pusht(tmp_path / "one", episodes=2, seconds=2, size=64, distractors=0)
    assert made[0].n == made[0].total == 40
    assert {path.parent.name for path in paths} == {"train", "held_out"}
    again = collect_pusht(tmp_path / "two", episodes=2, seconds=2, size=64, distractors=0, progress=False)
    for one, other in zip(paths, again, strict=True):
        for ending in (".mp4", ".poses.csv", ".actions.csv"):
            assert one.with_suffix(ending).read_bytes() == other.with_suffix(ending).read_bytes()
    posed = read_episodes(tmp_path / "one")
    assert {episode.space for episode in posed} == {PUSHER}
    assert [len(episode.times) for episode in posed] == [20, 20]
    told = read_episodes(tmp_path / "one", reading=Reading(actions="recorded"))
    assert told[0].space_at(2) == Commands.of(("x", "y"), "concatenated", commands=5)
    names, times, commands = read_commands(paths[0].with_suffix(".actions.csv"))
    assert names == ("x", "y")
    assert times == pytest.approx(np.arange(20) / 10)
    # the disc follows: where it is told to go is nearer to where it is next than to where it was
    poses = next(episode.poses for episode in posed if episode.name.endswith(paths[0].name))
    ahead, now = (np.linalg.norm(commands[:-2] - poses[i : 18 + i, :2], axis=1).mean() for i in (2, 0))
    assert ahead < now


def test_an_explorer_waits_where_it_is():
    world, explorer = PushT(size=16), Explorer(np.random.default_rng(0))
    world.reset(seed=0)
    explorer.wait = 3
    assert explorer.act(world) == pytest.approx(world.pose[:2])


def test_an_explorer_draws_again_where_no_place_can_be_reached(monkeypatch):
    world, explorer = PushT(size=16), Explorer(np.random.default_rng(0))
    world.reset(seed=0)
    with monkeypatch.context() as patched:
        patched.setattr("wildlam.worlds.pusht_films._inside", lambda _: False)
        for _ in range(3):
            assert explorer.act(world) == pytest.approx(world.pose[:2])
    assert np.linalg.norm(explorer.act(world) - world.pose[:2]) > 5
