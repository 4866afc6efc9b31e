"""List the videos of a folder in a manifest: ``wildlam index``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from wildlam.config import config_from
from wildlam.errors import named, option
from wildlam.report.html import paragraph, table
from wildlam.video.index import index as index_videos
from wildlam.video.manifest import Manifest
from wildlam.video.oddities import oddities, summary
from wildlam.workflows.configs import IndexConfig


@dataclass(frozen=True)
class IndexResult:
    """The videos of a folder. Printed, a summary; in a notebook, a table of what is odd, too.

    Attributes:
        manifest: the videos, a row each.
        skipped: path and reason of each file that could not be used.
    """

    manifest: Manifest = field(repr=False)
    skipped: list[tuple[str, str]]

    @property
    def hours(self) -> float:
        """Duration of all videos in hours."""
        return float(self.manifest.column("duration").to_numpy().sum() / 3600)

    @property
    def held_out(self) -> int:
        """Number of held-out videos."""
        return len(self.manifest.split("held_out"))

    @property
    def odd(self) -> list[tuple[str, str, str]]:
        """Path, kind and details of what is odd about a video, and of what was skipped."""
        return [*oddities(self.manifest), *((path, "skipped", reason) for path, reason in self.skipped)]

    def __str__(self) -> str:
        count = len(self.manifest)
        rest = count - self.held_out
        head = f"{count} videos, {self.hours:.2f} hours, {self.held_out} held out, {rest} for training"
        return "\n".join([head, *summary(self.manifest)])

    def _repr_html_(self) -> str:
        lines = "".join(paragraph(line) for line in str(self).splitlines())
        rows = {path: {"kind": kind, "details": details} for path, kind, details in self.odd}
        return lines + (table(rows) if rows else "")


def index(config: IndexConfig | str | Path | None = None, /, **keywords: Any) -> IndexResult:
    """List the videos of a folder in a manifest, or refresh it: only new and changed files are opened.

    Args:
        config: what to do, or a path, that of ``path``.
        keywords: fields of ``IndexConfig``, in its place or to replace what it says.

    Raises:
        VideoError: a file cannot be used (with ``on_error="raise"``).
        WildlamError: there is nothing there, too much was skipped, or the manifest cannot be read or written.
    """
    config = config_from(IndexConfig, config, keywords)
    skipped: list[tuple[str, str]] = []
    given = {name: getattr(config, name) for name in ("held_out", "on_error", "exclude", "cuts", "cache")}
    with named({f"data.{part.name}": option(part.name) for part in fields(IndexConfig)}):
        return IndexResult(index_videos(config.path, max_skipped=config.max_bad, skipped=skipped, **given), skipped)
