"""Plans by both protocols, and what refuses them."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wildlam.episodes.action_spaces import ARM, PLANAR
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.episode import Episode
from wildlam.episodes.poses import write_poses
from wildlam.errors import WildlamError
from wildlam.evaluation.intervals import Estimate
from wildlam.workflows.controller import (
    load_controlled,
)
from wildlam.workflows.plan import dynamics_of, judged, plan

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.mark.parametrize("protocol", ["droid", "recon"])
def test_plans_are_made_and_judged(driven, config, tmp_path, protocol):
    few = {"episodes": 2} | ({"samples": 16, "iterations": 2} if protocol == "droid" else {})
    result = plan(run=driven, protocol=protocol, data=config.data, baselines=[tmp_path / "labelled"], **few)
    folder = result.folder
    found = json.loads((folder / "plans.json").read_text())
    page = (folder / "report.html").read_text()
    assert page.count("<img") == 3
    assert "median: test/d.mp4" in page
    assert {label: row.summary() for label, row in result.rows.items()} == found["summary"]
    assert {label: actions.tolist() for label, actions in result.plans.items()} == found["plans"]
    assert "labelled" in result._repr_html_()
    assert found["summary"].keys() == {"no move", "random", "latent", "labelled"} | (
        {"mean", "known goal"} if protocol == "recon" else set()
    )
    for label, figures in found["summary"].items():
        for name, of in figures.items():
            assert np.mean(found["per episode"][label][name]) == pytest.approx(of["mean"], rel=1e-4)
    assert {"displacement", "ate", "rpe"} <= found["summary"]["no move"].keys()
    true = np.array(found["true"])
    moved = np.abs(true[:, :, :2].sum(axis=1)).sum(axis=-1)
    assert found["summary"]["no move"]["displacement"]["mean"] == pytest.approx(moved.mean(), rel=1e-4)
    assert np.array(found["plans"]["latent"]).shape == true.shape
    again = plan(run=driven, protocol=protocol, data=config.data, out=tmp_path / "again", **few).folder
    assert json.loads((again / "plans.json").read_text())["plans"]["latent"] == found["plans"]["latent"]


def test_a_guide_is_shown_by_itself_and_pulls_plans_to_it(driven, config, tmp_path):
    few = {"run": driven, "protocol": "droid", "data": config.data, "episodes": 2, "samples": 16, "iterations": 2}
    off = {}
    for guide in (0.0, 1e6):
        both = {"guide": guide, "baselines": [tmp_path / "labelled"]}
        made = plan(**few, **both, clips=4, out=tmp_path / f"{guide}")
        assert {"regression", "guide", "latent"} < made.rows.keys()
        found = json.loads((made.folder / "plans.json").read_text())
        assert found["guide"] == guide
        error = {label: row.values["displacement"] for label, row in made.rows.items()}
        off[guide] = error["latent"] - error["guide"]
        off["labelled", guide] = error["labelled"] - error["regression"]
    free = plan(**few, out=tmp_path / "free")
    assert torch.equal(free.plans["latent"], plan(**few, guide=0.0, clips=4, out=tmp_path / "again").plans["latent"])
    assert off[1e6].abs().mean() < off[0.0].abs().mean()
    assert off["labelled", 1e6].abs().mean() < off["labelled", 0.0].abs().mean()
    drives = {**few, "protocol": "recon", "iterations": 1, "clips": 4}
    near = [plan(**drives, guide=guide, out=tmp_path / f"recon {guide}") for guide in (0.0, 1e6)]
    gaps = [(one.rows["latent"].values["rpe"] - one.rows["guide"].values["rpe"]).abs().mean() for one in near]
    assert gaps[1] <= gaps[0]
    for wrong, said in (
        ({"plan_in": "latent"}, "guide is for plans in actions"),
        ({"guide": -1.0}, "guide must be a number of"),
    ):
        with pytest.raises(WildlamError, match=said):
            plan(**{**few, "guide": 0.1, **wrong})


def test_a_guide_of_other_actions_is_refused(driven, config, monkeypatch):
    arm = SimpleNamespace(space=ARM)
    monkeypatch.setattr("wildlam.workflows.latent_run.few_labelled", lambda *_: arm)
    with pytest.raises(WildlamError, match=r"holds arm actions, those of .*controller are planar actions; give other"):
        plan(run=driven, protocol="droid", data=config.data, guide=0.1, labelled=config.data, episodes=2)


def test_intervals_draw_recordings_and_not_films_of_every_camera():
    films = {"a/left": "a", "a/right": "a", "b/left": "b", "b/right": "b"}
    places = [
        (Episode(name, "held_out", np.arange(2.0), np.zeros((2, 3)), PLANAR, lambda *_: None, None, of), np.arange(2))
        for name, of in films.items()
    ]
    true = torch.tensor([0.0, 1.0, 2.0, 3.0]).view(4, 1, 1).expand(4, 1, 3)
    clips = LabelledClips(torch.zeros(4, 2, 1, 1), torch.zeros(4, 2, 3), true, places, PLANAR, 1.0)
    found = judged(torch.zeros(4, 1, 3), clips)
    assert found.amount == "4 clips of 2 recordings"
    assert found.names == list(films)
    assert found.estimate("displacement") == Estimate(3.0, 1.0, 5.0)  # of the first recording, and of the second


def test_plans_that_could_not_be_written_are_not_made(driven, config, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WildlamError, match=r"cannot write to .*file: .*; give another out$"):
        plan(run=driven, protocol="recon", data=config.data, out=tmp_path / "file")


def test_other_solvers_are_for_the_droid_protocol(driven, config, tmp_path):
    run, plans = driven, {}
    for solver in ("cem", "icem", "mppi"):
        few = {"episodes": 2, "samples": 8, "iterations": 2, "out": tmp_path / solver}
        made = plan(run=run, protocol="droid", data=config.data, solver=solver, **few)
        found = json.loads((made.folder / "plans.json").read_text())
        plans[solver] = found["plans"]["latent"]
        assert found["solver"] == solver
        told = {
            "samples": 8,
            "iterations": 2,
            "data": str(config.data),
            "controller": str(run / "controller"),
            "baselines": [],
        }
        assert told.items() <= found.items()
    assert len({str(of) for of in plans.values()}) == 3
    with pytest.raises(WildlamError, match="; solver mppi is for droid"):
        plan(run=run, protocol="recon", data=config.data, solver="mppi")


def test_numbers_below_one_are_refused(run, config):
    for word in ("episodes", "samples", "iterations"):
        with pytest.raises(WildlamError, match=f"^{word} must be at least 1, got 0"):
            plan(run=run, protocol="recon", data=config.data, **{word: 0})


def test_data_in_other_units_are_refused(driven, config, tmp_path):
    metres = tmp_path / "metres"
    shutil.copytree(config.data, metres, ignore=shutil.ignore_patterns(".wildlam"))
    for file in metres.rglob("*.poses.csv"):
        poses = np.loadtxt(file, delimiter=",", skiprows=1)[:, 1:]
        write_poses(file.with_name(file.name.replace(".poses.csv", ".mp4")), poses / (64, 64, 1), fps=8)
    with pytest.raises(WildlamError, match=r"the controller was trained on by .*other units"):
        plan(run=driven, protocol="recon", data=metres)


def test_baselines_keep_their_rows_whatever_their_folders_are_called(driven, config, tmp_path):
    run, first = driven, shutil.copytree(tmp_path / "labelled", tmp_path / "a" / "latent")
    second = shutil.copytree(first, tmp_path / "b" / "latent")
    folder = plan(
        run=run, protocol="droid", data=config.data, baselines=[first, second], episodes=2, samples=4, iterations=1
    ).folder
    assert json.loads((folder / "plans.json").read_text())["plans"].keys() == {"latent", "a/latent", "b/latent"}
    with pytest.raises(WildlamError, match="is given twice"):
        dynamics_of(load_controlled(run), [first, first])


def test_a_baseline_of_other_actions_is_refused(driven, tmp_path, monkeypatch):
    monkeypatch.setattr("wildlam.workflows.plan.load_labelled_model", lambda folder, encoder: (None, ARM))
    with pytest.raises(WildlamError, match="takes arm actions, the controller planar"):
        dynamics_of(load_controlled(driven), [tmp_path / "baseline"])


def test_what_is_for_another_space_is_refused(run, config):
    for given in ({"prior": "x"}, {"labelled": "x"}, {"clips": 8}, {"plan_in": "latent", "controller": "x"}):
        with pytest.raises(WildlamError, match=r"^\w+ does nothing where plan_in is \w+; leave it out"):
            plan(run=run, data=config.data, **given)
    with pytest.raises(WildlamError, match=r"^actions is for plan_in latent, as a controller says itself"):
        plan(run=run, data=config.data, actions="states")
    with pytest.raises(WildlamError, match=r"^block is for plan_in latent"):
        plan(run=run, data=config.data, block="summed")
    with pytest.raises(WildlamError, match=r"^clips must be at least 4, got 3"):
        plan(run=run, data=config.data, plan_in="latent", clips=3)
    with pytest.raises(WildlamError, match=r"^unlikely must not be negative, got -1"):
        plan(run=run, data=config.data, plan_in="latent", unlikely=-1.0)
    with pytest.raises(WildlamError, match="has no prior; train one with `wildlam prior train`, or give one as prior"):
        plan(run=run, data=config.data, plan_in="latent")
