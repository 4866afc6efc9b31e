"""Do the latent actions act as actions? A verdict from all evaluations, for readers who have not read the paper.

Each claim compares the model with a baseline by 95 % intervals over held-out recordings, and is made only where there
are enough of these. ``wildlam train``, ``eval`` and ``show``, the reports of runs and of sweeps all use ``verdict``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wildlam.errors import in_words
from wildlam.evaluation.clips import another_clip
from wildlam.evaluation.intervals import FEWEST_CLIPS, FEWEST_RECORDINGS, Estimate, PerClip, interval_text
from wildlam.evaluation.leakage import LEAK_UNDER
from wildlam.evaluation.one_step import METHODS
from wildlam.fileio import read_json

MARGIN = 0.05
"""Share by which the error of a baseline (copying, another clip's actions) must exceed the model's."""

TRANSFERS_UNDER = 2.0
"""Ratio of the cycled to the original error over which actions are said not to transfer."""

HARDLY = 0.1
"""Share of the way from no place in particular to the true motion, below which a motion is hardly local."""

MORE_VIDEOS = "add videos, or hold out more of those there are (--data.held_out 0.3) and train again"
ADD = "add videos"
LONGER = "train longer (--training.steps)"
LOOSER = "loosen the limit on the action (of Noisy and Adaptive, a smaller --model.bottleneck.beta)"
TIGHTER = "tighten the limit on the action (of Noisy and Adaptive, a larger --model.bottleneck.beta)"
USE_THEM = "put them to use with wildlam infer, wildlam transfer or wildlam controller train"

NO_DIFFERENCE = "the interval includes 1 (no difference), so it is unclear whether"

Figures = Mapping[str, Any]
"""Contents of ``results.json``, or of ``evaluations.json``."""


@dataclass(frozen=True)
class Claim:
    """The outcome of one test.

    Attributes:
        test: name of the test, a key of ``FAILED`` if the claim counts.
        holds: whether the claim holds; ``None`` if the test is inconclusive.
        said: a sentence with the figures of the model and of its baseline.
        counts: whether the verdict depends on it.
        remedies: what to try where it does not hold.
        below: whether the ratio at scene cuts lies clearly under that of the baseline.
    """

    test: str
    holds: bool | None
    said: str
    counts: bool = True
    remedies: tuple[str, ...] = ()
    below: bool = False


FAILED = {
    "learns": "no better than copying the last frame",
    "uses": "the action is ignored",
    "helps": "no better than a model without actions",
    "cut": "the action copies the next frame",
    "cycle": "the action means something else in other videos",
}
"""Tests that count, in order, and what it means to fail each."""


@dataclass(frozen=True)
class Verdict:
    """Whether the latent actions work, and why.

    Attributes:
        works: whether they work; ``None`` if the evaluation is inconclusive.
        sentences: what was evaluated, the outcomes, and what to do next.
        claims: outcomes of the tests; none where nothing could be tested.
        is_too_little: whether there are too few recordings or clips for any test.
    """

    works: bool | None
    sentences: list[str]
    claims: Sequence[Claim] = ()
    is_too_little: bool = False

    @property
    def head(self) -> str:
        """The verdict in one line."""
        if self.works is None:
            return "Inconclusive." if self.claims or self.is_too_little else "The inferred actions were not evaluated."
        return "The inferred actions work." if self.works else "The inferred actions do not work yet."

    @property
    def lines(self) -> list[str]:
        """The whole verdict as text."""
        return [self.head, *self.sentences]


def known(errors: Mapping[str, float | None], method: str) -> float | None:
    """The error of ``method``, or ``None`` if it was not measured (missing, ``None`` or not finite)."""
    value = errors.get(method)
    return value if value is not None and math.isfinite(value) else None


def verdict_of(folder: Path, without_actions: Path | None = None) -> Verdict:
    """The verdict on what ``wildlam eval`` wrote into ``folder``; see ``verdict``.

    Args:
        folder: folder with ``results.json`` and ``evaluations.json``.
        without_actions: such a folder of a model trained without actions, if that is a run of its own.

    Raises:
        WildlamError: a file is damaged.
    """
    results, per_clip = read_json(folder / "results.json"), folder / "evaluations.json"
    if not per_clip.is_file():
        said = f"{per_clip} is missing, so the uncertainty of the figures is unknown."
        then = "Next: wildlam eval RUN, where its videos are, or wildlam eval RUN --data.path DIR on other videos."
        return Verdict(None, [said, *_averages(results), then])
    bare = without_actions and without_actions / "evaluations.json"
    return verdict(results, read_json(per_clip), read_json(bare) if bare and bare.is_file() else None)


def _averages(results: Figures) -> Iterator[str]:
    """Averages of a run that lacks the figures of single clips, as the packaged one does, with their baselines."""
    means, found = results.get("all") or {}, results.get("evaluations") or {}
    idm = known(means, "idm")
    baselines = {
        "copy": "copying the last frame",
        "permuted": "the action of another clip",
        "deterministic": "a model trained without actions",
    }
    ratios = [
        f"{said} has {e / idm:.2f} times" for name, said in baselines.items() if idm and (e := known(means, name))
    ]
    if ratios:
        yield f"On average over all held-out clips, {in_words(ratios)} the error of the model."
    if cut := found.get("leakage"):
        yield (
            f"At a cut to another scene, the error is {cut['ratio']['mean']:.2f} times that without "
            f"the cut; when copying the last frame, {cut['copy_ratio']['mean']:.2f} times."
        )
    if cycle := found.get("cycle"):
        yield (
            f"Carried to another video and back, the action has {cycle['ratio']['mean']:.2f} times its error; an "
            f"unrelated one, which is chance, has {cycle['other_ratio']['mean']:.2f} times."
        )


def verdict(results: Figures, per_clip: Figures, without_actions: Figures | None = None) -> Verdict:
    """The verdict on a run: all sources together, then each source that differs, then each test.

    Latent actions work if copying the last state is at least 5 % worse, *and* another clip's actions are, *and* a model
    without actions is worse, *and* they do not leak the next state at a scene cut, *and* carried to another video and
    back they predict better than chance. Tests that were not run do not count.

    Args:
        results: what ``results.json`` holds.
        per_clip: what ``evaluations.json`` holds, for the intervals and the number of recordings.
        without_actions: ``evaluations.json`` of a model without actions, if this run did not train one. It is used
            where it was evaluated on the same clips.
    """
    found = {name: PerClip.from_json(part) for name, part in per_clip.items()}
    one_step = found.get("one_step")
    if one_step is None:
        return Verdict(None, ["No verdict: no error was measured."])
    if without_actions:
        found |= _with_baseline(
            {name: found[name] for name in ("one_step", "leakage") if name in found}, without_actions
        )
        one_step = found["one_step"]
    if not one_step.is_enough:
        return _too_little(one_step)
    means = _means(one_step)
    if missing := [METHODS[name] for name in ("idm", "permuted", "copy") if known(means, name) is None]:
        return Verdict(None, [f"No verdict: no error was measured for {' and '.join(missing)}."])

    evaluations = results.get("evaluations") or {}
    claims = _errors(one_step)
    overall = _together(claims)
    claims += _of_sources(one_step, overall)
    if overall is not False:
        claims += [*_across("cut", found.get("leakage"), _cut), *_across("cycle", found.get("cycle"), _cycle)]
    claims += [*_locality(evaluations), *_probes(found, evaluations)]
    works = _together(claims)
    tried = f"Evaluated on {one_step.amount}, held out; brackets hold 95 % confidence intervals over recordings."
    remedies = dict.fromkeys(r for c in claims if c.counts and c.holds is not True for r in c.remedies)
    then = f"Next: {'; or '.join(remedies) if remedies else USE_THEM}."
    return Verdict(works, [tried, *(claim.said for claim in claims), then], claims)


def _together(claims: Sequence[Claim]) -> bool | None:
    """False if one claim does not hold; otherwise None if one is inconclusive."""
    held = [claim.holds for claim in claims if claim.counts]
    return False if False in held else None if None in held else True


def _with_baseline(found: dict[str, PerClip], without_actions: Figures) -> dict[str, PerClip]:
    """``found``, with the errors of a model without actions added where it was evaluated on the same clips."""
    joined = {}
    for name, part in found.items():
        if name in without_actions and _same_clips(bare := PerClip.from_json(without_actions[name]), part):
            taken = {"idm": "deterministic", "plain": "plain_deterministic", "cut": "cut_deterministic"}
            values = {new: bare.values[old] for old, new in taken.items() if old in bare.values}
            joined[name] = replace(part, values=part.values | values)
    return joined


def _same_clips(one: PerClip, other: PerClip) -> bool:
    """Whether both hold the same clips, each paired with the same other one."""
    return (one.names, one.recordings) == (other.names, other.recordings)


def _too_little(one_step: PerClip) -> Verdict:
    """The verdict where too few clips are held out: what was measured on these, without intervals."""
    said = [
        f"Only {one_step.amount} {'is' if len(one_step) == 1 else 'are'} held out. From fewer than "
        f"{FEWEST_RECORDINGS} recordings, or {FEWEST_CLIPS} clips, nothing can be concluded about other videos."
    ]
    means = _means(one_step)
    idm, copy = known(means, "idm"), known(means, "copy")
    if idm is not None and copy:
        less = f"{_share(abs(1 - idm / copy))} {'less' if idm <= copy else 'more'}"
        said.append(f"On these alone, the model's error is {less} than that of copying the last frame.")
    return Verdict(None, [*said, f"Next: {MORE_VIDEOS}."], is_too_little=True)


def _exceeds(ratio: Estimate, margin: float) -> bool | None:
    """Whether a baseline's error exceeds the model's by ``margin``, beyond doubt; None: the interval allows both."""
    if ratio.mean >= 1 + margin and ratio.low > 1:
        return True
    return None if ratio.low <= 1 and ratio.high > 1 + margin else False


def _errors(one_step: PerClip) -> list[Claim]:
    """The one-step error compared with its three baselines, of which the model without actions may be missing."""
    copy, permuted = one_step.estimate("copy", over="idm"), one_step.estimate("permuted", over="idm")
    learns, uses = _exceeds(copy, MARGIN), _exceeds(permuted, MARGIN)
    outcome = {
        True: "the model has learnt to predict",
        False: f"the model has {'hardly' if copy.low > 1 else 'not'} learnt to predict",
        None: f"{NO_DIFFERENCE} the model predicts better",
    }
    said = f"Copying the last frame, instead of predicting the next, has {_times(copy)} the error: {outcome[learns]}."
    claims = [Claim("learns", learns, said, remedies=(LONGER, ADD))]
    outcome = {
        True: "it uses the action",
        False: "it ignores the action",
        None: f"{NO_DIFFERENCE} it uses the action",
    }
    said = f"Given the action of another clip, the model has {_times(permuted)} its error: {outcome[uses]}."
    claims.append(Claim("uses", uses, said, remedies=(LONGER, LOOSER)))
    if "deterministic" in one_step.values:
        bare = one_step.estimate("deterministic", over="idm")
        helps = _exceeds(bare, 0.0)
        outcome = {
            True: "the action helps",
            False: "the action does not help",
            None: f"{NO_DIFFERENCE} the action helps",
        }
        said = f"A model trained without actions has {_times(bare)} the error: {outcome[helps]}."
        claims.append(Claim("helps", helps, said, remedies=(LONGER, LOOSER)))
    return [replace(c, remedies=(MORE_VIDEOS,)) if c.holds is None else c for c in claims]


def _of_sources(one_step: PerClip, overall: bool | None) -> Iterator[Claim]:
    """Sources whose outcome differs from that of all together, and sources with too few clips."""
    names = sorted(set(one_step.sources))
    small = []
    for name in names if len(names) > 1 else []:
        part = one_step.where([source == name for source in one_step.sources])
        if not part.is_enough:
            small.append(f"{name} ({part.amount})")
            continue
        claims = _errors(part)
        works = _together(claims)
        if works is not None and works != overall:
            said = " ".join(claim.said for claim in claims if claim.holds is works)
            yield Claim("source", works, f"On {name} it {'works' if works else 'does not work'}. {said}", counts=False)
    if small:
        yield Claim("source", None, f"Too few clips for a verdict of their own: {', '.join(small)}.", counts=False)


TOO_FEW = {
    "cut": "Scene cuts: too few clips have another recording of their source to cut to.",
    "cycle": "Other videos: too few clips have another recording of their source to carry actions to.",
}
"""What is reported where a test of two recordings cannot be made."""


def _across(test: str, part: PerClip | None, judged: Callable[[PerClip], Claim]) -> Iterator[Claim]:
    """The outcome of a test of two recordings, over the clips that have another one; nothing if it was not run."""
    if part is None:
        return
    part = _elsewhere(part)
    yield judged(part) if part.is_enough else Claim(test, None, TOO_FEW[test], counts=False)


def _elsewhere(part: PerClip) -> PerClip:
    """The clips that were paired with one of another recording, and whose errors are numbers."""
    partners = another_clip(part.sources, part.recordings)
    finite = torch.stack(list(part.values.values())).isfinite().all(dim=0).tolist()
    return part.where([ok and part.recordings[i] != part.recordings[partners[i]] for i, ok in enumerate(finite)])


def _cut(leakage: PerClip) -> Claim:
    """Scene cuts: compared with copying, which has no actions, and with a model without them, which cannot leak."""
    ratio = leakage.estimate("cut", over="plain")
    baselines = {"Copying the last frame": leakage.estimate("cut_copy", over="plain_copy")}
    if "cut_deterministic" in leakage.values:
        baselines["The model without actions"] = leakage.estimate("cut_deterministic", over="plain_deterministic")
    against = list(baselines.values())[-1]
    figures = (
        f"At a cut to another scene, which no action can predict, the error is {_times(ratio)} that without the cut. "
        + " ".join(f"{name}: {_times(e)}, {_compared(ratio, e)}." for name, e in baselines.items())
    )
    below = ratio.high < against.low
    if against.mean < LEAK_UNDER:
        return Claim("cut", None, f"{figures} Such cuts change too little here for a conclusion.", counts=False)
    if below and ratio.mean < LEAK_UNDER:
        said = f"{figures} The action is a copy of the next frame instead of holding what changes."
        return Claim("cut", False, said, remedies=(TIGHTER,), below=True)
    if below:
        return Claim("cut", True, f"{figures} The action copies a little of the next frame.", below=True)
    return Claim("cut", True, f"{figures} There is no sign that the action copies the next frame.")


def _cycle(cycle: PerClip) -> Claim:
    """Actions carried to another video and back, compared with chance: the other clip's own actions."""
    ratio, chance = cycle.estimate("cycled", over="original"), cycle.estimate("other", over="original")
    figures = (
        f"Carried to another video and back, the action has {_times(ratio)} its error; an unrelated one, which is "
        f"chance, has {_times(chance)}"
    )
    bound = min((1 + chance.mean) / 2, TRANSFERS_UNDER)
    if not _exceeds(chance, MARGIN):
        return Claim("cycle", None, f"{figures}: chance does as well, so the test is inconclusive.", counts=False)
    if ratio.low > bound:
        return Claim("cycle", False, f"{figures}: it means something else there.", remedies=(TIGHTER, LONGER))
    if ratio.high >= chance.low:
        said = f"{figures}: the intervals overlap, so the test is inconclusive."
        return Claim("cycle", None, said, remedies=(MORE_VIDEOS,))
    if ratio.mean > bound:
        return Claim("cycle", None, f"{figures}: it may mean something else there.", remedies=(MORE_VIDEOS,))
    return Claim("cycle", True, f"{figures}: it means much the same there.")


def _locality(evaluations: Figures) -> Iterator[Claim]:
    """Where the motion of one place acts in another scene. Reported, not counted: the camera may be all that moves."""
    found = evaluations.get("locality")
    if not found or not (share := found["share"]["transferred"]) or not (true := found["share"]["true"]):
        return
    figures = (
        "In composed scenes with two discs, of which one moves, its action puts into that place of another scene "
        f"{_interval(share)} of the change; 0.50 is both places alike, the true motion has {_interval(true)}"
    )
    carried = found.get("carried")
    if share["low"] <= 0.5:
        said = "it is not bound to a place"
    elif share["mean"] < 0.5 + HARDLY * (true["mean"] - 0.5):
        said = "it is hardly bound to a place"
    elif carried and carried["low"] > 0.5:
        said = "it is bound to a place in the picture, and follows it"
    else:
        said = "it is bound to a place"
    yield Claim("locality", None, f"{figures}: {said}.", counts=False)


COMPARED = ("linear z", "linear state")
"""The probe of the inferred action, and its baseline, the probe of the frame before."""


def _probes(found: Mapping[str, PerClip], evaluations: Figures) -> Iterator[Claim]:
    """How much of the true actions a probe reads from the latent ones, compared with the state alone."""
    of_probe = evaluations.get("probes") or {}
    for name, part in found.items():
        if not name.startswith("probes"):
            continue
        actions = [key.removeprefix("linear z: ") for key in part.values if key.startswith("linear z: ")]
        if not part.is_enough:
            said = f"The true {in_words(actions)} is known for {part.amount} only: too few for a comparison."
            yield Claim("probes", None, said, counts=False)
            continue
        shares, no_more = [], []
        for action in actions:
            z, state = (of_probe[probe][action] for probe in COMPARED)
            shares.append(f"{action} {_percent(z)} against {_percent(state)}")
            if z["low"] <= state["high"]:
                no_more.append(f"{action} (less)" if z["high"] < state["low"] else f"{action} (the intervals overlap)")
        said = (
            "Variance of the true actions, which training never saw, that a linear probe of the inferred action "
            f"explains, against a probe of the frame before alone: {'; '.join(shares)}."
        )
        if any(of_probe[probe][action]["mean"] < 0 for probe in COMPARED for action in actions):
            said += " Below 0 % is worse than predicting the mean."
        if no_more:
            said += f" No clear gain over the frame before: {', '.join(no_more)}."
        yield Claim("probes", None, said, counts=False)


def _compared(one: Estimate, other: Estimate) -> str:
    if one.high < other.low:
        return "clearly more"
    return "clearly less" if other.high < one.low else "the intervals overlap"


def _means(part: PerClip) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in part.values.items()}


def _interval(estimate: Figures) -> str:
    return interval_text(estimate["mean"], estimate["low"], estimate["high"], ".2f")


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _percent(estimate: Figures) -> str:
    """A share in per cent, with its interval."""
    mean, low, high = (round(100 * estimate[key]) for key in ("mean", "low", "high"))
    return f"{mean} %" if estimate["low"] == estimate["high"] else f"{mean} % ({low} to {high})"


def _times(ratio: Estimate) -> str:
    """A ratio with its interval."""
    return f"{ratio.mean:.2f} times" + ("" if ratio.low == ratio.high else f" ({ratio.low:.2f} to {ratio.high:.2f})")
