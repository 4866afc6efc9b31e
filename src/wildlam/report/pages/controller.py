"""The report of a controller: rollouts under its latent actions and under inferred ones, and by component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.report.html import Section, figure, paragraph, table, write_report
from wildlam.report.plots import COLOURS, LINES, quiet, svg
from wildlam.report.strips import Strip, picture_strips

NAMES = {"idm": "inferred actions", "controller": "the controller's", "copy": "copy of the first state"}
READ = {"inferred": "from inferred z", "controller": "from the controller's z", "mean": "the mean action"}
"""What actions are read from, by how ``results.json`` calls it."""


def write_controller_report(
    path: Path,
    title: str,
    lines: Sequence[str],
    results: Mapping[str, Any],
    space: ActionSpace,
    strips: Sequence[Strip],
    subtitle: str,
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: its heading.
        lines: the results in words.
        results: what ``results.json`` holds.
        space: what actions are.
        strips: pictures of some held-out clips; none if nothing can paint them.
        subtitle: below the heading.
    """
    errors = {
        space.with_unit(name): {READ[of]: results["errors"][of][name] for of in READ}
        for name in results["errors"]["mean"]
    }
    heeded = {name: {"share of a true change": value} for name, value in results["heeded"].items()}
    pictures = paragraph("The run has no decoder, so states cannot be painted: `wildlam decoder train RUN`.")
    if strips:
        about = "Held-out clips from their first state on: what happened, by inferred actions, by the real ones."
        pictures = figure(picture_strips(strips), about, about, wide=True)
    write_report(
        path,
        title,
        Section("Figures", "".join(paragraph(line) for line in lines if line)),
        Section("Step by step", figure(_curves(results["steps"]), "Mean error after each step of a rollout")),
        Section("Pictures", pictures),
        Section(
            "Component by component",
            table(
                errors,
                caption="Mean distance from the real action of a step, in each component's own unit, of what a linear "
                "map reads from z. It is fitted to the labelled clips' inferred z; held-out clips are judged. As near "
                "as from inferred z, or nearer, as it is made of the action: the controller says what happened. No "
                "nearer than the mean action: z does not tell it.",
                best="min",
                decimals=4,
            ),
        ),
        Section(
            "What it heeds",
            table(
                heeded,
                caption="What a deviation of a component of the action changes in the next state, over a true change. "
                "Near 0: it makes nothing of that component.",
            ),
        ),
        subtitle=subtitle,
    )


@svg
def _curves(steps: Mapping[str, Sequence[float]]) -> Figure:
    fig = Figure(figsize=(6.0, 3.2), layout="constrained")
    ax = fig.subplots()
    colours = {"idm": COLOURS["idm"], "controller": LINES[1], "copy": COLOURS["copy"]}
    for name, words in NAMES.items():
        ax.plot(range(1, len(steps[name]) + 1), steps[name], color=colours[name], marker="o", ms=4, label=words)
    ax.set_xlabel("step")
    ax.set_ylabel("mean L1 error")
    quiet(ax, grid="y")
    ax.legend(frameon=False)
    return fig
