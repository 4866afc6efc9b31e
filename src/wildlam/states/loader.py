"""Batches of states out of a feature store, for training and for evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.states.sequences import Sequences
from wildlam.states.store import FeatureStore
from wildlam.types import Split, StateBatch
from wildlam.video.mixture import EVENLY, weighted


class StoreSource:
    """Random clips of states (`BatchSource`): ``batch(step)`` depends on the seed and the step alone.

    Every window of ``states`` consecutive states inside one sequence of the split (of a source, where there is a
    mixture) is equally likely. If the whole store takes less than a quarter of the free memory (shared among the
    processes), it is read into memory once.

    Args:
        store: store of the states.
        states: states per clip, ``T``.
        batch_size: clips per step, over all processes.
        seed: seed of the choice of clips.
        split: split of the videos to draw from.
        videos: paths of the videos to draw from, where not all of the store's are wanted.
        mixture: shares of the sources; see `weighted`.
        rank: number of this process.
        world_size: number of processes; each gets a contiguous share of the same global batch.

    Raises:
        WildlamError: no sequence of the split is long enough, the mixture does not fit the sources, or the batch cannot
            be shared equally.
    """

    def __init__(
        self,
        store: FeatureStore,
        *,
        states: int,
        batch_size: int,
        seed: int = 0,
        split: Split = "train",
        videos: pa.Array | pa.ChunkedArray | None = None,
        mixture: Mapping[str, float] = EVENLY,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch_size % world_size:
            raise WildlamError(f"a batch of {batch_size} clips cannot be shared equally by {world_size} processes")
        self.store, self.states, self.batch_size, self.seed = store, states, batch_size, seed
        share = batch_size // world_size
        self.share = slice(rank * share, (rank + 1) * share)
        self.sequences = store.sequences()
        self.chosen = _long_enough(store, self.sequences, split, states, videos)
        # Windows of the chosen sequences are numbered in a row; ``ends[i]`` is one past the last window of the i-th.
        windows = self.sequences.length[self.chosen] - states + 1
        self.ends = np.cumsum(windows)
        self.edges = None
        if mixture:
            names, of = self.sequences.sources()
            here, of = np.unique(of[self.chosen], return_inverse=True)
            self.edges = np.cumsum(weighted(windows, [names[i] for i in here], of, mixture))
        fits = len(store) * store.state_bytes * world_size < free_memory() / 4
        self.memory = store.read_all() if fits else None

    def batch(self, step: int) -> StateBatch:
        """This process's clips of training step ``step``: states ``bfloat16 [B, T, N, D]``."""
        rng = np.random.default_rng([self.seed, step])
        if self.edges is None:
            windows = rng.integers(0, self.ends[-1], self.batch_size)
        else:
            drawn = np.searchsorted(self.edges, rng.random(self.batch_size) * self.edges[-1], side="right")
            first = np.append(0, self.ends)[drawn]
            windows = rng.integers(first, self.ends[drawn])
        windows = windows[self.share]
        place = np.searchsorted(self.ends, windows, side="right")
        sequence = self.chosen[place]
        last = self.sequences.length[sequence] - self.states  # of the sequence's windows
        start = windows - self.ends[place] + last + 1
        return read_clips(self.store, self.sequences, sequence, start, self.states, self.memory)


def eval_batches(
    store: FeatureStore,
    split: Split,
    states: int,
    per_source: int | None,
    batch_size: int,
    videos: pa.Array | pa.ChunkedArray | None = None,
) -> Iterator[StateBatch]:
    """Fixed clips for evaluation, which depend on the store alone: clips side by side, without overlap.

    Args:
        store: store of the states.
        split: split of the videos to draw from.
        states: states per clip, ``T``.
        per_source: largest number of clips of each source, spread evenly over all of its clips; None for all.
        batch_size: clips per batch; the last one may hold fewer.

    Yields:
        Batches with states ``bfloat16 [B, T, N, D]``, in the order of the sources' names.

    Raises:
        WildlamError: no sequence of the split is long enough.
    """
    sequences = store.sequences()
    chosen = _long_enough(store, sequences, split, states, videos)
    names, of = sequences.sources()
    picked, starts = [], []
    for source in range(len(names)):
        mine = chosen[of[chosen] == source]
        ends = np.cumsum(sequences.length[mine] // states)  # clips, numbered in a row
        total = int(ends[-1]) if len(mine) else 0
        count = total if per_source is None else min(per_source, total)
        clips = np.linspace(0, total - 1, count).round().astype(int)
        place = np.searchsorted(ends, clips, side="right")
        picked.append(mine[place])
        starts.append((clips - np.append(0, ends)[place]) * states)
    sequence, start = np.concatenate(picked), np.concatenate(starts)
    for i in range(0, len(sequence), batch_size):
        yield read_clips(store, sequences, sequence[i : i + batch_size], start[i : i + batch_size], states)


def read_clips(
    store: FeatureStore,
    sequences: Sequences,
    sequence: np.ndarray,
    start: np.ndarray,
    states: int,
    memory: Tensor | None = None,
) -> StateBatch:
    """Clips of ``states`` states from state ``start[i]`` of sequence ``sequence[i]`` on, both ``int [B]``."""
    rows = sequences.first[sequence, None] + start[:, None] + np.arange(states)
    times = torch.from_numpy(sequences.times[rows])
    videos = sequences.of(sequence)
    if memory is None:
        clips = store.read(rows)
    else:
        # By numpy in one thread: torch shares such a copy among threads, which stalls it when the cores are busy.
        clips = torch.from_numpy(memory.view(torch.int16).numpy()[rows]).view(torch.bfloat16)
    return StateBatch(
        states=clips,
        names=[video.path for video in videos],
        sources=[video.source for video in videos],
        starts=times[:, 0].tolist(),
        times=times,
    )


def free_memory() -> int:
    """Bytes of memory free now, or in all where the system does not report what is free."""
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")


def _long_enough(
    store: FeatureStore, sequences: Sequences, split: Split, states: int, videos: pa.Array | pa.ChunkedArray | None
) -> np.ndarray:
    """Numbers of the sequences of the split (and of ``videos``) that hold at least ``states`` states.

    By path, whatever the order they were written in: several processes write, and broken-off ones go on.
    """
    in_split = _in_split(sequences, split, videos)
    chosen = np.flatnonzero(in_split & (sequences.length >= states)) if len(in_split) else np.empty(0, dtype=int)
    if len(chosen) == 0:
        raise WildlamError(
            f"{store.path}: no clip of {states} states in split {split}, whose longest sequence has "
            f"{longest_sequence(store, split, videos)}; encode more or longer videos, or ask for shorter clips"
        )
    place = np.empty(len(sequences.videos), dtype=np.int64)
    place[pc.sort_indices(sequences.videos["path"]).to_numpy()] = np.arange(len(place))
    return chosen[np.argsort(place[sequences.video[chosen]], kind="stable")]


def longest_sequence(store: FeatureStore, split: Split, videos: pa.Array | pa.ChunkedArray | None = None) -> int:
    """States of the longest sequence of a split (and of ``videos``); 0 if there is none."""
    sequences = store.sequences()
    in_split = _in_split(sequences, split, videos)
    return int(sequences.length[in_split].max()) if in_split.any() else 0


def _in_split(sequences: Sequences, split: Split, videos: pa.Array | pa.ChunkedArray | None) -> np.ndarray:
    chosen = pc.equal(sequences.videos["split"], split)
    if videos is not None:
        chosen = pc.and_(chosen, pc.is_in(sequences.videos["path"], value_set=videos))
    return chosen.to_numpy()[sequences.video]
