"""Files: folders that can be written to, atomic writes, JSON, and locks.

A lock is one that the system itself takes back when the process that holds it ends, however it ends: ``flock`` on a
small file beside what is written. The file stays and says whose it was last; its being there means nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from wildlam.errors import WildlamError, option

log = logging.getLogger(__name__)

_TRIES = 50  # readings of who holds a lock, 10 ms apart

POINTER = "a Git LFS pointer, not the file itself: fetch it by `git lfs pull` in its repository, or download it again"
POINTER_BYTES = 1024
"""Size of such a file, at most."""
POINTER_BEGINS = b"version https://git-lfs.github.com/spec/"

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # some network file systems have none


def ensure_writable(folder: Path) -> Path:
    """Make a folder before the work whose results go there, and return it.

    Raises:
        WildlamError: it cannot be made, or not be written to, or is that of a run.
    """
    if (folder / "config.yaml").is_file():
        raise WildlamError(f"{folder} is a run folder, whose report would be overwritten; give another {option('out')}")
    with writing(f"to {folder}", f"give another {option('out')}"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


def followed(path: Path, was: Path, now: Path) -> Path:
    """Where a file or folder lies that lay in another folder, which may have been moved or copied since.

    Args:
        path: where it lay, an absolute path on a disk.
        was: where that folder lay.
        now: where that folder lies now, absolute too.

    Returns:
        Its place in the folder of now, if it is there or no longer at ``path``; ``path`` if it lay elsewhere.
    """
    if not path.is_relative_to(was) or (was.exists() and was.samefile(now)):
        return path
    inside = now / path.relative_to(was)
    return inside if inside.exists() or not path.exists() else path


@contextmanager
def writing(target: object, remedy: str) -> Iterator[None]:
    """Say why something cannot be written, and what to do; ``target`` is a file, or words such as "to FOLDER".

    Raises:
        WildlamError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise WildlamError(f"cannot write {target}: {error.strerror or error}; {remedy}") from error


def _umask() -> int:
    mask = os.umask(0)  # there is no other way to read it
    os.umask(mask)
    return mask


UMASK = _umask()
"""Of the process, read while it has one thread."""


def readable(path: Path) -> None:
    """Give a file the rights that new files have: safetensors lets nobody but the owner read its own."""
    path.chmod(0o666 & ~UMASK)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a kill, sees the old one or the new one whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        WildlamError: if it is missing, damaged or holds something else.
    """
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise WildlamError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # no JSON, or no text
        raise WildlamError(f"{path} is not JSON ({error}); restore it or run again") from error
    if not isinstance(found, dict):
        raise WildlamError(f"{path} holds no JSON object; restore it or run again")
    return found


def is_pointer(path: Path) -> bool:
    """Whether a file is what Git leaves in place of one that Git LFS has not fetched."""
    try:
        if path.stat().st_size > POINTER_BYTES:
            return False
        with open(path, "rb") as file:
            return file.read(len(POINTER_BEGINS)) == POINTER_BEGINS
    except OSError:
        return False  # whoever reads it says why it cannot


def check_fetched(path: Path) -> None:
    """Refuse a file that Git LFS has not fetched.

    Raises:
        WildlamError: it has not.
    """
    if is_pointer(path):
        raise WildlamError(f"{path}: {POINTER}")


@contextmanager
def locked(path: Path, doing: str, *, file: Path | None = None, refusal: str | None = None) -> Iterator[None]:
    """Hold the lock on what is written at ``path``, waiting for whoever holds it.

    Where the lock's file cannot be written, nor can what it guards, and there is nothing to lock.

    Args:
        path: a file or folder.
        file: the lock's own; by default ``.NAME.lock`` beside ``path``. Its folder is made.
        doing: what it is held for, such as "encoding videos", shown to others.
        refusal: what to do instead of waiting; with it, nobody waits.

    Raises:
        WildlamError: another process holds it, and there is a ``refusal``.
    """
    file = file or path.with_name(f".{path.name}.lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = open(file, "a+")  # noqa: SIM115 (closed below, with what it guards in between)
    except OSError:
        yield  # whoever writes there says why it cannot
        return
    with lock:
        try:
            if not _taken(lock, wait=False):
                holder = _holder(lock)
                if refusal is not None:
                    raise WildlamError(f"{path} is in use by {holder}; {refusal}")
                log.warning("%s: waiting for %s", path, holder)
                _taken(lock, wait=True)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("%s: no locks on this file system; let no other process write there meanwhile", path)
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()} on {socket.gethostname()} ({doing})")
        lock.flush()
        yield


def _taken(lock: IO[str], wait: bool) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _holder(lock: IO[str]) -> str:
    """Who holds a lock; whoever has only just taken it has a moment to say so."""
    for _ in range(_TRIES):
        lock.seek(0)
        if found := lock.read(200):
            return found
        time.sleep(0.01)
    return "another process"
