"""Monsters before a camera that stands still: where the truth says, and the same for a seed."""

import numpy as np
import pytest

from wildlam.episodes.movers import read_truth
from wildlam.worlds.movers import collect_movers
from wildlam.worlds.movers.monsters import MONSTERS, MonsterDoom, film_monsters

pytest.importorskip("vizdoom")


@pytest.fixture(scope="module")
def filmed():
    with MonsterDoom("maze", "train") as world:
        return [film_monsters(world, np.random.default_rng(seed), monsters=3, frames=24, fps=8.0) for seed in (2, 2, 3)]


def test_a_film_is_given_by_its_seed(filmed):
    (one, truth), (again, of_again), (other, _) = filmed
    assert np.array_equal(one, again)
    assert np.array_equal(truth.position, of_again.position)
    assert not np.array_equal(one, other)


def test_nothing_changes_but_where_monsters_are_seen(filmed):
    for frames, truth in filmed:
        assert truth.position.shape == (24, 3, 2)
        changes = np.abs(np.diff(np.stack(frames).astype(int), axis=0)).sum(-1)
        assert changes.any()
        for t, change in enumerate(changes):
            for left, top, right, bottom in truth.box[t : t + 2].reshape(-1, 4):
                # Pixels of the screen that a monster touches are averaged into those around.
                change[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = 0
            assert not change.any()


def test_a_monster_is_seen_where_the_truth_says(filmed):
    for _, truth in filmed:
        left, top, right, bottom = np.moveaxis(truth.box.astype(float), -1, 0)
        whole = (left > 0) & (right < 128) & (bottom < 128) & (truth.visible > 0)
        middle = np.stack([(left + right) / 2, (top + bottom) / 2], axis=-1)
        away = np.linalg.norm(middle - truth.position, axis=-1) / (truth.radius * truth.scale)
        assert np.median(away[whole]) < 0.5
        assert np.allclose(np.diff(truth.position, axis=0), truth.velocity[:-1] / 8, atol=1e-3)
        assert not truth.shift.any()


def test_held_out_films_have_other_monsters_in_other_levels(tmp_path):
    assert not {one.name for one in MONSTERS["train"]} & {one.name for one in MONSTERS["held_out"]}
    paths = collect_movers(tmp_path, episodes=2, seconds=2, kind="monsters", movers=(2,), progress=False)
    assert sorted(path.parent.name for path in paths) == ["held_out", "train"]
    for path in paths:
        split = "train" if path.parent.name == "train" else "held_out"
        assert set(read_truth(path).shapes.tolist()) <= {one.name for one in MONSTERS[split]}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    paths[0].unlink()
    collect_movers(tmp_path, episodes=2, seconds=2, kind="monsters", movers=(2,), progress=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
