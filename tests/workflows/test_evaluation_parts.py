"""What an evaluation is said to take: every part of it that takes long, in whatever the run has."""

import sys
import time
from types import ModuleType

import pytest
import torch

from wildlam.models.decoder import DecoderConfig
from wildlam.states.dataset import index_videos
from wildlam.workflows import evaluation_parts
from wildlam.workflows.evaluation_parts import UMAP_COMPILES, UMAP_FITS, parts_of_evaluation, umap_seconds
from wildlam.workflows.open_run import open_run

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def told(run, monkeypatch):
    monkeypatch.setattr(evaluation_parts, "FEW_CLIPS", 0)
    opened = open_run(run)
    model, rows = opened.model(), index_videos(opened.config.data)

    def parts(**more):
        return parts_of_evaluation(opened.config, opened.encoder, rows, model, {}, **more)

    parts.spec = opened.encoder.spec
    return parts


@pytest.mark.slow
def test_all_that_takes_long_is_measured(told):
    decoder = DecoderConfig(image_size=16, upsample=1).build(told.spec).eval()
    before = torch.get_rng_state()
    parts = told(decoder=decoder, times=2)
    assert torch.equal(before, torch.get_rng_state())
    assert [part.name for part in parts] == ["evaluate", "locality", "pixels", "pictures", "probes", "report"]
    assert all(part.seconds > 0 for part in parts)
    amounts = {part.name: part.amount for part in parts}
    assert amounts["probes"] == "36 clips"  # of three videos with poses, twice
    assert amounts["locality"] == "64 scenes"
    assert amounts["pixels"] == amounts["evaluate"]


def test_umap_is_told_by_the_time_of_its_import(monkeypatch, tmp_path):
    assert umap_seconds(100, 4, times=1) == 0  # where it is not installed
    (tmp_path / "umap.py").write_text("import time\ntime.sleep(0.2)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "umap")
    seconds = umap_seconds(100, 4, times=3)
    assert seconds == pytest.approx(0.2 * (UMAP_COMPILES + 300 * UMAP_FITS), rel=0.3)


def test_umap_that_is_loaded_is_measured_itself(monkeypatch):
    class Slow:
        def __init__(self, **_):
            pass

        def fit_transform(self, z):
            time.sleep(1e-3 * len(z))
            return z[:, :2]

    umap = ModuleType("umap")
    umap.UMAP = Slow
    monkeypatch.setitem(sys.modules, "umap", umap)
    assert umap_seconds(640, 4, times=2) == pytest.approx(1e-3 * 1280, rel=0.5)
