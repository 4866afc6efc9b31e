import math

import pytest

from wildlam.report import verdict

GOOD = {"idm": 0.12, "permuted": 0.23, "zero": 0.24, "deterministic": 0.16, "copy": 0.18}
IGNORED = {"idm": 0.15, "permuted": 0.151, "zero": 0.15, "copy": 0.18}
BAD = {"idm": 0.19, "permuted": 0.25, "zero": 0.26, "deterministic": 0.18, "copy": 0.18}


def judge(errors, **sources):
    return verdict({"sources": sources, "all": errors})


def test_good():
    result = judge(GOOD, doom=GOOD)
    assert result.works is True
    assert result.sentences == [
        "Inferred actions remove 33 % of the error of copying the last frame.",
        "Another clip's actions make it 1.9x worse: z carries what changed.",
        "With zero actions the error is 2.0x as large.",
        "Against a model without actions, inferred ones remove 25 % of the error.",
    ]


def test_ignored():
    result = judge(IGNORED)
    assert result.works is False
    assert "z is ignored" in " ".join(result.sentences)
    assert "carries" not in " ".join(result.sentences)


@pytest.mark.parametrize("idm", [0.172, 0.18, 0.3])
def test_no_better_than_copying(idm):
    result = judge({**BAD, "idm": idm})
    assert result.works is False
    assert "not learnt" in result.sentences[0] or "hardly learnt" in result.sentences[0]
    assert "carries what changed" not in " ".join(result.sentences)


def test_a_source_that_fails_is_named():
    result = judge(GOOD, doom=GOOD, filmed=BAD)
    assert result.works is True
    assert result.sentences[-1].startswith("On filmed it did not work.")
    assert not any("On doom" in sentence for sentence in result.sentences)


@pytest.mark.parametrize("missing", [None, math.nan, "absent"])
def test_missing_errors_are_not_judged(missing):
    errors = {**GOOD, "copy": missing}
    if missing == "absent":
        del errors["copy"]
    result = judge(errors)
    assert result.works is None
    assert "copy the last frame" in result.sentences[0]


def test_a_missing_deterministic_model_is_not_mentioned():
    errors = {key: value for key, value in GOOD.items() if key != "deterministic"}
    assert not any("without actions" in sentence for sentence in judge(errors).sentences)


PROBED = {
    "forward": {"mean": 0.6, "low": 0.5},
    "left": {"mean": 0.3, "low": -0.2},
    "turn": {"mean": -0.1, "low": -0.3},
    "mean": {"mean": 0.2, "low": 0.1},
}


def evaluated(leak=2.0, cycle=1.1, other=1.5, probes=None):
    ratios = {"leakage": {"ratio": {"mean": leak}}, "cycle": {"ratio": {"mean": cycle}, "other_ratio": {"mean": other}}}
    return {"sources": {}, "all": GOOD, "evaluations": {**ratios, "probes": probes}}


def test_actions_that_pass_every_test():
    result = verdict(evaluated(probes={"linear z": PROBED}))
    assert result.works is True
    assert result.sentences[-3:] == [
        "At a scene cut the error is 2.0x as large: z does not hold the next state.",
        "Carried to another video and back, actions cost 10 % more error (another clip's own actions: 50 % more): they "
        "transfer.",
        "A linear map of z explains, of the variance of the true actions, 60 % of forward, 30 % of left, 0 % of "
        "turn. Of left it may be none: intervals hold 0.",
    ]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (evaluated(leak=1.0), "z leaks the next state"),
        (evaluated(cycle=2.5, other=5.0), "do not mean the same there"),
        (evaluated(cycle=1.4, other=1.5), "do not mean the same there"),
    ],
)
def test_one_test_failed_is_enough(found, said):
    result = verdict(found)
    assert result.works is False
    assert said in " ".join(result.sentences)


def test_a_scene_cut_tells_nothing_of_a_model_that_does_not_predict():
    found = verdict({**evaluated(leak=3.0), "all": {**GOOD, "idm": GOOD["copy"]}})
    assert found.works is False
    assert "That the error at a scene cut is 3.0x as large tells nothing of such a model." in found.sentences


def test_a_cycle_of_actions_that_do_nothing_tells_nothing():
    result = verdict(evaluated(cycle=1.0, other=1.0))
    assert result.works is True
    assert "The cycle tells nothing: another clip's own actions do as well." in result.sentences


def test_tests_that_were_not_run_do_not_count():
    assert verdict({"all": GOOD, "evaluations": {"leakage": None, "cycle": None, "probes": None}}).works is True


def found_locality(share, low, carried):
    transferred = {"mean": share, "low": low, "high": 1.0}
    shares = {"true": {"mean": 0.9, "low": 0.8, "high": 1.0}, "transferred": transferred}
    return {"all": GOOD, "evaluations": {"locality": {"share": shares, "carried": {"mean": 1, "low": carried}}}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            found_locality(0.5, 0.49, 0.0),
            "no place in particular; the true motion: 0.90): its actions are not local.",
        ),
        (found_locality(0.503, 0.501, 0.9), "its actions are hardly local."),
        (found_locality(0.8, 0.7, 0.1), "its actions are local."),
        (found_locality(0.8, 0.7, 0.9), "its actions are local, and follow a place in the picture."),
    ],
)
def test_locality_is_told_but_not_counted(found, said):
    result = verdict(found)
    assert result.works is True
    assert result.sentences[-1].endswith(said)


def test_a_model_that_changes_nothing_has_no_locality_to_tell():
    found = found_locality(0.8, 0.7, 0.9)
    found["evaluations"]["locality"]["share"]["transferred"] = None
    assert verdict(found).sentences == verdict({"all": GOOD}).sentences
