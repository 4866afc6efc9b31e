"""Are these latent actions actions? What the evaluations say together, in words for those who have not read the paper.

Every claim is made against its control, by 95 % intervals over held-out recordings, and only where there are enough of
them for an interval to mean something. ``wildlam train``, ``eval`` and ``show``, the reports of runs and of sweeps all
judge by ``verdict``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from wildlam.evaluation.clips import another_clip
from wildlam.evaluation.intervals import FEWEST_CLIPS, FEWEST_RECORDINGS, Estimate, PerClip, interval_text
from wildlam.evaluation.leakage import LEAK_UNDER
from wildlam.evaluation.one_step import METHODS
from wildlam.fileio import read_json

MARGIN = 0.05
"""By how much the error of a control must exceed the model's: of copying, and of another clip's actions."""

TRANSFERS_UNDER = 2.0
"""Ratio of the cycled to the original error over which actions are said not to transfer."""

HARDLY = 0.1
"""Of the way from no place in particular to the true motion: a share below it is hardly local, however certain."""

MORE_VIDEOS = "add videos, or hold out more of those there are (--data.held_out 0.3) and train again"
ADD = "add videos"
LONGER = "train longer (--training.steps)"
LOOSER = "loosen the limit on the action (of Noisy, a smaller --model.bottleneck.beta)"
TIGHTER = "tighten the limit on the action (of Noisy, a larger --model.bottleneck.beta)"
USE_THEM = "put them to use with wildlam infer, wildlam transfer or wildlam controller train"

NO_DIFFERENCE = "the interval holds 1, which is no difference, so"

Told = Mapping[str, Any]
"""Contents of ``results.json``, or of ``evaluations.json``."""


@dataclass(frozen=True)
class Claim:
    """What one test says.

    Attributes:
        test: its name, a key of ``FAILED`` if the claim counts.
        holds: whether the claim does; ``None`` if that cannot be decided.
        said: a plain sentence, with the control.
        counts: whether the verdict depends on it.
        remedies: what to try where it does not hold.
        below: for scene cuts: whether the ratio lies clearly under that of the control.
    """

    test: str
    holds: bool | None
    said: str
    counts: bool = True
    remedies: tuple[str, ...] = ()
    below: bool = False


FAILED = {
    "learns": "no better than taking the last frame again",
    "uses": "the action is ignored",
    "helps": "no better than a model without actions",
    "cut": "the action hands over the next frame itself",
    "cycle": "the action means something else in other videos",
}
"""The tests that count, in order, and in short what it means to fail them."""


@dataclass(frozen=True)
class Verdict:
    """Whether the latent actions work (``None`` if that cannot be decided), and why, one plain sentence after another.

    Attributes:
        works: whether they do.
        sentences: what was tried, what came out, what to do next.
        claims: what the tests said; none where nothing could be judged.
        is_too_little: there are not recordings and clips enough to judge anything.
    """

    works: bool | None
    sentences: list[str]
    claims: Sequence[Claim] = ()
    is_too_little: bool = False

    @property
    def head(self) -> str:
        """The verdict in a line."""
        if self.works is None:
            return (
                "Too little to tell." if self.claims or self.is_too_little else "The inferred actions were not judged."
            )
        return "The inferred actions work." if self.works else "The inferred actions do not work yet."

    @property
    def lines(self) -> list[str]:
        """All of it as text."""
        return [self.head, *self.sentences]


def known(errors: Mapping[str, float | None], method: str) -> float | None:
    """The error of ``method``, or ``None`` if it was not measured (missing, ``None`` or not finite)."""
    value = errors.get(method)
    return value if value is not None and math.isfinite(value) else None


def verdict_of(folder: Path, without_actions: Path | None = None) -> Verdict:
    """Judge what ``wildlam eval`` wrote into ``folder``; see ``verdict``.

    Args:
        folder: with ``results.json`` and, beside it, ``evaluations.json``.
        without_actions: the same of a model trained without actions on the same clips, if it is a run of its own.

    Raises:
        WildlamError: a file is damaged.
    """
    results, per_clip = read_json(folder / "results.json"), folder / "evaluations.json"
    if not per_clip.is_file():
        said = f"{per_clip} is missing, so it is not known how sure the figures are."
        then = (
            "Next: wildlam eval RUN judges it where its videos are, wildlam eval RUN --data.path DIR on other videos."
        )
        return Verdict(None, [said, *_averages(results), then])
    bare = without_actions and without_actions / "evaluations.json"
    return verdict(results, read_json(per_clip), read_json(bare) if bare and bare.is_file() else None)


def _averages(results: Told) -> Iterator[str]:
    """What is known of a run that lacks the figures of its clips, as the packaged one does: each beside its control."""
    means, found = results.get("all") or {}, results.get("evaluations") or {}
    idm = known(means, "idm")
    controls = {
        "copy": "taking the last frame again",
        "permuted": "the action of another clip",
        "deterministic": "a model trained without actions",
    }
    told = [f"{said} has {e / idm:.2f} times" for name, said in controls.items() if idm and (e := known(means, name))]
    if told:
        yield f"On average over all held-out clips, {_list(told)} the error of the model."
    if cut := found.get("leakage"):
        yield (
            f"Where the film jumps to another scene, the error is {cut['ratio']['mean']:.2f} times that without "
            f"the jump; of taking the last frame again, {cut['copy_ratio']['mean']:.2f} times."
        )
    if cycle := found.get("cycle"):
        yield (
            f"Carried to another video and back, the action has {cycle['ratio']['mean']:.2f} times its error; an "
            f"unrelated one, which is chance, has {cycle['other_ratio']['mean']:.2f} times."
        )


def verdict(results: Told, per_clip: Told, without_actions: Told | None = None) -> Verdict:
    """Judge a run: all sources together, then each source that differs, then each test.

    Latent actions work if copying the last state is at least 5 % worse, *and* another clip's actions are, *and* a model
    without actions is worse, *and* they do not hand over the next state at a scene cut, *and* they survive a journey to
    another video and back better than chance. Tests that were not run do not count.

    Args:
        results: what ``results.json`` holds.
        per_clip: what ``evaluations.json`` holds: from it come all intervals, and the number of recordings.
        without_actions: the latter of a model without actions, if this run did not train one. It is compared with where
            it was evaluated on the same clips.
    """
    found = {name: PerClip.from_json(part) for name, part in per_clip.items()}
    one_step = found.get("one_step")
    if one_step is None:
        return Verdict(None, ["Nothing can be said: no error was measured."])
    if without_actions:
        found |= _beside({name: found[name] for name in ("one_step", "leakage") if name in found}, without_actions)
        one_step = found["one_step"]
    if not one_step.is_enough:
        return _too_little(one_step)
    means = _means(one_step)
    if missing := [METHODS[name] for name in ("idm", "permuted", "copy") if known(means, name) is None]:
        return Verdict(None, [f"Nothing can be said: no error was measured for {' and '.join(missing)}."])

    evaluations = results.get("evaluations") or {}
    claims = _errors(one_step)
    overall = _together(claims)
    claims += _of_sources(one_step, overall)
    if overall is not False:
        claims += [*_across("cut", found.get("leakage"), _cut), *_across("cycle", found.get("cycle"), _cycle)]
    claims += [*_locality(evaluations), *_probes(found, evaluations)]
    works = _together(claims)
    tried = (
        f"Tried on {one_step.amount} that are held out; in brackets, how far other recordings like these "
        "may move a figure (95 % intervals)."
    )
    remedies = dict.fromkeys(r for c in claims if c.counts and c.holds is not True for r in c.remedies)
    then = f"Next: {'; or '.join(remedies) if remedies else USE_THEM}."
    return Verdict(works, [tried, *(claim.said for claim in claims), then], claims)


def _together(claims: Sequence[Claim]) -> bool | None:
    """One that does not hold is enough to fail; one that cannot be decided leaves the others in doubt."""
    held = [claim.holds for claim in claims if claim.counts]
    return False if False in held else None if None in held else True


def _beside(found: dict[str, PerClip], without_actions: Told) -> dict[str, PerClip]:
    """The same with the errors of a model without actions in them, where it was evaluated on the same clips."""
    joined = {}
    for name, part in found.items():
        if name in without_actions and _same_clips(bare := PerClip.from_json(without_actions[name]), part):
            taken = {"idm": "deterministic", "plain": "plain_deterministic", "cut": "cut_deterministic"}
            values = {new: bare.values[old] for old, new in taken.items() if old in bare.values}
            joined[name] = replace(part, values=part.values | values)
    return joined


def _same_clips(one: PerClip, other: PerClip) -> bool:
    """Whether they are of the same clips, each paired with the same other one."""
    return (one.names, one.recordings) == (other.names, other.recordings)


def _too_little(one_step: PerClip) -> Verdict:
    """Too few to say anything of other videos: what was measured on these clips, without intervals."""
    said = [
        f"Only {one_step.amount} {'is' if len(one_step) == 1 else 'are'} held out. From fewer than "
        f"{FEWEST_RECORDINGS} recordings, or {FEWEST_CLIPS} clips, nothing can be said of other videos."
    ]
    means = _means(one_step)
    idm, copy = known(means, "idm"), known(means, "copy")
    if idm is not None and copy:
        less = f"{_share(abs(1 - idm / copy))} {'less' if idm <= copy else 'more'}"
        said.append(f"On these alone, the model's error is {less} than that of taking the last frame again.")
    return Verdict(None, [*said, f"Next: {MORE_VIDEOS}."], is_too_little=True)


def _exceeds(ratio: Estimate, margin: float) -> bool | None:
    """Whether a control's error exceeds the model's by ``margin``, and surely so; None: the interval allows both."""
    if ratio.mean >= 1 + margin and ratio.low > 1:
        return True
    return None if ratio.low <= 1 and ratio.high > 1 + margin else False


def _errors(one_step: PerClip) -> list[Claim]:
    """The one-step errors against their three controls, of which the model without actions may be missing."""
    copy, permuted = one_step.estimate("copy", over="idm"), one_step.estimate("permuted", over="idm")
    learns, uses = _exceeds(copy, MARGIN), _exceeds(permuted, MARGIN)
    outcome = {
        True: "the model has learnt to predict",
        False: f"the model has {'hardly' if copy.low > 1 else 'not'} learnt to predict",
        None: f"{NO_DIFFERENCE} whether the model predicts better cannot be told",
    }
    told = (
        f"Taking the last frame again, instead of predicting the next, has {_times(copy)} the error: {outcome[learns]}."
    )
    claims = [Claim("learns", learns, told, remedies=(LONGER, ADD))]
    outcome = {
        True: "it goes by the action",
        False: "it ignores the action",
        None: f"{NO_DIFFERENCE} whether it goes by the action cannot be told",
    }
    told = f"Given the action of another clip, the model has {_times(permuted)} its error: {outcome[uses]}."
    claims.append(Claim("uses", uses, told, remedies=(LONGER, LOOSER)))
    if "deterministic" in one_step.values:
        bare = one_step.estimate("deterministic", over="idm")
        helps = _exceeds(bare, 0.0)
        outcome = {
            True: "the action helps",
            False: "the action does not help",
            None: f"{NO_DIFFERENCE} whether the action helps cannot be told",
        }
        told = f"A model trained without actions has {_times(bare)} the error: {outcome[helps]}."
        claims.append(Claim("helps", helps, told, remedies=(LONGER, LOOSER)))
    return [replace(c, remedies=(MORE_VIDEOS,)) if c.holds is None else c for c in claims]


def _of_sources(one_step: PerClip, overall: bool | None) -> Iterator[Claim]:
    """Sources that differ from all together, and those too small to be judged by themselves."""
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
        yield Claim("source", None, f"Too few to judge by themselves: {', '.join(small)}.", counts=False)


TOO_FEW = {
    "cut": "Scene cuts: too few clips have another recording of their source to cut to.",
    "cycle": "Other videos: too few clips have another recording of their source to carry actions to.",
}
"""What is said where a test of two recordings cannot be made."""


def _across(test: str, part: PerClip | None, judged: Callable[[PerClip], Claim]) -> Iterator[Claim]:
    """What a test of two recordings says, of the clips that have another one; nothing if it was not run."""
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
    """Scene cuts against copying, which has no actions, and against a model without them, which cannot leak."""
    ratio = leakage.estimate("cut", over="plain")
    controls = {"Taking the last frame again": leakage.estimate("cut_copy", over="plain_copy")}
    if "cut_deterministic" in leakage.values:
        controls["The model without actions"] = leakage.estimate("cut_deterministic", over="plain_deterministic")
    against = list(controls.values())[-1]
    told = (
        f"Where the film jumps to another scene, which no action foretells, the error is {_times(ratio)} that without "
        "the jump. " + " ".join(f"{name}: {_times(e)}, {_compared(ratio, e)}." for name, e in controls.items())
    )
    below = ratio.high < against.low
    if against.mean < LEAK_UNDER:
        return Claim("cut", None, f"{told} Such jumps are too small here to tell anything.", counts=False)
    if below and ratio.mean < LEAK_UNDER:
        said = f"{told} The action hands over the next frame itself instead of what changes."
        return Claim("cut", False, said, remedies=(TIGHTER,), below=True)
    if below:
        return Claim("cut", True, f"{told} The action hands over a little of the next frame itself.", below=True)
    return Claim("cut", True, f"{told} There is no sign that the action hands over the next frame itself.")


def _cycle(cycle: PerClip) -> Claim:
    """A journey to another video and back against chance, which is the other clip's own actions."""
    ratio, chance = cycle.estimate("cycled", over="original"), cycle.estimate("other", over="original")
    told = (
        f"Carried to another video and back, the action has {_times(ratio)} its error; an unrelated one, which is "
        f"chance, has {_times(chance)}"
    )
    bound = min((1 + chance.mean) / 2, TRANSFERS_UNDER)
    if not _exceeds(chance, MARGIN):
        return Claim("cycle", None, f"{told}: as chance does as well, this tells nothing.", counts=False)
    if ratio.low > bound:
        return Claim("cycle", False, f"{told}: it means something else there.", remedies=(TIGHTER, LONGER))
    if ratio.high >= chance.low:
        said = f"{told}: the intervals overlap, so it cannot be told."
        return Claim("cycle", None, said, remedies=(MORE_VIDEOS,))
    if ratio.mean > bound:
        return Claim("cycle", None, f"{told}: it may mean something else there.", remedies=(MORE_VIDEOS,))
    return Claim("cycle", True, f"{told}: it means much the same there.")


def _locality(evaluations: Told) -> Iterator[Claim]:
    """What a motion of one place does in another scene. Reported, not counted: the camera may be all that moves."""
    found = evaluations.get("locality")
    if not found or not (share := found["share"]["transferred"]) or not (true := found["share"]["true"]):
        return
    told = (
        "In made-up scenes with two discs, of which one moves, its action brings to that place in another scene "
        f"{_interval(share)} of the change; 0.50 is either place alike, the true motion has {_interval(true)}"
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
    yield Claim("locality", None, f"{told}: {said}.", counts=False)


COMPARED = ("linear z", "linear state")
"""The probe of the inferred action, and that of the frame before, which is its control."""


def _probes(found: Mapping[str, PerClip], evaluations: Told) -> Iterator[Claim]:
    """How much of the true actions can be read from the latent ones, against from the state alone."""
    of_probe = evaluations.get("probes") or {}
    for name, part in found.items():
        if not name.startswith("probes"):
            continue
        actions = [key.removeprefix("linear z: ") for key in part.values if key.startswith("linear z: ")]
        if not part.is_enough:
            said = f"The true {_list(actions)} is known of {part.amount} only: too few to compare with."
            yield Claim("probes", None, said, counts=False)
            continue
        told, no_more = [], []
        for action in actions:
            z, state = (of_probe[probe][action] for probe in COMPARED)
            told.append(f"of {action} {_percent(z)} against {_percent(state)}")
            if z["low"] <= state["high"]:
                no_more.append(f"{action} (less)" if z["high"] < state["low"] else f"{action} (the intervals overlap)")
        said = (
            "A straight line from the inferred action explains so much of the variance of the true ones, which "
            f"training never saw, against one from the frame before alone: {'; '.join(told)}."
        )
        if any(of_probe[probe][action]["mean"] < 0 for probe in COMPARED for action in actions):
            said += " Under 0 % is worse than always saying the average."
        if no_more:
            said += f" No more than the frame before, as far as can be told: {', '.join(no_more)}."
        yield Claim("probes", None, said, counts=False)


def _compared(one: Estimate, other: Estimate) -> str:
    if one.high < other.low:
        return "clearly more"
    return "clearly less" if other.high < one.low else "the intervals overlap"


def _means(part: PerClip) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in part.values.items()}


def _list(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _interval(estimate: Told) -> str:
    return interval_text(estimate["mean"], estimate["low"], estimate["high"], ".2f")


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _percent(estimate: Told) -> str:
    """A share in per cent, with its interval."""
    mean, low, high = (round(100 * estimate[key]) for key in ("mean", "low", "high"))
    return f"{mean} %" if estimate["low"] == estimate["high"] else f"{mean} % ({low} to {high})"


def _times(ratio: Estimate) -> str:
    """A ratio with its interval."""
    return f"{ratio.mean:.2f} times" + ("" if ratio.low == ratio.high else f" ({ratio.low:.2f} to {ratio.high:.2f})")
