"""Speed of random clips out of the feature store, against a raw memory-mapped file of the same states.

    python benchmarks/store.py --out build/store.json [--short]

A batch is 32 clips of 8 states, drawn by `StoreSource`, which reads the store or, put in its place, the raw file; the
ways take turns, so that other load on the machine hits all of them. The files lie in the page cache: what is compared
is the cost of reading, not the disk. Small sets of states are read into memory, as Lite0's mostly will be; there the
aim is half the raw file's speed, from disk a quarter for large states. Training at 32 clips of Lite0 states every
0.3 s is to be fed, from disk, by 2 % of one core's time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import arguments, finish, row

from wildlam.states.loader import StoreSource
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import EncoderSpec

CLIPS, STATES, SEQUENCE = 32, 8, 128


def fill(folder: Path, grid: tuple[int, int], width: int, count: int) -> tuple[FeatureStore, np.memmap]:
    """A store and a raw file of the same ``count`` random states, in videos of ``SEQUENCE`` states."""
    spec = EncoderSpec("random", 1, grid, width, 128, "frame", "0" * 16)
    store = FeatureStore.create_or_resume(folder / "store", spec, fps=4.0, frames=STATES)
    raw = np.memmap(folder / "raw", dtype=np.int16, mode="w+", shape=(count, spec.tokens * width))
    times = torch.arange(SEQUENCE, dtype=torch.float64) / 4
    for first in range(0, count, SEQUENCE):
        states = torch.randn(SEQUENCE, spec.tokens, width).bfloat16()
        raw[first : first + SEQUENCE] = states.view(torch.int16).flatten(1).numpy()
        store.append(StoredVideo(f"{first}.mp4", "random", "train", 1, 2), [(0, times, states)])
    store.commit()
    raw.flush()
    return store, raw


def measure(batches: dict[str, Callable[[int], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds and mean CPU seconds of a batch for each way of reading, the ways taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in batches}
    cpu = dict.fromkeys(batches, 0.0)
    for step in range(rounds + 1):
        for name, batch in batches.items():
            cpu_began, began = time.process_time(), time.perf_counter()
            batch(step)
            if step:  # the first is to warm up
                seconds[name].append(time.perf_counter() - began)
                cpu[name] += (time.process_time() - cpu_began) / rounds
    return {name: (statistics.median(seconds[name]), cpu[name]) for name in batches}


def compare(label: str, grid: tuple[int, int], width: int, count: int, rounds: int) -> list[dict]:
    """Rows of results for states of one size."""
    with tempfile.TemporaryDirectory() as folder:
        store, raw = fill(Path(folder), grid, width, count)
        sources = {way: StoreSource(store, states=STATES, batch_size=CLIPS) for way in ("disk", "memory", "raw file")}
        sources["disk"].memory = None
        sources["raw file"].memory = torch.from_numpy(raw).view(torch.bfloat16).view(count, -1, width)
        found = measure({way: source.batch for way, source in sources.items()}, rounds)

    rows = [row(f"{label}: {way}", CLIPS * STATES / found[way][0], "states/s") for way in found]
    small = width < 1000  # Lite0's
    for way, aim in (("memory", 0.5), ("disk", None if small else 0.25)):
        rows.append(row(f"{label}: {way} / raw file", found["raw file"][0] / found[way][0], "ratio", aim))
    milliseconds = 1e3 * found["disk"][1]
    aim = 6.0 if small else None
    rows.append(row(f"{label}: CPU time of a batch from disk", milliseconds, "ms", aim, at_most=True))
    return rows


def main() -> None:
    args = arguments(__doc__ or "")
    scale = 1 if args.short else 8
    rows = compare("4 x 4 x 112", (4, 4), 112, 8192 * scale, 40 * scale)
    finish(rows + compare("16 x 16 x 1024", (16, 16), 1024, 512 * scale, 5 * scale), args.out)


if __name__ == "__main__":
    main()
