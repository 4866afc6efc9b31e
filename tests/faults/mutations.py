"""Damage files at random, run what reads them, and see that nothing hangs, crashes or gives a silently wrong result."""

from __future__ import annotations

import random
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tests.faults.commands import TINY, finish, start, states_of
from tests.faults.worker import Worker
from wildlam.video.manifest import Manifest

SHARDS = 3


@dataclass(frozen=True)
class Target:
    """Files to damage.

    Attributes:
        name: of the kind of files.
        files: those in a folder made by `prepare`.
        reader: the command that reads them, given the folder and the damaged file.
        result: what the command must leave if it reports success: the same as without damage, except for the damaged
            file itself.
        named: what its error must name, given the folder and the file.
        share: of all mutations.
    """

    name: str
    files: Callable[[Path], list[Path]]
    reader: Callable[[Path, Path], list[str]]
    result: Callable[[Path, Path], Any]
    named: Callable[[Path, Path], list[str]]
    share: int


def mutate(file: Path, rng: random.Random) -> str:
    """Damage a file in one of five ways; returns which."""
    data, kind = bytearray(file.read_bytes()), rng.choice(["bit", "bit", "zeros", "noise", "cut", "empty"])
    start = rng.randrange(max(len(data), 1))
    if kind == "bit":
        data[start] ^= 1 << rng.randrange(8)
    elif kind == "zeros":
        data[start : start + 64] = bytes(len(data[start : start + 64]))
    elif kind == "noise":
        data[start : start + 64] = rng.randbytes(len(data[start : start + 64]))
    elif kind == "cut":
        del data[start:]
    else:
        data.clear()
    file.write_bytes(data)
    return kind


def prepare(folder: Path) -> Path:
    """Index and encode ``FOLDER/videos``, train on it, and encode the same in ``FOLDER/shards``: all to be damaged."""
    videos = sorted((folder / "videos").rglob("*.mp4"))
    for number in range(SHARDS):
        shard = folder / "shards" / ("held_out" if number == 0 else "train") / f"{number:04}.tar"
        shard.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(shard, "w") as tar:
            for video in videos[number::SHARDS]:
                tar.add(video, video.name)
    for arguments in (
        ["encode", "--data.path", str(folder / "videos"), *TINY],
        ["encode", "--data.path", str(folder / "shards"), *TINY],
        ["train", "--data.path", str(folder / "videos"), "--out", str(folder / "run"), "--training.steps", "4", *TINY],
    ):
        code, messages = finish(start(arguments))
        assert code == 0, messages
    shutil.rmtree(folder / "run" / "checkpoints" / "step_00000004")  # so that --resume has something to do
    return folder


def mutate_all(pattern: Path, folder: Path, mutations: int, seed: int = 0) -> dict[str, Counter[str]]:
    """Damage one file after another, each in a fresh copy of ``pattern``, which `prepare` made.

    Returns:
        For each kind of file, how often its reader ended in success with the right result (``success``), with the
        damaged video counted and left out (``skip``), in one error that names it (``error``), or in what must not be:
        ``unnamed error``, ``wrong result``, ``hang``, ``crash``.
    """
    rng, worker = random.Random(seed), Worker()
    chosen = rng.choices(TARGETS, [target.share for target in TARGETS], k=mutations)
    tallies = {target.name: Counter[str]() for target in TARGETS}
    expected: dict[str, str] = {}
    try:
        for target in tqdm(chosen, "damaging", unit="file"):
            damaged = folder / "damaged"
            shutil.rmtree(damaged, ignore_errors=True)
            shutil.copytree(pattern, damaged)
            file = rng.choice(sorted(target.files(damaged)))
            key = f"{target.name} {file.relative_to(damaged) if target.name in ('videos', 'shards') else ''}"
            if key not in expected:
                expected[key] = _seen(worker, target, pattern, damaged, file)
            kind = mutate(file, rng)
            outcome, printed = worker.run(target.reader(damaged, file))
            verdict = _judge(target, damaged, file, outcome, printed, expected[key])
            tallies[target.name][verdict] += 1
            if verdict in UNWANTED:
                print(f"{target.name}, {kind} of {file.relative_to(damaged)}: {verdict}: {printed[-600:]}")
    finally:
        worker.close()
    return tallies


UNWANTED = ("unnamed error", "wrong result", "hang", "crash")
"""Ends that no damage may lead to."""


def _seen(worker: Worker, target: Target, pattern: Path, damaged: Path, file: Path) -> str:
    """What the reader leaves where nothing is damaged."""
    outcome, printed = worker.run(target.reader(damaged, file))
    assert outcome == "0", printed
    result = repr(target.result(damaged, file))
    shutil.rmtree(damaged)
    shutil.copytree(pattern, damaged)
    return result


def _judge(target: Target, damaged: Path, file: Path, outcome: str, printed: str, expected: str) -> str:
    if outcome in ("hang", "crash"):
        return outcome
    named = any(name in printed for name in target.named(damaged, file))
    if outcome != "0":
        return "error" if named and "Traceback" not in printed else "unnamed error"
    if "skipped" in printed and named:
        return "skip"
    return "success" if repr(target.result(damaged, file)) == expected else "wrong result"


def _video_of(folder: Path) -> Path:
    return sorted((folder / "videos" / "held_out").glob("*.mp4"))[0]


def _inferred(folder: Path, _: Path) -> Any:
    with np.load(folder / "actions.npz") as arrays:
        return {name: arrays[name].tolist() for name in arrays.files}


def _other_states(folder: Path, file: Path) -> Any:
    """States of all videos but one: what a damaged one shows is for its decoder to say."""
    left_out = file.relative_to(folder / "videos").as_posix()
    return sorted((path, bits) for path, bits in states_of(folder).items() if path != left_out)


def _other_shards(folder: Path, file: Path) -> Any:
    """The names of all videos, and the states of those of other shards."""
    states = states_of(folder, "shards")
    shard = file.relative_to(folder / "shards").as_posix()
    return sorted(states), sorted((path, bits) for path, bits in states.items() if not path.startswith(shard))


def _losses(folder: Path, _: Path) -> Any:
    return [line for line in (folder / "run" / "metrics.jsonl").read_text().splitlines() if '"step": 4' in line]


TARGETS = [
    Target(
        "videos",
        lambda f: list((f / "videos").rglob("*.mp4")),
        lambda f, _: ["encode", "--data.path", str(f / "videos"), "--data.on_error", "skip", *TINY],
        _other_states,
        lambda _, file: [file.name],
        30,
    ),
    Target(
        "shards",
        lambda f: list((f / "shards").rglob("*.tar")),
        lambda f, _: ["encode", "--data.path", str(f / "shards"), "--data.on_error", "skip", *TINY],
        _other_shards,
        lambda _, file: [file.name],
        15,
    ),
    Target(
        "manifest",
        lambda f: [f / "videos" / ".wildlam" / "manifest.parquet"],
        lambda f, _: ["index", str(f / "videos")],
        lambda f, _: Manifest.read(f / "videos" / ".wildlam" / "manifest.parquet").table.drop("mtime_ns").to_pylist(),
        lambda _, file: [file.name],
        20,
    ),
    Target(
        "feature store",
        lambda f: [file for file in (f / "videos" / ".wildlam").glob("*.lance/**/*") if file.is_file()],
        lambda f, _: ["store", "verify", str(f / "videos")],
        lambda f, _: states_of(f),
        # The file, the videos in it, or the store, should it not open at all.
        lambda f, file: [
            file.name,
            *(video.name for video in (f / "videos").rglob("*.mp4")),
            *(f"{path.name}: the feature store is damaged" for path in (f / "videos" / ".wildlam").glob("*.lance")),
        ],
        30,
    ),
    Target(
        "weights",
        lambda f: [f / "run" / "checkpoints" / "step_00000002" / name for name in ("model.safetensors", "meta.json")],
        lambda f, _: ["infer", str(_video_of(f)), "--run", str(f / "run"), "--output", str(f / "actions")],
        _inferred,
        lambda _, file: [file.name],
        15,
    ),
    Target(
        "checkpoint",
        lambda f: [p for p in (f / "run" / "checkpoints" / "step_00000002").rglob("*") if p.is_file()],
        lambda f, _: ["train", "--resume", str(f / "run"), "--data.path", str(f / "videos")],
        _losses,
        lambda _, file: [file.name],
        5,
    ),
]
