"""One of two processes is killed while training: torchrun starts both again, and nothing is lost or changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from wildlam.training import Run, checkpoints

STEPS = 12
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
WILDLAM = str(Path(sys.executable).parent / "wildlam")
SMALL = [
    *("--encoder.image_size", "64", "--model.size", "nano", "--training.batch_size", "4", "--training.save_every", "1"),
    *("--training.steps", str(STEPS), "--baseline", "false"),
]


def started(videos: Path, out: Path, *options: str) -> subprocess.Popen:
    command = [*TORCHRUN[:-1], *options, TORCHRUN[-1], WILDLAM, "train", "--data.path", str(videos), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, *SMALL], env=environment, stderr=subprocess.PIPE, text=True)


def workers(torchrun: int) -> list[int]:
    """The processes that a torchrun started, in the order of their ranks."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == torchrun:
                found.append(int(stat.parent.name))
        except OSError:  # gone meanwhile
            continue
    return sorted(found)


def trained(torchrun: subprocess.Popen, out: Path) -> None:
    """Wait for the last checkpoint; the evaluations after it are not at stake."""
    while not (out / "checkpoints" / f"step_{STEPS:08d}").is_dir():
        assert torchrun.poll() is None, torchrun.stderr.read()
        time.sleep(0.05)
    torchrun.terminate()
    torchrun.wait()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_killed_process_costs_nothing_but_time(videos, tmp_path):
    trained(started(videos, tmp_path / "whole"), tmp_path / "whole")
    broken = started(videos, tmp_path / "broken", "--max-restarts=1")
    run = Run(tmp_path / "broken")
    while checkpoints.last(run.checkpoints) is None:
        assert broken.poll() is None, broken.stderr.read()
        time.sleep(0.02)
    os.kill(workers(broken.pid)[1], signal.SIGKILL)
    trained(broken, run.path)
    steps = [json.loads(line)["step"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == STEPS
    ends = [checkpoints.last(Run(tmp_path / name).checkpoints).model_tensors() for name in ("whole", "broken")]
    for name, expected in ends[0].items():
        assert torch.equal(ends[1][name], expected), name
