"""Films of movers with their truth, in folders: whole or not there, and the same whoever made them."""

from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from wildlam.episodes.action_spaces import MOVER
from wildlam.episodes.movers import read_truth, truth_path
from wildlam.episodes.poses import has_poses, read_poses, true_actions
from wildlam.errors import WildlamError
from wildlam.worlds.movers import collect as collecting
from wildlam.worlds.movers import collect_movers, pictures
from wildlam.worlds.movers.cutouts import SHAPES

TINY = {"episodes": 4, "seconds": 2, "progress": False}


@pytest.fixture(autouse=True)
def scenes(monkeypatch):
    """Films alone, and of noise: real ones take seconds to decode."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    monkeypatch.setattr(pictures, "sample_scenes", lambda split: [[noise[int(split == "train")]]])
    monkeypatch.setattr(collecting, "sources", lambda: ["films"])


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_films_are_named_split_and_have_their_truth(tmp_path):
    paths = collect_movers(tmp_path, **TINY, movers=(2,))
    names = [f"{'held_out' if n == 1 else 'train'}/movers_0_{n:04d}.mp4" for n in range(4)]
    assert sorted("/".join(path.parts[-2:]) for path in paths) == sorted(names)
    for path in paths:
        truth = read_truth(path)
        assert truth.position.shape == (16, 2, 2)
        assert set(truth.shapes.tolist()) <= set(SHAPES[path.parent.name])
        with av.open(str(path)) as file:
            assert (file.streams.video[0].frames, file.streams.video[0].average_rate) == (16, 8)
        assert not has_poses(path)


def test_films_change_where_movers_are_after_compression_too(tmp_path):
    for path in collect_movers(tmp_path, **TINY, movers=(2,), backgrounds=("still",)):
        truth = read_truth(path)
        with av.open(str(path)) as file:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(int)
        within = np.zeros(frames.shape[:3], dtype=bool)
        for t in range(1, 16):
            for left, top, right, bottom in truth.box[t - 1 : t + 1].reshape(-1, 4):
                within[t, top:bottom, left:right] = True
        changes = np.abs(np.diff(frames, axis=0, prepend=frames[:1])).mean(-1)
        assert changes[1:][~within[1:]].mean() < 2
        if truth.velocity.any():
            assert changes[within].mean() > 2 * changes[1:][~within[1:]].mean()


def test_an_interrupted_call_completes_to_the_same_bytes(tmp_path, monkeypatch):
    collect_movers(tmp_path / "whole", **TINY)
    made = []

    def dies(*args, **kwargs):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return make(*args, **kwargs)

    make = collecting.make_film
    with monkeypatch.context() as patch:
        patch.setattr(collecting, "make_film", dies)
        with pytest.raises(KeyboardInterrupt):
            collect_movers(tmp_path / "cut", **TINY)
    kept = sorted((tmp_path / "cut").rglob("*.mp4"))
    assert 0 < len(kept) < 4
    cut = next(path for path in (tmp_path / "whole").rglob("*.mp4") if path.name not in {one.name for one in kept})
    half = tmp_path / "cut" / cut.relative_to(tmp_path / "whole")
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(cut.read_bytes()[:1000])  # a film cut short, by other means
    truth_path(half).write_bytes(b"half")
    before = {path: path.stat().st_mtime_ns for path in kept}
    collect_movers(tmp_path / "cut", **TINY)
    assert everything(tmp_path / "cut") == everything(tmp_path / "whole")
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_other_seeds_and_more_films_leave_films_as_they_are(tmp_path):
    few, more, other = tmp_path / "few", tmp_path / "more", tmp_path / "other"
    collect_movers(few, **TINY)
    collect_movers(more, **{**TINY, "episodes": 6})
    collect_movers(other, **TINY, seed=1)
    assert everything(few).items() <= everything(more).items()
    films = [{path.read_bytes() for path in folder.rglob("*.mp4")} for folder in (few, other)]
    assert not films[0] & films[1]


def test_who_is_alone_and_seen_has_poses_that_probes_read(tmp_path):
    paths = collect_movers(tmp_path, **{**TINY, "episodes": 12}, movers=(1,))
    posed = [path for path in paths if has_poses(path)]
    assert len(posed) >= 6
    for path in posed:
        truth = read_truth(path)
        assert truth.visible.min() > 0.2
        space, rows = read_poses(path)
        assert space is MOVER
        moved = MOVER.between(rows[:, 1:])
        assert np.allclose(moved[:, :2], truth.velocity[:-1, 0] / 8, atol=1e-4)

    names = [str(path.relative_to(tmp_path)) for path in paths]
    clips = SimpleNamespace(names=names, times=torch.arange(4).expand(len(paths), 4) / 4)
    actions, known = true_actions(clips, tmp_path, MOVER)
    assert known.tolist() == [has_poses(path) for path in paths]
    assert actions[known].isfinite().all()


def test_counts_and_backgrounds_are_those_asked_for(tmp_path):
    paths = collect_movers(tmp_path, **{**TINY, "episodes": 16}, movers=(0, 3), backgrounds=("still", "shaking"))
    truths = [read_truth(path) for path in paths]
    assert {truth.visible.shape[1] for truth in truths} == {0, 3}
    assert {str(truth.background) for truth in truths} == {"still", "shaking"}


def test_what_there_is_not_is_refused(tmp_path):
    with pytest.raises(WildlamError, match=r"^movers must be counts from 0 to 8, such as 0,1,2; got 1,9"):
        collect_movers(tmp_path, **TINY, movers=(1, 9))
    with pytest.raises(WildlamError, match=r"^backgrounds must be any of still,panning,shaking for cutouts; got calm"):
        collect_movers(tmp_path, **TINY, backgrounds=("calm",))
    with pytest.raises(WildlamError, match=r"^backgrounds must be any of still for monsters; got panning"):
        collect_movers(tmp_path, **TINY, kind="monsters", backgrounds=("panning",))
    with pytest.raises(WildlamError, match=r"^kind must be cutouts or monsters, got people"):
        collect_movers(tmp_path, **TINY, kind="people")
    with pytest.raises(WildlamError, match="at least one episode"):
        collect_movers(tmp_path, **{**TINY, "episodes": 0})
    assert not list(tmp_path.iterdir())


def test_doom_is_used_where_it_is_and_its_levels_stay_in_their_split(monkeypatch):
    monkeypatch.setattr(collecting, "sources", lambda: ["films", "doom"])
    for split in ("train", "held_out"):
        names = [collecting._stage("cutouts", split, n, 0).split("/")[1] for n in range(200)]
        of_films = names.count("films") / 200
        assert 0.2 < of_films < 0.5
        assert set(names) - {"films"} <= set(pictures.levels(split))
