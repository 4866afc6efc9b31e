"""Plots of the evaluations, in the style of ``plots``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from wildlam.evaluation.one_step import METHODS
from wildlam.report.plots import COLOURS, LINES, Mosaic, glowing, quiet, svg


@svg
def horizon_curves(by_step: Mapping[str, Sequence[float]], seconds: Sequence[float]) -> Figure:
    """Rollout error by method against the time since the last known state, as SVG.

    Args:
        by_step: method (a key of ``METHODS`` or another name) to one mean error per step.
        seconds: time of each step.
    """
    fig = Figure(figsize=(7, 3.2), layout="constrained")
    ax = fig.subplots()
    others = iter(LINES[1:])
    for method, errors in by_step.items():
        colour = COLOURS.get(method) or next(others)
        ax.plot(seconds, errors, color=colour, marker="o", ms=3, lw=1.6, label=METHODS.get(method, method))
    ax.set_xlabel("seconds after the last known state")
    ax.set_ylabel("held-out L1 error")
    ax.set_ylim(bottom=0)
    fig.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8.5)
    quiet(ax, grid="y")
    return fig


@svg
def embedding(inferred: np.ndarray, sampled: np.ndarray | None, method: str) -> Figure:
    """Inferred latent actions in two dimensions, with sampled ones among them, as SVG.

    Args:
        inferred: ``[n, 2]``.
        sampled: ``[m, 2]``, or None where there is nothing to sample from.
        method: what made the two dimensions, such as PCA.
    """
    fig = Figure(figsize=(5, 4), layout="constrained")
    ax = fig.subplots()
    ax.scatter(inferred[:, 0], inferred[:, 1], s=7, color=LINES[0], alpha=0.5, lw=0, label="inferred", rasterized=True)
    if sampled is not None:
        ax.scatter(sampled[:, 0], sampled[:, 1], s=7, color=LINES[1], alpha=0.5, lw=0, label="sampled", rasterized=True)
    ax.set_xlabel(f"{method} 1")
    ax.set_ylabel(f"{method} 2")
    fig.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=8.5, markerscale=2)
    quiet(ax, grid="both")
    return fig


@svg
def traversals(frame: np.ndarray, maps: np.ndarray, stops: Sequence[float]) -> Figure:
    """What moving z along its principal directions does to a frame's prediction, as SVG.

    Args:
        frame: the frame of the last known state, ``uint8 [3, H, W]``.
        maps: change of the prediction per token, ``[directions, stops, h, w]``, against that under the mean z.
        stops: the places along a direction, in its standard deviations.
    """
    directions, count = maps.shape[:2]
    wall = Mosaic(directions, count, 1.25, 1.25, left=0.3, top=0.25)
    top = float(np.percentile(maps, 99)) or 1.0
    picture = np.moveaxis(frame, 0, -1)
    for d in range(directions):
        wall.label(d, f"direction {d + 1}")
        for k, (change, stop) in enumerate(zip(maps[d], stops, strict=True)):
            wall.show(d, k, glowing(picture, change, top))
            if d == 0:
                wall.title(d, k, f"{stop:+g} sd")
    return wall.figure


@svg
def overlays(panels: Mapping[str, tuple[np.ndarray, np.ndarray | None]], top: float | None = None) -> Figure:
    """Frames in a row, some with a map of their tokens upon them, as SVG.

    Args:
        panels: title to a frame ``uint8 [3, H, W]`` and a map ``[h, w]`` or None. Each map has a scale of its own, as
            maps are compared by where they are bright.
        top: the value shown brightest in every map instead.
    """
    wall = Mosaic(1, len(panels), 1.35, 1.35, left=0.0, top=0.25)
    for k, (title, (frame, change)) in enumerate(panels.items()):
        picture = np.moveaxis(frame, 0, -1)
        shown = picture if change is None else glowing(picture, change, top or float(change.max()) or 1.0)
        wall.show(0, k, shown)
        wall.title(0, k, title, fontsize=7.5)
    return wall.figure
