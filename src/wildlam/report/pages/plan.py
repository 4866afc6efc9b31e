"""The report of plans: the table, and the best, the median and the worst episode as pictures and trajectories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from wildlam.episodes.action_spaces import PLANAR, ActionSpace, PoseSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.vectors import Changes, Commands
from wildlam.evaluation.intervals import PerClip
from wildlam.report.html import Section, figure, paragraph, table, write_report
from wildlam.report.pages.evaluation import cell, intervals
from wildlam.report.plots import INK, LINES, quiet, svg

PICTURE = 128

MODELS = {
    "no move": "stays where it is",
    "mean": "does what training episodes do on average, whatever the goal",
    "random": "does what is drawn from the actions in training episodes",
    "known goal": "knows the goal's pose: what is left is due to few candidates and to one curve for all steps",
    "regression": "a linear map from start and goal to the whole motion, from labelled clips: no model",
    "guide": "the motion that guides this run's plans, in equal steps: maps of states, z or pseudo-labels, no search",
    "cloning": "goal-conditioned behaviour cloning, a small network from start and goal, from labelled clips: no model",
    "cloning with pseudo-labels": "the network of cloning, from what labelled clips tell of videos without labels",
    "latent": "this run's latent actions: driven by a controller of real ones, or planned in and then decoded",
    "simulator": "the simulator that filmed the episodes, with the same cost: the most that a world model can reach",
    "inferred": "this run's latent actions, inferred from what the simulator shows: the most of a controller",
}
FIGURES = {
    "error": "distance of an action's components from the true ones, mean, in deviations of training episodes' actions",
    "displacement": "L1 distance of the planned from the true displacement, in the unit of the poses",
    "ate": "absolute trajectory error: root mean square distance of the planned from the true positions",
    "rpe": "relative pose error: the same of each step's displacement",
    "success": "share of the episodes that end near the goal",
    "final distance": "from the goal's position at the end",
    "start distance": "from the goal's position at the beginning",
}
FEW = 16
"""Recordings below which intervals say little."""


def figures_of(rows: Mapping[str, PerClip]) -> list[str]:
    """Names of the figures that a table of plans shows; lower is better."""
    return [name for name in ("error", "displacement", "ate", "rpe") if name in next(iter(rows.values())).values]


def explained(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Explanations of the rows and columns of a table of plans, as paragraphs of HTML."""
    models = {label: MODELS.get(label, "a world model of real actions, one of the baselines") for label in cells}
    columns = [f"{name}: {FIGURES[name]}" for name in next(iter(cells.values())) if name in FIGURES]
    rows = [f"{label}: {words}" for label, words in models.items()]
    return paragraph("; ".join(rows) + ".") + paragraph("; ".join(columns) + ".")


def compared(rows: Mapping[str, PerClip], plans: Iterable[str], by: str, unit: str = "recording") -> str:
    """Each model's figure compared with that of the first row, in words; ``unit`` is what one of the recordings is."""
    first = next(iter(rows))
    still, sentences = rows[first].estimate(by), []
    staying = "staying" if first == "no move" else "acting as on average"
    for label in plans:
        own = rows[label].estimate(by)
        is_apart = own.high < still.low or own.low > still.high
        sure = "" if is_apart or not rows[first].is_enough else ", which may be chance: their intervals meet"
        if (by_chance := rows["random"].estimate(by).mean) <= own.mean:
            sure += f"; acting at random does no worse ({by_chance:.3g})"
        sentences.append(
            f"{label}: {by} {own.mean:.3g}, {own.mean / max(still.mean, 1e-12):.2f} of that of {staying}{sure}."
        )
    count = len(set(rows[first].recordings))
    if count < FEW or not rows[first].is_enough:
        few = "to compare models" if rows[first].is_enough else "for an interval, so models cannot be compared"
        sentences.append(f"Only {count} {unit}{'s' * (count != 1)}: too few {few}.")
    return " ".join(sentences)


def cells_of(rows: Mapping[str, PerClip], figures: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """The cells of a table of some figures by model: means, with their intervals if there are enough clips."""
    return {label: {name: cell(row.estimate(name), of=row) for name in figures} for label, row in rows.items()}


def table_of_plans(rows: Mapping[str, PerClip], figures: Sequence[str]) -> str:
    """A table of some figures of plans by model, as HTML."""
    caption = f"Lower is better. {intervals(next(iter(rows.values())))}"
    return table(cells_of(rows, figures), caption=caption)


def write_plan_report(
    path: Path,
    title: str,
    clips: LabelledClips,
    rows: Mapping[str, PerClip],
    plans: Mapping[str, np.ndarray],
    components: Mapping[str, Mapping[str, float]],
    steps: Mapping[str, Sequence[float]],
    unjudged: str | None,
    by: str,
    subtitle: str,
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: its heading.
        clips: clips that were planned in.
        rows: figures by model.
        plans: actions ``[C, H, A]`` by model; the first one's episodes are ranked.
        components: mean distance from the truth by model and component.
        steps: the same by model and step, in deviations.
        unjudged: what plans are not judged by, and why, if anything.
        by: the figure to rank by.
        subtitle: what all of it was made with.
    """
    figures = figures_of(rows)
    cells = cells_of(rows, figures)
    first = next(iter(plans))
    order = rows[first].values[by].argsort().tolist()
    shown = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    pictures = ""
    for word, i in shown.items():
        episode, numbers = clips.places[i]
        caption = f"{word}: {episode.name}, {by} {float(rows[first].values[by][i]):.2f}"
        frames = episode.frames(numbers.tolist(), PICTURE).numpy()
        ways = {"true": clips.actions[i].numpy(), **{label: actions[i] for label, actions in plans.items()}}
        pictures += figure(episode_figure(frames, ways, clips.poses[i].numpy(), clips), caption, caption, wide=True)
    space = clips.space
    planned = ", ".join(map(space.with_unit, space.components if isinstance(space, Commands) else space.action_names))
    write_report(
        path,
        title,
        Section(
            "Plans",
            paragraph(compared(rows, plans, by)) + table_of_plans(rows, figures) + explained(cells),
        ),
        Section(
            "By component and step",
            _parts_of_error(clips.space, components, steps)
            + (paragraph(f"{unjudged[0].upper()}{unjudged[1:]}.") if unjudged else ""),
        ),
        Section(
            "Best, median and worst",
            paragraph(f"The frames of the episode, the last of which is the goal; and what was planned ({planned}).")
            + pictures,
        ),
        subtitle=subtitle,
    )


def _parts_of_error(
    space: ActionSpace, components: Mapping[str, Mapping[str, float]], steps: Mapping[str, Sequence[float]]
) -> str:
    """Tables of the distance from the truth by component, a row each, and by step."""
    models = list(components)
    by_component = {
        space.with_unit(name): {model: components[model][name] for model in models} for name in components[models[0]]
    }
    by_step = {f"step {k + 1}": {model: steps[model][k] for model in models} for k in range(len(steps[models[0]]))}
    what = "of all steps together" if space.zero_stays else "of each command"
    what = "of the states at the end from the recorded ones" if isinstance(space, Changes) else what
    done = "of what is done by then" if space.zero_stays else "of each step by itself"
    return table(
        by_component, caption=f"Mean distance from the truth, {what}, in each component's own unit.", best="min"
    ) + table(by_step, caption=f"The same {done}, mean over components, in deviations of true actions.", best="min")


@svg
def episode_figure(
    frames: np.ndarray, ways: Mapping[str, np.ndarray], poses: np.ndarray, clips: LabelledClips
) -> Figure:
    """The frames ``uint8 [T, 3, S, S]`` of an episode, and the ways ``[H, A]`` of each plan from its first pose."""
    fig = Figure(figsize=(9.0, 4.2))
    pictures = fig.add_axes((0, 0.72, 1, 0.26))
    pictures.imshow(np.concatenate(list(np.moveaxis(frames, 1, -1)), axis=1), aspect="equal")
    pictures.set_axis_off()
    if isinstance(clips.space, Commands):
        _commands_over_time(fig, clips.space, ways)
        return fig
    assert isinstance(clips.space, PoseSpace)
    ground = clips.space == PLANAR
    ax = fig.add_axes((0.1, 0.12, 0.62, 0.56))
    markers: list[Any] = []
    for k, (label, actions) in enumerate(ways.items()):
        way = clips.space.integrate(poses[0], actions.astype(np.float64)) - poses[0]
        x, y = way[:, 0], way[:, 1]
        if ground:  # seen from above, the first heading upwards
            angle = np.radians(poses[0, 2])
            forward = np.cos(angle) * way[:, 0] + np.sin(angle) * way[:, 1]
            left = np.cos(angle) * way[:, 1] - np.sin(angle) * way[:, 0]
            x, y = -left, forward
        colour = INK if label == "true" else LINES[(k - 1) % len(LINES)]
        markers += ax.plot(x, y, color=colour, marker="o", ms=3, lw=1.4, label=label)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel("to the right" if ground else clips.space.pose_names[0])
    ax.set_ylabel("ahead" if ground else clips.space.pose_names[1])
    quiet(ax, grid="both")
    fig.legend(handles=markers, loc="center right", frameon=False, fontsize=8.5)
    return fig


SHOWN = 4
"""Components of commands that are drawn, those that vary most."""


def _commands_over_time(fig: Figure, space: Commands, ways: Mapping[str, np.ndarray]) -> None:
    """The commands ``[H, A]`` of each plan, one after the other."""
    each = (-1, len(space.components))
    rows = {k: w.reshape(each) if space.block == "concatenated" else w for k, w in ways.items()}
    most = np.argsort(-rows["true"].std(axis=0), kind="stable")[:SHOWN]
    markers: list[Any] = []
    for place, component in enumerate(sorted(most.tolist())):
        width = 0.84 / len(most)
        ax = fig.add_axes((0.06 + place * width, 0.12, 0.78 * width, 0.5))
        lines: list[Any] = []
        for k, (label, of_plan) in enumerate(rows.items()):
            colour = INK if label == "true" else LINES[(k - 1) % len(LINES)]
            lines += ax.plot(of_plan[:, component], color=colour, lw=1.4, label=label)
        markers = lines
        ax.set_title(space.components[component], fontsize=8.5)
        quiet(ax, grid="both")
    fig.legend(handles=markers, loc="center right", frameon=False, fontsize=8.5)
