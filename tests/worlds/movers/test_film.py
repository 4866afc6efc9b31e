"""What a film shows agrees with what its truth says."""

import numpy as np
import pytest

from wildlam.worlds.movers import film as films
from wildlam.worlds.movers.cutouts import SHAPES
from wildlam.worlds.movers.film import make_film

SEEDS = range(4)


def pictures(seed=0):
    """Four pictures with blocks of many colours."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    return list(blocks.repeat(8, axis=1).repeat(8, axis=2))


def make(seed, split="train", movers=2, background="still", frames=16, of=None):
    rng = np.random.default_rng(seed)
    made, truth = make_film(
        of or pictures(), split, rng, movers=movers, background=background, frames=frames, fps=8.0, size=128
    )
    return np.stack(made).astype(int), truth


def inside(box, size=128):
    """Mask of the pixels in boxes ``[..., 4]``."""
    mask = np.zeros((size, size), dtype=bool)
    for left, top, right, bottom in box.reshape(-1, 4):
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("split", ["train", "held_out"])
@pytest.mark.parametrize("seed", SEEDS)
def test_on_a_still_background_nothing_changes_but_where_movers_are(seed, split):
    frames, truth = make(seed, split)
    changes = np.abs(np.diff(frames, axis=0)).sum(-1)
    for t, change in enumerate(changes):
        assert not change[~inside(truth.box[t : t + 2])].any()
    assert changes.any()
    assert not truth.shift.any()


@pytest.mark.parametrize("seed", SEEDS)
def test_who_stands_still_does_not_change(seed):
    frames, truth = make(seed, movers=1, frames=64)
    stands = ~truth.velocity[:-1, 0].any(axis=-1)
    changes = np.abs(np.diff(frames, axis=0)).sum(axis=(1, 2, 3))
    assert (changes > 0).tolist() == (~stands).tolist()


@pytest.mark.parametrize("background", ["still", "panning", "shaking"])
def test_positions_follow_from_velocities_and_the_backgrounds_shift(background):
    _, truth = make(1, movers=4, background=background, frames=64)
    step = truth.velocity[:-1] / truth.fps + np.diff(truth.shift, axis=0)[:, None]
    assert np.allclose(np.diff(truth.position, axis=0), step, atol=1e-3)
    assert truth.shift.any() == (background != "still")
    assert truth.position.shape == truth.velocity.shape == (64, 4, 2)
    assert ((truth.visible >= 0) & (truth.visible <= 1)).all()


@pytest.mark.parametrize("background", ["panning", "shaking"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_background_moves_as_the_truth_says(seed, background):
    frames, truth = make(seed, movers=0, background=background, frames=24)
    assert truth.position.shape == (24, 0, 2)
    t = int(np.hypot(*truth.shift.T).argmax())
    right, down = np.round(truth.shift[t]).astype(int)
    moved = np.roll(frames[0], (down, right), axis=(0, 1))[24:-24, 24:-24]
    middle = frames[t][24:-24, 24:-24]
    stays = frames[0][24:-24, 24:-24]
    if max(abs(right), abs(down)) <= 24:
        assert np.abs(moved - middle).mean() < 0.5 * np.abs(stays - middle).mean()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mover_is_where_the_truth_says_and_as_large(seed, monkeypatch):
    monkeypatch.setattr(films, "_SHADOWED", 0.0)
    monkeypatch.setattr(films, "_HIDING", 0.0)
    monkeypatch.setitem(SHAPES, "train", ("box",))
    white, black = np.full((256, 256, 3), 255, np.uint8), np.zeros((256, 256, 3), np.uint8)
    frames, truth = make(seed, movers=1, frames=32, of=[white, black])
    there = 255.0 - frames.min(-1)
    whole = truth.visible[:, 0] > 0.99
    assert whole.any()
    covered = there[whole].sum(axis=(1, 2)) / there[whole].max() / truth.scale[whole, 0] ** 2
    assert np.allclose(covered, covered[0], rtol=0.03)  # as large as its scale says
    rows, columns = np.mgrid[:128, :128] + 0.5
    for frame, position in zip(there[whole], truth.position[whole, 0], strict=True):
        middle = np.array([(frame * columns).sum(), (frame * rows).sum()]) / frame.sum()
        assert np.allclose(middle, position, atol=0.3)


def test_angles_are_clockwise(monkeypatch):
    monkeypatch.setitem(SHAPES, "train", ("arrow",))  # its tip is the farthest from its middle, at an angle of 0
    monkeypatch.setattr(films, "_SHADOWED", 0.0)
    monkeypatch.setattr(films, "_HIDING", 0.0)
    white, black = np.full((256, 256, 3), 255, np.uint8), np.zeros((256, 256, 3), np.uint8)
    frames, truth = make(3, movers=1, frames=8, of=[white, black])
    rows, columns = np.nonzero(frames[0].min(-1) < 200)
    x, y = columns + 0.5 - truth.position[0, 0, 0], rows + 0.5 - truth.position[0, 0, 1]
    tip = np.hypot(x, y).argmax()
    away = np.degrees(np.arctan2(y[tip], x[tip])) - truth.angle[0, 0]
    assert abs((away + 180) % 360 - 180) < 10


def test_movers_stop_turn_grow_leave_and_are_hidden():
    truths = [make(seed, movers=3, frames=40)[1] for seed in range(4)]
    assert any((~truth.velocity.any(-1)).any() for truth in truths)
    assert all(np.ptp(truth.angle, axis=0).max() > 5 for truth in truths)
    assert any((np.ptp(truth.scale, axis=0) > 0.1).any() for truth in truths)
    assert any((truth.visible == 0).any() for truth in truths)
    assert any(((truth.visible > 0.1) & (truth.visible < 0.9)).any() for truth in truths)
    alone = [make(seed, movers=1, frames=40)[1] for seed in range(4)]
    assert all((np.abs(truth.position - 64) < 70).all() for truth in alone)


def test_held_out_films_have_other_shapes_and_faster_motions():
    assert not set(SHAPES["train"]) & set(SHAPES["held_out"])
    speeds = {}
    for split, shapes in SHAPES.items():
        truths = [make(seed, split, movers=4, frames=32)[1] for seed in range(2)]
        assert {name for truth in truths for name in truth.shapes.tolist()} <= set(shapes)
        moving = np.concatenate([np.linalg.norm(truth.velocity, axis=-1).ravel() for truth in truths])
        speeds[split] = np.median(moving[moving > 0])
    assert speeds["held_out"] > 1.2 * speeds["train"]


def test_a_film_is_given_by_its_seed():
    one, again, other = make(0)[0], make(0)[0], make(1)[0]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
