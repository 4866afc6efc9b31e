"""The page of a labelled data set: what it holds, what is odd, and some episodes, with what was done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from wildlam.episodes.episode import Episode
from wildlam.episodes.summary import Summary
from wildlam.episodes.vectors import Commands
from wildlam.report.html import Section, figure, paragraph, table, write_report
from wildlam.report.plots import LINES, quiet, svg

PICTURE, PICTURES = 112, 9
CURVES = 6
"""Components that are drawn, those that vary most."""


def write_data_report(
    path: Path,
    title: str,
    summary: Summary,
    lines: Sequence[str],
    episodes: Sequence[Episode],
    subtitle: str,
    rated: bool = True,
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: its heading.
        summary: what the data set holds.
        lines: the same in words.
        episodes: episodes to show.
        subtitle: below the heading.
        rated: whether the frames a second are known; where not, curves are drawn over frames and not over seconds.
    """
    components = {
        name: {"smallest": one.low, "mean": one.mean, "largest": one.high, "deviation": one.std}
        for name, one in summary.components.items()
    }
    shown = ""
    for episode in episodes:
        caption = f"{episode.name} ({episode.split})"
        shown += figure(episode_figure(episode, rated), f"{caption}: frames, and what was done", caption, wide=True)
    odd = "".join(map(paragraph, summary.odd)) or paragraph("Nothing.")
    write_report(
        path,
        title,
        Section("What it holds", "".join(map(paragraph, lines))),
        Section("What is odd", odd),
        Section("Episodes", shown),
        Section("Actions", table(components, caption="An action of a step, over all steps of all episodes.")),
        subtitle=subtitle,
    )


@svg
def episode_figure(episode: Episode, rated: bool) -> Figure:
    """Frames of an episode, spread over it, and its commands, or its poses, over time; over frames, if not rated."""
    numbers = np.linspace(0, len(episode.times) - 1, PICTURES).round().astype(int)
    frames = episode.frames(numbers.tolist(), PICTURE).numpy()
    fig = Figure(figsize=(9.0, 3.4))
    pictures = fig.add_axes((0, 0.66, 1, 0.32))
    pictures.imshow(np.concatenate(list(np.moveaxis(frames, 1, -1)), axis=1), aspect="equal")
    pictures.set_axis_off()
    if isinstance(episode.space, Commands) and episode.commands is not None:
        names, values = episode.space.components, episode.commands
    else:
        names, values = episode.space.pose_names, episode.poses
    values = np.where(np.isfinite(values), values, np.nan)  # gaps in the curves
    known = [column[np.isfinite(column)] for column in values.T]
    scale = np.array([column.std() if len(column) else 0.0 for column in known])
    most = sorted(np.argsort(-scale, kind="stable")[:CURVES].tolist())
    ax = fig.add_axes((0.07, 0.15, 0.73, 0.46))
    lines, over = [], episode.times if rated else np.arange(len(episode.times))
    for k, component in enumerate(most):
        # Each by its own deviation: units differ.
        middle = known[component].mean() if len(known[component]) else 0.0
        curve = (values[:, component] - middle) / max(scale[component], 1e-12)
        lines += ax.plot(over, curve, color=LINES[k % len(LINES)], lw=1.2, label=names[component])
    ax.set_xlabel(f"seconds, at {episode.rate:.4g} frames a second" if rated else "frames (their rate is unknown)")
    ax.set_ylabel("deviations")
    quiet(ax, grid="both")
    fig.legend(handles=lines, loc="center right", frameon=False, fontsize=8.5)
    return fig
