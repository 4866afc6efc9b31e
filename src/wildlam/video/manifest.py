"""A table of videos: one row for each, with its properties and its split, kept in a Parquet file.

**Millions of rows.** From `MAPPED_FROM` rows on the table is not read into memory: a working copy in Arrow's own
layout, written next to the Parquet file when it is first read, is mapped into memory, of which the system keeps what is
in use, once for all processes of a machine. A split is a list of row numbers (8 bytes a row).
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from torch import Tensor

from wildlam.errors import WildlamError, option
from wildlam.types import Split
from wildlam.video.decode import Backend, decode_at
from wildlam.video.files import AnyFile, Location, inside, is_remote, location, names_tar
from wildlam.video.timeline import known_plain

log = logging.getLogger(__name__)

MAPPED_FROM = 100_000
"""Rows from which on a manifest is mapped into memory and not read into it."""
_VERSION = 5  # of the Parquet file's layout
_LACKING = {4: ("breaks", "odd", "look", "copy_of", "recording"), 5: ()}
"""Columns that a version's files have not: read as nulls."""
_SLICE = 1 << 13  # rows that are handled at a time


@dataclass(frozen=True, slots=True)
class Video:
    """One row of a manifest.

    Attributes:
        path: relative to the manifest's root, with forward slashes (absolute if a list names a file elsewhere).
        source: the top-level folder it lies in, past one that only names a split; ``"."`` at the top. Of a list of
            absolute paths or URLs the top is the folder that all of them lie in.
        duration: seconds.
        fps: average frame rate.
        frames: number of frames.
        width: pixels, after rotation.
        height: pixels, after rotation.
        rotation: degrees anticlockwise that put a stored frame upright.
        size: bytes of the file.
        mtime_ns: the file's (a shard's) modification time; with ``size`` it shows whether the file has changed.
        split: ``"train"`` or ``"held_out"``.
        cuts: times of the first frames of its shots but the first, in seconds; None if no one has looked.
        breaks: times where its timestamps jump, in seconds, which end a shot too; None in a manifest of before 5.
        odd: what is odd about it, each as ``"kind: details"``; likewise.
        offset: byte at which it begins, of a video inside a tar shard.
        look: look of its first frame, see `looks`; None if no one has looked.
        copy_of: path of the first video that it is a copy of, or itself the first; None if there is no other.
        recording: path of the first video of its recording, see `recordings`; None in manifests of before.
    """

    path: str
    source: str
    duration: float
    fps: float
    frames: int
    width: int
    height: int
    rotation: int
    size: int
    mtime_ns: int
    split: Split
    cuts: list[float] | None = None
    offset: int | None = None
    breaks: list[float] | None = None
    odd: list[str] | None = None
    look: bytes | None = None
    copy_of: str | None = None
    recording: str | None = None

    @property
    def plain(self) -> bool:
        """Whether it can be decoded from any place without being read through before; see `known_plain`."""
        return known_plain(self.odd)


_ARROW = {
    "str": pa.string(),
    "Split": pa.string(),
    "float": pa.float64(),
    "int": pa.int64(),
    "int | None": pa.int64(),
    "str | None": pa.string(),
    "bytes | None": pa.binary(),
    "list[float] | None": pa.list_(pa.float64()),
    "list[str] | None": pa.list_(pa.string()),
}
SCHEMA = pa.schema([(field.name, _ARROW[cast(str, field.type)]) for field in fields(Video)])


@dataclass(frozen=True)
class Manifest:
    """Videos below ``root``: a column for each attribute of ``Video``; iterating gives ``Video`` rows.

    Attributes:
        root: the folder that the paths are relative to.
        table: all rows of the file.
        held_out: the share of videos to hold out that the splits were drawn with.
        rows: numbers of the rows that this manifest consists of; None for all.
        mapped: the file that is mapped into memory, where the table is not in it.
        no_cuts: whether the table shows no cuts, though the file may.
    """

    root: Location
    table: pa.Table
    held_out: float
    rows: np.ndarray | None = None
    mapped: Path | None = None
    no_cuts: bool = False

    def __len__(self) -> int:
        return self.table.num_rows if self.rows is None else len(self.rows)

    def __getitem__(self, row: int) -> Video:
        return Video(**self.take(np.array([row]), SCHEMA.names).to_pylist()[0])

    def __iter__(self) -> Iterator[Video]:
        for first in range(0, len(self), _SLICE):
            for row in self.take(np.arange(first, min(first + _SLICE, len(self))), SCHEMA.names).to_pylist():
                yield Video(**row)

    def __getstate__(self) -> dict[str, Any]:
        # To another process goes the mapped file's name and not what is in it.
        return self.__dict__ if self.mapped is None else self.__dict__ | {"table": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.mapped is not None:
            table = _map(self.mapped)
            self.__dict__["table"] = _without_cuts(table) if self.no_cuts else table

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all rows: a copy in memory, unless the rows are all of the table's."""
        column = self.table[name]
        return column if self.rows is None else _take(column, self.rows)

    def take(self, rows: np.ndarray, columns: list[str]) -> pa.Table:
        """Some rows, by their numbers in this manifest."""
        of_table = rows if self.rows is None else self.rows[rows]
        return pa.table({name: _take(self.table[name], of_table) for name in columns})

    def split(self, name: Split) -> Manifest:
        """The rows of one split, in the same order."""
        return self.where(pc.equal(self.column("split"), name).to_numpy())

    def where(self, mask: np.ndarray) -> Manifest:
        """The rows where ``mask``, ``bool [V]``, holds, in the same order."""
        return self._of(np.flatnonzero(mask))

    def share(self, rank: int, of: int) -> Manifest:
        """Every ``of``-th row, from row ``rank`` on."""
        return self._of(np.arange(rank, len(self), of))

    def _of(self, rows: np.ndarray) -> Manifest:
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def sources(self) -> tuple[list[str], np.ndarray]:
        """Names of the sources, in order, and the number of each video's in that list, ``int32 [V]``."""
        column = self.column("source")
        names = sorted(pc.unique(column).to_pylist())
        return names, pc.index_in(column, pa.array(names, pa.string())).to_numpy()

    def recordings(self) -> pa.ChunkedArray:
        """The path of the first video of each row's recording; rows of one recording have the same."""
        return pc.coalesce(self.column("recording"), self.column("path"))

    def recordings_of(self, paths: Iterable[str]) -> dict[str, str]:
        """The recording of each of some videos, by path; see ``recordings``."""
        wanted = pa.array(set(paths), pa.string())
        found = self.where(pc.is_in(self.column("path"), value_set=wanted).to_numpy())
        return dict(zip(found.column("path").to_pylist(), found.recordings().to_pylist(), strict=True))

    def cuts(self) -> dict[str, list[float]]:
        """Where shots end, by cuts or breaks, of the videos that are known to have some, in seconds, by path."""
        columns = self.column("cuts"), self.column("breaks")
        counts = [pc.fill_null(pc.list_value_length(column), 0).to_numpy() for column in columns]
        rows = self.take(np.flatnonzero(sum(counts)), ["path", "cuts", "breaks"]).to_pylist()
        return {row["path"]: sorted({*(row["cuts"] or ()), *(row["breaks"] or ())}) for row in rows}

    def uncut(self) -> Manifest:
        """The same videos without their cuts; breaks stay."""
        return replace(self, table=_without_cuts(self.table), no_cuts=True)

    def file(self, path: str, offset: int | None = None, size: int = 0) -> AnyFile:
        """The video file of a row's ``path``; its ``offset`` and ``size`` are looked up unless given."""
        if offset is None and names_tar(path):
            offset, size = self._cells(path, "offset", "size")
        return inside(self.root, path, offset, size)

    def frames(self, path: str, times: Sequence[float], size: int, backend: Backend = "pyav") -> Tensor:
        """Frames of a row's video, as `decode_at` gives them; of a plain one no more is read than they take.

        Raises:
            VideoError: it cannot be decoded, or a time lies outside it.
            WildlamError: the torchcodec back end was asked for and cannot be loaded.
        """
        odd, offset, of_file = self._cells(path, "odd", "offset", "size")
        return decode_at(self.file(path, offset, of_file), times, size, backend, known_plain(odd))

    def _cells(self, path: str, *columns: str) -> list[Any]:
        row = int(pc.index(self.table["path"], path).as_py())
        if row < 0:
            raise KeyError(path)
        return [self.table[name][row].as_py() for name in columns]

    def write(self, path: Path) -> None:
        """Write to a Parquet file, which is replaced whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        root = self.root if is_remote(self.root) else self.root.resolve()
        about = {"version": _VERSION, "root": str(root), "held_out": self.held_out}
        table = self.table if self.rows is None else self.take(np.arange(len(self)), SCHEMA.names)
        about["crc"] = _checksum(about, _slices(table))
        with _replacing(path) as temporary, pq.ParquetWriter(temporary, _described(about)) as writer:
            for batch in _slices(table):  # laid out twice: less memory than the whole of it
                writer.write_batch(batch)

    @classmethod
    def read(cls, path: Path | str) -> Manifest:
        """Read what ``write`` wrote.

        A manifest in the ``.wildlam`` folder of its videos follows them when the folder is moved.

        Raises:
            WildlamError: the file is missing, damaged, or no manifest of this version.
        """
        path = Path(path)
        try:
            with pq.ParquetFile(path) as file:
                about = json.loads(file.schema_arrow.metadata[b"wildlam"])
                if about["version"] not in _LACKING:
                    raise ValueError(f"version {about['version']}, not {_VERSION}")
                root = path.absolute().parent.parent if path.parent.name == ".wildlam" else location(about["root"])
                lacking = _LACKING[about["version"]]
                # Of an older version's no working copy is made: the next indexing writes it anew.
                if not lacking and file.metadata.num_rows >= MAPPED_FROM and (mapped := _mapped(path, file, about)):
                    return cls(root, _map(mapped), float(about["held_out"]), mapped=mapped)
                table = file.read().select([name for name in SCHEMA.names if name not in lacking])
            if _checksum(about, _slices(table)) != about["crc"]:
                raise ValueError("it is not what was written")
            for name in lacking:
                table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
            return cls(root, table.select(SCHEMA.names).cast(SCHEMA), float(about["held_out"]))
        except FileNotFoundError as error:
            raise WildlamError(f"{path}: no such manifest; give the folder of videos to make one") from error
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise WildlamError(
                f"{path}: unreadable as a manifest ({error}); delete it, and indexing the folder makes a new one"
            ) from error


def _mapped(path: Path, file: pq.ParquetFile, about: dict[str, Any]) -> Path | None:
    """The working copy of a manifest, made now unless it is there and sound; None where it cannot be written.

    Raises:
        ValueError: the Parquet file is damaged.
    """
    copy = path.with_name(f".{path.stem}.arrow")
    try:
        if copy.exists() and _checksum(about, _slices(_map(copy))) == about["crc"]:
            return copy
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        pass  # of another manifest, or damaged: made anew
    try:
        with _replacing(copy) as temporary:
            with pa.ipc.new_file(str(temporary), SCHEMA) as writer:
                for batch in file.iter_batches(_SLICE):
                    writer.write_batch(batch.select(SCHEMA.names).cast(SCHEMA))
            if _checksum(about, _slices(_map(temporary))) != about["crc"]:
                raise ValueError("it is not what was written")
    except OSError as error:
        log.warning("%s: the manifest is held in memory, as %s cannot be written (%s)", path, copy, error.strerror)
        return None
    return copy


def _map(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _without_cuts(table: pa.Table) -> pa.Table:
    cuts = SCHEMA.field("cuts")
    return table.set_column(SCHEMA.get_field_index("cuts"), cuts, pa.nulls(table.num_rows, cuts.type))


def _slices(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows in batches of one size, each copied: equal tables give equal bytes."""
    for first in range(0, table.num_rows, _SLICE):
        part = table.slice(first, _SLICE)
        yield part.take(pa.array(np.arange(len(part)))).combine_chunks().to_batches()[0]


def _take(column: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    """Some rows of a column, chunk by chunk: Arrow itself copies all text into one chunk first."""
    if column.num_chunks <= 1:
        return column.take(pa.array(rows))
    ends = np.cumsum([len(chunk) for chunk in column.chunks])
    of = np.searchsorted(ends, rows, side="right")
    order = np.argsort(of, kind="stable")
    parts = []
    for mine in np.split(order, np.flatnonzero(np.diff(of[order])) + 1) if len(rows) else []:
        chunk = column.chunk(int(of[mine[0]]))
        parts.append(chunk.take(pa.array(rows[mine] - (ends[of[mine[0]]] - len(chunk)))))
    taken = pa.chunked_array(parts, column.type)
    return taken if (np.diff(order) > 0).all() else taken.take(pa.array(np.argsort(order)))


def _checksum(about: dict[str, Any], slices: Iterable[pa.RecordBatch]) -> int:
    """CRC-32 of what a file says of the manifest, and of the columns: Parquet has none by itself."""
    said = {name: value for name, value in about.items() if name != "crc"}
    crc = zlib.crc32(json.dumps(said, sort_keys=True).encode())
    for batch in slices:
        crc = zlib.crc32(batch.serialize(), crc)
    return crc


def _described(about: dict[str, Any]) -> pa.Schema:
    return SCHEMA.with_metadata({"wildlam": json.dumps(about)})


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary file that replaces ``path`` on success."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")  # machines may share a folder, and process numbers
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def manifest_path(root: Location | str, cache: Path | str | None = None) -> Path:
    """Where ``index`` keeps the manifest of a folder, or of a list of videos."""
    root = location(root)
    name = f"{root.name}.parquet" if root.is_file() else "manifest.parquet"
    return cache_folder(root, cache) / name


def cache_folder(root: Location | str, cache: Path | str | None = None) -> Path:
    """The folder for all that is derived from the videos: ``cache`` or else ``.wildlam`` in their folder."""
    root = location(root)
    if cache is not None:
        return Path(cache)
    if is_remote(root):
        by = option("data.cache")
        named = f"name a folder on a disk for what is derived from the videos: {by} DIR"
        raise WildlamError(f"{root}: {named if by else 'copy it to a disk'}")
    base = root.parent if root.is_file() else root
    return base if base.name == ".wildlam" else base / ".wildlam"  # a manifest lies in it already
