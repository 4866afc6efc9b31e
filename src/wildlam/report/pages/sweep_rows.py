"""The results of a sweep as rows: one per run, and settings over their seeds.

A row is flat: ``bottleneck``, ``key``, ``strength``, ``seed``, ``run``, and figures by dotted name, such as
``one_step.idm``, ``leakage.ratio`` and ``leakage.ratio.low``. Any figure may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from wildlam.evaluation.intervals import Estimate
from wildlam.evaluation.verdict import Verdict, verdict_of
from wildlam.fileio import read_json

Row = Mapping[str, Any]

BOUNDS = ("Deterministic", "Unconstrained")
"""The worst and the best."""


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
        """Name of the setting, as shown."""
        return f"{self.bottleneck} {self.key}={self.strength:g}" if self.strength is not None else self.bottleneck

    def text(self, name: str) -> str:
        """A figure as text, with its range if there are several seeds; an em dash if it was not measured."""
        if name not in self.figures:
            return "—"
        return str(self.figures[name]) if self.seeds > 1 else f"{self.figures[name].mean:.3f}"

    def mean(self, name: str) -> float | None:
        """Mean of a figure, if it was measured."""
        return self.figures[name].mean if name in self.figures else None


class GridRun(Protocol):
    """A run of a sweep, as a report sees it; ``workflows.sweep.GridRun`` is one."""

    @property
    def bottleneck(self) -> str:
        """Name of the limit's class."""
        ...

    @property
    def key(self) -> str:
        """What sets the limit's strength; empty for a bound."""
        ...

    @property
    def strength(self) -> float | None:
        """Value of the key, ``None`` for a bound."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the run."""
        ...

    @property
    def name(self) -> str:
        """Folder of the run, in the sweep's."""
        ...

    @property
    def path(self) -> Path:
        """That folder."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether it has been evaluated."""
        ...

    @property
    def failure(self) -> str | None:
        """Why it failed, if it did."""
        ...


def rows(grid: Sequence[GridRun]) -> list[dict[str, Any]]:
    """One row per run of the grid; of an unfinished one there is only what it is and why it failed."""
    found = []
    for run in grid:
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
    bounds = [mean(known(row, "one_step.idm") for row in found if row["bottleneck"] == name) for name in BOUNDS]
    worst, best = bounds
    for row in found:
        error = known(row, "one_step.idm")
        if error is not None and worst is not None and best is not None and worst > best:
            row["capacity"] = (worst - error) / (worst - best)
    return found


def verdicts(grid: Sequence[GridRun]) -> dict[str, Verdict]:
    """The verdict on each finished run, by its name: that of the run's own report, but that the model without actions
    to compare with is the sweep's of the same seed."""
    finished = [run for run in grid if run.is_finished]
    bare = {run.seed: run.path for run in finished if run.bottleneck == "Deterministic"}
    return {run.name: verdict_of(run.path, bare.get(run.seed)) for run in finished}


def settings(found: Sequence[Row], judged: Mapping[str, Verdict] | None = None) -> list[Setting]:
    """The rows by setting, in order of first appearance; those without a finished run are left out.

    Args:
        found: result of ``rows``.
        judged: result of ``verdicts``.
    """
    judged = judged or {}
    groups: dict[tuple, list[Row]] = {}
    for row in found:
        if known(row, "one_step.idm") is not None:
            groups.setdefault((row["bottleneck"], row["key"], row["strength"]), []).append(row)
    result = []
    for (bottleneck, key, strength), members in groups.items():
        figures = {}
        for name in dict.fromkeys(name for row in members for name in row):
            values = [value for row in members if (value := known(row, name)) is not None]
            if values and name not in ("strength", "seed"):
                figures[name] = Estimate(sum(values) / len(values), min(values), max(values))
        of_seeds = [judged[row["run"]] for row in members if row["run"] in judged]
        result.append(Setting(bottleneck, key, strength, len(members), figures, of_seeds))
    return result


def known(row: Row, name: str) -> float | None:
    """A figure, or None where it was not measured."""
    value = row.get(name)
    return value if _is_number(value) else None


def mean(values: Iterator[float | None]) -> float | None:
    """The mean of what is known; None of nothing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
