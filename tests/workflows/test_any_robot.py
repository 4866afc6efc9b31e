"""A robot of 14 joints goes through controller, baseline and plan as an arm does."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import zarr

import wildlam
from wildlam import cli
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.vectors import FIRST, Commands, Reading
from wildlam.errors import WildlamError
from wildlam.models.priors import Gaussian
from wildlam.planning.cost import GoalCost
from wildlam.runs.folder import Run
from wildlam.workflows.baseline import read_space
from wildlam.workflows.controller import load_controlled, train_controller
from wildlam.workflows.plan import plan
from wildlam.workflows.planners import Guide, off_by_component
from wildlam.workflows.prior import train_prior

from ..aloha import FPS, JOINTS, motion, write_aloha
from ..helpers import shorten_evaluations
from .controllers import TRAINING

pytestmark = pytest.mark.usefixtures("tiny_models")
FEW = ["--training.steps", "2", "--training.batch_size", "4"]
PLAN = ["--protocol", "droid", "--episodes", "2", "--samples", "16", "--iterations", "2"]


@pytest.fixture
def aloha(tmp_path, make_video):
    return write_aloha(tmp_path / "aloha", make_video, numbers=range(8))


@pytest.mark.slow
def test_from_its_films_to_its_plans(tmp_path, monkeypatch):
    """What is trained on the films alone, then on their actions, plans where it was not trained, in those actions."""
    shorten_evaluations(monkeypatch)
    aloha = write_aloha(tmp_path / "aloha", None, numbers=range(8))
    run, few = tmp_path / "run", wildlam.TrainingConfig(steps=2, batch_size=4, precision="fp32")
    wildlam.train(
        data=wildlam.DataConfig(path=aloha, workers=0, frames=4),
        encoder=wildlam.Lite0(image_size=64, dtype="float32"),
        model=wildlam.ModelConfig(bottleneck=wildlam.Noisy(dim=4)),
        training=few,
        out=run,
    )
    columns = wildlam.index(path=aloha).manifest.table.select(["path", "split"]).to_pylist()
    held_out = {Path(row["path"]).stem for row in columns if row["split"] == "held_out"}
    assert 0 < len(held_out) < 8  # of eight episodes, each by two cameras
    wildlam.train_controller(run, data=aloha, training=few)
    made = wildlam.plan(run=run, data=aloha, protocol="droid", episodes=4, samples=16, iterations=2)
    saved = json.loads((made.folder / "plans.json").read_text())
    assert {clip["video"] for clip in saved["clips"]} <= held_out
    assert made.plans["latent"].shape == (len(saved["true"]), 3, FPS // 4 * JOINTS)
    for clip, true in zip(saved["clips"], saved["true"], strict=True):
        commands, _ = motion(int(clip["video"].removeprefix("episode_")))
        told = [commands[begin : begin + FPS // 4].reshape(-1) for begin in clip["frames"][:-1]]
        np.testing.assert_allclose(true, told, rtol=1e-5)


@pytest.mark.parametrize(("actions", "block"), [("recorded", "concatenated"), ("recorded", "summed"), ("states", None)])
def test_by_the_commands(run, aloha, capsys, actions, block):
    of_data = ["--data", str(aloha), "--actions", actions, *(["--block", block] if block else [])]
    width = ["--controller.width", "16"]
    assert cli.main(["controller", "train", str(run), *of_data, *FEW, *width]) == 0
    assert f"wildlam plan {run} --data {aloha} --protocol droid" in capsys.readouterr().out
    assert cli.main(["controller", "baseline", str(run), *of_data, *FEW]) == 0
    capsys.readouterr()
    assert cli.main(["plan", str(run), "--data", str(aloha), *PLAN, "--baselines", str(run / "baseline")]) == 0
    shown = capsys.readouterr().out
    assert "error" in shown
    unjudged = "the recorded states (state 0, state 1, state 2, state 3, state 4, state 5, state 6, state 7, ..."
    assert (unjudged in shown) == (actions == "recorded")
    still = "mean" if block == "concatenated" else "no move"
    found = json.loads((run / "plan-droid/plans.json").read_text())
    assert found["summary"].keys() == {still, "random", "latent", "baseline"}
    true, planned = np.array(found["true"]), np.array(found["plans"]["latent"])
    assert planned.shape == true.shape == (2, 3, JOINTS * (5 if block == "concatenated" else 1))
    assert np.isfinite(planned).all()
    off = np.abs(planned - true)
    if block == "concatenated":
        each = off.reshape(2, 3, 5, JOINTS).mean(axis=(0, 1, 2))
    else:
        each = np.abs((planned - true).sum(axis=1)).mean(axis=0)
    assert list(found["components"]["latent"].values()) == pytest.approx(each.tolist(), rel=1e-4)
    assert len(found["steps"]["random"]) == 3
    page = (run / "plan-droid/report.html").read_text()
    assert "By component and step" in page
    assert "distance of an action" in page
    assert ("which ones commands lead to is known of those that were given alone" in page) == (actions == "recorded")


def test_plans_of_changes_are_off_by_the_state_at_the_end():
    names = ["grip", "qx", "qy", "qz", "qw", "yaw"]
    space = Reading(actions="states", angles=("yaw",), full_turn=360.0).changes(names, "here")
    quarter, half = ([0, 0, np.sqrt(0.5), np.sqrt(0.5)], [0, 0, 1.0, 0])  # about z
    poses = np.array([[[0, 0, 0, 0, 1.0, 350], [1, *quarter, 0], [1, *half, 10]]])
    true = torch.from_numpy(space.between(poses[0])[None]).float()
    places = [(SimpleNamespace(name="a", recording="a"), np.arange(3))]
    clips = LabelledClips(torch.zeros(1, 3, 1, 1), torch.from_numpy(poses), true, places, space, 1.0)
    assert list(off_by_component(true, clips).values()) == pytest.approx([0] * 5, abs=1e-4)
    planned = torch.zeros(1, 2, 5)
    planned[0, :, 3], planned[0, :, 4] = -90.0, -170.0  # to the same half turn, the other way round; and 340 back
    off = off_by_component(planned, clips)
    assert list(off) == ["d grip", "d q x", "d q y", "d q z", "d yaw"]
    assert list(off.values()) == pytest.approx([1, 0, 0, 0, 0], abs=1e-3)
    planned[0, :, 1], planned[0, :, 3] = torch.tensor([0.0, 30.0]), torch.tensor([-180.0, 0.0])
    assert off_by_component(planned, clips)["d q x"] == pytest.approx(30, abs=1e-3)


def test_a_controller_keeps_what_its_actions_are(run, aloha):
    folder = train_controller(run, data=aloha, block="summed", units=["action 1=rad"], training=TRAINING)
    space = read_space(Run(folder), "none", drives=True)
    assert isinstance(space, Commands)
    assert (space.block, space.commands, len(space.action_names)) == ("summed", 5, JOINTS)
    few = {"protocol": "droid", "episodes": 1, "samples": 16, "iterations": 1}
    made = plan(run=run, data=aloha, **few)
    assert made.figures == ["error"]  # its block, though not said
    assert json.loads((made.folder / "plans.json").read_text())["units"] == {"action 1": "rad"}
    for page in (folder, made.folder):
        assert "action 1 (rad)</th>" in (page / "report.html").read_text()


def test_plans_in_latent_space_are_decoded_to_the_actions_that_are_said(run, aloha):
    train_prior(run, prior=Gaussian(components=4), training=TRAINING)
    options = ["--in", "latent", "--clips", "4", "--actions", "states", "--out", str(run / "states")]
    assert cli.main(["plan", str(run), "--data", str(aloha), *PLAN, *options]) == 0
    found = json.loads((run / "states" / "plans.json").read_text())
    assert np.shape(found["plans"]["latent"]) == (2, 3, JOINTS)
    assert found["action_names"][0].startswith("d ")
    made = plan(run=run, data=aloha, plan_in="latent", clips=4, protocol="droid", episodes=2, samples=16, iterations=2)
    assert made.plans["latent"].shape == (2, 3, 5 * JOINTS)  # the first there is: commands


def test_a_controller_keeps_the_rate_that_was_said(run, tmp_path):
    """Of data that do not say it: plans read data at it, too, but those that say theirs."""
    buffer = zarr.open_group(str(tmp_path / "set" / "a.zarr"), mode="w", zarr_format=3)
    commands, states = (np.concatenate(of) for of in zip(*map(motion, range(6)), strict=True))
    buffer.create_array("data/action", data=commands)
    buffer.create_array("data/state", data=states)
    buffer.create_array("data/img", data=np.random.default_rng(0).integers(0, 255, (240, 32, 32, 3), np.uint8))
    buffer.create_array("meta/episode_ends", data=np.arange(40, 241, 40))
    train_controller(run, data=tmp_path / "set", rate=20, training=TRAINING)
    driven = load_controlled(run)
    assert driven.rate == 20
    assert driven.space.commands == 5  # at 4 states a second
    assert driven.reads(FIRST, tmp_path / "set").rate == 20
    assert driven.reads(Reading(rate=40), tmp_path / "set").rate == 40
    made = plan(run=run, data=tmp_path / "set", protocol="droid", episodes=1, samples=16, iterations=1)
    assert made.plans["latent"].shape == (1, 3, 5 * JOINTS)
    assert driven.reads(FIRST, write_aloha(tmp_path / "aloha", None, "image")).rate is None


def test_a_controller_keeps_its_camera(run, aloha):
    """Plans are made in the films that it learnt from."""
    train_controller(run, data=aloha, camera="cam_left_wrist", training=TRAINING)
    assert load_controlled(run).camera == "cam_left_wrist"


def test_a_component_that_never_varies_guides_nothing():
    guide = Guide(SimpleNamespace(std=torch.tensor([0.5, 0.0])), 0.1)
    cost = GoalCost(None, torch.zeros(1, 1, 4, 6), torch.zeros(1, 0, 2), torch.ones(1, 4, 6))
    assert guide.cost(cost, torch.zeros(1, 2)).std.tolist() == [0.5, torch.inf]


def test_a_guide_on_the_way_asks_for_the_share_of_a_plan_in_what_is_left():
    asked = []

    def told(ends, steps):
        asked.append((ends.flatten().tolist(), steps))
        return torch.full((1, 2), 6.0)

    guide = Guide(SimpleNamespace(std=torch.tensor([0.5, 1.0]), told=told), 0.1)
    cost = GoalCost(None, torch.tensor([[[[1.0]], [[2.0]]]]), torch.zeros(1, 1, 2), torch.tensor([[[8.0]]]))
    half = guide.on_the_way(6, cost, acted=0, horizon=3)
    assert (half.guess.tolist(), half.std.tolist()) == ([[3, 3]], [0.25, 0.5])
    late = guide.on_the_way(6, cost, acted=9, horizon=3)  # never more than all of it
    assert (late.guess.tolist(), late.std.tolist()) == ([[6, 6]], [0.5, 1])
    assert asked == [([2, 8], 6), ([2, 8], 1)]


def test_other_bodies_are_told_apart(driven, labelled, aloha):
    with pytest.raises(WildlamError, match="records no poses"):
        plan(run=driven, data=aloha, protocol="droid")
    train_controller(driven, data=aloha, training=TRAINING, out=driven / "joints")
    with pytest.raises(WildlamError, match="guide is for actions that add up"):
        plan(run=driven, controller=driven / "joints", data=aloha, protocol="droid", guide=0.1)
    with pytest.raises(WildlamError, match="no commands and no poses; each video needs"):
        train_controller(driven, data=labelled, actions="recorded", out=driven / "other")
