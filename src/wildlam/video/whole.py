"""Whether all bytes of a video file are there: what containers say of their own length."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO


def missing_end(file: BinaryIO, container: str) -> str | None:
    """The sign that a file's end is missing, or None if there is none.

    MP4 and MOV (boxes), Matroska and WebM (segment), AVI (RIFF chunks) and ASF (file size) state their length; MPEG-TS
    consists of whole packets; the last page of an Ogg file is marked. Others, and live recordings, show nothing.

    Args:
        file: the whole file, open for reading.
        container: FFmpeg's name for its format.
    """
    size = file.seek(0, 2)
    checks = {"mov": _boxes, "matroska": _segment, "avi": _chunks, "asf": _told_size}
    for name, ends in checks.items():
        if container.startswith(name):
            lacking = max((end - size for end in ends(file, size)), default=0)
            return f"{lacking:,} bytes are missing at its end" if lacking > 0 else None
    if container == "mpegts":
        return _packets(file, size)
    return _pages(file, size) if container == "ogg" else None


def _boxes(file: BinaryIO, size: int) -> Iterator[int]:
    """Ends of an MP4's outermost boxes (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, _, large = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
        length = large if length == 1 else length
        if length < 8:  # 0: up to the end of the file
            return
        at += length
        yield at


def _segment(file: BinaryIO, size: int) -> Iterator[int]:
    """The end of a Matroska file's segment (RFC 8794, 4 and 6): an EBML header, then one element with everything."""
    at = 0
    for _ in range(2):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12 or head[:4] not in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67") or not head[4]:
            return
        bytes_of_size = 9 - head[4].bit_length()
        mask = (1 << 7 * bytes_of_size) - 1
        length = int.from_bytes(head[4 : 4 + bytes_of_size]) & mask
        if length == mask:  # not known when it was written: a live recording
            return
        at += 4 + bytes_of_size + length
        yield at


def _chunks(file: BinaryIO, size: int) -> Iterator[int]:
    """Ends of an AVI file's outermost chunks; those above 1 GB have several."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF" or length == 0:
            return
        yield at + 8 + length
        at += 8 + length + length % 2


def _told_size(file: BinaryIO, size: int) -> Iterator[int]:
    """The file size in an ASF file's File Properties Object (ASF specification, 3.2); 0 in live recordings."""
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at >= 0:
        yield int.from_bytes(head[at + 40 : at + 48], "little")


def _packets(file: BinaryIO, size: int) -> str | None:
    file.seek(0)
    head = file.read(2 * 204 + 5)
    for length, start in ((188, 0), (192, 4), (204, 0)):
        if head[start::length][:2] == b"GG":  # the sync byte of each
            part = size % length
            return f"its last packet has {part} of {length} bytes" if part else None
    return None


def _pages(file: BinaryIO, size: int) -> str | None:
    file.seek(max(0, size - (1 << 16)))  # a page is shorter
    tail = file.read()
    last = tail.rfind(b"OggS")
    marked = last >= 0 and len(tail) > last + 5 and tail[last + 5] & 4
    return None if marked else "its last page is not marked as the last"
