"""TFRecord files of ``tf.train.Example``, read without TensorFlow, and without the parts of a record that no one wants.

A record is its length (8 bytes), a checksum of that, the data, and a checksum of those (tensorflow/core/lib/io/
record_writer.h). An Example is a map from names to lists of bytes, floats or integers, in Protocol Buffers' wire format
(tensorflow/core/example/example.proto). Most of an episode's record is pictures: whoever wants its numbers should not
read them from the disk, which a parser of whole messages would.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wildlam.errors import WildlamError
from wildlam.fileio import check_fetched

AGAIN = "download or write it again"
BYTES, FLOATS, INTEGERS = 1, 2, 3
"""Kinds of lists, by the numbers of their fields in ``Feature``."""
_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_VARINT, _LENGTH, _FIXED = 0, 2, {1: 8, 5: 4}


@dataclass(frozen=True)
class Record:
    """Where a record lies.

    Attributes:
        file: its file.
        number: which of the file's records it is, from 0.
        begin: first byte of its data.
        length: bytes of its data.
    """

    file: Path
    number: int
    begin: int
    length: int

    def __str__(self) -> str:
        return f"{self.file}, record {self.number}"


def records_in(file: Path) -> list[Record]:
    """The records of a file, found by their lengths alone.

    Raises:
        WildlamError: a record is cut short, or its length damaged; or google-crc32c is not installed.
    """
    check_fetched(file)
    found: list[Record] = []
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            place = 0
            while place < size:
                header = stream.read(_HEADER.size)
                record = Record(file, len(found), place + _HEADER.size, 0)
                if len(header) == _HEADER.size:
                    length, checksum = _HEADER.unpack(header)
                    if _checksum(header[:8]) != checksum:
                        raise WildlamError(
                            f"{record}, at byte {place}: no record of a TFRecord file begins here; {AGAIN}"
                        )
                    record = Record(file, len(found), place + _HEADER.size, length)
                place = record.begin + record.length + _FOOTER.size
                if place > size or not record.length:
                    raise WildlamError(f"{record}: cut short, the file ends at byte {size} within it; {AGAIN}")
                found.append(record)
                stream.seek(place)
    except OSError as error:
        raise WildlamError(f"{file}: cannot be read ({error})") from error
    return found


class Example:
    """The lists of an Example by name, looked up in its file when they are asked for."""

    def __init__(self, record: Record) -> None:
        """Find the lists.

        Raises:
            WildlamError: the data are no Example, naming the record.
        """
        self.record = record
        self._lists: dict[str, tuple[int, memoryview]] = {}
        try:
            with record.file.open("rb") as stream:
                file = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            if hasattr(mmap, "MADV_RANDOM"):
                file.madvise(mmap.MADV_RANDOM)  # or the system reads ahead, all of what is skipped
            data = memoryview(file)[record.begin : record.begin + record.length]
            for features in _parts(data, 1):
                for entry in _parts(features, 1):
                    name = b"".join(_parts(entry, 1)).decode()
                    for feature in _parts(entry, 2):
                        for kind, _, value in _fields(feature):
                            self._lists[name] = kind, value
        except (OSError, ValueError, TypeError) as error:
            raise WildlamError(f"{record}: no tf.train.Example ({error}); {AGAIN}") from error

    def __contains__(self, name: str) -> bool:
        return name in self._lists

    def check(self) -> None:
        """Compare all of the data with their checksum.

        Raises:
            WildlamError: they are damaged, naming the record.
        """
        with self.record.file.open("rb") as stream:
            stream.seek(self.record.begin)
            data, stated = stream.read(self.record.length), stream.read(_FOOTER.size)
        if stated != _FOOTER.pack(_checksum(data)):
            raise WildlamError(f"{self.record}: damaged, it does not fit its checksum; {AGAIN}")

    def numbers(self, name: str) -> np.ndarray:
        """A list of floats or integers, ``float64 [n]``.

        Raises:
            WildlamError: there is none, or it is damaged, naming the record.
        """
        kind, data = self._list(name, (FLOATS, INTEGERS))
        try:
            packed = np.frombuffer(b"".join(_parts(data, 1)), np.uint8)
            return (packed.view("<f4") if kind == FLOATS else _integers(packed)).astype(np.float64)
        except (ValueError, TypeError, OverflowError) as error:
            raise WildlamError(f"{self.record}: {name} cannot be read ({error}); {AGAIN}") from error

    def texts(self, name: str) -> list[memoryview]:
        """A list of bytes, each of which is read when it is used.

        Raises:
            WildlamError: there is none, or it is damaged, naming the record.
        """
        _, data = self._list(name, (BYTES,))
        try:
            return list(_parts(data, 1))
        except (ValueError, TypeError) as error:
            raise WildlamError(f"{self.record}: {name} cannot be read ({error}); {AGAIN}") from error

    def _list(self, name: str, kinds: tuple[int, ...]) -> tuple[int, memoryview]:
        kind, data = self._lists.get(name, (0, memoryview(b"")))
        if kind not in kinds:
            problem = f"has no {name}" if not kind else f"{name} is of another kind than features.json says"
            raise WildlamError(f"{self.record}: {problem}; {AGAIN}")
        return kind, data


def _checksum(data: bytes) -> int:
    """TFRecord's: a CRC-32C, turned and shifted, as files of checksums have checksums, too."""
    try:
        from google_crc32c import value
    except ImportError as error:
        raise WildlamError("TFRecord files need google-crc32c: pip install 'wildlam[rlds]'") from error
    crc = value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _parts(data: memoryview, wanted: int) -> Iterator[memoryview]:
    """The parts of a message that are bytes or messages themselves, of the field of a number."""
    for number, wire, value in _fields(data):
        if number == wanted:
            if wire == _VARINT:
                raise ValueError(f"its field {number} is a number")
            yield value


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field of a message."""
    place, end = 0, len(data)

    def varint() -> int:
        nonlocal place
        value = 0
        for shift in range(0, 70, 7):
            if place >= end:
                break
            byte, place = data[place], place + 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("it ends within a number")

    while place < end:
        key = varint()
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            yield number, wire, varint()
            continue
        if wire != _LENGTH and wire not in _FIXED:
            raise ValueError(f"it has a field of the unknown wire type {wire}")
        length = varint() if wire == _LENGTH else _FIXED[wire]
        if place + length > end:
            raise ValueError("it ends within a field")
        value = data[place : place + length]
        place += length
        yield number, wire, value


def _integers(packed: np.ndarray) -> np.ndarray:
    """Integers ``int64 [n]`` of their varints ``uint8 [bytes]``: seven bits a byte, the last of which is below 128."""
    ends = np.flatnonzero(packed < 128)
    if len(packed) and (not len(ends) or ends[-1] != len(packed) - 1):
        raise ValueError("it ends within a number")
    begins = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    found = np.zeros(len(ends), np.uint64)
    lengths = ends - begins + 1
    if lengths.max(initial=0) > 10:
        raise ValueError("a number takes more than 64 bits")
    for k in range(lengths.max(initial=0)):
        longer = lengths > k
        found[longer] |= (packed[begins[longer] + k] & np.uint8(127)).astype(np.uint64) << np.uint64(7 * k)
    return found.view(np.int64)
