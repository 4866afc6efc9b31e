"""Plots as SVG: no global state, colours that the colour-blind can tell apart, text that follows light and dark mode.

Frames inside the plots are embedded as pictures, so that each plot is one self-contained file.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from wildlam.evaluation.one_step import METHODS
from wildlam.report.judgement import known

# Okabe and Ito's palette. Copying learns nothing and is grey.
COLOURS = {
    "idm": "#0072B2",
    "permuted": "#E69F00",
    "zero": "#CC79A7",
    "deterministic": "#009E73",
    "copy": "#8A8A8A",
}
LINES = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]

# Stands for "the colour of text" while drawing; the finished SVG takes it from the reader's colour scheme.
INK = "#010203"
MEDIA = "<style>svg{color:#24292f}@media (prefers-color-scheme:dark){svg{color:#d8dde3}}</style>"
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "wildlam",  # equal plots give equal bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # names of videos may have dollar signs
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}

TIGHT = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # for frames side by side

Arguments = ParamSpec("Arguments")


def svg(draw: Callable[Arguments, Figure]) -> Callable[Arguments, bytes]:
    """Make a function that draws a figure return its SVG, drawn in the style above."""

    @functools.wraps(draw)
    def render(*args: Arguments.args, **kwargs: Arguments.kwargs) -> bytes:
        buffer = io.StringIO()
        with matplotlib.rc_context(STYLE):
            draw(*args, **kwargs).savefig(buffer, format="svg", dpi=110, transparent=True, metadata={"Date": None})
        return buffer.getvalue().replace(INK, "currentColor").replace("<defs>", MEDIA + "<defs>", 1).encode()

    return render


@dataclass
class Transition:
    """Two frames, ``uint8 [3, H, W]``, the name of their video and, for a neighbour, the distance to the query."""

    before: np.ndarray
    after: np.ndarray
    name: str = ""
    distance: float | None = None


@svg
def training_curves(metrics: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Small multiples of curves over training steps, as SVG.

    Args:
        metrics: name to (steps, values). Names that share what is before a ``/`` share a panel: ``"L1/train"`` and
            ``"L1/held out"`` are two lines in the panel ``L1``. Values that are not finite are left out.
    """
    panels: dict[str, list[tuple[str, Sequence[float], Sequence[float]]]] = {}
    for name, (steps, values) in metrics.items():
        panel, _, line = name.partition("/")
        panels.setdefault(panel, []).append((line, steps, values))
    columns = min(3, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    fig = Figure(figsize=(3.4 * columns, 2.5 * rows), layout="constrained")
    axes = list(fig.subplots(rows, columns, squeeze=False).flat)
    for ax, (panel, lines) in zip(axes, panels.items(), strict=False):
        for colour, (line, steps, values) in zip(LINES * len(lines), lines, strict=False):
            x, y = np.asarray(steps, float), np.asarray(values, float)
            keep = np.isfinite(y)
            # A single measurement, such as one evaluation, would be an invisible line.
            ax.plot(x[keep], y[keep], color=colour, lw=1.6, marker="o" if keep.sum() < 12 else "", ms=3.5, label=line)
        ax.set_title(panel, loc="left", fontsize=10, fontweight="bold")
        ax.set_xlabel("step")
        if len(lines) > 1:
            ax.legend(frameon=False, fontsize=8.5)
        quiet(ax, grid="both")
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    return fig


@svg
def error_bars(table: Mapping[str, Any]) -> Figure:
    """One group of bars per source (and one for all of them), one bar per method, as SVG. Missing methods have no bar.

    Args:
        table: the error table, ``{"sources": {name: errors}, "all": errors}``.
    """
    groups = dict(table.get("sources", {}))
    if len(groups) != 1:
        groups["all"] = table.get("all", {})
    methods = [m for m in METHODS if any(known(errors, m) is not None for errors in groups.values())]
    fig = Figure(figsize=(max(5.5, 1.4 + 1.9 * len(groups)), 3.2), layout="constrained")
    ax = fig.subplots()
    width = 0.8 / max(1, len(methods))
    for i, method in enumerate(methods):
        x = np.arange(len(groups)) + (i - (len(methods) - 1) / 2) * width
        heights = [known(errors, method) for errors in groups.values()]
        values = [math.nan if height is None else height for height in heights]
        bars = ax.bar(x, values, width * 0.9, color=COLOURS[method], label=METHODS[method])
        labels = ["" if height is None else f"{height:.3f}".lstrip("0") for height in heights]
        ax.bar_label(bars, labels, fontsize=7.5, padding=2, color=INK)
    ax.set_xticks(range(len(groups)), list(groups))
    ax.set_ylabel("held-out one-step L1 error")
    if methods:
        fig.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8.5)
    quiet(ax, grid="y")
    return fig


@svg
def error_strip(
    frames: np.ndarray, errors: Mapping[str, np.ndarray], *, seconds: Sequence[float] | None = None
) -> Figure:
    """A clip's true frames and, below, where each method's prediction of them is wrong, as SVG.

    Args:
        frames: ``uint8 [F, 3, H, W]``, one frame per state.
        errors: method (a key of ``METHODS`` or any other name) to error per token ``[F - 1, h, w]`` of the states after
            the first. All methods share one colour scale.
        seconds: timestamps of the frames, shown above them.
    """
    count, _, height, width = frames.shape
    rows = 1 + len(errors)
    cell_w, cell_h = 1.15, 1.15 * height / width
    fig = Figure(figsize=(cell_w * count + 0.9, cell_h * rows + 0.4), layout=TIGHT)
    axes = fig.subplots(rows, count, squeeze=False)
    pictures = np.moveaxis(frames, 1, -1)
    everything = np.concatenate([np.ravel(maps) for maps in errors.values()]) if errors else np.ones(1)
    # The 99th percentile, or one odd token would darken all the others.
    norm = Normalize(0, float(np.percentile(everything, 99)) or 1.0)
    for ax, picture in zip(axes[0], pictures, strict=True):
        ax.imshow(picture)
    axes[0, 0].set_ylabel("true frame", fontsize=8.5)
    for t, second in enumerate([] if seconds is None else seconds):
        axes[0, t].set_title(f"{second:.2f} s", fontsize=8)
    for row, (method, maps) in zip(axes[1:], errors.items(), strict=True):
        row[0].set_ylabel(METHODS.get(method, method).replace(" ", "\n", 1), fontsize=8.5)
        row[0].imshow(np.full((height, width, 4), 0.0))  # the first state is given, not predicted
        for ax, picture, tokens in zip(row[1:], pictures[1:], maps, strict=True):
            ax.imshow(picture.mean(-1), cmap="gray", vmin=0, vmax=255)
            # Where the error is low, the frame shows through.
            alpha = np.clip(norm(tokens), 0.25, 0.9)
            ax.imshow(tokens, cmap="inferno", norm=norm, alpha=alpha, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    bar = fig.colorbar(ScalarMappable(norm, "inferno"), ax=axes[1:] if errors else axes, fraction=0.02, pad=0.01)
    bar.set_label("L1 error per token", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return fig


@svg
def nearest_actions(queries: Sequence[Transition], neighbours: Sequence[Sequence[Transition]]) -> Figure:
    """Transitions with the most similar latent actions, as SVG: one block per query, its neighbours beside it.

    Each transition is a column: the frame before, the frame after, and the change of brightness between them (red:
    brighter, blue: darker). If latent actions mean something, the changes of a block look alike.

    Args:
        queries: transitions to find others for.
        neighbours: for each query, the nearest transitions by latent action, nearest first.
    """
    columns = 1 + max((len(of_query) for of_query in neighbours), default=0)
    side = 1.25
    fig = Figure(figsize=(side * columns + 0.5, max(1, len(queries)) * (3 * side + 0.6)), layout=TIGHT)
    for block, query, of_query in zip(
        fig.subfigures(max(1, len(queries)), 1, squeeze=False).flat, queries, neighbours, strict=False
    ):
        axes = block.subplots(3, columns, squeeze=False)
        for column, transition in zip(axes.T, [query, *of_query], strict=False):
            before, after = (np.moveaxis(frame, 0, -1) for frame in (transition.before, transition.after))
            change = after.mean(-1) - before.mean(-1)
            column[0].imshow(before)
            column[1].imshow(after)
            column[2].imshow(change, cmap="RdBu_r", vmin=-96, vmax=96)
            distance = "query" if transition.distance is None else f"{transition.distance:.2f} away"
            column[0].set_title(f"{distance}\n{_shorten(transition.name)}", fontsize=7.5)
        for ax, label in zip(axes[:, 0], ("before", "after", "change"), strict=True):
            ax.set_ylabel(label, fontsize=8.5)
        for ax in axes.flat:
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
        axes[0, 0].title.set_fontweight("bold")
    return fig


@svg
def kl_per_dimension(values: Sequence[float]) -> Figure:
    """Bars of the KL divergence that each dimension of the latent action spends, largest first, as SVG.

    Args:
        values: mean KL divergence of each dimension in nats.
    """
    ordered = np.sort(np.asarray(values, float))[::-1]
    fig = Figure(figsize=(7, 2.6), layout="constrained")
    ax = fig.subplots()
    ax.bar(np.arange(1, len(ordered) + 1), ordered, 0.85, color=COLOURS["idm"])
    ax.set_xlabel("dimension of z, by rank")
    ax.set_ylabel("KL per transition (nats)")
    ax.set_title(f"{ordered.sum():.1f} nats in all", loc="right", fontsize=9)
    ax.margins(x=0.01)
    quiet(ax, grid="y")
    return fig


def _shorten(name: str, limit: int = 18) -> str:
    """The end of a long path tells more than its beginning."""
    return name if len(name) <= limit else "…" + name[-limit + 1 :]


def quiet(ax: Any, grid: str) -> None:
    """Leave of the axes what is needed to read values."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color=INK, alpha=0.12, lw=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(length=0, labelsize=8.5)
