"""Real frames: those of one split are of no place that the other shows."""

import numpy as np
import pytest
from PIL import Image

from wildlam.worlds.doom import HELD_OUT_LEVELS, LEVELS
from wildlam.worlds.movers.pictures import AT_ONCE, FILMS, SIDE, levels, open_pictures
from wildlam.worlds.sample_films import PARTS, SCENES, sample_scenes


def test_no_level_and_no_scene_is_in_both_splits():
    assert set(levels("held_out")) == set(HELD_OUT_LEVELS)
    assert set(levels("train")) == set(LEVELS) - set(HELD_OUT_LEVELS)
    assert not set(SCENES["train"]) & set(SCENES["held_out"])
    for split, scenes in SCENES.items():
        assert all(PARTS[film][part].split == split for film, part in scenes)
    trained = {film for film, _ in SCENES["train"]}
    # Of a film in both, what is held out is another shot: its editor cut at frame 187.
    assert [PARTS[film][part].start for film, part in SCENES["held_out"] if film in trained] == [187]


@pytest.mark.slow
def test_frames_of_the_films_are_unlike_those_of_the_other_split():
    def small(split):
        frames = [frame for scene in sample_scenes(split) for frame in scene]
        return np.stack([np.asarray(Image.fromarray(frame).resize((16, 16))) for frame in frames]).astype(float)

    train, held_out = small("train"), small("held_out")
    nearest = np.abs(held_out[:, None] - train[None]).mean(axis=(2, 3, 4)).min()
    assert nearest > 20


def check(given):
    assert len(given) == AT_ONCE
    assert all(picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8 for picture in given)
    assert all(picture.std() > 2 for picture in given)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_pictures_of_films_are_given_by_the_seed(split):
    with open_pictures(FILMS, split) as pictures:
        one, again, other = (pictures(np.random.default_rng(seed)) for seed in (0, 0, 1))
    check(one)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_pictures_of_doom_are_given_by_the_seed_and_begin_with_the_most_varied():
    pytest.importorskip("vizdoom")
    with open_pictures("maze", "train") as pictures:
        one, again = (pictures(np.random.default_rng(0)) for _ in range(2))
    check(one)
    assert np.array_equal(one, again)
    assert one[0].std() == max(picture.std() for picture in one)
    assert one[0].mean() > 30
