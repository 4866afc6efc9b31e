"""Are these latent actions actions? What the evaluations say together, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wildlam.evaluation.leakage import LEAK_UNDER
from wildlam.evaluation.one_step import METHODS

TRANSFERS_UNDER = 2.0
"""Ratio of the cycled to the original error over which actions are said not to transfer."""

HARDLY = 0.1
"""Of the way from no place in particular to the true motion: a share below it is hardly local, however certain."""


@dataclass(frozen=True)
class Verdict:
    """Whether the latent actions work (``None``: cannot be told), and why, one plain sentence after another."""

    works: bool | None
    sentences: list[str]


def known(errors: Mapping[str, float | None], method: str) -> float | None:
    """The error of ``method``, or ``None`` if it was not measured (missing, ``None`` or not finite)."""
    value = errors.get(method)
    return value if value is not None and math.isfinite(value) else None


def verdict(results: Mapping[str, Any]) -> Verdict:
    """Judge the figures of ``results.json``: all sources together, then each source that differs, then each test.

    Latent actions work if they predict at least 5 % better than copying the last frame, *and* another clip's actions
    make the prediction at least 5 % worse, *and* the error rises at a scene cut, *and* actions survive a journey to
    another video and back. Tests that were not run do not count.
    """
    overall = _judge(results.get("all", {}))
    sentences = list(overall.sentences)
    for name, of_source in results.get("sources", {}).items():
        judged = _judge(of_source)
        if judged.works is not None and judged.works != overall.works:
            outcome = "it works" if judged.works else "it did not work"
            sentences.append(f"On {name} {outcome}. {' '.join(judged.sentences)}")
    works = overall.works
    evaluations = results.get("evaluations") or {}
    for test in (lambda found: _leakage(found, overall), _cycle):
        passed, said = test(evaluations)
        sentences += said
        if passed is False and works:
            works = False
    sentences += _locality(evaluations) + _probes(evaluations)
    return Verdict(works, sentences)


def _judge(errors: Mapping[str, float | None]) -> Verdict:
    idm, permuted, zero, deterministic, copy = (known(errors, method) for method in METHODS)
    if idm is None or copy is None or permuted is None:
        missing = [METHODS[m] for m in ("idm", "permuted", "copy") if known(errors, m) is None]
        return Verdict(None, [f"Nothing can be said: no error was measured for {' and '.join(missing)}."])

    sentences = []
    learnt = idm < 0.95 * copy
    if learnt:
        sentences.append(f"Inferred actions remove {_percent(1 - idm / copy)} of the error of copying the last frame.")
    elif idm < copy:
        sentences.append(
            f"Inferred actions remove only {_percent(1 - idm / copy)} of the error of copying the last frame: "
            "the model has hardly learnt to predict."
        )
    else:
        sentences.append("Inferred actions predict no better than copying the last frame: the model has not learnt.")

    used = permuted >= 1.05 * idm
    if used:
        carries = ": z carries what changed" if learnt else ""
        sentences.append(f"Another clip's actions make it {_times(permuted / idm)} worse{carries}.")
    else:
        sentences.append(f"Another clip's actions do as well ({_times(permuted / idm)} the error): z is ignored.")

    if zero is not None:
        sentences.append(f"With zero actions the error is {_times(zero / idm)} as large.")
    if deterministic is not None and idm < deterministic:
        saved = _percent(1 - idm / deterministic)
        sentences.append(f"Against a model without actions, inferred ones remove {saved} of the error.")
    elif deterministic is not None:
        sentences.append("A model without actions predicts as well: what z carries does not help.")
    return Verdict(learnt and used, sentences)


def _leakage(evaluations: Mapping[str, Any], overall: Verdict) -> tuple[bool | None, list[str]]:
    if not (found := evaluations.get("leakage")):
        return None, []
    ratio = found["ratio"]["mean"]
    if overall.works is False:
        return None, [f"That the error at a scene cut is {_times(ratio)} as large tells nothing of such a model."]
    if ratio < LEAK_UNDER:
        return False, [f"At a scene cut the error is only {_times(ratio)} as large: z leaks the next state."]
    return True, [f"At a scene cut the error is {_times(ratio)} as large: z does not hold the next state."]


def _cycle(evaluations: Mapping[str, Any]) -> tuple[bool | None, list[str]]:
    if not (found := evaluations.get("cycle")):
        return None, []
    ratio, other = found["ratio"]["mean"], found["other_ratio"]["mean"]
    told = f"Carried to another video and back, actions cost {_percent(ratio - 1)} more error"
    against = f"(another clip's own actions: {_percent(other - 1)} more)"
    if other < 1.05:
        return None, ["The cycle tells nothing: another clip's own actions do as well."]
    if ratio > TRANSFERS_UNDER or ratio > (1 + other) / 2:
        return False, [f"{told} {against}: they do not mean the same there."]
    return True, [f"{told} {against}: they transfer."]


def _locality(evaluations: Mapping[str, Any]) -> list[str]:
    """What a motion of one place does in another scene. It is told, not counted: the camera may be all that moves."""
    found = evaluations.get("locality")
    if not found or not (share := found["share"]["transferred"]) or not (true := found["share"]["true"]):
        return []
    told = f"Transferred, a motion of one place changes that place with a share of {share['mean']:.2f} "
    told += f"(0.50: no place in particular; the true motion: {true['mean']:.2f})"
    if share["low"] <= 0.5:
        return [f"{told}: its actions are not local."]
    if share["mean"] < 0.5 + HARDLY * (true["mean"] - 0.5):
        return [f"{told}: its actions are hardly local."]
    carried = found.get("carried")
    if carried and carried["low"] > 0.5:
        return [f"{told}: its actions are local, and follow a place in the picture."]
    return [f"{told}: its actions are local."]


def _probes(evaluations: Mapping[str, Any]) -> list[str]:
    if not (found := evaluations.get("probes")):
        return []
    of_each = {action: e for action, e in found["linear z"].items() if action != "mean"}
    explained = [f"{_percent(max(e['mean'], 0))} of {action}" for action, e in of_each.items()]
    told = f"A linear map of z explains, of the variance of the true actions, {', '.join(explained)}."
    unsure = [action for action, e in of_each.items() if e["mean"] > 0 >= e["low"]]
    return [f"{told} Of {', '.join(unsure)} it may be none: intervals hold 0." if unsure else told]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 1.1 else f"{ratio:.1f}x"
