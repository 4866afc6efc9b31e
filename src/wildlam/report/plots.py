"""Plots as SVG: no global state, colours that the colour-blind can distinguish, text that follows light and dark mode.

Frames inside the plots are embedded as pictures, so that each plot is one self-contained file.
"""

from __future__ import annotations

import base64
import functools
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from wildlam.evaluation.intervals import Estimate, PerClip
from wildlam.evaluation.one_step import METHODS

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
    "image.composite_image": False,  # each picture stays one, in its own resolution
    "text.parse_math": False,  # names of videos may have dollar signs
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}

Arguments = ParamSpec("Arguments")


def svg(draw: Callable[Arguments, Figure]) -> Callable[Arguments, bytes]:
    """Make a function that draws a figure return its SVG, drawn in the style above."""

    @functools.wraps(draw)
    def render(*args: Arguments.args, **kwargs: Arguments.kwargs) -> bytes:
        buffer = io.StringIO()
        with matplotlib.rc_context(STYLE):
            draw(*args, **kwargs).savefig(buffer, format="svg", dpi=110, transparent=True, metadata={"Date": None})
        text = PNG_INSIDE.sub(_as_jpeg, buffer.getvalue())
        return text.replace(INK, "currentColor").replace("<defs>", MEDIA + "<defs>", 1).encode()

    return render


PNG_INSIDE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)")


def _as_jpeg(found: re.Match[str]) -> str:
    """A picture inside an SVG as JPEG, a fifth as large, unless one can see through it."""
    picture = Image.open(io.BytesIO(base64.b64decode(found[1])))
    if np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
        return found[0]
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, format="JPEG", quality=82, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def glowing(frame: np.ndarray, change: np.ndarray, top: float, least: float = 0.0) -> np.ndarray:
    """A frame in grey under a map that glows where it is large, as one picture ``uint8 [H, W, 3]``.

    Args:
        frame: ``uint8 [H, W, 3]``.
        change: the map ``[h, w]``.
        top: value that is brightest.
        least: how much of the map covers the frame where it is lowest, 0 to 0.9.
    """
    bright = np.clip(change / top, 0, 1).astype(np.float32)
    height, width = frame.shape[:2]
    large = np.asarray(Image.fromarray(bright).resize((width, height), Image.Resampling.NEAREST))
    alpha = np.clip(large, least, 0.9)[..., None]
    grey = frame.astype(np.float32).mean(-1, keepdims=True)
    return (grey * (1 - alpha) + 255 * colormaps["inferno"](large)[..., :3] * alpha).round().astype(np.uint8)


class Mosaic:
    """Pictures in rows and columns, in one pair of axes: with one pair each, most of the time goes into empty axes.

    Args:
        rows: number of rows of pictures; parts of a row leave room for titles.
        columns: number of columns of pictures.
        width: width of a picture, inches.
        height: likewise.
        left: room for the rows' labels, inches.
        top: room for titles above the first row.
        right: room on the right.
    """

    GAP = 0.02
    """Between pictures, as a share of one."""

    def __init__(
        self, rows: float, columns: int, width: float, height: float, *, left: float, top: float, right: float = 0.0
    ) -> None:
        wide, high = left + columns * width + right, top + rows * height
        self.figure = Figure(figsize=(wide, high))
        self.axes = self.figure.add_axes((left / wide, 0, columns * width / wide, rows * height / high))
        self.axes.set_axis_off()
        self.extent = (0, columns, rows, 0)
        self.right = (left + columns * width) / wide, right / wide

    def show(self, row: float, column: int, picture: np.ndarray, **how: Any) -> None:
        """Draw a picture, or a map stretched to a picture's size, as ``Axes.imshow`` does."""
        gap = self.GAP
        place = (column + gap, column + 1 - gap, row + 1 - gap, row + gap)
        self.axes.imshow(picture, extent=place, aspect="auto", **how)
        self.axes.axis(self.extent)

    def label(self, row: float, text: str) -> None:
        """Name a row, at its left."""
        text = text.replace(" ", "\n", 1)
        self.axes.text(-0.03, row + 0.5, text, rotation=90, ha="right", va="center", ma="center", fontsize=8.5)

    def title(self, row: float, column: float, text: str, fontsize: float = 8, **how: Any) -> None:
        """Write above a picture."""
        self.axes.text(column + 0.5, row - 0.02, text, ha="center", va="bottom", fontsize=fontsize, **how)

    def beside(self, width: float) -> Any:
        """Axes for a scale at the right, ``width`` inches wide."""
        start, room = self.right
        inch = 1 / self.figure.get_figwidth()
        return self.figure.add_axes((start + 0.05 * inch, 0.05, min(width * inch, room), 0.8))


@dataclass
class Transition:
    """Frames from the one before to the one after, ``uint8 [F, 3, H, W]``, the name of their video and, for a
    neighbour, the distance to the query."""

    frames: np.ndarray
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
def error_dots(errors: PerClip) -> Figure:
    """One-step errors of each source (and of all) by method, with their intervals where there are enough, as SVG.

    Args:
        errors: errors of clips by method; methods that were not measured have no dot.
    """
    sources = sorted(set(errors.sources))
    groups = {**({name: name for name in sources} if len(sources) > 1 else {}), "all": None}
    rows = {
        label: {METHODS[m]: errors.estimate(m, source=source) for m in METHODS if m in errors.values}
        for label, source in groups.items()
    }
    colours = {METHODS[method]: COLOURS[method] for method in METHODS}
    return dots(rows, "held-out one-step L1 error (lower is better)", errors.is_enough, colours)


def dots(
    rows: Mapping[str, Mapping[str, Estimate]],
    axis: str,
    whiskers: bool,
    colours: Mapping[str, str] | None = None,
    reference: float | None = None,
) -> Figure:
    """Estimates as dots, with whiskers for their intervals, a line for each row; what is not finite is left out.

    Args:
        rows: row name to what is compared in it, by name.
        axis: name of the axis.
        whiskers: whether the intervals are drawn.
        colours: colour of each thing compared.
        reference: a value to compare with, drawn as a line.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    colour = dict(zip(names, LINES * len(names), strict=False)) | dict(colours or {})
    each = 0.13 * len(names) + 0.17
    fig = Figure(figsize=(7.5, 0.75 + each * len(rows)), layout="constrained")
    ax = fig.subplots()
    for k, name in enumerate(names):
        shift = (k - (len(names) - 1) / 2) * 0.13 / each
        known = {i: row[name] for i, row in enumerate(rows.values()) if name in row and math.isfinite(row[name].mean)}
        x, y = [e.mean for e in known.values()], [i + shift for i in known]
        if whiskers:
            ends = [(e.low, e.high) if math.isfinite(e.high - e.low) else (e.mean, e.mean) for e in known.values()]
            ax.hlines(y, [low for low, _ in ends], [high for _, high in ends], color=colour[name], lw=1.6)
        ax.scatter(x, y, s=22, color=colour[name], label=name, zorder=3, lw=0)
    if reference is not None:
        ax.axvline(reference, color=INK, lw=0.8, ls=(0, (4, 3)), alpha=0.6)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(axis)
    if len(names) > 1:
        fig.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=8.5)
    quiet(ax, grid="x")
    return fig


dots_svg = svg(dots)
"""``dots`` as SVG."""


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
    wall = Mosaic(1 + len(errors), count, 1.15, 1.15 * height / width, left=0.5, top=0.25, right=0.75)
    pictures = np.moveaxis(frames, 1, -1)
    everything = np.concatenate([np.ravel(maps) for maps in errors.values()]) if errors else np.ones(1)
    # The 99th percentile, or one odd token would darken all the others.
    norm = Normalize(0, top := float(np.percentile(everything, 99)) or 1.0)
    wall.label(0, "true frame")
    for t, picture in enumerate(pictures):
        wall.show(0, t, picture)
        if seconds is not None:
            wall.title(0, t, f"{seconds[t]:.2f} s")
    for row, (method, maps) in enumerate(errors.items(), start=1):
        wall.label(row, METHODS.get(method, method))
        for t, (picture, tokens) in enumerate(zip(pictures[1:], maps, strict=True), start=1):
            # Where the error is low, the frame shows through.
            wall.show(row, t, glowing(picture, tokens, top, least=0.25))
    bar = wall.figure.colorbar(ScalarMappable(norm, "inferno"), cax=wall.beside(0.12))
    bar.set_label("L1 error per token", fontsize=8.5)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return wall.figure


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
    block = 3.5  # rows, and room for the titles
    wall = Mosaic(block * max(1, len(queries)), columns, 1.25, 1.25, left=0.3, top=0.0)
    for i, (query, of_query) in enumerate(zip(queries, neighbours, strict=True)):
        first = block * i + 0.5
        for column, transition in enumerate([query, *of_query]):
            before, after = (np.moveaxis(transition.frames[k], 0, -1) for k in (0, -1))
            wall.show(first, column, before)
            wall.show(first + 1, column, after)
            change = after.mean(-1) - before.mean(-1)
            wall.show(first + 2, column, change, cmap="RdBu_r", vmin=-96, vmax=96)
            distance = "query" if transition.distance is None else f"{transition.distance:.2f} away"
            bold = "bold" if column == 0 else "normal"
            wall.title(first, column, f"{distance}\n{_shorten(transition.name)}", fontsize=7.5, fontweight=bold)
        for row, label in enumerate(("before", "after", "change")):
            wall.label(first + row, label)
    return wall.figure


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


def latent_actions_figure(z: np.ndarray, start: np.ndarray, end: np.ndarray) -> Figure:
    """Latent actions over time, a row for each component.

    Args:
        z: ``[T, Z]``.
        start: seconds at which each begins, ascending, ``[T]``.
        end: likewise, at which it ends.
    """
    fig = Figure(figsize=(8, min(1 + 0.12 * z.shape[1], 6)), layout="constrained")
    ax = fig.add_subplot()
    limit = float(np.abs(z).max()) or 1.0
    edges = np.append(start, end[-1])
    mesh = ax.pcolormesh(edges, np.arange(z.shape[1] + 1), z.T, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    ax.set_xlabel("seconds")
    ax.set_ylabel("component of z")
    fig.colorbar(mesh, ax=ax)
    return fig


latent_actions_svg = svg(latent_actions_figure)
"""As SVG."""


def _shorten(name: str, limit: int = 18) -> str:
    """A long path is cut at its beginning, as its end is more specific."""
    return name if len(name) <= limit else "…" + name[-limit + 1 :]


def quiet(ax: Any, grid: str) -> None:
    """Leave of the axes what is needed to read values."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis=grid, color=INK, alpha=0.12, lw=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(length=0, labelsize=8.5)
