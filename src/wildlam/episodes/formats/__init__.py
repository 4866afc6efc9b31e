"""Labelled data sets, whatever their layout on disk."""

from __future__ import annotations

from pathlib import Path

from wildlam.episodes.episode import Episode, read_posed_videos
from wildlam.episodes.formats.droid import is_droid, read_droid
from wildlam.episodes.formats.lerobot import is_lerobot, read_lerobot
from wildlam.episodes.formats.recon import is_recon, read_recon
from wildlam.episodes.pairing import TOLERANCE
from wildlam.errors import WildlamError


def read_episodes(path: Path, tolerance: float = TOLERANCE) -> list[Episode]:
    """Read a labelled data set: LeRobot v2.1 or v3.0, DROID as released, RECON as released or as processed, or videos
    with ``NAME.poses.csv`` beside them.

    Args:
        path: its folder.
        tolerance: seconds that a state may be away from every frame: it is left out, and told; see ``pairing``.

    Raises:
        WildlamError: there is none, or it is malformed, naming the file; or a state is farther from every frame.
    """
    if not tolerance > 0:
        raise WildlamError(f"--tolerance must be a positive number of seconds, got {tolerance:g}")
    if not path.exists():
        raise WildlamError(f"{path}: there is no such folder")
    if is_lerobot(path):
        return read_lerobot(path, tolerance=tolerance)
    if is_droid(path):
        return read_droid(path, tolerance=tolerance)
    return read_recon(path, tolerance) if is_recon(path) else read_posed_videos(path, tolerance=tolerance)


def cache_folder(path: Path) -> Path:
    """Where what is derived from a data set is kept: ``.wildlam`` in its folder."""
    return (path if path.is_dir() else path.parent) / ".wildlam"
