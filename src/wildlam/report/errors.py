"""What the one-step errors say together, in plain words.

The error table is plain data: ``{"sources": {name: errors}, "all": errors}``, where ``errors`` maps the keys of
``METHODS`` to held-out one-step L1 errors. Any method may be missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wildlam.evaluation.one_step import METHODS


@dataclass(frozen=True)
class Verdict:
    """Whether the latent actions work (``None``: cannot be told), and why, one plain sentence after another."""

    works: bool | None
    sentences: list[str]


def known(errors: Mapping[str, float | None], method: str) -> float | None:
    """The error of ``method``, or ``None`` if it was not measured (missing, ``None`` or not finite)."""
    value = errors.get(method)
    return value if value is not None and math.isfinite(value) else None


def verdict(errors: Mapping[str, Any]) -> Verdict:
    """Judge an error table: first all sources together, then each source for which the judgement differs.

    Latent actions work if they predict at least 5 % better than copying the last frame *and* another clip's actions
    make the prediction at least 5 % worse.
    """
    overall = _judge(errors.get("all", {}))
    sentences = list(overall.sentences)
    for name, of_source in errors.get("sources", {}).items():
        judged = _judge(of_source)
        if judged.works is not None and judged.works != overall.works:
            outcome = "it works" if judged.works else "it did not work"
            sentences.append(f"On {name} {outcome}. {' '.join(judged.sentences)}")
    return Verdict(overall.works, sentences)


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


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio < 1.1 else f"{ratio:.1f}x"
