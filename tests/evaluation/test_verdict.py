"""Verdicts on made-up errors: what is claimed, against which control, and from how much."""

import json
import math

import pytest
import torch

from wildlam.evaluation.intervals import FEWEST_CLIPS, FEWEST_RECORDINGS
from wildlam.evaluation.verdict import verdict, verdict_of

GOOD = {"idm": 0.12, "permuted": 0.23, "zero": 0.24, "deterministic": 0.16, "copy": 0.18}
IGNORED = {"idm": 0.15, "permuted": 0.151, "zero": 0.15, "deterministic": 0.151, "copy": 0.18}
BAD = {"idm": 0.19, "permuted": 0.25, "zero": 0.26, "deterministic": 0.18, "copy": 0.18}
CUT = {"plain": 0.1, "cut": 0.2, "plain_copy": 0.15, "cut_copy": 0.3}
CYCLE = {"original": 0.2, "cycled": 0.21, "other": 0.3}
JARGON = ("z ", "L1", "one-step", "latent", "IDM", "bottleneck ", "bootstrap", "R²", "leak")


def clips(means, recordings=12, each=2, noise=0.02, source="one"):
    """Values of clips about their means; one recording's resemble each other."""
    generator = torch.Generator().manual_seed(0)
    values = {}
    for name, mean in means.items():
        of_recordings = torch.randn(recordings, generator=generator)
        of_recordings = (of_recordings - of_recordings.mean()).repeat_interleave(each)
        values[name] = (mean * (1 + noise * of_recordings)).tolist()
    names = [f"{source}/{i}.mp4" for i in range(recordings) for _ in range(each)]
    return {"names": names, "sources": [source] * len(names), "values": values}


def joined(*parts):
    names, sources = ([x for part in parts for x in part[key]] for key in ("names", "sources"))
    values = {name: [v for part in parts for v in part["values"][name]] for name in parts[0]["values"]}
    return {"names": names, "sources": sources, "values": values}


def judge(errors, evaluations=None, **parts):
    per_clip = {"one_step": clips(errors) if "names" not in errors else errors, **parts}
    return verdict({"evaluations": evaluations or {}}, per_clip)


def said(result):
    return " ".join(result.sentences)


def test_good():
    result = judge(GOOD, leakage=clips(CUT), cycle=clips(CYCLE))
    assert result.works is True
    assert result.head == "The inferred actions work."
    tried, copying, unrelated, without, cut, cycle, then = result.sentences
    assert tried.startswith("Evaluated on 24 clips of 12 recordings, held out")
    assert copying.startswith("Copying the last frame, instead of predicting the next, has 1.50 times (1.")
    assert unrelated.startswith("Given the action of another clip, the model has 1.9")
    assert without.startswith("A model trained without actions has 1.33 times")
    assert "no sign that the action copies the next frame" in cut
    assert "an unrelated one, which is chance, has 1.5" in cycle
    assert then == "Next: put them to use with wildlam infer, wildlam transfer or wildlam controller train."


@pytest.mark.parametrize(
    ("recordings", "each", "amount"),
    [
        (1, 3, "3 clips of 1 recording are"),
        (1, 1, "1 clip of 1 recording is"),
        (4, 50, "200 clips of 4 recordings are"),
    ],
)
def test_too_little_to_tell(recordings, each, amount):
    """However good the figures: no interval, no claim about other videos."""
    parts = {"leakage": clips(CUT, recordings, each), "cycle": clips(CYCLE, recordings, each)}
    result = judge(clips(GOOD, recordings, each), found_locality(0.8, 0.7, 0.9), **parts)
    assert result.works is None
    assert result.head == "Inconclusive."
    assert result.sentences[0].startswith(f"Only {amount} held out.")
    assert "33 % less than that of copying the last frame" in said(result)
    assert " to " not in said(result)
    assert "Next: add videos, or hold out more" in result.sentences[-1]
    assert len(result.sentences) == 3


def test_enough_recordings_with_too_few_clips():
    assert judge(clips(GOOD, FEWEST_RECORDINGS, 1)).is_too_little
    assert judge(clips(GOOD, FEWEST_RECORDINGS, FEWEST_CLIPS // FEWEST_RECORDINGS)).works is True


def test_ignored():
    result = judge(IGNORED, leakage=clips(CUT), cycle=clips(CYCLE))
    assert result.works is False
    assert "it ignores the action" in said(result)
    assert "another video and back" not in said(result)  # nothing is claimed of an action that is not used
    assert "At a cut" not in said(result)
    assert "loosen the limit" in result.sentences[-1]


@pytest.mark.parametrize("idm", [0.176, 0.18, 0.3])
def test_no_better_than_copying(idm):
    result = judge({**BAD, "idm": idm})
    assert result.works is False
    assert "not learnt" in said(result) or "hardly learnt" in said(result)
    assert result.sentences[-1].startswith("Next: train longer")


def test_uncertain_errors_are_not_claimed():
    """On average far better than copying, but not in every draw of the recordings."""
    result = judge(clips(GOOD, recordings=6, noise=0.6))
    assert result.works is None
    assert result.head == "Inconclusive."
    assert "the interval includes 1 (no difference), so it is unclear whether" in said(result)
    assert "hold out more" in result.sentences[-1]


def test_a_model_without_actions_that_does_as_well():
    result = judge({**GOOD, "deterministic": 0.11})
    assert result.works is False
    assert "the action does not help" in said(result)


def test_a_source_that_fails_is_named_and_a_small_one_not_judged():
    parts = clips(GOOD, 30, source="doom"), clips(BAD, source="filmed"), clips(BAD, 2, source="few")
    result = judge(joined(*parts))
    assert result.works is True
    assert "On filmed it does not work. Copying the last frame" in said(result)
    assert "Too few clips for a verdict of their own: few (4 clips of 2 recordings)." in result.sentences
    assert "On doom" not in said(result)


def test_one_source_is_not_told_twice():
    assert sum("Copying the last frame" in sentence for sentence in judge(BAD).sentences) == 1


@pytest.mark.parametrize("missing", [math.nan, "absent"])
def test_missing_errors_are_not_judged(missing):
    part = clips(GOOD)
    if missing == "absent":
        del part["values"]["copy"]
    else:
        part["values"]["copy"][3] = missing
    result = judge(part)
    assert result.works is None
    assert result.head == "The inferred actions were not evaluated."
    assert "copy the last frame" in result.sentences[0]


def test_a_missing_deterministic_model_is_not_mentioned():
    assert "without actions" not in said(judge({key: value for key, value in GOOD.items() if key != "deterministic"}))


def test_the_model_without_actions_of_a_sweep_is_the_control():
    errors = {key: value for key, value in GOOD.items() if key != "deterministic"}
    per_clip = {"one_step": clips(errors), "leakage": clips(CUT)}
    bare = {"one_step": clips({"idm": 0.16}), "leakage": clips({"plain": 0.16, "cut": 0.48})}
    result = verdict({}, per_clip, bare)
    assert "A model trained without actions has 1.3" in said(result)
    assert "The model without actions: 3.0" in said(result)
    other = {"one_step": clips({"idm": 0.16}, recordings=3)}
    assert "trained without actions" not in said(verdict({}, per_clip, other))  # other clips: no comparison


@pytest.mark.parametrize(
    ("cut", "works", "told"),
    [
        ({"cut": 0.1}, False, "is a copy of the next frame instead of holding what changes"),
        ({"cut": 0.17}, True, "copies a little of the next frame"),
        ({"cut": 0.2}, True, "the intervals overlap. There is no sign"),
        ({"cut": 0.3}, True, "clearly less. There is no sign"),
        ({"cut": 0.1, "cut_copy": 0.16}, True, "too little here for a conclusion"),
        ({"plain_deterministic": 0.1, "cut_deterministic": 0.3}, True, "The model without actions: 3.0"),
    ],
)
def test_scene_cuts_against_their_controls(cut, works, told):
    result = judge(GOOD, leakage=clips({**CUT, **cut}, noise=0.01))
    assert result.works is works
    assert told in said(result)


@pytest.mark.parametrize(
    ("cycle", "works", "told"),
    [
        ({"cycled": 0.5, "other": 1.0}, False, "something else there"),
        ({"cycled": 0.28}, False, "something else there"),
        ({"cycled": 0.2, "other": 0.2}, True, "so the test is inconclusive"),
    ],
)
def test_the_cycle_against_chance(cycle, works, told):
    result = judge(GOOD, cycle=clips({**CYCLE, **cycle}))
    assert result.works is works
    assert told in said(result)


def test_a_cycle_whose_interval_meets_that_of_chance():
    part = clips({**CYCLE, "cycled": 0.24}, recordings=6, noise=0.3)
    result = judge(GOOD, cycle=part)
    assert result.works is None
    assert "the intervals overlap, so the test is inconclusive" in said(result)


def test_no_claim_about_other_videos_where_no_source_has_two():
    """Six sources of one video each: every clip is paired with one of its own video."""
    parts = [[clips(means, 1, 4, source=f"s{i}") for i in range(6)] for means in (GOOD, CUT, CYCLE)]
    one_step, leakage, cycle = (joined(*part) for part in parts)
    for part in (one_step, leakage, cycle):  # recordings differ
        for name, values in part["values"].items():
            part["values"][name] = [v * (1 + 0.01 * (i // 4)) for i, v in enumerate(values)]
    result = judge(one_step, leakage=leakage, cycle=cycle)
    assert "Scene cuts: too few clips have another recording of their source" in said(result)
    assert "Other videos: too few clips have another recording of their source" in said(result)


R2 = {
    "linear z": {
        "forward": {"mean": 0.6, "low": 0.5, "high": 0.7},
        "left": {"mean": 0.1, "low": 0.0, "high": 0.2},
        "turn": {"mean": -0.1, "low": -0.3, "high": 0.0},
    },
    "linear state": {
        "forward": {"mean": 0.2, "low": 0.1, "high": 0.3},
        "left": {"mean": 0.2, "low": 0.1, "high": 0.3},
        "turn": {"mean": 0.2, "low": 0.1, "high": 0.3},
    },
}


def test_probes_against_the_state_alone():
    known = clips({f"linear z: {action}": 1.0 for action in R2["linear z"]})
    told = judge(GOOD, {"probes": R2}, probes=known).sentences[-2]
    assert "forward 60 % (50 to 70) against 20 % (10 to 30)" in told
    assert told.endswith("No clear gain over the frame before: left (the intervals overlap), turn (less).")
    assert "Below 0 % is worse than predicting the mean." in told  # of turn


def test_probes_of_too_few_recordings():
    known = clips({"linear z: turn": 1.0}, recordings=2)
    told = judge(GOOD, {"probes": R2}, probes=known).sentences[-2]
    assert told == "The true turn is known for 4 clips of 2 recordings only: too few for a comparison."


def test_tests_that_were_not_run_do_not_count():
    assert judge(GOOD, {"leakage": None, "cycle": None, "probes": None}).works is True


def found_locality(share, low, carried):
    transferred = {"mean": share, "low": low, "high": 1.0}
    shares = {"true": {"mean": 0.9, "low": 0.8, "high": 1.0}, "transferred": transferred}
    return {"locality": {"share": shares, "carried": {"mean": 1, "low": carried}}}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (found_locality(0.5, 0.49, 0.0), "the true motion has 0.90 (0.80 to 1.00): it is not bound to a place."),
        (found_locality(0.503, 0.501, 0.9), "it is hardly bound to a place."),
        (found_locality(0.8, 0.7, 0.1), "it is bound to a place."),
        (found_locality(0.8, 0.7, 0.9), "it is bound to a place in the picture, and follows it."),
    ],
)
def test_locality_is_reported_but_not_counted(found, told):
    result = judge(GOOD, found)
    assert result.works is True
    assert result.sentences[-2].endswith(told)


def test_a_model_that_changes_nothing_has_no_locality_to_report():
    found = found_locality(0.8, 0.7, 0.9)
    found["locality"]["share"]["transferred"] = None
    assert judge(GOOD, found).sentences == judge(GOOD).sentences


@pytest.mark.parametrize("errors", [GOOD, IGNORED, BAD])
def test_words_for_someone_who_has_not_read_the_paper(errors):
    known = clips({f"linear z: {action}": 1.0 for action in R2["linear z"]})
    evaluations = found_locality(0.8, 0.7, 0.9) | {"probes": R2}
    told = said(judge(errors, evaluations, leakage=clips(CUT), cycle=clips(CYCLE), probes=known))
    assert not [word for word in JARGON if word in told.replace("--model.bottleneck.beta", "")]


def test_a_run_evaluated_without_values_of_clips(tmp_path):
    """As the packaged model is: averages with their baselines, no claims, and the next step."""
    ratios = {"leakage": {"ratio": 2.0, "copy_ratio": 2.1}, "cycle": {"ratio": 1.1, "other_ratio": 1.4}}
    evaluations = {test: {name: {"mean": r} for name, r in of.items()} for test, of in ratios.items()}
    (tmp_path / "results.json").write_text(json.dumps({"all": GOOD, "evaluations": evaluations}))
    result = verdict_of(tmp_path)
    assert result.works is None
    missing, errors, cut, cycle, then = result.sentences
    assert "evaluations.json is missing" in missing
    assert "copying the last frame has 1.50 times, the action of another clip has 1.92 times and a model" in errors
    assert "2.00 times that without the cut; when copying the last frame, 2.10 times." in cut
    assert "chance, has 1.40 times." in cycle
    assert "wildlam eval" in then
    (tmp_path / "results.json").write_text(json.dumps({"all": {"idm": 0.1}}))
    assert len(verdict_of(tmp_path).sentences) == 2
    (tmp_path / "evaluations.json").write_text(json.dumps({"one_step": clips(GOOD)}))
    assert verdict_of(tmp_path).works is True
