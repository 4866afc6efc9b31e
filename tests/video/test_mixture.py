"""Mixtures: exact shares, footage within a source evenly, and one clear error for what cannot be."""

import numpy as np
import pytest

from wildlam.errors import WildlamError
from wildlam.video.config import DataConfig
from wildlam.video.mixture import weighted

FOOTAGE = np.array([1.0, 3.0, 6.0, 2.0, 8.0, 0.0])
SOURCES = (["a", "b", "c", "d"], np.array([0, 0, 1, 2, 2, 3]))


def test_without_a_mixture_footage_counts():
    assert weighted(FOOTAGE, *SOURCES, {}) is FOOTAGE


def test_named_sources_get_their_share_and_the_others_divide_the_rest():
    weights = weighted(FOOTAGE, *SOURCES, {"b": 0.4})
    assert weights == pytest.approx([0.6 * 1 / 14, 0.6 * 3 / 14, 0.4, 0.6 * 2 / 14, 0.6 * 8 / 14, 0])


def test_all_sources_named():
    weights = weighted(FOOTAGE, *SOURCES, {"a": 0.2, "b": 0.3, "c": 0.5})
    assert weights == pytest.approx([0.05, 0.15, 0.3, 0.1, 0.4, 0])


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        ({"droid": 0.5}, "no training clip of droid; the sources are a, b, c"),
        ({"d": 0.5}, "no training clip of d"),
        ({"a": 0.2, "b": 0.3, "c": 0.4}, "add up to 0.9, not to 1"),
        ({"a": 0.5, "b": 0.5}, "nothing is left for c"),
    ],
)
def test_what_cannot_be_is_named(mixture, said):
    with pytest.raises(WildlamError, match=said):
        weighted(FOOTAGE, *SOURCES, mixture)


@pytest.mark.parametrize("mixture", [{"a": 0.0}, {"a": -0.1}, {"a": 1.1}, {"a": 0.6, "b": 0.6}, {"a": float("nan")}])
def test_shares_are_checked_at_once(tmp_path, mixture):
    with pytest.raises(ValueError, match=r"data\.mixture"):
        DataConfig(path=tmp_path, mixture=mixture)
