"""Transitions of videos: gathering them, their neighbours, clusters and directions, and what was really done."""

import numpy as np
import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.pretrained import FILMS
from wildlam.workflows.trained import load
from wildlam.workflows.transitions import Transitions, clusters, directions, gather, projected

from ..helpers import make_run


@pytest.fixture
def trained(videos, tmp_path, tiny_models):
    return load(make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32")))


@pytest.fixture
def known():
    """Thirty transitions of five videos, around three places far from each other."""
    generator = torch.Generator().manual_seed(0)
    places = torch.tensor([[9.0, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0]])
    z = places.repeat(10, 1) + 0.1 * torch.randn(30, 4, generator=generator)
    video = np.arange(30) // 6
    start = np.arange(30) % 6 / 4
    names = [f"{i}.mp4" for i in range(5)]
    return Transitions(names, ["a", "a", "b", "b", "b"], video, start, start + 0.25, z, np.ones(30, np.float32))


def of(videos):
    return [(path, path.relative_to(videos).parts[0]) for path in sorted(videos.rglob("*.mp4"))]


def test_all_transitions_with_their_times(trained, videos):
    counted = []
    found = gather(trained, of(videos), 1000, count=counted.append)
    assert len(found) == 6 * 15
    assert sum(counted) == pytest.approx(1)
    assert {found.videos[v].split("/")[-1][0] == found.sources[v] for v in range(6)} == {True}
    path = found.videos[2]
    rows = found.video == 2
    alone = trained.infer(path)
    torch.testing.assert_close(found.z[rows], alone.z)
    np.testing.assert_allclose(found.start[rows], alone.start)
    np.testing.assert_allclose(found.end[rows], alone.end)


def test_fewer_are_a_fair_part_and_a_bad_video_is_left_out(trained, videos):
    (videos / "a" / "train" / "bad.mp4").write_bytes(b"no film")
    found = gather(trained, of(videos), 25)
    assert len(found) == 30
    assert sorted(found.sources)[:1] + sorted(found.sources)[-1:] == ["a", "b"]
    whole = gather(trained, of(videos), 1000)
    assert list(whole.left_out) == [str(videos / "a" / "train" / "bad.mp4")]
    with pytest.raises(WildlamError, match="no transition between two states was found"):
        gather(trained, [(videos / "a" / "train" / "bad.mp4", "a")], 10)
    with pytest.raises(WildlamError, match="there are no videos"):
        gather(trained, [], 10)


def test_the_nearest_by_all_and_one_of_each_video(known):
    found = known.nearest(known.z[4], 10)
    assert found[0] == 4
    assert set(found % 3) == {1}
    assert (known.distances(known.z[4], found).diff() >= 0).all()
    assert known.distances(3 * known.z[4], found[:1])[0] == pytest.approx(0, abs=1e-6)  # its length makes no difference
    apart = known.nearest(known.z[4], 10, apart=True)
    assert sorted(known.video[apart]) == [0, 1, 2, 3, 4]
    assert set(known.nearest(known.z[4], 5, known.of_source("b"))) <= set(range(12, 30))


def test_a_real_transition_stands_for_each_cluster(known):
    found = clusters(known, 3, known.of_source(None))
    assert sorted(found % 3) == [0, 1, 2]
    assert len(clusters(known, 8, known.of_source("a")[:4])) <= 4


def test_directions_lead_where_latent_actions_vary(known):
    ends = directions(known, 2, known.of_source(None))
    assert ends.shape == (2, 2, 4)
    assert (ends[:, 1] - ends[:, 0])[:, 3].abs().max() < 1  # hardly where nothing varies
    torch.testing.assert_close(ends.mean(dim=1), known.z.mean(dim=0).expand(2, -1))


def test_a_plane_keeps_what_is_apart_apart(known):
    flat = projected(known, umap=False)
    assert flat.shape == (30, 2)
    assert np.abs(flat).max() <= 1.2
    groups = [flat[i::3] for i in range(3)]
    centres = np.stack([group.mean(axis=0) for group in groups])
    assert min(np.linalg.norm(centres[i] - centres[i - 1]) for i in range(3)) > 0.5
    assert max(group.std(axis=0).max() for group in groups) < 0.1


def test_what_was_really_done_is_known_where_there_are_poses(tmp_path):
    import shutil

    films = shutil.copytree(FILMS, tmp_path / "films")
    film = next((films / "nav").rglob("*.mp4"))
    other = next((films / "monsters").rglob("*.mp4"))
    start = np.arange(8) / 4
    known = Transitions(
        [str(film), str(other)],
        ["nav", "monsters"],
        np.repeat([0, 1], 8),
        np.tile(start, 2),
        np.tile(start, 2) + 0.25,
        torch.zeros(16, 4),
        np.zeros(16, np.float32),
    )
    found = known.actions({"nav": films / "nav", "monsters": films / "monsters", "none": tmp_path / "none"}, 4.0)
    assert list(found) == [("forward", "left", "turn")]
    values = found["forward", "left", "turn"]
    assert np.isfinite(values[:8]).all()
    assert np.isnan(values[8:]).all()
    poses = np.genfromtxt(film.with_suffix(".poses.csv"), delimiter=",", names=True)
    frame = round(len(poses) / 8 * 0.25)  # the film lasts 8 s
    moved = np.hypot(poses["x"][frame] - poses["x"][0], poses["y"][frame] - poses["y"][0])
    assert np.hypot(*values[0, :2]) == pytest.approx(moved, rel=1e-3)
