"""Maintain a feature store: describe it, find and remove damaged states, and free unused space."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, get_args

import lance
import numpy as np
import pyarrow as pa
from tqdm import tqdm

from wildlam.errors import WildlamError
from wildlam.fileio import locked
from wildlam.states.layout import is_lances
from wildlam.states.store import FeatureStore
from wildlam.types import Split

ROWS_PER_FILE = 1 << 20
"""States that compaction puts into one file, at most."""


@dataclass
class Damage:
    """Damage of a store.

    Attributes:
        states: damaged or missing states of each video.
        files: Lance's files that cannot be read, by fragment.
        copies: states that each video has more than once, as after two encoders at once. They are looked for where
            nothing else is wrong.
    """

    states: Counter[str] = field(default_factory=Counter)
    files: dict[int, list[str]] = field(default_factory=dict)
    copies: Counter[str] = field(default_factory=Counter)

    def __bool__(self) -> bool:
        return bool(self.states or self.files or self.copies)


def find_stores(path: Path) -> list[Path]:
    """The store at ``path``, or those in the cache of the folder of videos that ``path`` is.

    Raises:
        WildlamError: there is none.
    """
    if (path / "_versions").is_dir():
        return [path]
    if found := sorted({*path.glob("*.lance"), *path.glob(".wildlam/*.lance")}):
        return found
    raise WildlamError(f"{path}: no feature store here; give one, or a folder of videos that has been encoded")


def describe(store: FeatureStore) -> list[str]:
    """What a store holds and takes, as lines of text."""
    sequences, spec = store.sequences(), store.spec
    of_videos = sequences.videos.append_column(
        "states", pa.array(np.bincount(sequences.video, sequences.length, len(sequences.videos)).astype(np.int64))
    )
    groups = of_videos.group_by(["source", "split"]).aggregate([("states", "sum"), ("path", "count")]).to_pylist()
    window = f", windows of {store.frames} frames" if spec.context == "clip" else ""
    tokens = f"{spec.grid[0]} x {spec.grid[1]} tokens of width {spec.width}"
    held = f"{len(store)} states in {len(sequences.length)} sequences of {len(of_videos)} videos"
    on_disk = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    needed = len(store) * store.state_bytes
    return [
        f"store      {store.path}",
        f"encoder    {spec.name} {spec.fingerprint}, {tokens}, frames of {spec.image_size} pixels",
        f"sampled    {store.fps:g} frames/s, {spec.frames_per_state} to a state{window}",
        f"holds      {held}",
        *(f"           {one['source']}, {one['split']}: {one['path_count']} videos, {one['states_sum']} states"
          for one in sorted(groups, key=lambda one: (one["source"], one["split"]))),
        f"on disk    {on_disk / 1e6:.1f} MB in {len(store.dataset.get_fragments())} parts, {needed / 1e6:.1f} MB of it "
        "states in use",
    ]  # fmt: skip


def describe_damage(damage: Damage) -> list[str]:
    """What is damaged, as lines of text."""
    if not damage:
        return ["sound      every state is what was written"]
    files = [name for names in damage.files.values() for name in names]
    return [
        *(f"damaged    {name} cannot be read, and all the videos in it" for name in files),
        *(f"damaged    {count} states of {video}" for video, count in sorted(damage.states.items())),
        *(f"twice      {count} states of {video}" for video, count in sorted(damage.copies.items())),
    ]


def verify(store: FeatureStore, progress: bool = True) -> Damage:
    """Read all of a store and compare it with its checksums.

    Args:
        store: the store, damaged in any way that lets it open.
        progress: show a bar with the time left.
    """
    damage = Damage()
    columns = ["sequence", "index", "video", "size", "mtime_ns", "split", "time", "states", "crc", "origin_crc"]
    last: _Row | None = None  # the one before
    with tqdm(total=len(store), unit="state", desc="verifying", disable=not progress) as bar:
        for fragment in store.dataset.get_fragments():
            try:
                for batch in fragment.to_batches(columns=columns):
                    last = _verify(store, batch, last, damage)
                    bar.update(len(batch))
            except BaseException as error:
                if not is_lances(error):
                    raise
                damage.files[fragment.fragment_id] = [file.path for file in fragment.data_files()]
                # Whose rows it held is not known; the video before it may have gone on in it.
                if last is not None:
                    damage.states[last.video] += 1
                last = None
    if not damage:
        damage.copies = _copies(store)[1]
    return damage


def drop_copies(store: FeatureStore) -> Counter[str]:
    """Remove states that a video has twice, keeping the first; return how many, by video.

    Raises:
        WildlamError: the disk is full, or the store is damaged.
    """
    rows, videos = _copies(store)
    if len(rows):
        with store.reading():
            ids = store.dataset.scanner(columns=[], with_row_id=True, scan_in_order=True).to_table()["_rowid"]
        store.delete_rows(ids.to_numpy()[rows])
    return videos


def _copies(store: FeatureStore) -> tuple[np.ndarray, Counter[str]]:
    """Rows of sequences that begin at the same time of the same video as one before, and how many are whose."""
    sequences = store.sequences()
    begins = np.rec.fromarrays([sequences.video, sequences.times[sequences.first]])
    once = np.unique(begins, return_index=True)[1]
    again = np.delete(np.arange(len(begins)), once)
    rows = [np.arange(sequences.first[n], sequences.first[n] + sequences.length[n]) for n in again]
    counts: Counter[str] = Counter()
    for video, number in zip(sequences.of(again), again, strict=True):
        counts[video.path] += int(sequences.length[number])
    return np.concatenate([np.empty(0, np.int64), *rows]), counts


def repair(store: FeatureStore, progress: bool = True) -> Damage:
    """Remove every video of which something is damaged, and states that are there twice; join small files; free what no
    version in use needs.

    A run that encodes into the store is waited for. The next run encodes the videos removed again.

    Returns:
        What had been damaged.

    Raises:
        WildlamError: the disk is full, or the store is damaged in another way.
    """
    with locked(store.path, "repairing"):
        return _repair(FeatureStore.open(store.path), progress)


def _repair(store: FeatureStore, progress: bool) -> Damage:
    damage = verify(store, progress)
    path = str(store.path)
    if damage.files:
        whole = [part.metadata for part in store.dataset.get_fragments() if part.fragment_id not in damage.files]
        operation = lance.LanceOperation.Overwrite(store.dataset.schema, whole)
        with store.writing():
            lance.LanceDataset.commit(path, operation, read_version=store.dataset.version)
        store = FeatureStore.open(path)
    store.delete(damage.states)
    damage.copies = drop_copies(store)
    with store.writing():
        dataset = store.dataset
        dataset.optimize.compact_files(target_rows_per_fragment=ROWS_PER_FILE, materialize_deletions_threshold=0.0)
        lance.dataset(path).cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
    FeatureStore.open(path).sequences()  # raises if it still is not whole
    return damage


class _Row(NamedTuple):
    """What the row before says of the next: whether that continues it, in a video of the right name."""

    sequence: int
    place: int
    video: str
    misnamed: bool


def _verify(store: FeatureStore, batch: pa.RecordBatch, last: _Row | None, damage: Damage) -> _Row | None:
    """Note what is wrong in these rows, which follow the row ``last``; return their own last row."""
    if not len(batch):
        return last
    sequence, index = batch["sequence"].to_numpy(), batch["index"].to_numpy()
    videos = batch["video"].to_pylist()
    before = last or _Row(-1, -1, "", False)
    continued = (sequence == np.append(before.sequence, sequence[:-1])) & (
        index == np.append(before.place, index[:-1]) + 1
    )
    misnamed = store.misnamed(batch)
    known = np.isin(batch["split"].to_pylist(), get_args(Split))
    for row in np.flatnonzero(store.damaged(batch) | ~known | ~(continued | (index == 0)) | misnamed):
        damage.states[videos[row]] += 1
    # What is misnamed is torn out of a video whose name is that of its other rows.
    torn = np.isin(sequence, sequence[misnamed]) | (before.misnamed & (sequence == before.sequence))
    for row in np.flatnonzero(torn & ~misnamed):
        damage.states[videos[row]] += 1
    if misnamed[0] and last is not None and last.sequence == sequence[0] and not last.misnamed:
        damage.states[last.video] += 1
    return _Row(int(sequence[-1]), int(index[-1]), videos[-1], bool(torn[-1]))
