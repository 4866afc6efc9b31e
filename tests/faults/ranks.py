"""Kill one of two processes of a training at random moments: torchrun starts both again, from the last checkpoint."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.faults.commands import digest
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run

STEPS = 8
LIMIT = 200.0
"""Seconds that a training may take."""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
SMALL = [
    *("--encoder.image_size", "64", "--model.size", "nano", "--training.batch_size", "4", "--training.save_every", "1"),
    *("--training.steps", str(STEPS), "--action_free", "false"),
]


def kill_ranks(videos: Path, folder: Path, kills: int, seed: int = 0) -> Counter[str]:
    """Break trainings of two processes, one of them each time, and compare what they end with.

    Args:
        videos: to train on.
        folder: for the runs.
        kills: how many.
        seed: of who is killed, and of the moment: after how many steps, and up to 0.2 seconds later.

    Returns:
        How often one was killed (``kills``), and the training ended as an unbroken one (``same``), otherwise
        (``different``), or not at all (``error``).
    """
    folder.mkdir(exist_ok=True)
    _finish(_start(videos, folder / "whole"), folder / "whole")
    expected = _end(folder / "whole")
    rng, tally, attempt = random.Random(seed), Counter[str](), 0
    while tally["kills"] < kills:
        out = folder / f"broken_{attempt}"
        attempt += 1
        process = _start(videos, out)
        _wait(process, out, rng.randrange(STEPS - 1))
        time.sleep(rng.uniform(0.0, 0.2))
        if len(found := workers(process.pid)) == 2 and not _done(out):
            os.kill(found[rng.randrange(2)], signal.SIGKILL)
            tally["kills"] += 1
        try:
            _finish(process, out)
            tally["same" if _end(out) == expected else "different"] += 1
        except (RuntimeError, TimeoutError) as error:
            tally["error"] += 1
            print(f"one of two processes: {str(error)[-1000:]}")
    return tally


def workers(torchrun: int) -> list[int]:
    """The processes that a torchrun started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == torchrun:
                found.append(int(stat.parent.name))
        except OSError:  # gone meanwhile
            continue
    return sorted(found)


def _start(videos: Path, out: Path) -> subprocess.Popen[str]:
    wildlam = str(Path(sys.executable).parent / "wildlam")
    command = [*TORCHRUN, "--no-python", wildlam, "train", "--data.path", str(videos), "--out", str(out), *SMALL]
    with (out.parent / f"{out.name}.log").open("w") as log:
        return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=log, text=True)


def _done(out: Path, step: int = STEPS) -> bool:
    return any(int(path.name[-8:]) >= step for path in (out / "checkpoints").glob("step_????????"))


def _finish(process: subprocess.Popen[str], out: Path) -> None:
    """Wait for the last checkpoint; the evaluations after it are not at stake."""
    _wait(process, out, STEPS)
    process.terminate()
    process.wait()


def _wait(process: subprocess.Popen[str], out: Path, step: int) -> None:
    """Until there is a checkpoint of a step; of step 0, until both processes are there."""
    until = time.monotonic() + LIMIT
    while not (_done(out, step) if step else len(workers(process.pid)) == 2):
        log = (out.parent / f"{out.name}.log").read_text()
        if process.poll() is not None:
            raise RuntimeError(log)
        if time.monotonic() > until:
            process.kill()
            raise TimeoutError(f"not at its end after {LIMIT:g} s: {log}")
        time.sleep(0.05)


def _end(out: Path) -> object:
    """The last weights, bit by bit, and the steps that were logged."""
    last = checkpoints.last(Run(out).checkpoints)
    assert last is not None
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    return {name: digest(tensor) for name, tensor in last.model_tensors().items()}, steps
