"""The benchmarks of search: how fast it is and what it misses, and whether it finds the same action."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.episodes.poses import write_poses
from wildlam.errors import WildlamError
from wildlam.workflows import search_index

from .helpers import make_models_tiny, make_run


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def called(load, monkeypatch):
    """Run a benchmark with some arguments; give its module."""

    def run(name, *arguments):
        module = load(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        module.main()
        return module

    return run


def test_truth_is_what_a_comparison_with_all_rows_finds(load):
    scale = load("search_scale")
    z = scale.Synthetic.make(16, 5).draw(400, 3)
    queries = z[:3] * 2
    truth = scale.Truth(queries)
    truth.see(z[:150])
    truth.see(z[150:])
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    wanted = np.argsort(-(unit[:3] @ unit.T), axis=1)[:, : scale.NEAREST]
    assert [set(row) for row in truth.rows.tolist()] == [set(row) for row in wanted.tolist()]


def test_recall_and_times_of_a_small_index(called, tmp_path, monkeypatch):
    monkeypatch.setattr(search_index, "INDEXED_FROM", 4000)
    sizes = ("--rows", 6000, "--width", 64, "--clusters", 20, "--queries", 12)
    called("search_scale", *sizes, "--work", tmp_path / "work", "--out", tmp_path)
    rows = {row["name"]: row for row in json.loads((tmp_path / "search_scale.json").read_text())}
    assert rows["recall@10"]["value"] > 0.8
    assert rows["query, median"]["met"] is True
    assert rows["bytes of a row on disk, index included"]["value"] > 64 * 4
    told = (tmp_path / "search_scale.md").read_text()
    assert "6,000 synthetic latent actions of width 64 in 20 clusters, 12 queries" in told
    assert "| recall@10 |" in told
    assert not (tmp_path / "work").exists()


def known_of(precision, features, held_out=(False, True, False)):
    """Three videos of ten transitions each, whose actions are numbers."""
    actions = torch.arange(30.0).remainder(10)[:, None]
    video = torch.arange(30) // 10
    return precision.Known(features, actions, video, ["a", "b", "c"], torch.tensor(held_out))


def test_precision_counts_hits_that_do_the_same_in_other_videos(load, monkeypatch):
    precision = load("search_precision")
    monkeypatch.setattr(precision, "NEAREST", 2)
    monkeypatch.setattr(precision, "SHARE", 2 / 30)  # the two that do just the same
    same = torch.arange(30.0).remainder(10)[:, None]
    features = {"telling": same, "own video": (torch.arange(30.0) // 10)[:, None] * 100 + same.flip(0)}
    rows = {row["method"]: row for row in precision.judged(known_of(precision, features), 10)}
    assert rows["telling, Euclidean"]["precision"][0] == 1
    assert rows["telling, Euclidean"]["action distance"][0] == 0
    assert rows["own video, Euclidean"]["precision"][0] < 0.5
    assert rows["chance"]["precision"][0] == pytest.approx(2 / 20)
    assert rows["chance"]["queries"] == 10
    told = precision.text([{"source": "arm", "machine": "m", "weights": "w", **row} for row in rows.values()])
    assert "| telling, Euclidean | 1.000 |" in told
    assert told.index("| telling, cosine") < told.index("| chance")


def test_flow_points_where_things_move(load):
    pytest.importorskip("cv2")
    precision = load("search_precision")
    texture = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8))
    large = torch.nn.functional.interpolate(texture[None, None].float(), size=(160, 160), mode="bilinear")[0, 0].byte()
    frames = torch.stack([large[:128, 10:138], large[:128, 6:134]])[:, None].expand(2, 3, 128, 128)
    (flow,) = precision.flows(frames).unflatten(1, (2, -1))
    assert flow[0].median() == pytest.approx(4, abs=0.5)  # to the right
    assert flow[1].median() == pytest.approx(0, abs=0.5)


def test_whitened_components_have_no_scale(load):
    z = torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([9.0, 4, 2, 1, 0.5, 0.1])
    white = load("search_precision").whitened(z, 4)
    torch.testing.assert_close(white.T @ white / 500, torch.eye(4), atol=1e-4, rtol=1e-4)


def test_a_run_on_films_with_poses_is_judged(called, make_video, tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    make_models_tiny(monkeypatch)
    rng = np.random.default_rng(0)
    for i in range(6):
        video = tmp_path / "videos" / "walks" / ("test" if i > 3 else "train") / f"{i}.mp4"
        make_video(video, frames=40 + i, fps=8)
        write_poses(video, rng.normal(size=(40 + i, 3)).cumsum(axis=0), fps=8)
    run = make_run(tmp_path / "run", tmp_path / "videos", Lite0(image_size=64, dtype="float32"))
    called("search_precision", "--run", run, "--sources", "walks", "--out", tmp_path)
    rows = json.loads((tmp_path / "search_precision.json").read_text())["rows"]
    assert {"z, cosine", "difference of states, cosine", "optical flow, Euclidean", "chance"} <= {
        row["method"] for row in rows
    }
    assert all(0 <= row["precision"][0] <= 1 and row["action distance"][0] > 0 for row in rows)
    assert "Queries: walks " in (tmp_path / "search_precision.md").read_text()
    with pytest.raises(WildlamError, match="no videos with poses in source 'elsewhere'"):
        called("search_precision", "--run", run, "--sources", "elsewhere", "--out", tmp_path)
