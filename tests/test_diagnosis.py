"""The ladder of errors: what is told where the truth is known, and what its documents say."""

import argparse
import importlib
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.episodes.action_spaces import ARM
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.episode import Episode
from wildlam.episodes.poses import write_poses
from wildlam.evaluation import probes
from wildlam.models.bottlenecks import Noisy
from wildlam.models.priors import Gaussian, Neighbours
from wildlam.planning.protocols.protocol import PlanningProtocol
from wildlam.planning.solvers.base import Prior
from wildlam.planning.solvers.cem import cem

from .helpers import make_run

HORIZON, WIDTH = 3, 8


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module("diagnose")


@pytest.fixture
def rungs(study, monkeypatch):
    found = importlib.import_module("rungs")
    monkeypatch.setattr(found, "COMPONENTS", WIDTH)
    monkeypatch.setattr(probes, "EPOCHS", 20)
    return found


class Additive(torch.nn.Module):
    """A model whose latent actions are differences of states, as far as it is not ``blind``."""

    def __init__(self, blind=False):
        super().__init__()
        self.seen = torch.nn.Parameter(torch.tensor(0.0 if blind else 1.0), requires_grad=False)
        self.world_model = argparse.Namespace(bytes_per_state=64)
        self.state_shape, self.bottleneck = (1, WIDTH), Noisy(dim=WIDTH).build()

    def infer(self, states):
        return self.seen * (states[:, 1:] - states[:, :-1]).flatten(2)

    def rollout(self, context, z):
        return context[:, -1][:, None, None] + z.cumsum(dim=2).unsqueeze(3)

    def drive(self, context, actions, act):
        state, predicted = context[:, -1].repeat_interleave(actions.shape[1], dim=0), []
        for action in actions.flatten(0, 1).unbind(dim=1):
            state = state + act(action, state)[:, None]
            predicted.append(state)
        return torch.stack(predicted, dim=1).unflatten(0, actions.shape[:2])


class Moves:
    """Dynamics of real actions in the same states."""

    bytes_per_state = 64

    def __init__(self, mixed):
        self.mixed = mixed

    def rollout(self, context, past, actions):
        return context[:, -1][:, None, None] + (actions.cumsum(dim=2) @ self.mixed).unsqueeze(3)


MIXED = torch.randn(7, WIDTH, generator=torch.Generator().manual_seed(0))


def clips_of(count, states, seed):
    """Clips of an arm that hardly turns, whose states are its poses, mixed."""
    rng = np.random.default_rng(seed)
    size = [0.05, 0.05, 0.05, 1e-3, 1e-3, 1e-3, 0.05]
    poses = np.cumsum(rng.normal(size=(count, states, 7)) * size, axis=1)
    actions = torch.from_numpy(np.stack([ARM.between(one) for one in poses])).float()
    places = []
    for i, one in enumerate(poses):
        episode = Episode(f"arm_{seed}_{i}", "train", np.arange(states) / 4, one, ARM, lambda indices, size: None)
        places.append((episode, np.arange(states)))
    mixed = (torch.from_numpy(poses).float() @ MIXED)[:, :, None]
    return LabelledClips(mixed, torch.from_numpy(poses), actions, places, ARM, 4.0)


def ladder(rungs, model):
    std = torch.tensor([0.05, 0.05, 0.05, 1e-3, 1e-3, 1e-3, 0.05]).expand(HORIZON, 7)
    prior = Prior(torch.zeros(HORIZON, 7), std)

    def how(search):
        samples, iterations = search

        solver = partial(cem, samples=samples, iterations=iterations)
        return PlanningProtocol("droid", HORIZON, samples, iterations, prior, solver)

    world = rungs.World("droid", "displacement", "m", ((32, 4), (64, 8)))
    encoder = argparse.Namespace(device=torch.device("cpu"))
    train, held_out = clips_of(40, rungs.STATES, seed=0), clips_of(16, HORIZON + 1, seed=1)
    return rungs.Ladder(world, model, encoder, train, held_out, how, episodes=16, slow=4, bf16=False)


def shares(rows):
    return {row["row"]: row["value"] / row["still"] for row in rows if row["figure"] == "error" and not row["few"]}


def test_actions_that_states_or_z_hold_are_told_and_others_are_not(rungs, monkeypatch):
    rows = ladder(rungs, Additive()).told(count=0, seed=0)
    told = shares(rows)
    assert len(told) == len(rungs.INPUTS) * 2 * 2
    for inputs in rungs.INPUTS:
        for how in (rungs.STEPS, rungs.SPAN):
            assert told[rungs.row_name(inputs, how, "linear")] < 0.1
            assert told[rungs.row_name(inputs, how, "MLP")] < 0.9
    explained = [row["value"] for row in rows if row["figure"] == "R² dx"]
    assert len(explained) == len(rungs.INPUTS) * 2
    assert max(explained) > 0.95
    monkeypatch.setattr(rungs, "FITS", ("linear",))
    blind = shares(ladder(rungs, Additive(blind=True)).told(count=32, seed=0))
    assert blind[rungs.row_name("z", rungs.SPAN, "linear")] > 0.8
    assert blind[rungs.row_name("difference", rungs.SPAN, "linear")] < 0.1


def test_slow_plans_are_compared_in_the_same_episodes(rungs):
    one = ladder(rungs, Additive())
    clips = one.clips(0)
    every, few = one.rows(clips.actions * 0.5, clips)
    (alone,) = one.rows(one.few(clips).actions * 0.5, one.few(clips), few=True)
    assert (every["episodes"], few["episodes"], every["few"], few["few"]) == (16, 4, False, True)
    assert alone == few
    assert every["value"] / every["still"] == pytest.approx(0.5)


def test_plans_of_an_exact_model_come_near_the_goal_and_its_cost_ranks_candidates(rungs):
    one = ladder(rungs, Additive())
    small = one.world.searches[0]
    for rows in (one.known_goal(small, 0), one.planned(Moves(MIXED), small, 0)):
        assert [row["few"] for row in rows] == [False, True]
        assert rows[0]["value"] < 0.7 * rows[0]["still"]
    for prior in (Gaussian(components=WIDTH), Neighbours(components=WIDTH, memory=200, count=30)):
        in_z = one.planned_in_z(prior, small, [16, 0], 0)
        assert [row["clips"] for row in in_z] == [16, 16, "all", "all"]
        assert in_z[2]["value"] < 0.7 * in_z[2]["still"]
    (ranked,) = one.rank(Moves(MIXED), 0)
    (backwards,) = one.rank(Moves(-MIXED), 0)
    assert ranked["value"] > 0.5 > -0.1 > backwards["value"]


def row(study, name, value, clips=16, world="arm", seed=0, search=None, few=False, still=0.2):
    one = study.part(world, name, seed, search or study.NONE, clips)
    return one | {"figure": "error", "few": few, "episodes": 8, "value": value, "still": still, "machine": "m"}


def test_what_the_study_of_plans_holds_is_taken_from_it_if_it_is_of_the_same_run(study, tmp_path):
    of = {"weights": "w", "episodes": 64, "slow": 8, "steps": None}
    args = argparse.Namespace(out=tmp_path)
    common = {"world": "arm", "seed": 0, "figure": "displacement, candidates drawn 6 times", "machine": "m"}
    found = [{**common, "clips": 16, "model": m, "value": v} for m, v in (("no move", 0.2), ("latent", 0.1))]
    write = (tmp_path / "planning.json").write_text
    assert study.studied([], of, args) == []
    write(json.dumps({"of": {"weights": "w", "episodes": 64, "steps": None, "samples": 64}, "rows": found}))
    regression = row(study, study.REGRESSION, 0.1)
    assert study.studied([regression | {"world": "nav"}], of, args) == []
    (taken,) = study.studied([regression], of, args)
    assert (taken["row"], taken["value"], taken["still"], taken["search"]) == (study.CONTROLLER, 0.1, 0.2, "64 x 6")
    assert study.studied([regression, taken], of, args) == []
    write(json.dumps({"of": {"weights": "other", "episodes": 64, "steps": None, "samples": 64}, "rows": found}))
    assert study.studied([regression], of, args) == []


def test_staying_is_that_in_all_episodes_and_in_a_few_where_no_more_are_planned(study):
    few = row(study, "simulator", 0.05, study.NONE, search="64 x 6", few=True, still=0.3)
    assert "staying: 0.300." in study.text([few], argparse.Namespace(episodes=8))
    both = [row(study, study.REGRESSION, 0.1), few]
    assert "staying: 0.200." in study.text(both, argparse.Namespace(episodes=8))


def test_a_regression_that_beats_both_models_is_told(study):
    plans = [
        row(study, name, value, clips, search="64 x 6")
        for clips, name, value in (
            (16, study.CONTROLLER, 0.10),
            (16, study.LABELLED, 0.15),
            ("all", study.CONTROLLER, 0.07),
            ("all", study.LABELLED, 0.06),
        )
    ]
    regression = [row(study, study.REGRESSION, 0.12), row(study, study.REGRESSION, 0.05, "all")]
    args = argparse.Namespace(episodes=8)
    page = study.text([*plans, *regression], args)
    assert "both models with all labelled clips.**" in page
    assert "| difference, linear | 0.12 (0.60) | 0.05 (0.25) |" in page
    assert "R²" not in page
    assert "**" not in study.text([*plans, *regression[:1]], args)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_one_command_makes_the_documents_and_goes_on_where_it_was(study, make_video, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for name in ("train/a", "train/b", "train/c", "train/d", "test/e"):
        film = tmp_path / "videos" / "nav" / f"{name}.mp4"
        make_video(film, frames=50, fps=8)
        write_poses(film, rng.normal(size=(50, 3)).cumsum(axis=0), fps=8)
    run = make_run(tmp_path / "run", tmp_path / "videos", Lite0(image_size=64, dtype="float32"))
    monkeypatch.setitem(study.WORLDS, "nav", study.World("recon", "rpe", "map units", ((8, 1), (8, 2))))
    monkeypatch.setattr(study, "TRAINED", (study.ALL,))
    monkeypatch.setattr(study, "film", lambda args, worlds: None)
    rows = "cheap search trained"
    command = f"diagnose --run {run} --work {tmp_path} --worlds nav --rows {rows} --clips 8 0 --seeds 0 --steps 2"
    command += f" --episodes 2 --slow 1 --out {tmp_path / 'out'}"
    monkeypatch.setattr(sys, "argv", command.split())
    study.main()
    first = (tmp_path / "out" / "diagnosis.json").read_text()
    page = (tmp_path / "out" / "diagnosis.md").read_text()
    for name in ("difference, linear", "z and state, MLP", "known goal", study.CONTROLLER, study.LABELLED, *study.IN_Z):
        assert f"| {name} |" in page
    assert (tmp_path / "out" / "diagnosis.svg").read_bytes().startswith(b"<?xml")
    monkeypatch.setattr(study, "open_ladder", lambda *_: pytest.fail("done again"))
    study.main()
    assert (tmp_path / "out" / "diagnosis.json").read_text() == first
    assert page in capsys.readouterr().out
