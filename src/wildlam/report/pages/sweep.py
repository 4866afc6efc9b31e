"""The report of a sweep: one figure, one table, and a verdict computed from its rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from wildlam.evaluation.verdict import FAILED
from wildlam.fileio import write_atomically
from wildlam.report.html import Section, figure, paragraph, table, write_report
from wildlam.report.pages.sweep_plot import sweep_figure
from wildlam.report.pages.sweep_rows import BOUNDS, GridRun, Row, Setting, known, rows, settings, verdicts
from wildlam.report.text import markdown_table
from wildlam.runs.folder import Run

FIGURES = {
    "one_step.idm": "one-step error",
    "capacity": "share of the gap",
    "one_step.permuted": "with another clip's z",
    "leakage.ratio": "scene cut, ratio",
    "cycle.ratio": "cycle, ratio",
    "probes.linear z.mean": "probe R², linear on z",
    "probes.mlp z and state.mean": "probe R², MLP on z and state",
}
"""Columns of the table."""

SAME = 0.01
"""Ratios that differ by less are about the same."""

ABOUT = (
    "Every figure is the mean over the seeds with, in brackets, the lowest and the highest of them. The one-step error "
    "is the L1 error of held-out states with inferred actions; less error is more capacity. The share of the gap is "
    "(deterministic - error) / (deterministic - unconstrained), of the mean errors of these two bounds. The scene-cut "
    "ratio is the error at a cut over that without one, the cycle ratio the rollout error with actions that have been "
    "to another video and back over that with the original ones."
)


def findings(found: Sequence[Setting]) -> list[str]:
    """The verdict, sentence by sentence, computed from the settings."""
    if little := [judged for setting in found for judged in setting.verdicts if judged.is_too_little]:
        return little[0].lines
    by_name = {setting.bottleneck: setting for setting in found}
    sentences = []
    if all(name in by_name for name in BOUNDS):
        worst, best = (by_name[name].figures["one_step.idm"] for name in BOUNDS)
        sentences.append(f"One step ahead, the error is {worst} without actions and {best} with unlimited ones.")
        if worst.mean <= best.mean:
            sentences.append("Even unlimited, actions do not help: limits cannot be compared. Next: train longer.")
    limited = [setting for setting in found if setting.strength is not None]
    for bottleneck in dict.fromkeys(setting.bottleneck for setting in limited):
        shares = [
            (share, setting)
            for setting in limited
            if setting.bottleneck == bottleneck and (share := setting.mean("capacity")) is not None
        ]
        if shares:
            (low, least), (high, most) = min(shares, key=lambda s: s[0]), max(shares, key=lambda s: s[0])
            sentences.append(
                f"Of the error that actions can remove, {bottleneck} removes {_percent(low)} "
                f"({least.key}={least.strength:g}) to {_percent(high)} ({most.key}={most.strength:g})."
            )
    acting = [setting for setting in found if setting.bottleneck != "Deterministic"]
    return [*sentences, *_judged(acting), *_leak(found), *_cycle(found)]


def write_sweep_report(out: Path, grid: Sequence[GridRun], videos: str, made_by: str) -> list[str]:
    """Write ``sweep.json``, ``sweep.svg``, ``sweep.md`` and ``report.html`` of what is finished.

    Args:
        out: the sweep's folder.
        grid: its runs.
        videos: name of the folder of videos.
        made_by: the command that began it.

    Returns:
        The verdict, sentence by sentence, what is unfinished and failed included.
    """
    found = rows(grid)
    grouped = settings(found, verdicts(grid))
    facts = [Run(out / row["run"]).facts for row in found if known(row, "one_step.idm") is not None]
    machines = sorted({fact["machine"] for fact in facts})
    versions = {name: ", ".join(sorted({f["versions"][name] for f in facts})) for name in _first(facts, "versions")}
    said = [*findings(grouped), *_unfinished(found)]
    everything = {
        "command": made_by, "machines": machines, "versions": versions, "videos": videos,
        "verdict": said, "runs": found,
    }  # fmt: skip
    write_atomically(out / "sweep.json", json.dumps(everything, indent=2))
    picture = sweep_figure(grouped)
    (out / "sweep.svg").write_bytes(picture)
    cells = table_rows(grouped)
    made = f"{made_by}; {', '.join(machines)}; {', '.join(f'{n} {v}' for n, v in versions.items())}"
    write_atomically(out / "sweep.md", markdown(cells, said, made))
    alt = "Error against strength of each limit, and scene-cut ratio, cycle ratio and probe R² against the error"
    write_report(
        out / "report.html",
        f"Limits on the latent action: {out.name}",
        Section("What was found", "".join(paragraph(sentence) for sentence in said)),
        Section("Figure", figure(picture, alt, ABOUT, wide=True)),
        Section("Table", table(cells)),
        Section("How to get this again", paragraph(made_by)),
        subtitle=made,
    )
    return said


def table_rows(found: Sequence[Setting]) -> dict[str, dict[str, str]]:
    """The table: setting to column to text; what is missing is an em dash."""
    return {
        setting.name: {"seeds": str(setting.seeds)} | {head: setting.text(name) for name, head in FIGURES.items()}
        for setting in found
    }


def markdown(cells: Mapping[str, Mapping[str, str]], verdict: Sequence[str], made: str) -> str:
    """The verdict and the table as Markdown."""
    heads = ["limit", "seeds", *FIGURES.values()]
    body = markdown_table(heads, ([name, *row.values()] for name, row in cells.items()))
    return "\n".join([*(f"- {sentence}" for sentence in verdict), "", *body, "", ABOUT, "", f"Made by: `{made}`", ""])


def _judged(acting: Sequence[Setting]) -> Iterator[str]:
    """In which settings the actions work, by the verdicts on the single runs, and what fails in the others."""
    by_outcome: dict[str, list[str]] = {}
    for setting in acting:
        of_seeds = {judged.works for judged in setting.verdicts}
        if not of_seeds:
            continue
        failed = {c.test for judged in setting.verdicts for c in judged.claims if c.counts and c.holds is False}
        if len(of_seeds) > 1:
            outcome = "Not the same in all seeds"
        elif of_seeds == {False}:
            outcome = (
                f"The actions do not work yet ({', '.join(said for test, said in FAILED.items() if test in failed)})"
            )
        else:
            outcome = "The actions work" if of_seeds == {True} else "It is unclear whether the actions work"
        by_outcome.setdefault(outcome, []).append(setting.name)
    for outcome, names in by_outcome.items():
        yield f"{outcome}: {', '.join(names)}."


def _leak(found: Sequence[Setting]) -> Iterator[str]:
    """Whether z carries the next state.

    A model without z cannot leak, so its ratio is the reference. Settings whose actions are not used are left out, as
    their ratio is that of a model without actions.
    """
    name = "leakage.ratio"
    cuts = {s.name: [c for judged in s.verdicts for c in judged.claims if c.test == "cut"] for s in found}
    acting = [s for s in found if s.bottleneck != "Deterministic" and name in s.figures and cuts[s.name]]
    if not acting:
        return
    ratios = [s.figures[name].mean for s in acting]
    sentence = f"At a scene cut the error is {_range(ratios)} that without one where the actions are used"
    controls = {
        "of copying": [s.figures["leakage.copy_ratio"].mean for s in acting if "leakage.copy_ratio" in s.figures]
    }
    controls["without actions"] = [
        s.figures[name].mean for s in found if s.bottleneck == "Deterministic" and name in s.figures
    ]
    for control, of_control in controls.items():
        if of_control:
            sentence += f"; {control} it is {_range(of_control)}"
    yield f"{sentence}."
    under = [s.name for s in acting if all(claim.below for claim in cuts[s.name])]
    if under:
        yield f"Clearly under that, so actions leak some of the next state: {', '.join(under)}."
    else:
        yield "No setting is clearly under that in every seed: there is no sign that actions leak the next state."


def _cycle(found: Sequence[Setting]) -> Iterator[str]:
    from scipy.stats import spearmanr  # which takes a second to import

    pairs = [
        (-error, ratio)
        for s in found
        if s.bottleneck != "Deterministic"
        and (ratio := s.mean("cycle.ratio")) is not None
        and (error := s.mean("one_step.idm")) is not None
    ]
    chance = [
        s.figures["cycle.other_ratio"].mean
        for s in found
        if s.bottleneck != "Deterministic" and "cycle.other_ratio" in s.figures
    ]
    carried = "Carried to another video and back, actions have"
    against = f" (unrelated actions, which is chance: {_range(chance)})" if chance else ""
    low, high = (end((ratio for _, ratio in pairs), default=0.0) for end in (min, max))
    sides = list(zip(*pairs, strict=True))
    constant = len(pairs) < 3 or any(len(set(side)) == 1 for side in sides)  # of which SciPy warns
    correlation = math.nan if constant else float(spearmanr(*sides).statistic)
    if len(pairs) > 2 and high - low < SAME:
        yield f"{carried} about the same in all {len(pairs)} settings, {_range([low, high])} the error{against}."
    elif math.isfinite(correlation):
        grows = "grows" if correlation > 0.5 else "falls" if correlation < -0.5 else "neither grows nor falls clearly"
        yield (
            f"{carried} {_range([low, high])} the error{against}; it {grows} with the room that the limit leaves (rank "
            f"correlation {correlation:.2f} over {len(pairs)} settings)."
        )


def _unfinished(found: Sequence[Row]) -> Iterator[str]:
    for row in found:
        if row["failure"]:
            yield f"{row['run']} failed: {row['failure']}"
    waiting = sum(known(row, "one_step.idm") is None and not row["failure"] for row in found)
    if waiting:
        yield f"{waiting} of {len(found)} runs are not finished yet."


def _first(facts: Sequence[dict[str, Any]], key: str) -> dict[str, str]:
    return facts[0][key] if facts else {}


def _range(ratios: Sequence[float]) -> str:
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return f"{low} times" if low == high else f"{low} to {high} times"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
