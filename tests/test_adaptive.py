"""The study of limits that adapt: what is compared at equal nats, and what its documents say."""

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.episodes.movers import Truth, write_truth
from wildlam.evaluation.clips import InferredClips

from .helpers import make_run


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module("adaptive")


def row(limit, price, figure, value, group="all", seed=0, kept=None):
    kept = kept or ("needed" if limit == "Adaptive" else "whole")
    part = {"limit": limit, "price": price, "seed": seed, "machine": "m"}
    return part | {"kept": kept, "group": group, "figure": figure, "value": value, "clips": 9}


def rows_of(limit, price, nats, **errors):
    return [row(limit, price, "nats", nats), *(row(limit, price, "error", value, of) for of, value in errors.items())]


def test_limits_are_compared_where_both_spend_as_much(study):
    rows = rows_of("Noisy", 1e-4, 40.0, all=0.1, busy=0.2) + rows_of("Noisy", 1e-3, 10.0, all=0.3, busy=0.4)
    rows += rows_of("Adaptive", 1e-4, 20.0, all=0.18, busy=0.33) + rows_of("Adaptive", 1e-3, 5.0, all=0.3, busy=0.4)
    rows.append(row("Adaptive", 1e-4, "error", 9.0, kept="1"))  # another budget
    assert study.at_equal_nats(rows, 1e-4, "error", "all") == pytest.approx(0.18 / 0.2)
    assert study.at_equal_nats(rows, 1e-4, "error", "busy") == pytest.approx(0.33 / 0.3)
    assert study.at_equal_nats(rows, 1e-3, "error", "all") is None  # fewer nats than Noisy spends at any price
    assert study.at_equal_nats(rows[-7:], 1e-4, "error", "all") is None  # no Noisy


def clip(movers, background, nats):
    part = {"limit": "fixed", "price": 1e-4, "seed": "none", "machine": "m"}
    return part | {"movers": movers, "background": background, "copy": nats / 100, "without z": 0.1, "nats": nats}


def test_nats_are_told_by_how_much_happens(study):
    clips = [clip(count, "still", 10.0 * count + i) for count in (0, 1, 2) for i in (0, 1)] + [clip(1, "panning", 90.0)]
    page = "\n".join(study.fixed_section(clips))
    assert "| 2, still | 2 | 0.205 | 0.1 | 20.5 |" in page
    assert "| any, panning | 1 | 0.9 | 0.1 | 90 |" in page
    assert "error of a copy: 1.00; with that of a model without latent actions: 0.00" in page
    assert "stands still: 0.96." in page


def test_movers_count_that_are_seen_while_the_clip_lasts(study, tmp_path):
    budgets = importlib.import_module("budgets")
    visible = np.zeros((16, 3), np.float32)
    visible[:8, 0], visible[9:, 1], visible[:, 2] = 1.0, 0.5, 0.1  # the last one hardly ever
    empty = np.zeros((16, 3), np.float32)
    truth = Truth(np.array(8.0), np.array("still"), np.array(["a"] * 3), *[empty] * 5, visible, empty, empty)
    write_truth(tmp_path / "a.mp4", truth)
    times = torch.tensor([[0.0, 0.5], [1.25, 1.75], [0.5, 1.5]], dtype=torch.float64)
    clips = InferredClips(torch.zeros(3, 2, 1, 1), torch.zeros(3, 1, 1), ["a.mp4"] * 3, ["x"] * 3, times)
    assert [one["movers"] for one in budgets.happening(clips, tmp_path)] == [1, 1, 2]


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_one_command_makes_the_documents_and_goes_on_where_it_was(study, videos, tmp_path, monkeypatch, capsys):
    run = make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"))
    command = f"adaptive --run {run} --work {tmp_path} --prices 1e-4 1e-3 --seeds 0 --episodes 18 --steps 2 --batch 4"
    monkeypatch.setattr(importlib.import_module("budgets"), "SECONDS", 2.0)
    monkeypatch.setattr(sys, "argv", f"{command} --dim 4 --out {tmp_path / 'out'}".split())
    study.main()
    first = (tmp_path / "out" / "adaptive.json").read_text()
    page = (tmp_path / "out" / "adaptive.md").read_text()
    for name in ("Noisy 0.001", "Adaptive 0.0001", "Deterministic", "within 2 %", "4"):
        assert f"| {name} |" in page
    assert (tmp_path / "out" / "adaptive.svg").read_bytes().startswith(b"<?xml")
    monkeypatch.setattr(study, "Study", lambda args, opened: argparse.Namespace(opened=opened))  # nothing done again
    study.main()
    assert (tmp_path / "out" / "adaptive.json").read_text() == first
    assert page in capsys.readouterr().out
