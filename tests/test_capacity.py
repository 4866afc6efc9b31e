"""The study of what each limit lets through: the parts of the clips, the share of the gap, and what is written."""

import argparse
import importlib
from pathlib import Path

import pytest


@pytest.fixture
def capacity(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module("capacity")


def rows_of(capacity, limit, strength, seed, **errors):
    part = {"limit": limit, "strength": strength, "seed": seed, "machine": "m", "figure": capacity.ERROR, "copy": 0.5}
    return [part | {"part": name.replace("_", " "), "clips": 3, "value": value} for name, value in errors.items()]


def test_clips_count_by_what_moves_before_a_still_background(capacity):
    true = [{"movers": 0, "background": "still"}, {"movers": 2, "background": "still"}]
    found = capacity.parts([*true, {"movers": 2, "background": "panning"}])
    assert found["0 moving"] == [True, False, False]
    assert found["2 moving"] == [False, True, False]
    assert found[capacity.MOVING] == [False, False, True]
    assert found[capacity.ALL] == [True] * 3


def test_the_share_of_the_gap_is_of_bounds_of_the_same_seed(capacity):
    rows = rows_of(capacity, capacity.NONE, "", 0, all_clips=0.4) + rows_of(
        capacity, capacity.NONE, "", 1, all_clips=0.6
    )
    rows += rows_of(capacity, capacity.FULL, "", 0, all_clips=0.2) + rows_of(
        capacity, capacity.FULL, "", 1, all_clips=0.2
    )
    for seed in (0, 1, 2):  # of the last there are no bounds
        rows += rows_of(capacity, "Discrete", "16 codes", seed, all_clips=0.3)
    assert capacity.shares(rows, "Discrete", "16 codes", capacity.ALL) == pytest.approx([0.5, 0.75])
    assert capacity.shares(rows, capacity.FULL, "", capacity.ALL) == pytest.approx([1, 1])


def test_there_is_no_share_where_latent_actions_gain_nothing(capacity):
    rows = rows_of(capacity, capacity.NONE, "", 0, all_clips=0.2) + rows_of(
        capacity, capacity.FULL, "", 0, all_clips=0.2
    )
    assert capacity.shares(rows, capacity.FULL, "", capacity.ALL) == []


def test_the_page_has_a_column_for_each_part_and_the_picture_a_line_for_each_strength(capacity):
    rows = []
    for limit, strength, error in ((capacity.NONE, "", 0.4), (capacity.FULL, "", 0.2), ("Sparse", "l1 0.01", 0.25)):
        rows += rows_of(capacity, limit, strength, 0, **{"0_moving": 0.1, "1_moving": error, "all_clips": error})
    page = capacity.text(rows, argparse.Namespace(size="nano", steps=4, batch=2))
    assert "| limit | 0 moving (3) | 1 moving (3) | all clips (3) |" in page
    assert "| Sparse l1 0.01 |  | 0.750 | 0.750 |" in page
    assert "a copy of the last state: 0 moving 0.500" in page
    assert "of all clips: 0.500 of the error without latent actions" in page
    picture = capacity.curves(rows).decode()
    assert "Sparse, l1 0.01" in picture
    assert "Noisy" not in picture
