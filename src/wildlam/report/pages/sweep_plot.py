"""The figure of a sweep: what each limit costs in error, and what each capacity costs elsewhere (arXiv 2601.05230)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wildlam.report.pages.sweep_rows import Setting
from wildlam.report.plots import COLOURS, LINES, quiet, svg

STYLES = {"Deterministic": ("s", "--"), "Unconstrained": ("^", ":")}
"""Marker and line of each bound, which are grey."""

AGAINST_ERROR = {
    "leakage.ratio": "error at a scene cut, ratio",
    "cycle.ratio": "cycle error, ratio",
    "probes.linear z.mean": "R² of a linear probe on z",
}


@svg
def sweep_figure(settings: Sequence[Setting]) -> Figure:
    """Panels of error against strength, one for each limit, above panels of what each capacity costs, as SVG.

    Points are means over seeds, bars and bands reach from the lowest to the highest.
    """
    limits = list(dict.fromkeys(s.bottleneck for s in settings if s.strength is not None))
    colours = dict(zip(limits, LINES * (1 + len(limits) // len(LINES)), strict=False))
    fig = Figure(figsize=(3.3 * max(3, len(limits)), 5.8), layout="constrained")
    above, below = fig.subfigures(2, 1, squeeze=False)[:, 0]
    shared = None
    for ax, limit in zip(above.subplots(1, max(1, len(limits)), squeeze=False)[0], limits or [""], strict=True):
        if shared is not None:
            ax.sharey(shared)
        shared = ax
        _bands(ax, settings)
        own = sorted((s for s in settings if s.bottleneck == limit and s.strength is not None), key=_strength)
        if own:
            _points(ax, [_strength(s) for s in own], own, "one_step.idm", colours[limit])
            if min(map(_strength, own)) > 0:
                ax.set_xscale("log")
            ax.set_xticks([_strength(s) for s in own], [f"{s.strength:g}" for s in own])
            ax.minorticks_off()
            ax.set_xlabel(own[0].key)
        ax.set_title(limit, loc="left", fontsize=10, fontweight="bold")
        ax.set_ylabel("one-step L1 error")
        ax.ticklabel_format(axis="y", useOffset=False)
        quiet(ax, grid="y")
    for ax, (name, label) in zip(below.subplots(1, len(AGAINST_ERROR)), AGAINST_ERROR.items(), strict=True):
        for limit in [*limits, *STYLES]:
            own = [s for s in settings if s.bottleneck == limit and name in s.figures]
            own.sort(key=lambda s: s.figures["one_step.idm"].mean)
            if own:
                x = [s.figures["one_step.idm"].mean for s in own]
                marker = STYLES[limit][0] if limit in STYLES else "o"
                _points(ax, x, own, name, colours.get(limit, COLOURS["copy"]), marker)
        ax.invert_xaxis()
        ax.set_xlabel("one-step L1 error, less is more capacity")
        ax.set_ylabel(label)
        ax.ticklabel_format(useOffset=False)
        quiet(ax, grid="both")
    handles: list[Any] = [Line2D([], [], color=colours[limit], marker="o", ms=4, label=limit) for limit in limits]
    handles += [
        Line2D([], [], color=COLOURS["copy"], marker=marker, ls=line, ms=4, label=bound)
        for bound, (marker, line) in STYLES.items()
        if any(s.bottleneck == bound for s in settings)
    ]
    if handles:
        fig.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=8.5)
    return fig


def _bands(ax: Any, settings: Sequence[Setting]) -> None:
    for bound in settings:
        if bound.bottleneck in STYLES:
            error = bound.figures["one_step.idm"]
            ax.axhspan(error.low, error.high, color=COLOURS["copy"], alpha=0.25, lw=0)
            ax.axhline(error.mean, color=COLOURS["copy"], ls=STYLES[bound.bottleneck][1], lw=1.2)
            name = bound.bottleneck.lower()
            at = (0.3 if name == "deterministic" else 0.7, error.mean)  # apart, should the bounds be near each other
            ax.annotate(name, at, (0, 3), ax.get_yaxis_transform(), "offset points", fontsize=7.5, ha="center")


def _points(ax: Any, x: list[float], own: Sequence[Setting], name: str, colour: str, marker: str = "o") -> None:
    spreads = [s.figures[name] for s in own]
    ends = [[s.mean - s.low for s in spreads], [s.high - s.mean for s in spreads]]
    ax.errorbar(x, [s.mean for s in spreads], ends, color=colour, marker=marker, ms=4, lw=1.4, capsize=2.5)


def _strength(setting: Setting) -> float:
    assert setting.strength is not None
    return setting.strength
