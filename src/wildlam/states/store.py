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
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from lance.fragment import FragmentMetadata, write_fragments
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.types import EncoderSpec, Split
from wildlam.video.manifest import Video
from wildlam.video.timeline import RULES

VERSION = 4
"""Version of the layout on disk; a store of another version is refused."""
_LANCE_FORMAT: Literal["2.1"] = "2.1"
_KEY = b"wildlam.store"
_CHECKED = ["time", "states", "crc"]
_ORIGIN = ["video", "size", "mtime_ns", "sequence", "index"]
_RULES = pa.field("rules", pa.int32())  # null, or lacking, in stores of before
_SAME_TIME = 1e-3  # seconds by which the times of one frame may differ
_SLICE = 1 << 13  # rows whose origins are objects at a time
_READ_BYTES = 8 << 20  # read at a time: halves the time of large clips against one read of a whole batch of them
_GROUP_BYTES = 64 << 20  # a commit holds about this much, so that fragments are few and memory stays bounded
_GROUP_SECONDS = 60.0  # but a slow encoder commits at least this often


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video as the store knows it.

    Attributes:
        path: path relative to the data folder, with forward slashes.
        source: name of the set the video belongs to.
        split: ``"train"`` or ``"held_out"``.
        size: bytes of the file; with ``mtime_ns`` it tells whether the file has changed since it was encoded.
        mtime_ns: time of the file's last change, nanoseconds since the epoch.
        rules: version of the rules (`timeline.RULES`) by which its frames were found; None in stores of before them.
    """

    path: str
    source: str
    split: Split
    size: int
    mtime_ns: int
    rules: int | None = None

    @classmethod
    def of(cls, video: Video) -> StoredVideo:
        """What the store is to know of a row of a manifest, whose frames are found by today's rules."""
        return cls(video.path, video.source, video.split, video.size, video.mtime_ns, RULES)


@dataclass(frozen=True)
class Sequences:
    """Where the sequences of a store lie: one entry per sequence, in the order of its rows.

    Columns, not objects: a store may hold millions of videos.

    Attributes:
        first: row of the sequence's first state, ``int64 [S]``.
        length: number of its states, ``int64 [S]``.
        video: number of the video that it comes from, ``int64 [S]``.
        videos: the videos, each once: a column for each attribute of ``StoredVideo``.
        times: timestamp in seconds of the (first) frame of *every row* of the store, ``float64 [rows]``.
    """

    first: np.ndarray
    length: np.ndarray
    video: np.ndarray
    videos: pa.Table
    times: np.ndarray

    def of(self, sequences: np.ndarray | None = None) -> list[StoredVideo]:
        """The videos that sequences come from, by the sequences' numbers ``[n]``; of all if none are given."""
        rows = self.videos.take(pa.array(self.video if sequences is None else self.video[sequences]))
        return [StoredVideo(**row) for row in rows.to_pylist()]

    def sources(self) -> tuple[list[str], np.ndarray]:
        """Names of the sources, in order, and the number of each *sequence's* in that list, ``int64 [S]``."""
        column = self.videos["source"]
        names = sorted(pc.unique(column).to_pylist())
        return names, pc.index_in(column, pa.array(names, pa.string())).to_numpy()[self.video]

    def cut(self, cuts: Mapping[str, list[float]], spec: EncoderSpec, fps: float) -> Sequences:
        """Sequences that end where a shot does.

        A state that knows frames of two shots is in none. Where states know all frames before them in their sequence
        (context ``"clip"``), a sequence with a cut in it is left out.

        Args:
            cuts: times of the first frames of shots, in seconds, ascending, by video.
            spec: of the encoder.
            fps: frames per second at which videos were sampled.
        """
        known = pc.is_in(self.videos["path"], value_set=pa.array(cuts, pa.string())).to_numpy()[self.video]
        uncut, touched = np.flatnonzero(~known), np.flatnonzero(known)
        first, length, origin = (a.tolist() for a in (self.first[uncut], self.length[uncut], uncut))
        for number, video in zip(touched, self.of(touched), strict=True):
            begin, count = self.first[number], self.length[number]
            times = self.times[begin : begin + count]
            edges = np.array(cuts[video.path]) - _SAME_TIME
            shot = np.searchsorted(edges, times, side="right")
            whole = shot == np.searchsorted(edges, times + (spec.frames_per_state - 1) / fps, side="right")
            if spec.context == "clip":
                pieces = [(0, count)] if whole.all() and (shot == shot[0]).all() else []
            else:
                ends = [*np.flatnonzero(np.diff(np.where(whole, shot, -1))) + 1, count]
                pieces = [(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True) if whole[a]]
            first += [begin + a for a, _ in pieces]
            length += [b - a for a, b in pieces]
            origin += [number] * len(pieces)
        order = np.argsort(first)
        begins, lengths = (np.array(values, dtype=np.int64)[order] for values in (first, length))
        return replace(self, first=begins, length=lengths, video=self.video[np.array(origin, dtype=np.int64)[order]])


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
            spec: of the encoder whose states it holds.
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
                    [], str(path), schema=_schema(spec, fps, frames), data_storage_version=_LANCE_FORMAT
                )
            except OSError as error:
                raise WildlamError(f"{path}: the store cannot be created: {_reason(error)}") from error
        store = cls.open(path, spec)
        if store.fps != fps:
            raise WildlamError(f"{path}: holds states at {store.fps:g} fps, not {fps:g}: choose another folder or fps")
        if spec.context == "clip" and store.frames != frames:
            raise WildlamError(
                f"{path}: holds windows of {store.frames} frames, not {frames}: choose another folder or window"
            )
        if _RULES.name not in store.dataset.schema.names:
            with store.writing():
                store.dataset.add_columns(_RULES)
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
                f"{path}: the feature store is damaged ({_reason(error)}); delete the folder and encode again"
            ) from error
        try:
            header = json.loads((dataset.schema.metadata or {}).get(_KEY, b"{}"))
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
        if header != _sealed(header):
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
                _bits_of(out[row : row + len(batch)])[:] = self.bits(batch["states"])
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
        names = ", ".join(_quoted(path) for path in paths)
        if names:
            with self.writing():
                self.dataset.delete(f"video IN ({names})")
            self._sequences = None

    def delete_rows(self, ids: np.ndarray) -> None:
        """Remove states by their numbers in Lance (``_rowid``, ``uint64 [n]``)."""
        for first in range(0, len(ids), _SLICE):
            with self.writing():
                self.dataset.delete(f"_rowid IN ({', '.join(map(str, ids[first : first + _SLICE]))})")
        self._sequences = None

    def relabel(self, video: StoredVideo) -> None:
        """Give the stored states of ``video.path`` the source and split of ``video``."""
        values = {"source": _quoted(video.source), "split": _quoted(video.split)}
        with self.writing():
            self.dataset.update(values, where=f"video = {_quoted(video.path)}")
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
        """Turn what Lance raises on damaged files into a WildlamError."""
        try:
            yield
        except BaseException as error:
            if not is_lances(error):
                raise
            raise WildlamError(f"{self.path}: damaged, cannot be read ({_reason(error)}); {self._remedy}") from error

    @property
    def _remedy(self) -> str:
        return f"remove what is damaged by `wildlam store repair {self.path}`, and it will be encoded again"

    def _refuse(self, rows: np.ndarray) -> NoReturn:
        """Tell whose states, in these rows, are not what was written."""
        sequences = self.sequences()
        videos = sorted({video.path for video in sequences.of(np.searchsorted(sequences.first, rows, "right") - 1)})
        named = ", ".join(videos[:3]) + (", ..." if len(videos) > 3 else "")
        raise WildlamError(f"{self.path}: damaged, {len(rows)} states of {named}; {self._remedy}")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what Lance raises when it cannot write into a WildlamError."""
        try:
            yield
        except OSError as error:
            raise WildlamError(
                f"{self.path}: cannot be written to ({_reason(error)}); make room and run again: the states committed "
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
        bits = _bits_of(states.detach().to("cpu", torch.bfloat16).contiguous())
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
            "rules": pa.array([video.rules] * n, _RULES.type),
            "states": binary,
            "crc": pa.array(_checksums(bits, times.numpy()), pa.uint32()),
        }
        columns["origin_crc"] = pa.array(origins(columns), pa.uint32())
        return pa.record_batch(columns, schema=self.dataset.schema)

    def damaged(self, batch: pa.RecordBatch) -> np.ndarray:
        """Which rows of a batch with columns time, states and crc are not what was written: ``bool [rows]``."""
        return _checksums(self.bits(batch["states"]), batch["time"].to_numpy()) != batch["crc"].to_numpy()

    @staticmethod
    def misnamed(batch: pa.RecordBatch | pa.Table) -> np.ndarray:
        """Which rows tell another origin (``_ORIGIN``) than was written: ``bool [rows]``."""
        return origins(batch) != batch["origin_crc"].to_numpy()

    def bits(self, column: pa.FixedSizeBinaryArray) -> np.ndarray:
        """The bits of stored states as ``int16 [rows, N·D]``, in Arrow's memory."""
        bits = np.frombuffer(column.buffers()[1], dtype=np.int16)
        return bits.reshape(-1, self.state_bytes // 2)[column.offset : column.offset + len(column)]

    def _scan(self) -> Sequences:
        names = {"video": "path"} | dict.fromkeys(("source", "split", "size", "mtime_ns", "rules"))
        with self.reading():
            rows = self.dataset.scanner(columns=["index", "sequence", "time"], scan_in_order=True).to_table()
            columns = dict.fromkeys([*names, *_ORIGIN, "origin_crc"])
            there = [name for name in columns if name in self.dataset.schema.names]
            heads = self.dataset.scanner(columns=there, filter="index = 0", scan_in_order=True).to_table()
            if _RULES.name not in there:
                heads = heads.append_column(_RULES, pa.nulls(len(heads), _RULES.type))
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


def _sealed(header: dict[str, Any]) -> dict[str, Any]:
    """With the CRC-32 of all that it says: Lance has none of a table's header."""
    said = {name: value for name, value in header.items() if name != "crc"}
    return said | {"crc": zlib.crc32(json.dumps(said, sort_keys=True).encode())}


def _schema(spec: EncoderSpec, fps: float, frames: int) -> pa.Schema:
    header = _sealed({"version": VERSION, "spec": asdict(spec), "fps": fps, "frames": frames})
    columns = {
        "sequence": pa.int64(),
        "index": pa.int32(),
        "time": pa.float64(),
        "video": pa.string(),
        "source": pa.string(),
        "split": pa.string(),
        "size": pa.int64(),
        "mtime_ns": pa.int64(),
        "states": pa.binary(spec.tokens * spec.width * 2),
        "crc": pa.uint32(),
        "origin_crc": pa.uint32(),
        _RULES.name: _RULES.type,
    }
    return pa.schema(list(columns.items()), metadata={_KEY: json.dumps(header).encode()})


def _bits_of(states: Tensor) -> np.ndarray:
    """bfloat16 ``[rows, N, D]`` as ``int16 [rows, N·D]``, in the same memory: numpy has no bfloat16."""
    return states.view(torch.int16).flatten(1).numpy()


def _checksums(bits: np.ndarray, times: np.ndarray) -> np.ndarray:
    """CRC-32 of the time ``float64 [rows]`` and state ``int16 [rows, N·D]`` of each row: ``uint32 [rows]``."""
    pairs = zip(times, np.ascontiguousarray(bits), strict=True)
    return np.fromiter((zlib.crc32(row, zlib.crc32(time)) for time, row in pairs), np.uint32, len(bits))


def origins(columns: Mapping[str, pa.Array] | pa.RecordBatch | pa.Table) -> np.ndarray:
    """CRC-32 of what each row says of its origin: ``uint32 [rows]``."""
    found = np.empty(len(columns["video"]), np.uint32)
    for first in range(0, len(found), _SLICE):
        rows = zip(*(columns[name].slice(first, _SLICE).to_pylist() for name in _ORIGIN), strict=True)
        found[first : first + _SLICE] = [zlib.crc32(repr(row).encode()) for row in rows]
    return found


def is_lances(error: BaseException) -> bool:
    """Whether an error is one of those that Lance raises when files are not what it wrote.

    ArrowInvalid, which its own become in scans, is a ValueError. Its panics are BaseExceptions of no importable name.
    """
    return isinstance(error, OSError | ValueError) or type(error).__name__ == "PanicException"


def _quoted(text: str) -> str:
    """A string literal of Lance's SQL."""
    return "'" + text.replace("'", "''") + "'"


def _reason(error: BaseException) -> str:
    """First line of an error's message, without the places in its own source that Lance appends."""
    return re.split(r", /(?:home|rustc)/", str(error).splitlines()[0])[0]
