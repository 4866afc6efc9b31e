"""Episodes in the simulators: judged, reported, refused."""

import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from wildlam import cli
from wildlam.encoders import Lite0
from wildlam.episodes.action_spaces import ARM, PLANAR, PUSHER
from wildlam.episodes.commands_file import write_commands
from wildlam.episodes.poses import write_poses
from wildlam.errors import WildlamError
from wildlam.models.controller import ControllerConfig
from wildlam.models.policy import PolicyConfig
from wildlam.models.priors import Gaussian
from wildlam.planning.mpc import Trace
from wildlam.planning.solvers.base import Prior
from wildlam.training import TrainingConfig
from wildlam.workflows.baseline import train_baseline
from wildlam.workflows.controller import ControllingConfig, train_controller
from wildlam.workflows.play import _goals, judged, play
from wildlam.workflows.policy import train_policy
from wildlam.workflows.prior import train_prior
from wildlam.worlds.cameras import draw_camera
from wildlam.worlds.pusht import ToldPushT
from wildlam.worlds.pusht_tasks import fingerprint, tasks
from wildlam.worlds.simulators import SIMULATORS
from wildlam.worlds.simulators.base import Budget, Simulator

from ..helpers import make_run

pytestmark = pytest.mark.usefixtures("tiny_models")


def test_success_is_to_end_near_the_goal():
    ways = [np.array([[0, 0, 0], [90, 0, 0]]), np.array([[0, 0, 0], [0, 30, 180]])]
    traces = [Trace(np.zeros((2, 2, 2, 3), np.uint8), way.astype(float), np.zeros((1, 3))) for way in ways]
    found = judged(traces, np.array([[100.0, 0, 0], [100, 0, 0]]), SIMULATORS["nav"])
    assert found.values["success"].tolist() == [1, 0]
    assert found.values["start distance"].tolist() == [100, 100]
    assert found.values["final distance"].tolist() == pytest.approx([10, np.hypot(100, 30)])


class Plane:
    """A world behind gymnasium's API: an action ``[2]`` is a move."""

    def reset(self, *, seed=None, options=None):
        self.pose = np.zeros(3)
        return np.zeros((2, 2, 3), np.uint8), {"pose": self.pose}

    def step(self, action):
        self.pose = self.pose + np.append(action[:2], 0)
        return np.zeros((2, 2, 3), np.uint8), 0.0, False, False, {"pose": self.pose}


def test_goals_lie_off_the_way_that_is_usual():
    mean, std = torch.tensor([[20.0, 0, 0]]), torch.tensor([[5.0, 10, 0]])
    prior, budget = Prior(mean, std, mean - 3 * std, mean + 3 * std), Budget(away=6, steps=12, horizon=1)
    _, goals = _goals([Plane()] * 20, SIMULATORS["nav"], prior, 0, budget)
    ends = np.stack([goal.poses[-1, :2] for goal in goals])
    usual = np.arange(13)[:, None] * (20, 0)
    away = np.linalg.norm(ends[:, None] - usual, axis=-1)
    assert away[:, 0].min() >= SIMULATORS["nav"].far
    assert SIMULATORS["nav"].near < away.min() < SIMULATORS["nav"].far
    with pytest.raises(WildlamError, match="the labelled videos hardly turn"):
        _goals([Plane()], SIMULATORS["nav"], replace(prior, std=0.01 * std), 0, budget)


def controlled(tmp_path, make_video, space, poses):
    """A run with a controller that was trained on films whose poses ``poses(rng)`` are."""
    rng = np.random.default_rng(0)
    films = tmp_path / "films"
    for name in ("train/a", "train/b", "test/c"):
        make_video(films / f"{name}.mp4", frames=50, fps=8)
        write_poses(films / f"{name}.mp4", poses(rng), 8, space)
    path = make_run(tmp_path / "run", films, Lite0(image_size=64, pool=2, dtype="float32"))
    training = TrainingConfig(steps=2, batch_size=4, save_every=2, eval_every=2)
    train_controller(
        path, ControllingConfig(data=films, controller=ControllerConfig(width=16, blocks=1), training=training)
    )
    return path


@pytest.fixture
def run(tmp_path, make_video):
    def walk(rng):
        return (np.abs(rng.normal(size=(50, 3))) * (20, 1, 0.1)).cumsum(axis=0)

    return controlled(tmp_path, make_video, PLANAR, walk)


@pytest.mark.skipif(not find_spec("vizdoom"), reason="needs ViZDoom")
def test_episodes_are_played_and_reported(run, capsys, caplog, monkeypatch):
    monkeypatch.setattr("wildlam.workflows.durations.SHORT", 0)
    assert cli.main(["play", str(run), "--world", "nav", "--episodes", "1"]) == 0
    told = capsys.readouterr()
    assert "1 episodes of 12 steps" in told.out
    assert re.search(r"latent +12 steps +[\d.]+ (ms|s|minutes)", caplog.text)  # before it begins
    assert "30/30" in told.err  # steps: six to the goal, twelve by chance, twelve planned
    found, steps = json.loads((run / "play-nav" / "play.json").read_text()), SIMULATORS["nav"].budget(4.0).steps
    assert found["summary"].keys() == {"no move", "random", "latent"}
    no_move = found["summary"]["no move"]
    assert no_move["final distance"]["mean"] == no_move["start distance"]["mean"] >= SIMULATORS["nav"].far
    assert np.shape(found["poses"]["latent"]) == (1, steps + 1, len(PLANAR.pose_names))
    assert np.shape(found["actions"]["latent"]) == (1, steps, len(PLANAR.action_names))
    assert found["steps"] == steps
    assert "<video" in (run / "play-nav" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")
def test_each_episode_of_many_cameras_has_one_of_its_own(tmp_path, make_video, monkeypatch):
    def glide(rng):
        there = 1.2 + 0.1 * np.sin(np.arange(50) / 3)[:, None] * (1, 0.8, 0.3)
        return np.column_stack([there, np.zeros((50, 3)), rng.uniform(size=50)])

    path, drawn = controlled(tmp_path, make_video, ARM, glide), []

    def drawing(rng, split, room):
        drawn.append((split, draw_camera(rng, split, room)))
        return drawn[-1][1]

    monkeypatch.setattr("wildlam.worlds.arm.draw_camera", drawing)
    monkeypatch.setattr(Simulator, "budget", lambda self, fps: Budget(away=6, steps=2, horizon=3))
    play(run=path, world="arm", cameras="many", episodes=2)
    assert json.loads((path / "play-arm" / "play.json").read_text())["cameras"] == "many"
    random, latent = drawn[-4:-2], drawn[-2:]  # of the two episodes
    assert random == latent
    assert random[0] != random[1]
    assert {split for split, _ in drawn} == {"held_out"}


@pytest.mark.skipif(not find_spec("gym_pusht"), reason="needs gym-pusht")
def test_pusht_is_played_from_the_starts_that_everybody_has(tmp_path, make_video):
    def glide(rng):
        return 256 + np.cumsum(rng.normal(size=(50, 5)) * (12, 12, 3, 3, 0.02), axis=0)

    run = controlled(tmp_path, make_video, PUSHER, glide)
    with pytest.raises(WildlamError, match="controls takes labelled videos to fit to; give labelled, too"):
        play(run=run, world="pusht", controls=True)
    with pytest.raises(WildlamError, match="guide takes labelled videos to fit to; give labelled, too"):
        play(run=run, world="pusht", guide=0.0)
    few = {"controls": True, "labelled": tmp_path / "films", "clips": 4, "unlabelled": tmp_path / "films"}
    with pytest.raises(WildlamError, match="unlabelled is for a guide or for controls"):
        play(run=run, world="pusht", **few | {"controls": False, "policy": tmp_path / "policy"})
    result = play(run=run, world="pusht", episodes=2, seed=1, **few)
    found = json.loads((result.folder / "play.json").read_text())
    assert found["tasks"] == fingerprint()
    controls = {"regression", "cloning", "cloning with pseudo-labels"}
    assert found["summary"].keys() == {"no move", "random", "latent", *controls}
    assert found["unlabelled"] == str(tmp_path / "films")
    assert found["pseudo-labels"]["r squared"].keys() == set(PUSHER.action_names)
    assert all(found["milliseconds"][label] > 0 for label in ("regression", "latent"))
    done = np.array(found["actions"]["regression"])
    assert np.isfinite(done).all()
    assert not np.allclose(done, found["actions"]["cloning"])
    report = (result.folder / "report.html").read_text()
    assert report.count("<video") == 4
    assert found["steps"] == 25  # of two commands each, so that they are fifty
    starts = [task["state"][:5] for task in tasks(1, 2)]
    goals = [task["goal"][:5] for task in tasks(1, 2)]
    assert np.array(found["poses"]["latent"])[:, 0] == pytest.approx(np.array(starts))
    assert np.array(found["poses"]["goal"])[:, -1] == pytest.approx(np.array(goals))
    away = np.array(starts) - np.array(goals)
    still = found["summary"]["no move"]
    assert still["success"]["mean"] == 0  # none is solved already
    assert still["final distance"]["mean"] == pytest.approx(np.linalg.norm(away[:, :4], axis=1).mean(), rel=1e-5)
    assert still["disc"]["mean"] == pytest.approx(np.linalg.norm(away[:, :2], axis=1).mean(), rel=1e-5)
    assert "disc and T together" in str(result)
    guided = play(run=run, world="pusht", episodes=2, seed=1, guide=0.1, labelled=tmp_path / "films", clips=4)
    other = json.loads((guided.folder / "play.json").read_text())
    assert other["guide"] == 0.1
    assert other["summary"].keys() == {"no move", "random", "regression", "guide", "latent"}
    assert other["actions"]["regression"] == found["actions"]["regression"]
    assert not np.allclose(other["actions"]["latent"], found["actions"]["latent"])
    with pytest.raises(WildlamError, match="seed below 3"):
        play(run=run, world="pusht", seed=3)


@pytest.mark.skipif(not find_spec("gym_pusht"), reason="needs gym-pusht")
def test_pusht_is_played_by_recorded_commands(tmp_path, make_video):
    rng, films = np.random.default_rng(0), tmp_path / "films"
    for name in ("train/a", "train/b", "test/c"):
        make_video(films / f"{name}.mp4", frames=50, fps=10)
        write_commands(films / f"{name}.mp4", ("x", "y"), np.arange(50) / 10, rng.uniform(100, 400, (50, 2)))
    run = make_run(tmp_path / "run", films, Lite0(image_size=64, pool=2, dtype="float32"))
    training = TrainingConfig(steps=2, batch_size=4, save_every=2, eval_every=2)
    settings = {"data": films, "training": training, "controller": ControllerConfig(width=16, blocks=1)}
    train_controller(run, **settings)
    train_baseline(run, data=films, training=training, out=tmp_path / "labelled")
    few = {"run": run, "world": "pusht", "labelled": films, "clips": 4}
    result = play(**few, episodes=2, controls=True, baselines=[tmp_path / "labelled"])
    found = json.loads((result.folder / "play.json").read_text())
    assert found["summary"].keys() == {"no move", "random", "cloning", "latent", "labelled"}  # no sums, no regression
    told, poses = (np.array(found[key]["latent"]) for key in ("actions", "poses"))
    assert told.shape == (2, 25, 4)  # two commands a step
    world = ToldPushT(size=16, fps=5)
    world.reset(options=tasks(0, 1)[0])
    for k in range(3):
        world.step(told[0, k])
        assert world.pose[:2] == pytest.approx(poses[0, k + 1, :2], abs=1e-3)
    with pytest.raises(WildlamError, match="guide is for actions that add up"):
        play(**few, guide=0.1)
    train_controller(run, **settings, block="summed", out=tmp_path / "summed")
    with pytest.raises(WildlamError, match="of recorded commands, 10 a second, each where to go, concatenated"):
        play(run=run, world="pusht", controller=tmp_path / "summed")
    for film in films.rglob("*.mp4"):
        write_commands(film, ("x", "y"), np.arange(50) / 10, rng.uniform(-1, 1, (50, 2)))
    train_controller(run, **settings, out=tmp_path / "other")
    with pytest.raises(WildlamError, match=r"in other units: its commands vary by 0.* no places on 512 pixels; give"):
        play(run=run, world="pusht", controller=tmp_path / "other")


@pytest.mark.skipif(not find_spec("vizdoom"), reason="needs ViZDoom")
def test_a_policy_acts_by_itself_and_begins_plans(run, capsys):
    training = TrainingConfig(steps=2, batch_size=4, save_every=2, eval_every=2)
    train_policy(run, policy=PolicyConfig(blocks=1, width=16), training=training)
    options = ["--world", "nav", "--labelled", str(run.parent / "films"), "--clips", "4", "--episodes", "1"]
    assert cli.main(["policy", "play", str(run), *options]) == 0
    assert "latent from policy" in capsys.readouterr().out
    found = json.loads((run / "play-nav-policy" / "play.json").read_text())
    assert found["policy"] == str(run / "policy")
    assert found["milliseconds"].keys() == {"random", "policy", "latent", "latent from policy"}
    done = found["actions"]
    assert not np.allclose(done["latent"], done["latent from policy"])
    with pytest.raises(WildlamError, match="policy takes labelled videos to fit to; give labelled, too"):
        play(run=run, world="nav", policy=run / "policy")


@pytest.mark.skipif(not find_spec("vizdoom"), reason="needs ViZDoom")
def test_a_policy_of_real_actions_needs_no_map_to_them(run, tmp_path, monkeypatch):
    training = TrainingConfig(steps=2, batch_size=4, save_every=2, eval_every=2)
    films, small = run.parent / "films", PolicyConfig(blocks=1, width=16)
    real = train_policy(run, policy=small, training=training, labelled=films, clips=4, out=tmp_path / "real")
    monkeypatch.delattr("wildlam.workflows.play.decoded_policy")
    few = {"run": run, "world": "nav", "labelled": films, "clips": 4, "episodes": 1, "policy": real}
    found = json.loads((play(**few).folder / "play.json").read_text())
    assert found["milliseconds"].keys() == {"random", "policy", "latent", "latent from policy"}
    assert not np.allclose(found["actions"]["latent"], found["actions"]["latent from policy"])
    assert not np.allclose(found["actions"]["policy"], found["actions"]["random"])
    monkeypatch.setattr("wildlam.workflows.play.load_policy", lambda *_: (None, ARM))
    with pytest.raises(WildlamError, match=r"real does .*, those of .*controller are .*; give another policy"):
        play(**few)


def test_what_does_not_fit_is_refused(run, monkeypatch):
    with pytest.raises(WildlamError, match=r"^cameras is for arm, not for nav"):
        play(run=run, world="nav", cameras="many")
    with pytest.raises(WildlamError, match=r"^cameras must be fixed or many, got two"):
        play(run=run, world="arm", cameras="two")
    with pytest.raises(WildlamError, match=r"world 'arm' takes actions dx, .*, .* trained on forward, left, turn;"):
        play(run=run, world="arm")
    with pytest.raises(WildlamError, match=r"^episodes must be at least 1, got 0"):
        play(run=run, world="nav", episodes=0)
    with pytest.raises(WildlamError, match=r"^seed must be 0 to"):
        play(run=run, world="nav", seed=-1)
    monkeypatch.setitem(SIMULATORS, "nav", replace(SIMULATORS["nav"], far=64 * SIMULATORS["nav"].far))
    with pytest.raises(WildlamError, match="trained in other units"):
        play(run=run, world="nav")


@pytest.mark.skipif(not find_spec("vizdoom"), reason="needs ViZDoom")
def test_a_prior_and_labelled_clips_take_the_controllers_place(run):
    shutil.rmtree(run / "controller")
    train_prior(run, prior=Gaussian(components=4), training=TrainingConfig(steps=2, batch_size=4))
    with pytest.raises(WildlamError, match="labelled must name labelled videos"):
        play(run=run, world="nav", plan_in="latent")
    result = play(run=run, world="nav", plan_in="latent", labelled=run.parent / "films", clips=4, episodes=1)
    assert result.folder == run / "play-nav-latent"
    found = json.loads((result.folder / "play.json").read_text())
    assert np.isfinite(found["actions"]["latent"]).all()
    assert found["prior"] == str(run / "prior")
