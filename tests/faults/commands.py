"""The commands that are broken off, what they leave, and how to start and kill them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.faults import often
from tests.helpers import started
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.states.integrity import find_stores
from wildlam.states.store import FeatureStore
from wildlam.video.manifest import Manifest

TINY = [
    *("--encoder.image_size", "64", "--model.size", "nano", "--training.batch_size", "4", "--action_free", "false"),
    *("--training.save_every", "2", "--training.eval_every", "2", "--data.fps", "8", "--data.frames", "4"),
]
SWEEP = """\
limits:
  Noisy:
    beta: [1.0e-4]
seeds: [0]
"""


@dataclass(frozen=True)
class Command:
    """A command on the videos in ``FOLDER/videos``, and how to see what it left.

    Attributes:
        name: of the command.
        start: its arguments, given the folder; called again after a kill.
        outcome: everything that a broken-off and resumed command must leave just as an unbroken one.
    """

    name: str
    start: Callable[[Path], list[str]]
    outcome: Callable[[Path], Any]


@dataclass(frozen=True)
class Started:
    """A command that was started.

    Attributes:
        arguments: those of ``wildlam``.
        process: in a process group of its own.
        messages: file that its messages go to.
    """

    arguments: list[str]
    process: BaseProcess
    messages: Path


def start(arguments: list[str]) -> Started:
    """Start ``wildlam`` in a process that need not import PyTorch, which would be most of its time."""
    descriptor, messages = tempfile.mkstemp()
    os.close(descriptor)
    return Started(arguments, started(often.run, arguments, Path(messages)), Path(messages))


def finish(command: Started, kill_after: float | None = None, limit: float = 300.0) -> tuple[int, str]:
    """Wait for a process, or kill it and all that it started after so many seconds.

    Returns:
        Its exit code (-9: killed) and its messages.

    Raises:
        TimeoutError: it takes longer than ``limit`` seconds.
    """
    process = command.process
    process.join(limit if kill_after is None else kill_after)
    late = process.exitcode is None
    if late:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has not made its group yet
            process.kill()
        process.join()
    messages = command.messages.read_text(errors="replace")
    command.messages.unlink()
    if late and kill_after is None:
        raise TimeoutError(f"{command.arguments} has not ended in {limit:g} s: {messages[-500:]}")
    return process.exitcode, messages


def timed(arguments: list[str]) -> float:
    """Seconds that a command takes which is left alone; AssertionError if it fails."""
    finish(start(["--version"]))  # the first to be started waits for the server that it is forked from
    began = time.monotonic()
    code, messages = finish(start(arguments))
    assert code == 0, messages
    return time.monotonic() - began


def make_folder(folder: Path, clips: list[Path], copies: int) -> Path:
    """A folder with ``videos/``: so many copies of each clip, the last of them held out."""
    for number in range(copies):
        for clip in clips:
            split = "held_out" if number == copies - 1 else "train"
            target = folder / "videos" / split / f"{clip.stem}_{number}{clip.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(clip, target)
    return folder


def fresh(pattern: Path, folder: Path) -> Path:
    """A copy of a folder that has its videos only."""
    return shutil.copytree(pattern, folder, ignore=shutil.ignore_patterns(".wildlam", "run"))


def _train(folder: Path) -> list[str]:
    run = folder / "run"
    if (run / "run.json").is_file():
        return ["train", "--resume", str(run)]
    return ["train", "--data.path", str(folder / "videos"), "--out", str(run), "--training.steps", "8", *TINY]


def _sweep(folder: Path) -> list[str]:
    config = folder / "sweep.yaml"
    config.write_text(SWEEP)
    where = ["--data.path", str(folder / "videos"), "--out", str(folder / "sweep")]
    return ["sweep", "--config", str(config), *where, "--training.steps", "2", *TINY]


def digest(tensor: Tensor) -> str:
    """What tells one tensor from another, bit by bit."""
    return hashlib.blake2b(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()


def states_of(folder: Path, name: str = "videos") -> dict[str, str]:
    """Digests of the states of every encoded video in ``FOLDER/NAME``."""
    (path,) = find_stores(folder / name)
    store = FeatureStore.open(path)
    sequences, states = store.sequences(), store.read_all()
    found: dict[str, str] = {}
    for first, length, video in zip(sequences.first, sequences.length, sequences.of(), strict=True):
        assert video.path not in found, f"{video.path} was encoded twice"
        found[video.path] = digest(states[first : first + length])
    return found


def _trained(run: Path) -> Any:
    last = checkpoints.last(Run(run).checkpoints)
    assert last is not None
    tensors = {"model": last.model_tensors(), "state": last.state_tensors()}
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "step": last.step,
        "tensors": {part: {k: digest(v) for k, v in named.items()} for part, named in tensors.items()},
        "losses": [(line["step"], line.get("loss"), line.get("held_out/idm")) for line in steps],
        "results": {k: v for k, v in json.loads((run / "results.json").read_text()).items() if k != "seconds"},
        "evaluations": json.loads((run / "evaluations.json").read_text()),
    }


def _swept(folder: Path) -> Any:
    runs = sorted((folder / "sweep").glob("*/seed*"))
    rows = json.loads((folder / "sweep" / "sweep.json").read_text())["runs"]
    return {
        "rows": [{k: v for k, v in row.items() if k != "seconds"} for row in rows],
        "runs": [_trained(run) for run in runs],
    }


COMMANDS = [
    Command("index", lambda f: ["index", str(f / "videos")],
            lambda f: Manifest.read(f / "videos" / ".wildlam" / "manifest.parquet").table.drop("mtime_ns").to_pylist()),
    Command("encode", lambda f: ["encode", "--data.path", str(f / "videos"), *TINY], states_of),
    Command("train", _train, lambda f: _trained(f / "run")),
    Command("sweep", _sweep, _swept),
]  # fmt: skip
