"""Priors from videos without actions: trained, resumed, loaded, refused, and planned with."""

import json
import shutil

import pytest
import torch

from wildlam.config import read_as
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Discrete
from wildlam.models.priors import Codes, Flow, Gaussian, Neighbours
from wildlam.runs.folder import Run
from wildlam.workflows.plan import plan
from wildlam.workflows.prior import (
    PriorTrainingConfig,
    find_prior,
    load_own_prior,
    load_prior,
    prior_results,
    train_prior,
)

from ..helpers import make_run
from .controllers import TRAINING, loaded, weights

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(autouse=True)
def _short_plans(monkeypatch):
    """Those that a prior is judged by."""
    for name in ("SAMPLES", "ITERATIONS"):
        monkeypatch.setattr(f"wildlam.workflows.prior.{name}", 2)


@pytest.fixture
def settings():
    return PriorTrainingConfig(prior=Gaussian(components=4), training=TRAINING)


def test_a_prior_is_a_run_of_its_own(run, settings):
    folder = train_prior(run, settings)
    assert folder == run / "prior"
    assert Run(folder).facts["command"] == "wildlam.train_prior(...) from Python"
    assert read_as(PriorTrainingConfig, folder / "config.yaml") == settings
    assert [row["step"] for row in Run(folder).metrics()] == [1, 2]
    encoder, model = loaded(run)
    prior = load_prior(find_prior(run), encoder, model)
    assert prior.act(torch.zeros(2, prior.base), torch.zeros(2, *model.state_shape)).shape == (2, 4)
    found = json.loads((folder / "results.json").read_text())
    assert found["clips"] == 2
    assert "log-likelihood, nats" in prior_results(folder)
    assert " to " not in prior_results(folder)  # no interval of one recording


@pytest.mark.slow
def test_an_interrupted_training_ends_as_a_whole_one(run, settings, tmp_path):
    whole, cut = (train_prior(run, settings, tmp_path / name) for name in ("whole", "cut"))
    for step in (cut / "checkpoints").glob("step_*2"):
        shutil.rmtree(step)
    (cut / "results.json").unlink()
    with pytest.raises(WildlamError, match="was interrupted: give the same `wildlam prior train` again"):
        load_prior(cut, *loaded(run))
    train_prior(run, settings, cut)
    for name, weight in weights(whole).items():
        assert torch.equal(weights(cut)[name], weight), name


@pytest.mark.parametrize("prior", [Flow(components=4), Neighbours(components=4, memory=20, count=8)])
def test_every_form_is_trained_and_loaded(run, settings, prior):
    folder = train_prior(run, settings, prior=prior)
    found = load_prior(folder, *loaded(run))
    assert found.sample(torch.zeros(2, *loaded(run)[1].state_shape)).shape == (2, 4)
    assert read_as(PriorTrainingConfig, folder / "config.yaml").prior == prior
    train_prior(run, settings, prior=prior)  # once more does no harm
    with pytest.raises(WildlamError, match="holds a prior with prior"):
        train_prior(run, settings, prior=Gaussian(components=5))


def test_codes_have_a_prior_of_their_own_and_are_planned_with(labelled, settings, tmp_path):
    encoder = Lite0(image_size=64, dtype="float32")
    run = make_run(tmp_path / "run", labelled, encoder, ModelConfig(bottleneck=Discrete(dim=4, codes=8)))
    train_prior(run, settings, prior=Codes(components=4))
    few = {"episodes": 2, "samples": 12, "iterations": 2}
    result = plan(run=run, data=labelled, protocol="droid", plan_in="latent", clips=4, **few)
    assert result.plans["latent"].isfinite().all()


def test_a_prior_of_another_model_is_refused(run, settings, labelled, tmp_path, caplog):
    caplog.set_level("WARNING", logger="wildlam")
    folder = train_prior(run, settings)
    torch.manual_seed(5)
    other = make_run(tmp_path / "other", labelled, Lite0(image_size=64, dtype="float32"))
    with pytest.raises(WildlamError, match="holds a prior of another run"):
        load_prior(folder, *loaded(other))
    with pytest.raises(WildlamError, match="holds a prior of another run"):
        train_prior(other, settings, folder)
    with pytest.raises(WildlamError, match="has no prior; train one"):
        load_prior(other, *loaded(other))
    assert load_own_prior(run, *loaded(run)) is not None
    assert load_own_prior(other, *loaded(other)) is None
    assert "left out" not in caplog.text  # who has none needs no warning
    assert load_own_prior(run, *loaded(other)) is None
    assert "the prior is left out" in caplog.text


@pytest.mark.parametrize("protocol", ["droid", "recon"])
def test_plans_in_latent_space_take_no_controller(run, settings, labelled, protocol):
    train_prior(run, settings)
    few = {"episodes": 2, "samples": 12, "iterations": 2}
    result = plan(run=run, data=labelled, protocol=protocol, plan_in="latent", clips=4, **few)
    found = json.loads((result.folder / "plans.json").read_text())
    assert result.plans["latent"].shape == torch.tensor(found["true"]).shape
    assert found["prior"] == str(run / "prior")
    assert found["decoder"]["clips"] == 4
    assert {"cost", "true cost"} <= found["summary"]["latent"].keys()


def test_a_prior_is_told_of_before_it_is_trained(run, settings, caplog, monkeypatch):
    caplog.set_level("INFO", logger="wildlam")
    train_prior(run, settings)
    caplog.clear()  # what was encoded may have been told of
    for name in ("SHORT", "FEW_STEPS"):
        monkeypatch.setattr(f"wildlam.workflows.durations.{name}", 0)
    train_prior(run, settings, out=run / "again")
    (told,) = [one.getMessage() for one in caplog.records if one.getMessage().startswith("On this machine")]
    assert [line.split()[:3] for line in told.splitlines()[1:-1]] == [["train", "2", "steps"]]
