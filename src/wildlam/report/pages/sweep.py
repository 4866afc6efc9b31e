"""What a sweep found: one row per run, one figure, one table, and a verdict computed from them.

A row is flat: ``bottleneck``, ``key``, ``strength``, ``seed``, ``run``, and figures by dotted name, such as
``one_step.idm``, ``leakage.ratio`` and ``leakage.ratio.low``. Any figure may be missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from wildlam.fileio import read_json, write_atomically

from wildlam.evaluation.intervals import Estimate
from wildlam.evaluation.verdict import FAILED, Verdict, verdict_of
from wildlam.report.html import Section, figure, paragraph, table, write_report
from wildlam.report.pages.sweep_plot import BOUNDS, sweep_figure
from wildlam.runs.folder import Run
from wildlam.workflows.sweep import SweepConfig

Row = Mapping[str, Any]

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


@dataclass(frozen=True)
class Setting:
    """A limit at one strength (a bound has none): mean, lowest and highest of each figure over its finished seeds, and
    the verdicts on them."""

    bottleneck: str
    key: str
    strength: float | None
    seeds: int
    figures: Mapping[str, Estimate]
    verdicts: Sequence[Verdict] = ()

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.bottleneck} {self.key}={self.strength:g}" if self.strength is not None else self.bottleneck

    def told(self, name: str) -> str:
        """A figure as text, with its range if there are several seeds; an em dash if it was not measured."""
        if name not in self.figures:
            return "—"
        return str(self.figures[name]) if self.seeds > 1 else f"{self.figures[name].mean:.3f}"

    def mean(self, name: str) -> float | None:
        """Mean of a figure, if it was measured."""
        return self.figures[name].mean if name in self.figures else None


def rows(sweep: SweepConfig) -> list[dict[str, Any]]:
    """One row per run of the grid; of an unfinished one there is only what it is and why it failed."""
    found = []
    for run in sweep.grid():
        row: dict[str, Any] = {
            "bottleneck": run.bottleneck, "key": run.key, "strength": run.strength, "seed": run.seed, "run": run.name,
            "failure": run.failure,
        }  # fmt: skip
        if run.is_finished:
            results = read_json(run.path / "results.json")
            row |= {"seconds": results.get("seconds"), "clips": results.get("clips")}
            row |= dict(_flat({"one_step": results["all"]}))
            row |= dict(_flat(results.get("evaluations") or {}))
        found.append(row)
    bounds = [_mean(_known(row, "one_step.idm") for row in found if row["bottleneck"] == name) for name in BOUNDS]
    worst, best = bounds
    for row in found:
        error = _known(row, "one_step.idm")
        if error is not None and worst is not None and best is not None and worst > best:
            row["capacity"] = (worst - error) / (worst - best)
    return found


def verdicts(sweep: SweepConfig) -> dict[str, Verdict]:
    """The verdict on each finished run, by its name: that of the run's own report, but that the model without actions
    to compare with is the sweep's of the same seed."""
    finished = [run for run in sweep.grid() if run.is_finished]
    bare = {run.seed: run.path for run in finished if run.bottleneck == "Deterministic"}
    return {run.name: verdict_of(run.path, bare.get(run.seed)) for run in finished}


def settings(found: Sequence[Row], judged: Mapping[str, Verdict] | None = None) -> list[Setting]:
    """The rows by setting, in order of first appearance; those without a finished run are left out.

    Args:
        found: of ``rows``.
        judged: of ``verdicts``.
    """
    judged = judged or {}
    groups: dict[tuple, list[Row]] = {}
    for row in found:
        if _known(row, "one_step.idm") is not None:
            groups.setdefault((row["bottleneck"], row["key"], row["strength"]), []).append(row)
    result = []
    for (bottleneck, key, strength), members in groups.items():
        figures = {}
        for name in dict.fromkeys(name for row in members for name in row):
            values = [value for row in members if (value := _known(row, name)) is not None]
            if values and name not in ("strength", "seed"):
                figures[name] = Estimate(sum(values) / len(values), min(values), max(values))
        of_seeds = [judged[row["run"]] for row in members if row["run"] in judged]
        result.append(Setting(bottleneck, key, strength, len(members), figures, of_seeds))
    return result


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


def write_sweep_report(sweep: SweepConfig) -> list[str]:
    """Write ``sweep.json``, ``sweep.svg``, ``sweep.md`` and ``report.html`` of what is finished.

    Returns:
        The verdict, sentence by sentence, what is unfinished and failed included.
    """
    found = rows(sweep)
    grouped = settings(found, verdicts(sweep))
    facts = [Run(sweep.out / row["run"]).facts for row in found if _known(row, "one_step.idm") is not None]
    machines = sorted({fact["machine"] for fact in facts})
    versions = {name: ", ".join(sorted({f["versions"][name] for f in facts})) for name in _first(facts, "versions")}
    said = [*findings(grouped), *_unfinished(found)]
    everything = {
        "command": sweep.made_by, "machines": machines, "versions": versions, "videos": sweep.run.data.path.name,
        "verdict": said, "runs": found,
    }  # fmt: skip
    write_atomically(sweep.out / "sweep.json", json.dumps(everything, indent=2))
    picture = sweep_figure(grouped)
    (sweep.out / "sweep.svg").write_bytes(picture)
    cells = table_rows(grouped)
    made = f"{sweep.made_by}; {', '.join(machines)}; {', '.join(f'{n} {v}' for n, v in versions.items())}"
    write_atomically(sweep.out / "sweep.md", markdown(cells, said, made))
    alt = "Error against strength of each limit, and scene-cut ratio, cycle ratio and probe R² against the error"
    write_report(
        sweep.out / "report.html",
        f"Limits on the latent action: {sweep.out.name}",
        Section("What was found", "".join(paragraph(sentence) for sentence in said)),
        Section("Figure", figure(picture, alt, ABOUT, wide=True)),
        Section("Table", table(cells)),
        Section("How to get this again", paragraph(sweep.made_by)),
        subtitle=made,
    )
    return said


def table_rows(found: Sequence[Setting]) -> dict[str, dict[str, str]]:
    """The table: setting to column to text; what is missing is an em dash."""
    return {
        setting.name: {"seeds": str(setting.seeds)} | {head: setting.told(name) for name, head in FIGURES.items()}
        for setting in found
    }


def markdown(cells: Mapping[str, Mapping[str, str]], verdict: Sequence[str], made: str) -> str:
    """The verdict and the table as Markdown."""
    heads = ["limit", "seeds", *FIGURES.values()]
    lines = [heads, ["---"] * len(heads), *([name, *row.values()] for name, row in cells.items())]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([*(f"- {sentence}" for sentence in verdict), "", body, "", ABOUT, "", f"Made by: `{made}`", ""])


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; nan where one side is constant."""
    ranks = [((a := np.asarray(v))[:, None] > a).sum(1) + ((a[:, None] == a).sum(1) - 1) / 2 for v in (x, y)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return math.nan
    return float(np.corrcoef(*ranks)[0, 1])


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
            outcome = "The actions work" if of_seeds == {True} else "It cannot be told whether the actions work"
        by_outcome.setdefault(outcome, []).append(setting.name)
    for outcome, names in by_outcome.items():
        yield f"{outcome}: {', '.join(names)}."


def _leak(found: Sequence[Setting]) -> Iterator[str]:
    """Whether z carries the next state. A model without z cannot leak: its ratio is the reference on this data, as with
    actions that say nothing of a new scene the error at a cut stays, and the error elsewhere falls. Settings whose
    actions are not used are left out: their ratio is that of a model without actions, and says nothing.
    """
    name = "leakage.ratio"
    cuts = {s.name: [c for judged in s.verdicts for c in judged.claims if c.test == "cut"] for s in found}
    acting = [s for s in found if s.bottleneck != "Deterministic" and name in s.figures and cuts[s.name]]
    if not acting:
        return
    ratios = [s.figures[name].mean for s in acting]
    told = f"At a scene cut the error is {_range(ratios)} that without one where the actions are used"
    controls = {
        "of copying": [s.figures["leakage.copy_ratio"].mean for s in acting if "leakage.copy_ratio" in s.figures]
    }
    controls["without actions"] = [
        s.figures[name].mean for s in found if s.bottleneck == "Deterministic" and name in s.figures
    ]
    for control, of_control in controls.items():
        if of_control:
            told += f"; {control} it is {_range(of_control)}"
    yield f"{told}."
    under = [s.name for s in acting if all(claim.below for claim in cuts[s.name])]
    if under:
        yield f"Clearly under that, so that actions hand over some of the next state: {', '.join(under)}."
    else:
        yield "No setting is clearly under that in every seed: there is no sign that actions hand over the next state."


def _cycle(found: Sequence[Setting]) -> Iterator[str]:
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
    told = "Carried to another video and back, actions have"
    against = f" (unrelated actions, which is chance: {_range(chance)})" if chance else ""
    low, high = (end((ratio for _, ratio in pairs), default=0.0) for end in (min, max))
    correlation = rank_correlation(*zip(*pairs, strict=True)) if len(pairs) > 2 else math.nan
    if len(pairs) > 2 and high - low < SAME:
        yield f"{told} about the same in all {len(pairs)} settings, {_range([low, high])} the error{against}."
    elif math.isfinite(correlation):
        grows = "grows" if correlation > 0.5 else "falls" if correlation < -0.5 else "neither grows nor falls clearly"
        yield (
            f"{told} {_range([low, high])} the error{against}; it {grows} with the room that the limit leaves (rank "
            f"correlation {correlation:.2f} over {len(pairs)} settings)."
        )


def _unfinished(found: Sequence[Row]) -> Iterator[str]:
    for row in found:
        if row["failure"]:
            yield f"{row['run']} failed: {row['failure']}"
    waiting = sum(_known(row, "one_step.idm") is None and not row["failure"] for row in found)
    if waiting:
        yield f"{waiting} of {len(found)} runs are not finished yet."


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Finite numbers of a tree by dotted name; an estimate gives its mean its own name, and its ends theirs below."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            is_estimate = all(_is_number(value.get(part)) for part in ("mean", "low", "high"))
            if is_estimate:
                yield prefix + key, value["mean"]
            yield from _flat({k: v for k, v in value.items() if not is_estimate or k != "mean"}, f"{prefix}{key}.")
        elif _is_number(value):
            yield prefix + key, value


def _known(row: Row, name: str) -> float | None:
    value = row.get(name)
    return value if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _mean(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _first(facts: Sequence[dict[str, Any]], key: str) -> dict[str, str]:
    return facts[0][key] if facts else {}


def _range(ratios: Sequence[float]) -> str:
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    return f"{low} times" if low == high else f"{low} to {high} times"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
