"""Checks that configurations share."""

import pytest

from wildlam.video.config import DataConfig
from wildlam.video.files import location
from wildlam.workflows.evaluate import EvaluateConfig
from wildlam.workflows.index import IndexConfig


@pytest.mark.parametrize("given", ["memory://videos/some", location("memory://videos/some")])
def test_videos_far_away_are_taken_as_text_or_as_a_path(given):
    assert str(DataConfig(path=given).path) == "memory://videos/some"
    assert str(IndexConfig(path=given).path) == "memory://videos/some"
    assert str(EvaluateConfig(run="run", data=given).data) == "memory://videos/some"


def test_what_is_no_path_is_named():
    with pytest.raises(ValueError, match=r"data.path must be a path or a URL, got 3"):
        DataConfig(path=3)
    with pytest.raises(ValueError, match=r"run must be a path, got 3"):
        EvaluateConfig(run=3)
