"""Labelled data sets in several formats: one file each; a new file in this folder adds a format."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path

from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format, check_finite, check_orientations
from wildlam.episodes.pairing import TOLERANCE
from wildlam.episodes.vectors import FIRST, Reading
from wildlam.errors import WildlamError, option
from wildlam.video.index import find_videos, recordings_below

LISTS = (".csv", ".txt", ".parquet")
"""Files that may stand for a folder of videos: lists of them, and a manifest."""


def _found() -> dict[str, Format]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    formats: list[Format] = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {one.name: one for one in sorted(formats, key=lambda one: one.order)}


FORMATS = _found()
"""All formats by name, in the order in which a folder's is looked for."""


def read_episodes(path: Path, tolerance: float = TOLERANCE, reading: Reading = FIRST) -> list[Episode]:
    """Read a labelled data set: LeRobot v2.1 or v3.0, RLDS (Open X-Embodiment), DROID as released, demonstrations of
    robomimic, LIBERO or ALOHA, Diffusion Policy's replay buffers, RECON as released or as processed, or videos with
    ``NAME.poses.csv`` or ``NAME.actions.csv`` files.

    Args:
        path: folder of the data set.
        tolerance: seconds that a state may be away from every frame: it is left out, with a warning; see ``pairing``.
        reading: what is read, where the data hold several things.

    Raises:
        WildlamError: there is none, or it is malformed, naming the file; or a state is farther from every frame.
    """
    if not tolerance > 0:
        raise WildlamError(f"{option('tolerance')} must be a positive number of seconds, got {tolerance:g}")
    form = format_of(path)
    if reading.actions not in (None, *form.kinds):
        raise WildlamError(
            f"{path}: of data in the format {form.name} {' or '.join(form.kinds)} can be read; leave "
            f"{option('actions')} {reading.actions} out"
        )
    if reading.camera is not None and not form.cameras:
        raise WildlamError(
            f"{path}: data in the format {form.name} have one camera; leave {option('camera')} {reading.camera} out"
        )
    if reading.rate is not None and not form.rated:
        raise WildlamError(
            f"{path}: data in the format {form.name} say how many frames there are a second; leave {option('rate')} "
            f"{reading.rate:g} out"
        )
    episodes = form.read(path, tolerance, reading)
    if reading.finite:
        for episode in episodes:
            check_finite(episode, path)
            check_orientations(episode, path)
    if reading.units:
        episodes = [replace(one, space=reading.with_units(one.space, str(path))) for one in episodes]
    return episodes


def format_of(path: Path) -> Format:
    """The format of a labelled data set.

    Raises:
        WildlamError: there is none.
    """
    if not path.exists():
        raise WildlamError(f"{path}: there is no such folder")
    form = next(one for one in FORMATS.values() if one.detects(path))
    if form is FORMATS["video"] and path.is_dir() and not find_videos(path) and (name := recordings_below(path)):
        raise WildlamError(
            f"{path}: {name} is laid out in no way that can be read; `wildlam data --help` names those that can"
        )
    if form is FORMATS["video"] and path.is_file() and path.suffix.lower() not in LISTS:
        raise WildlamError(f"{path}: a single file; give the folder that it lies in, and unpack archives before")
    return form


def cache_folder(path: Path) -> Path:
    """Folder for data derived from a data set: ``.wildlam`` in its folder."""
    return (path if path.is_dir() else path.parent) / ".wildlam"
