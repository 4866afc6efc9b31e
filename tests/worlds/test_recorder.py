"""Filming made-up worlds: the bar goes frame by frame, over films that were there and worlds that are lost."""

from contextlib import nullcontext

import numpy as np
import pytest

from wildlam.episodes.action_spaces import PLANAR
from wildlam.worlds import recorder
from wildlam.worlds.recorder import Format, Take, WorldLost, film_all

FORM = Format(6, 8.0, 32, PLANAR)


@pytest.fixture
def takes(tmp_path):
    return {stage: [Take(tmp_path / f"{stage}{i}.mp4", (0, i)) for i in range(2)] for stage in "ab"}


def film(world, rng, count):
    for _ in range(FORM.frames):
        count(1)
    return [rng.integers(256, size=(32, 32, 3), dtype=np.uint8)] * FORM.frames, np.zeros((FORM.frames, 3))


def filmed(takes, film=film):
    return film_all(takes, nullcontext, film, FORM, title="made up")


def test_the_bar_moves_before_a_film_is_finished(takes, tmp_path, bars):
    made, moved = bars(recorder), []

    def watched(world, rng, count):
        if not list(tmp_path.rglob("*.mp4")):
            count(1)
            moved.append(made[0].n)
        return film(world, rng, count)

    filmed(takes, watched)
    assert moved[0] == 1
    assert made[0].n == made[0].total == 4 * FORM.frames


def test_what_is_there_counts_and_a_lost_world_does_not_count_twice(takes, bars):
    made, lost = bars(recorder), []

    def frail(world, rng, count):
        if not lost:
            lost.append(True)
            count(3)
            raise WorldLost("gone")
        return film(world, rng, count)

    filmed({"a": takes["a"]})
    filmed(takes, frail)
    assert [(bar.n, bar.total) for bar in made] == [(12, 12), (24, 24)]
    assert made[1].steps.count(12) == 1  # of films that were there
