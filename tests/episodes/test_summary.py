"""What is told of labelled data before anything is trained on them."""

import numpy as np
import pytest

from wildlam.episodes.action_spaces import ARM, PLANAR
from wildlam.episodes.episode import Episode
from wildlam.episodes.summary import summarise
from wildlam.episodes.vectors import Changes, Commands

RNG = np.random.default_rng(0)


def episode(name="walk", steps=33, rate=8.0, split="train", space=PLANAR, poses=None, times=None, **more):
    poses = RNG.normal(size=(steps, 3)).cumsum(axis=0) if poses is None else poses
    times = np.arange(len(poses)) / rate if times is None else times
    return Episode(name, split, times, poses, space, lambda numbers, size: None, **more)


def test_what_is_sound_is_not_odd():
    found = summarise([episode("a"), episode("b", split="held_out"), episode("c")], fps=4)
    assert found.odd == ()
    assert (found.episodes, found.clips) == ({"train": 2, "held_out": 1}, {"train": 4, "held_out": 2})
    assert (found.rates, found.fps, found.recordings) == ({8.0: 3}, (4.0,), 3)
    assert found.hours == pytest.approx(3 * 33 / 8 / 3600)
    assert found.components.keys() == set(PLANAR.action_names)


def test_figures_are_those_of_a_step():
    commands = RNG.normal(size=(33, 2))
    one = episode(space=Commands.of(["gas", "wheel"], "summed"), poses=np.empty((33, 0)), commands=commands)
    gas = summarise([one], fps=4).components["gas"]
    summed = commands[:32, 0].reshape(16, 2).sum(axis=1)
    assert (gas.low, gas.mean, gas.high, gas.std) == pytest.approx(
        (summed.min(), summed.mean(), summed.max(), summed.std())
    )


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"steps": 12}, "1 episodes are too short for a clip of 8 states: odd"),
        ({"rate": 6.0}, "the episodes differ in rate, and cannot be used together: 3, 4 states a second"),
        ({"times": np.r_[np.arange(17), np.arange(20, 36)] / 8}, "frames are missing in 1 places"),
    ],
)
def test_an_odd_episode_is_told(odd, said):
    (told,) = summarise([episode("sound"), episode("odd", split="held_out", **odd)], fps=4).odd
    assert told.startswith(said)


def test_components_that_never_vary_or_jump_are_told():
    states = np.column_stack([RNG.normal(size=(4001, 2)), np.full(4001, 0.3)])
    states[2000:, 1] += 1e3
    space = Changes.of(["a", "b", "stuck"])
    other = episode("other", split="held_out", space=space, poses=states[:100])
    (dead, far) = summarise([episode(space=space, poses=states), other], fps=8).odd
    assert dead == "never vary: d stuck"
    assert far.startswith("lie more than 20 deviations from the mean, such as a jump of a sensor would: d b (1e+03)")


def test_idle_steps_are_counted():
    """Of poses those that stay; of commands those that repeat the command before."""
    poses = np.concatenate([np.zeros((40, 3)), RNG.normal(size=(9, 3)).cumsum(axis=0)])
    found = summarise([episode(poses=poses)], fps=8)
    assert found.idle == pytest.approx(39 / 48)
    assert "nothing is done in 81% of the steps" in found.odd
    commands = np.concatenate([np.full((25, 2), 3.0), RNG.normal(size=(24, 2))])
    space = Commands.of(["x", "y"], "concatenated")
    found = summarise([episode(space=space, poses=np.empty((49, 0)), commands=commands)], fps=4)
    assert found.idle == pytest.approx(12 / 24)


def test_copies_are_told_and_other_cameras_are_not():
    one, other = episode("one"), episode("other", split="held_out")
    copy = episode("copy", split="held_out", poses=one.poses)
    (told,) = summarise([one, other, copy], fps=4).odd
    assert told == "record the same numbers, some to train on and some held out: leave the copies out: one, copy"
    left = episode("left", poses=one.poses, recording="one")
    assert summarise([one, other, left], fps=4).odd == ()


def test_what_cannot_be_trained_with_is_told():
    odd = episode("odd", split="held_out", space=Changes.of(["a", "b", "c"]))
    (told,) = summarise([episode("one"), episode("two"), odd], fps=4).odd
    assert told == "have actions of another kind, with which the others cannot be used: odd"
    (told,) = summarise([episode("one")], fps=4).odd
    assert told == "no episode is held out: without both nothing can be trained and judged"


@pytest.mark.parametrize("space", [ARM, Changes.of([*"abcdefg"]), Commands.of([*"abcdefg"], "summed", [*"hijklmn"])])
def test_numbers_that_are_not_finite_are_counted_and_left_out(space):
    poses = RNG.normal(size=(33, 7))
    sound = summarise([episode(poses=poses, space=space, commands=poses)], fps=8)
    poses = poses.copy()
    poses[20:23, 4], poses[30, 2] = np.nan, np.inf
    found = summarise([episode(poses=poses, space=space, commands=poses)], fps=8)
    names = space.components if isinstance(space, Commands) else space.pose_names
    count = 8 if isinstance(space, Commands) else 4  # whose states have the same
    assert found.odd[0].startswith(f"{count} numbers are not finite, and their steps left out here: ")
    assert f"walk {names[2]} (1 of 33), walk {names[4]} (3 of 33)" in found.odd[0]
    for name, one in found.components.items():
        assert np.isfinite([one.low, one.mean, one.high, one.std]).all()
        assert one.high <= sound.components[name].high
