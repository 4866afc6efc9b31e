"""Strips of pictures: what happened in a clip and, below, what a model made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from wildlam.report.plots import Mosaic, svg

ROOM = 0.5
"""Above a strip, for its titles, in rows."""


@dataclass
class Strip:
    """The pictures of one clip.

    Attributes:
        name: name of its video.
        rows: what is shown, by name, each ``uint8 [F, 3, H, W]``.
        seconds: timestamps of the ``F`` frames.
    """

    name: str
    rows: Mapping[str, np.ndarray]
    seconds: Sequence[float]


def draw_strips(strips: Sequence[Strip]) -> Figure:
    """Strips one below the other, a column for each frame, as a figure.

    Args:
        strips: the strips, at least one.
    """
    columns = max(len(strip.seconds) for strip in strips)
    wall = Mosaic(sum(len(strip.rows) + ROOM for strip in strips), columns, 0.95, 0.95, left=0.5, top=0.0)
    first = ROOM
    for strip in strips:
        wall.title(first - 0.17, (columns - 1) / 2, strip.name, fontsize=8.5, fontweight="bold")
        for row, (label, frames) in enumerate(strip.rows.items()):
            wall.label(first + row, label)
            for column, frame in enumerate(frames):
                wall.show(first + row, column, np.moveaxis(frame, 0, -1))
        for column, second in enumerate(strip.seconds):
            wall.title(first, column, f"{second:.2f} s")
        first += len(strip.rows) + ROOM
    return wall.figure


picture_strips = svg(draw_strips)
"""``draw_strips`` as SVG."""
