"""The study of one model for all worlds: what it measures, and the tables that it writes."""

import argparse
import importlib
from pathlib import Path

import pytest
import torch

from wildlam.evaluation.clips import InferredClips
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy


@pytest.fixture
def mix(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module("mix")


def test_tables_are_of_worlds_and_say_what_a_copy_reaches(mix):
    part = {"form": "Split, local, 256 dimensions", "seed": 0, "machine": "m", "world": "arm"}
    rows = [part | {"figure": mix.ERROR, "value": 0.17, "copy": 0.22}, part | {"figure": "R² dx", "value": 0.3}]
    rows += [
        rows[0] | {"seed": 1, "value": 0.19, "copy": 0.22},
        part | {"form": "Transformer", "figure": "R² dx", "value": 0.2},
    ]
    rows += [part | {"world": mix.SCENE, "figure": "share, own", "value": 0.6}]
    told = mix.text(rows, argparse.Namespace(size="nano", steps=4, batch=2))
    arm, scenes = (told.split(f"## {world}\n")[1].split("\n## ")[0] for world in ("arm", mix.SCENE))
    assert "| Transformer | 1 |  | 0.200 |" in arm
    assert "| Split, local, 256 dimensions | 2 | 0.180 (0.170 to 0.190) [0.220] | 0.300 |" in arm
    assert "| Split, local, 256 dimensions | 1 | 0.600 |" in scenes


def test_errors_are_those_of_z_and_of_a_copy(mix, tiny_models):
    torch.manual_seed(0)
    model = ModelConfig(bottleneck=Noisy(dim=4)).build(6, (2, 2)).eval()
    states = torch.randn(6, 4, 4, 6).cumsum(dim=1)
    names = [f"film {i}" for i in range(6)]
    times = torch.zeros(6, 4, dtype=torch.float64)
    clips = InferredClips(states, model.infer(states).detach(), names, ["arm"] * 6, times, names)
    rows = {row["figure"]: row for row in mix.predicted(model, clips)}
    assert rows[mix.ERROR]["copy"] == pytest.approx(float((states[:, 1:] - states[:, :-1]).abs().mean()), rel=1e-5)
    assert rows[mix.ERROR]["value"] == pytest.approx(rows[mix.ERROR]["copy"], rel=1e-5)  # untrained, it copies
    assert rows[mix.CUT]["value"] == pytest.approx(rows[mix.CUT]["copy"], rel=1e-5)
    assert rows[mix.NATS]["value"] > 0


def test_every_form_is_a_model(mix, tiny_models):
    for config in mix.FORMS.values():
        config.build(6, (2, 2))
    assert mix.FORMS["Split, dearer, place, 3e-5"].bottleneck.beta == pytest.approx(3e-5)


def test_local_dimensions_alone_leave_what_acts_everywhere_at_zero(mix, tiny_models):
    model = ModelConfig(bottleneck=Noisy(dim=16)).build(6, (2, 2)).eval()
    states, cells = torch.randn(1, 2, 4, 6), model.world_model.cells
    whole, alone = model.infer(states), mix.LocalAlone(model, cells.everywhere).infer(states)
    assert 0 < cells.everywhere < 16
    assert not alone[..., : cells.everywhere].any()
    assert torch.equal(alone[..., cells.everywhere :], whole[..., cells.everywhere :])
