"""Strips of pictures: what happened in a clip and, below, what a model made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from wildlam.report.plots import TIGHT, svg


@dataclass
class Strip:
    """The pictures of one clip.

    Attributes:
        name: of its video.
        rows: what is shown, by name, each ``uint8 [F, 3, H, W]``.
        seconds: timestamps of the ``F`` frames.
    """

    name: str
    rows: Mapping[str, np.ndarray]
    seconds: Sequence[float]


def draw_strips(strips: Sequence[Strip]) -> Figure:
    """Strips one below the other, a column for each frame, as a figure.

    Args:
        strips: at least one.
    """
    side = 0.95
    columns = max(len(strip.seconds) for strip in strips)
    heights = [side * len(strip.rows) + 0.45 for strip in strips]
    fig = Figure(figsize=(side * columns + 0.9, sum(heights)), layout=TIGHT)
    blocks = fig.subfigures(len(strips), 1, squeeze=False, height_ratios=heights)
    for block, strip in zip(blocks.flat, strips, strict=True):
        axes = block.subplots(len(strip.rows), columns, squeeze=False)
        for row, (label, frames) in zip(axes, strip.rows.items(), strict=True):
            row[0].set_ylabel(label.replace(" ", "\n", 1), fontsize=8.5)
            for ax, frame in zip(row, frames, strict=False):
                ax.imshow(np.moveaxis(frame, 0, -1))
        for ax, second in zip(axes[0], strip.seconds, strict=False):
            ax.set_title(f"{second:.2f} s", fontsize=8)
        block.suptitle(strip.name, fontsize=8.5, fontweight="bold")
        for ax in axes.flat:
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
    return fig


picture_strips = svg(draw_strips)
"""``draw_strips`` as SVG."""
