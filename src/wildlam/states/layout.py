"""A store on disk: columns, header, the checksums of both, and Lance's errors for damage."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from wildlam.types import EncoderSpec

VERSION = 4
"""Version of the layout on disk; a store of another version is refused."""
KEY = b"wildlam.store"
"""Key of the header in the schema's metadata."""
RULES_COLUMN = pa.field("rules", pa.int32())
"""Null, or lacking, in stores of earlier versions."""
ORIGIN = ["video", "size", "mtime_ns", "sequence", "index"]
"""Columns that say which state of which video a row is."""
SLICE = 1 << 13  # rows whose origins are objects at a time


def sealed(header: dict[str, Any]) -> dict[str, Any]:
    """The header with the CRC-32 of all that it says: Lance has none of a table's header."""
    said = {name: value for name, value in header.items() if name != "crc"}
    return said | {"crc": zlib.crc32(json.dumps(said, sort_keys=True).encode())}


def schema_of(spec: EncoderSpec, fps: float, frames: int) -> pa.Schema:
    """The columns of a store, with its header."""
    header = sealed({"version": VERSION, "spec": asdict(spec), "fps": fps, "frames": frames})
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
        RULES_COLUMN.name: RULES_COLUMN.type,
    }
    return pa.schema(list(columns.items()), metadata={KEY: json.dumps(header).encode()})


def bits_of(states: Tensor) -> np.ndarray:
    """bfloat16 ``[rows, N, D]`` as ``int16 [rows, N·D]``, in the same memory: numpy has no bfloat16."""
    return states.view(torch.int16).flatten(1).numpy()


def checksums(bits: np.ndarray, times: np.ndarray) -> np.ndarray:
    """CRC-32 of the time ``float64 [rows]`` and state ``int16 [rows, N·D]`` of each row: ``uint32 [rows]``."""
    pairs = zip(times, np.ascontiguousarray(bits), strict=True)
    return np.fromiter((zlib.crc32(row, zlib.crc32(time)) for time, row in pairs), np.uint32, len(bits))


def origin_checksums(columns: Mapping[str, pa.Array] | pa.RecordBatch | pa.Table) -> np.ndarray:
    """CRC-32 of what each row says of its origin: ``uint32 [rows]``."""
    found = np.empty(len(columns["video"]), np.uint32)
    for first in range(0, len(found), SLICE):
        rows = zip(*(columns[name].slice(first, SLICE).to_pylist() for name in ORIGIN), strict=True)
        found[first : first + SLICE] = [zlib.crc32(repr(row).encode()) for row in rows]
    return found


def is_lances(error: BaseException) -> bool:
    """Whether an error is one of those that Lance raises when files are not what it wrote.

    ArrowInvalid, which its own become in scans, is a ValueError. Its panics are BaseExceptions of no importable name.
    """
    return isinstance(error, OSError | ValueError) or type(error).__name__ == "PanicException"


def quoted(text: str) -> str:
    """A string literal of Lance's SQL."""
    return "'" + text.replace("'", "''") + "'"


def reason(error: BaseException) -> str:
    """First line of an error's message, without the places in its own source that Lance appends."""
    return re.split(r", /(?:home|rustc)/", str(error).splitlines()[0])[0]
