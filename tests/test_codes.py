"""The study of forms of latent actions: what it measures, and the table that it writes."""

import argparse
import importlib
from pathlib import Path

import pytest
import torch

from wildlam.config import dump_config
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.models.inverse_dynamics import Split


@pytest.fixture
def codes(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module("codes")


class Adds:
    """z is the change, and it does what it says everywhere; or, ``fickle``, it is taken the wrong way round."""

    def __init__(self, fickle=False):
        self.sign = -1.0 if fickle else 1.0

    def infer(self, states):
        return (states[:, 1:] - states[:, :-1])[:, :, 0]

    def predict(self, states, actions):
        return states + self.sign * actions[:, :, None]


def test_z_that_means_the_same_everywhere_comes_back(codes):
    states = torch.randn(8, 4, 1, 3, generator=torch.Generator().manual_seed(0))
    for fickle in (False, True):
        model = Adds(fickle)
        back = codes.returned(model, states[:, :-1], model.infer(states))
        assert back == pytest.approx(-3.0 if fickle else 1.0, abs=0.1)


class ToldLadder:
    """A ladder whose errors are the draw plus a tenth of the labels."""

    def told(self, count, draw, inputs, fits):
        (seen,), (fit,) = inputs, fits
        for how in ("steps", "start and goal"):
            name = f"{seen}, {how}, {fit}"
            for few in (False, True):
                yield {"row": name, "figure": "error", "few": few, "value": draw + count / 10, "still": 9.0}
        if not count:
            yield {"row": f"{seen}, steps, {fit}", "figure": "R² turn", "few": False, "value": 0.5}


@pytest.mark.parametrize("seen", ["z", "difference"])
def test_errors_are_means_over_draws_in_all_episodes(codes, seen):
    rows = {row["figure"]: row for row in codes.decoded(ToldLadder(), seen)}
    assert rows["steps, 32"] == {"figure": "steps, 32", "value": pytest.approx(4.2), "still": 9.0}
    assert rows["start and goal, all"]["value"] == pytest.approx(1.0)
    assert rows["R² turn"] == {"figure": "R² turn", "value": 0.5}


def test_the_table_begins_with_what_no_model_tells(codes):
    def row(form, figure, value):
        seed = {"world": "arm", "form": form, "seed": 0, "machine": "m"}
        return {**seed, "figure": figure, "value": value, "still": 0.14}

    rows = [row("Split", "one-step error", 0.2), row("Split", "steps, 32", 0.08), row(codes.CONTROL, "steps, 32", 0.1)]
    told = codes.text(rows, argparse.Namespace(size="nano", steps=4, batch=2))
    lines = [line for line in told.splitlines() if line.startswith("| ")][2:]
    assert lines[0].startswith(f"| {codes.CONTROL} |")
    assert "0.100" in lines[0]
    assert lines[1].startswith("| Split | 1 | 0.200 |")
    assert "Staying errs by 0.14.\n" in told


def test_plans_stand_beside_what_their_form_tells(codes):
    told = {
        "world": "arm",
        "form": "Split",
        "seed": 0,
        "machine": "m",
        "figure": "steps, 32",
        "value": 0.08,
        "still": 0.14,
    }
    plans = [told | {"seed": seed, "figure": "plan, 32", "value": 0.1 + seed / 50, "still": 0.2} for seed in (0, 1)]
    lines = codes.table([told, *plans])
    assert lines[0] == "Staying errs by 0.14, in the episodes of the plans by 0.2."
    assert lines[-1].endswith("| 0.110 (0.100 to 0.120) |")


def test_a_guided_plan_and_what_guides_it_are_told_beside_it(codes, monkeypatch, tmp_path):
    asked = {}

    def plan(**given):
        asked.update(given)
        errors = {"latent": 0.1, "guide": 0.2, "regression": 0.3, "no move": 0.4}
        values = {model: {"displacement": torch.tensor([error, error])} for model, error in errors.items()}
        return argparse.Namespace(rows={model: argparse.Namespace(values=of) for model, of in values.items()})

    monkeypatch.setattr(codes, "plan", plan)
    monkeypatch.setattr(codes, "driver_of", lambda *_: tmp_path / "study" / "controller_arm_32_0")
    args = argparse.Namespace(work=tmp_path)
    plain = list(codes.planned(args, "arm", tmp_path, 32, 0, {"latent": codes.PLAN}, None))
    assert plain == [{"figure": "plan, 32", "value": pytest.approx(0.1), "still": pytest.approx(0.4)}]
    assert "guide" not in asked
    names = {"latent": f"{codes.GUIDED} 0.1", **codes.ALONE}
    found = {row["figure"]: row["value"] for row in codes.planned(args, "arm", tmp_path, 0, 0, names, 0.1)}
    assert found == {
        "plan guided at 0.1, all": pytest.approx(0.1),
        "guide alone, all": pytest.approx(0.2),
        "regression alone, all": pytest.approx(0.3),
    }
    assert (asked["guide"], asked["clips"]) == (0.1, None)
    assert asked["out"].name == "plans_controller_arm_32_0_guide_0.1"


def test_every_form_is_a_model(codes, tiny_models):
    for name, config in codes.FORMS.items():
        assert isinstance(config, ModelConfig), name
        assert isinstance(config.bottleneck, Noisy)
        config.build(6, (2, 2))
    assert isinstance(codes.FORMS["Split, dearer, half the price"].idm, Split)
    assert codes.FORMS["Split, dearer, half the price"].bottleneck.beta == codes.PLAIN.bottleneck.beta / 2
    assert "Split" in dump_config(codes.FORMS["Split"])
