"""Benchmarks that the machine at hand cannot judge still run, and say so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

GPU = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


def measure(*arguments):
    done = subprocess.run([sys.executable, str(GPU), *map(str, arguments)], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path):
    assert measure("--out", tmp_path / "gpu.json") == "no GPU here: nothing was measured\n"
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_of_it_runs_on_small_models(tmp_path):
    measure("--tiny", "--out", tmp_path / "gpu.json")
    rows = {row["name"]: row for row in json.loads((tmp_path / "gpu.json").read_text())}
    for kind in ("plain", "compiled"):
        for states in ("online", "stored states"):
            assert rows[f"step of 4 clips, {states}, {kind}: clips/s"]["value"] > 0
    assert rows["plan, droid, ViT-L"]["value"] > 0
    assert "cpu" in next(iter(rows.values()))["machine"] or torch.cuda.is_available()
