"""One writer at a time: a lock that the system itself takes back when the process that holds it ends, however it ends.

It is ``flock`` on a small file beside what is written. The file stays and says whose it was last; its being there means
nothing.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wildlam.errors import WildlamError

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # some network file systems have none


@contextmanager
def locked(path: Path, doing: str, *, file: Path | None = None, refusal: str | None = None) -> Iterator[None]:
    """Hold the lock on what is written at ``path``, waiting for whoever holds it.

    Where the lock's file cannot be written, nor can what it guards, and there is nothing to lock.

    Args:
        path: a file or folder.
        file: the lock's own; by default ``.NAME.lock`` beside ``path``. Its folder is made.
        doing: what it is held for, such as "encoding videos", told to others.
        refusal: what to do instead of waiting; with it, nobody waits.

    Raises:
        WildlamError: another process holds it, and there is a ``refusal``.
    """
    file = file or path.with_name(f".{path.name}.lock")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = open(file, "a+")  # noqa: SIM115 (closed below, with what it guards in between)
    except OSError:
        yield  # whoever writes there tells why it cannot
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
    lock.seek(0)
    return lock.read(200) or "another process"
