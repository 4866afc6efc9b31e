"""States on disk: encode a video once, train on it many times.

A store is one Lance dataset with one row per state, in bfloat16. A *sequence* is a run of rows whose states belong
together: any ``T`` consecutive rows of one sequence are a clip. For an encoder of context ``"frame"`` a sequence is a
whole video on the ``fps`` grid; for context ``"clip"`` it is one window of ``frames`` video frames, the windows
following each other without overlap, since a state there knows the frames of its own window only.

**Why a row per state.** Measured on random clips of 8 states, 32 at a time (two busy cores, the file in the page cache,
clips per second): states of 4 x 4 x 112 as binary rows 23,900, as lists of int16 18,700, in rows of 8 states 13,700 to
18,200; states of 256 x 1024 160, 156 and 75 to 105. Rows of several states read and decode neighbours that no one asked
for, and Lance finds single rows quickly. Lance's file version 2.1 was faster than 2.0 for binary rows.

**Safety.** States become visible by Lance's atomic commits, several videos at a time. A process killed at any moment
leaves the last commit readable and loses at most the videos after it; so does a full disk. Several processes may
append at once. Each row has a CRC-32 (zlib: 3 GB/s) of its time and state, which is compared whenever it is read, and
one of the video and the place there that it is from, compared for a sequence's first row when a store is opened: Lance
has none, and a disk's flipped bit would be but a strange state or name. `states.integrity` finds and removes what
is damaged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NoReturn

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from lance.fragment import FragmentMetadata, write_fragments
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.states.layout import (
    KEY,
    ORIGIN,
    RULES_COLUMN,
    SLICE,
    VERSION,
    bits_of,
    checksums,
    is_lances,
    origin_checksums,
    quoted,
    reason,
    schema_of,
    sealed,
)
from wildlam.states.sequences import Sequences, StoredVideo
from wildlam.types import EncoderSpec

_LANCE_FORMAT: Literal["2.1"] = "2.1"
_CHECKED = ["time", "states", "crc"]
_READ_BYTES = 8 << 20  # read at a time: halves the time of large clips against one read of a whole batch of them
_GROUP_BYTES = 64 << 20  # a commit holds about this much, so that fragments are few and memory stays bounded
_GROUP_SECONDS = 60.0  # but a slow encoder commits at least this often


class FeatureStore:
    """States of many videos on disk; see the module's docstring. Open with ``create_or_resume`` or ``open``."""

    def __init__(self, path: Path, dataset: lance.LanceDataset, spec: EncoderSpec, fps: float, frames: int):
        self.path, self.spec, self.fps, self.frames = path, spec, fps, frames
        self.dataset = dataset
        self._pending = _Pending()
        self._sequences: Sequences | None = None
        self._next_sequence = 0
        self._cuts: Mapping[str, list[float]] = {}

    @classmethod
    def create_or_resume(cls, path: Path | str, spec: EncoderSpec, fps: float, frames: int) -> FeatureStore:
        """Open the store at ``path`` for writing, creating it if there is none.

        Args:
            path: folder of the store.
            spec: specification of the encoder whose states it holds.
            fps: rate at which videos are sampled, frames per second.
            frames: video frames per window; matters to encoders of context ``"clip"`` only.

        Raises:
            WildlamError: the store there is damaged, or was made by another encoder or with other settings.
        """
        path = Path(path)
        if spec.context == "clip" and (frames < 1 or frames % spec.frames_per_state):
            raise WildlamError(
                f"windows of {frames} frames: encoder {spec.name} needs a multiple of {spec.frames_per_state}"
            )
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            try:
                lance.write_dataset(
                    [], str(path), schema=schema_of(spec, fps, frames), data_storage_version=_LANCE_FORMAT
                )
            except OSError as error:
                raise WildlamError(f"{path}: the store cannot be created: {reason(error)}") from error
        store = cls.open(path, spec)
        if store.fps != fps:
            raise WildlamError(f"{path}: holds states at {store.fps:g} fps, not {fps:g}: choose another folder or fps")
        if spec.context == "clip" and store.frames != frames:
            raise WildlamError(
                f"{path}: holds windows of {store.frames} frames, not {frames}: choose another folder or window"
            )
        if RULES_COLUMN.name not in store.dataset.schema.names:
            with store.writing():
                store.dataset.add_columns(RULES_COLUMN)
        with store.reading():
            ids = store.dataset.to_table(columns=["sequence"])["sequence"].to_numpy()
        store._next_sequence = int(ids.max(initial=-1)) + 1
        return store

    @classmethod
    def open(cls, path: Path | str, spec: EncoderSpec | None = None) -> FeatureStore:
        """Open an existing store; with ``spec``, only if that encoder made it.

        Raises:
            WildlamError: there is no store, it is damaged, or another encoder made it.
        """
        path = Path(path)
        if not (path / "_versions").is_dir():
            what = "no feature store" if path.is_dir() else "no such folder"
            raise WildlamError(f"{path}: {what}; check the path, or encode videos into a new folder first")
        try:
            dataset = lance.dataset(str(path))
        except BaseException as error:
            if not is_lances(error):
                raise
            raise WildlamError(
                f"{path}: the feature store is damaged ({reason(error)}); delete the folder and encode again"
            ) from error
        try:
            header = json.loads((dataset.schema.metadata or {}).get(KEY, b"{}"))
            version = header.get("version")
        except (ValueError, AttributeError) as error:
            raise WildlamError(
                f"{path}: the feature store is damaged (its header: {error}); delete the folder and encode again"
            ) from error
        if version != VERSION:
            raise WildlamError(
                f"{path}: not a feature store of version {VERSION} (found: {version}): delete the folder and encode "
                "again"
            )
        if header != sealed(header):
            raise WildlamError(
                f"{path}: the feature store is damaged (its header is not what was written); delete the folder and "
                "encode again"
            )
        stored = EncoderSpec(**header["spec"] | {"grid": tuple(header["spec"]["grid"])})
        if spec is not None and (stored.fingerprint, stored.grid) != (spec.fingerprint, spec.grid):
            raise WildlamError(
                f"{path}: holds states of encoder {stored.name} {stored.fingerprint}, not of {spec.name} "
                f"{spec.fingerprint}: use the encoder, settings and dtype it was made with, or another folder"
            )
        return cls(path, dataset, stored, header["fps"], header["frames"])

    def __len__(self) -> int:
        """Number of committed states."""
        return self.dataset.count_rows()

    @property
    def state_bytes(self) -> int:
        """Bytes of one state on disk."""
        return self.spec.tokens * self.spec.width * 2

    def sequences(self) -> Sequences:
        """Where the committed sequences lie; read from disk once and again after each commit.

        Raises:
            WildlamError: rows are missing.
        """
        if self._sequences is None:
            found = self._scan()
            self._sequences = found.cut(self._cuts, self.spec, self.fps) if self._cuts else found
        return self._sequences

    def cut_at(self, cuts: Mapping[str, list[float]]) -> None:
        """End sequences at these cuts, in seconds, by video; see `Sequences.cut`. Nothing changes on disk."""
        self._cuts, self._sequences = cuts, None

    def read(self, rows: np.ndarray) -> Tensor:
        """Read states: integer ``rows [...]`` to bfloat16 ``[..., N, D]``.

        Raises:
            WildlamError: the store is damaged.
        """
        unique, inverse = np.unique(rows.reshape(-1), return_inverse=True)
        out = np.empty((rows.size, self.state_bytes // 2), dtype=np.int16)
        step = max(1, _READ_BYTES // self.state_bytes)
        for first in range(0, len(unique), step):
            with self.reading():
                taken = self.dataset.take(unique[first : first + step].tolist(), columns=_CHECKED).combine_chunks()
                batch = taken.to_batches()[0]
            if (wrong := self.damaged(batch)).any():
                self._refuse(unique[first : first + step][wrong])
            wanted = np.flatnonzero((inverse >= first) & (inverse < first + step))
            out[wanted] = self.bits(batch["states"])[inverse[wanted] - first]
        return torch.from_numpy(out).view(torch.bfloat16).view(*rows.shape, self.spec.tokens, self.spec.width)

    def read_all(self) -> Tensor:
        """Read every state: bfloat16 ``[rows, N, D]``.

        Raises:
            WildlamError: the store is damaged.
        """
        out = torch.empty(len(self), self.spec.tokens, self.spec.width, dtype=torch.bfloat16)
        row = 0
        with self.reading():
            for batch in self.dataset.scanner(columns=_CHECKED, scan_in_order=True).to_batches():
                if (wrong := self.damaged(batch)).any():
                    self._refuse(row + np.flatnonzero(wrong))
                bits_of(out[row : row + len(batch)])[:] = self.bits(batch["states"])
                row += len(batch)
        return out

    def append(self, video: StoredVideo, pieces: Iterable[tuple[int, Tensor, Tensor]]) -> int:
        """Add the states of one video; they count once ``commit`` has run (it runs by itself now and then).

        Args:
            video: the video, which must not be in the store.
            pieces: tuples ``(sequence, times, states)``: number of the sequence within the video (ascending; successive
                pieces of one number continue it), ``float64 [n]`` in seconds and ``[n, N, D]``. If the iterator raises,
                nothing of this video is kept and the error goes on.

        Returns:
            The number of states added.

        Raises:
            WildlamError: the disk is full or not writable; what was committed before stays.
        """
        new, count, sequence, index = _Pending(), 0, -1, 0
        for number, times, states in pieces:
            if number != sequence:
                sequence, index = number, 0
            new.rows.append(self._to_batch(video, self._next_sequence + number, index, times, states))
            index += len(states)
            count += len(states)
            if new.bytes >= _GROUP_BYTES:
                self._flush(new)
        self._next_sequence += sequence + 1
        if new.fragments:  # all of a video's rows lie together: either all in fragments or all in memory
            self._flush(new)
        self._pending.rows += new.rows
        self._pending.fragments += new.fragments
        if self._pending.due:
            self.commit()
        return count

    def commit(self) -> None:
        """Make all appended videos part of the store, at once or not at all.

        Raises:
            WildlamError: the disk is full or not writable; what was committed before stays.
        """
        self._flush(self._pending)
        if self._pending.fragments:
            operation = lance.LanceOperation.Append(self._pending.fragments)
            with self.writing():
                self.dataset = lance.LanceDataset.commit(str(self.path), operation, read_version=self.dataset.version)
        self._pending = _Pending()
        self._sequences = None

    def delete(self, paths: Iterable[str]) -> None:
        """Remove the states of the videos with these paths."""
        names = ", ".join(quoted(path) for path in paths)
        if names:
            with self.writing():
                self.dataset.delete(f"video IN ({names})")
            self._sequences = None

    def delete_rows(self, ids: np.ndarray) -> None:
        """Remove states by their numbers in Lance (``_rowid``, ``uint64 [n]``)."""
        for first in range(0, len(ids), SLICE):
            with self.writing():
                self.dataset.delete(f"_rowid IN ({', '.join(map(str, ids[first : first + SLICE]))})")
        self._sequences = None

    def relabel(self, video: StoredVideo) -> None:
        """Give the stored states of ``video.path`` the source and split of ``video``."""
        values = {"source": quoted(video.source), "split": quoted(video.split)}
        with self.writing():
            self.dataset.update(values, where=f"video = {quoted(video.path)}")
        self._sequences = None

    def _flush(self, pending: _Pending) -> None:
        """Move rows from memory to fragments on disk, which no reader sees before the commit."""
        if not pending.rows:
            return
        reader = pa.RecordBatchReader.from_batches(self.dataset.schema, pending.rows)
        with self.writing():
            pending.fragments += write_fragments(reader, str(self.path), data_storage_version=_LANCE_FORMAT)
        pending.rows = []

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Raise a WildlamError for what Lance raises on damaged files."""
        try:
            yield
        except BaseException as error:
            if not is_lances(error):
                raise
            raise WildlamError(f"{self.path}: damaged, cannot be read ({reason(error)}); {self._remedy}") from error

    @property
    def _remedy(self) -> str:
        return f"remove what is damaged by `wildlam store repair {self.path}`, and it will be encoded again"

    def _refuse(self, rows: np.ndarray) -> NoReturn:
        """Raise an error that names the videos of damaged states in these rows."""
        sequences = self.sequences()
        videos = sorted({video.path for video in sequences.of(np.searchsorted(sequences.first, rows, "right") - 1)})
        named = ", ".join(videos[:3]) + (", ..." if len(videos) > 3 else "")
        raise WildlamError(f"{self.path}: damaged, {len(rows)} states of {named}; {self._remedy}")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise a WildlamError for what Lance raises when it cannot write."""
        try:
            yield
        except OSError as error:
            raise WildlamError(
                f"{self.path}: cannot be written to ({reason(error)}); make room and run again: the states committed "
                "before are safe and will not be encoded twice"
            ) from error

    def _to_batch(self, video: StoredVideo, sequence: int, index: int, times: Tensor, states: Tensor) -> pa.RecordBatch:
        n = len(states)
        expected = (n, self.spec.tokens, self.spec.width)
        if tuple(states.shape) != expected or tuple(times.shape) != (n,):
            raise ValueError(
                f"{video.path}: expected states {list(expected)} with as many times, given {list(states.shape)} and "
                f"{list(times.shape)}"
            )
        bits = bits_of(states.detach().to("cpu", torch.bfloat16).contiguous())
        if n and not np.isfinite(states.detach().float().sum().item()):
            raise WildlamError(f"{video.path}: the encoder gave states that are not finite: try dtype float32")
        binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(self.state_bytes), n, [None, pa.py_buffer(bits)])
        same = {"video": video.path, "source": video.source, "split": video.split}
        columns = {
            "sequence": pa.array(np.full(n, sequence), pa.int64()),
            "index": pa.array(np.arange(index, index + n), pa.int32()),
            "time": pa.array(times.numpy(), pa.float64()),
            **{name: pa.array([text] * n, pa.string()) for name, text in same.items()},
            "size": pa.array(np.full(n, video.size), pa.int64()),
            "mtime_ns": pa.array(np.full(n, video.mtime_ns), pa.int64()),
            "rules": pa.array([video.rules] * n, RULES_COLUMN.type),
            "states": binary,
            "crc": pa.array(checksums(bits, times.numpy()), pa.uint32()),
        }
        columns["origin_crc"] = pa.array(origin_checksums(columns), pa.uint32())
        return pa.record_batch(columns, schema=self.dataset.schema)

    def damaged(self, batch: pa.RecordBatch) -> np.ndarray:
        """Which rows of a batch with columns time, states and crc are not what was written: ``bool [rows]``."""
        return checksums(self.bits(batch["states"]), batch["time"].to_numpy()) != batch["crc"].to_numpy()

    @staticmethod
    def misnamed(batch: pa.RecordBatch | pa.Table) -> np.ndarray:
        """Which rows state another origin (``layout.ORIGIN``) than was written: ``bool [rows]``."""
        return origin_checksums(batch) != batch["origin_crc"].to_numpy()

    def bits(self, column: pa.FixedSizeBinaryArray) -> np.ndarray:
        """The bits of stored states as ``int16 [rows, N·D]``, in Arrow's memory."""
        bits = np.frombuffer(column.buffers()[1], dtype=np.int16)
        return bits.reshape(-1, self.state_bytes // 2)[column.offset : column.offset + len(column)]

    def _scan(self) -> Sequences:
        names = {"video": "path"} | dict.fromkeys(("source", "split", "size", "mtime_ns", "rules"))
        with self.reading():
            rows = self.dataset.scanner(columns=["index", "sequence", "time"], scan_in_order=True).to_table()
            columns = dict.fromkeys([*names, *ORIGIN, "origin_crc"])
            there = [name for name in columns if name in self.dataset.schema.names]
            heads = self.dataset.scanner(columns=there, filter="index = 0", scan_in_order=True).to_table()
            if RULES_COLUMN.name not in there:
                heads = heads.append_column(RULES_COLUMN, pa.nulls(len(heads), RULES_COLUMN.type))
            wrong = self.misnamed(heads)
        if wrong.any():
            named = ", ".join(heads["video"].filter(pa.array(wrong)).slice(0, 3).to_pylist())
            raise WildlamError(f"{self.path}: damaged, its videos are not what was written ({named}); {self._remedy}")
        heads = heads.select(list(names))
        index, sequence = rows["index"].to_numpy(), rows["sequence"].to_numpy()
        first = np.flatnonzero(index == 0)
        length = np.diff(first, append=len(index))
        # Each sequence must lie in one piece and count up from 0.
        counted = np.arange(len(index)) - np.repeat(first, length) if len(first) else np.empty(0)
        if not (np.array_equal(index, counted) and np.array_equal(sequence, np.repeat(sequence[first], length))):
            raise WildlamError(f"{self.path}: damaged, states are missing; {self._remedy}")
        heads = heads.rename_columns([new or name for name, new in names.items()]).combine_chunks()
        paths = pc.unique(heads["path"])
        video = pc.index_in(heads["path"], paths).to_numpy().astype(np.int64)
        each = np.unique(video, return_index=True)[1]
        return Sequences(first, length, video, heads.take(pa.array(each)), rows["time"].to_numpy())


class _Pending:
    """States not yet committed: rows in memory and, once these are many, fragments on disk that no reader sees."""

    def __init__(self) -> None:
        self.rows: list[pa.RecordBatch] = []
        self.fragments: list[FragmentMetadata] = []
        self.since = time.monotonic()

    @property
    def bytes(self) -> int:
        """Bytes held in memory."""
        return sum(batch.nbytes for batch in self.rows)

    @property
    def due(self) -> bool:
        """Whether it is time to commit."""
        return bool(self.fragments) or self.bytes >= _GROUP_BYTES or time.monotonic() - self.since >= _GROUP_SECONDS
