"""h5py, an extra, for the formats that lie in HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wildlam.errors import WildlamError
from wildlam.fileio import check_fetched


def h5py() -> Any:
    """The module.

    Raises:
        WildlamError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise WildlamError("HDF5 files need h5py: pip install 'wildlam[plan]'") from error
    return h5py


@contextmanager
def opened_hdf5(file: Path) -> Iterator[Any]:
    """Open a file to read it.

    Raises:
        WildlamError: h5py is not installed, or the file is locked, damaged or cut short.
    """
    module = h5py()
    check_fetched(file)
    try:
        with module.File(file) as data:
            yield data
    except OSError as error:
        # HDF5 names the lock in its text alone: the errno may be EAGAIN, EACCES (NFS) or ENOLCK (none to be had).
        if "lock file" in str(error):
            raise WildlamError(
                f"{file}: locked: another program has it open to write, or its file system knows no locks; close that "
                f"program or, if none writes to the file, set HDF5_USE_FILE_LOCKING=FALSE ({error})"
            ) from error
        raise WildlamError(f"{file}: not a whole HDF5 file ({error})") from error
