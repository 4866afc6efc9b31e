"""h5py, an extra, for the formats that lie in HDF5."""

from __future__ import annotations

from typing import Any

from wildlam.types import WildlamError


def h5py() -> Any:
    """The module.

    Raises:
        WildlamError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise WildlamError("DROID's and RECON's HDF5 files need h5py: pip install 'wildlam[plan]'") from error
    return h5py
