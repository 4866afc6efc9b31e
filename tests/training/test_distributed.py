import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from wildlam.training import Run

HERE = Path(__file__).parent


def torchrun(count, script, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(HERE / script), *map(str, arguments)], env=environment, check=True, timeout=110)


@pytest.mark.slow
def test_two_ranks_of_8_clips_give_the_gradients_of_one_of_16(tmp_path):
    """The sparse bottleneck's variance and covariance are those of the global batch."""
    torchrun(2, "ddp_gradients.py", tmp_path / "two.safetensors")
    subprocess.run([sys.executable, str(HERE / "ddp_gradients.py"), str(tmp_path / "one.safetensors")], check=True)
    one, two = load_file(tmp_path / "one.safetensors"), load_file(tmp_path / "two.safetensors")
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], atol=1e-6, rtol=1e-4)
    assert all(gradient.any() for name, gradient in one.items() if "bias" not in name)


@pytest.mark.slow
def test_the_loop_runs_under_torchrun_and_resumes(tmp_path):
    torchrun(2, "tiny_run.py", tmp_path, 6)
    torchrun(2, "tiny_run.py", tmp_path, 8, "--resume")
    steps = [row["step"] for row in Run(tmp_path).metrics()]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] != []


@pytest.mark.parametrize("name", ["is_main_process", "default_device"])
def test_alone_without_torchrun(name):
    from wildlam.training import distributed

    assert getattr(distributed, name)() in (True, torch.device("cpu"), *([torch.device("cuda", 0)]))
