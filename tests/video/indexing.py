"""Indexing without a bar, and what it leaves behind."""

from pathlib import Path

from wildlam.video.index import index
from wildlam.video.manifest import Manifest


def quiet_index(root, **options) -> Manifest:
    return index(root, progress=False, **options)


def other_files(cache: Path) -> set[str]:
    """Names of files that are neither the manifest nor its lock."""
    return {path.name for path in cache.iterdir()} - {"manifest.parquet", ".manifest.parquet.lock"}


def splits_of(manifest: Manifest) -> dict[str, str]:
    return {video.path: video.split for video in manifest}
