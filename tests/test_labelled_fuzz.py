"""Labelled data sets drawn at random; at length, `python -m tests.labelled_fuzz`."""

import numpy as np
import pytest

from tests import labelled_fuzz
from tests.labelled_fuzz import OUTCOMES, as_markdown, fuzz, judge, make


@pytest.mark.slow
def test_no_state_gets_another_frame_without_a_word():
    tallies, unwanted = fuzz(sets=40, seed=0)
    assert not unwanted
    assert sum(sum(counts.values()) for counts in tallies["version"].values()) == 40
    assert len(as_markdown(tallies).splitlines()[-1].split("|")) == len(OUTCOMES) + 3


def test_a_silent_difference_is_seen(tmp_path, monkeypatch):
    """The judge would see it: without the warnings, wrong pairs are silent."""
    monkeypatch.setattr(labelled_fuzz, "TIMES", [labelled_fuzz.whole_offset, labelled_fuzz.offset])
    monkeypatch.setattr(labelled_fuzz, "SPLITS", ["none"])
    drawn = make(tmp_path / "a", np.random.default_rng(0))
    assert judge(tmp_path / "a", drawn)[0] == "wrong, reported"
    monkeypatch.setattr("wildlam.episodes.formats.lerobot.report_pairs", lambda path, pairs: None)
    monkeypatch.setattr("wildlam.episodes.formats.lerobot._miscounted", lambda places, frames: [])
    assert judge(tmp_path / "a", drawn)[0] == "silent"
