"""The notebooks in ``examples/``: each runs from top to bottom, with a small first cell, and holds no outputs."""

import json
from pathlib import Path

import numpy as np
import pytest

from wildlam.encoders import Lite0
from wildlam.episodes.poses import write_poses
from wildlam.models.controller import ControllerConfig
from wildlam.training import TrainingConfig

from .helpers import make_run

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def run_all(path, given):
    """Run a notebook's cells in one module; ``given`` is what its first cell, the settings, says otherwise."""
    first, *rest = ["".join(cell["source"]) for cell in cells(path)]
    module: dict = {}
    exec(first, module)
    assert given.keys() <= module.keys()
    module |= given
    for cell in rest:
        exec(cell, module)
    return module


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells(path))


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_own_videos(videos, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.setattr("wildlam.workflows.evaluate.write_run_report", lambda *arguments: None)
    training = {"steps": 2, "batch_size": 2, "precision": "fp32"}
    settings = {"training": training, "encoder": Lite0(image_size=64), "action_free": False}
    module = run_all(EXAMPLES / "own_videos.ipynb", {"videos": videos, "out": tmp_path / "run", "settings": settings})
    assert len(module["actions"].z) == 15
    html = module["found"]._repr_html_()
    assert "<table>" in html
    assert module["found"].verdict.head in html
    index = module["wildlam"].index(path=videos)
    assert str(index).startswith("6 videos, 0.01 hours, 2 held out, 4 for training")
    assert "6 videos" in index._repr_html_()
    encoded = module["wildlam"].encode(data={"path": videos}, encoder=Lite0(image_size=64))
    assert encoded.states == 6 * 16
    assert "96" in encoded._repr_html_()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_controller_and_plan(make_video, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("train/a", "train/b", "train/c", "test/d"):
        video = make_video(tmp_path / "walks" / f"{name}.mp4", frames=50, fps=8)
        write_poses(video, rng.normal(size=(50, 3)).cumsum(axis=0), fps=8)
    walks = tmp_path / "walks"
    run = make_run(tmp_path / "run", walks, Lite0(image_size=64, dtype="float32"))
    training = TrainingConfig(steps=2, batch_size=4, precision="fp32")
    settings = {
        "data": walks,
        "clips": 4,
        "controller": ControllerConfig(width=16, blocks=1),
        "training": training,
    }
    planning = {"protocol": "recon", "episodes": 2, "samples": 4}
    given = {"run": run, "labelled": walks, "settings": settings, "planning": planning}
    plans = run_all(EXAMPLES / "controller_and_plan.ipynb", given)["plans"]
    assert plans.plans["latent"].shape == (2, 8, 3)
    assert "on 2 clips of 1 recording held out" in str(plans)
    assert "<table>" in plans._repr_html_()
    assert "tensor" not in repr(plans)
