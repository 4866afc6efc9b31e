"""Labelled data sets in several formats: one file each; a new file in this folder adds a format."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format
from wildlam.episodes.pairing import TOLERANCE
from wildlam.errors import WildlamError


def _found() -> dict[str, Format]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    formats: list[Format] = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {one.name: one for one in sorted(formats, key=lambda one: one.order)}


FORMATS = _found()
"""All formats by name, in the order in which a folder's is looked for."""


def read_episodes(path: Path, tolerance: float = TOLERANCE) -> list[Episode]:
    """Read a labelled data set: LeRobot v2.1 or v3.0, DROID as released, RECON as released or as processed, or videos
    with ``NAME.poses.csv`` files.

    Args:
        path: folder of the data set.
        tolerance: seconds that a state may be away from every frame: it is left out, with a warning; see ``pairing``.

    Raises:
        WildlamError: there is none, or it is malformed, naming the file; or a state is farther from every frame.
    """
    if not tolerance > 0:
        raise WildlamError(f"--tolerance must be a positive number of seconds, got {tolerance:g}")
    if not path.exists():
        raise WildlamError(f"{path}: there is no such folder")
    return next(one for one in FORMATS.values() if one.detects(path)).read(path, tolerance)


def cache_folder(path: Path) -> Path:
    """Folder for data derived from a data set: ``.wildlam`` in its folder."""
    return (path if path.is_dir() else path.parent) / ".wildlam"
