"""A search index: what is nearest, what filters leave, and what an index of other weights or a damaged one says."""

import numpy as np
import pyarrow as pa
import pytest

from wildlam.errors import WildlamError
from wildlam.workflows import search_index
from wildlam.workflows.groups import Groups
from wildlam.workflows.search_filter import Filter, Transition
from wildlam.workflows.search_index import SearchIndex

DIM = 64


@pytest.fixture
def z():
    return np.random.default_rng(0).normal(size=(600, DIM)).astype(np.float32)


def rows_of(z, first=0):
    """Twenty rows of each video, videos by turns of two sources; faster from row to row."""
    numbers = first + np.arange(len(z))
    start = numbers % 20 / 4
    flat = pa.FixedSizeListArray.from_arrays(pa.array(z.reshape(-1)), z.shape[1])
    return pa.table(
        {
            "video": [f"{'ab'[n // 20 % 2]}/{n // 20}.mp4" for n in numbers],
            "source": ["ab"[n // 20 % 2] for n in numbers],
            "start": start,
            "end": start + 0.25,
            "speed": numbers / 1.0,
            "size": np.ones(len(z), np.int64),
            "mtime_ns": np.ones(len(z), np.int64),
            "z": flat,
        }
    )


def create(folder, dim=DIM, **about):
    about = {"weights": "w", "root": "videos", "manifest": folder / "m.parquet", "size": 8} | about
    return SearchIndex.create(folder, dim=dim, **about)


@pytest.fixture
def index(z, tmp_path):
    index = create(tmp_path / "search")
    index.append(rows_of(z))
    index.settle()
    return index


def exact(z, query, allowed=slice(None)):
    """Numbers of the rows by cosine, the nearest first."""
    near = z @ query / np.linalg.norm(z, axis=1)
    numbers = np.arange(len(z))[allowed]
    return numbers[np.argsort(-near[allowed])]


def numbers(hits):
    return [int(hit.speed) for hit in hits]


@pytest.mark.parametrize("indexed_from", [100_000, 256])
def test_nearest_to_any_of_several(z, tmp_path, monkeypatch, indexed_from):
    monkeypatch.setattr(search_index, "INDEXED_FROM", indexed_from)
    index = create(tmp_path / "search")
    index.append(rows_of(z))
    index.settle()
    asked = np.stack([z[0] + 0.1 * z[5], z[333] + 0.2 * z[6], z[0] + 0.3 * z[1]])
    cosines = z @ (asked / np.linalg.norm(asked, axis=1, keepdims=True)).T / np.linalg.norm(z, axis=1, keepdims=True)
    expected = np.argsort(-cosines.max(axis=1))
    hits = index.nearest(asked, 30)
    assert numbers(hits) == expected[:30].tolist()
    np.testing.assert_allclose([hit.distance for hit in hits], 1 - cosines.max(axis=1)[expected[:30]], atol=1e-5)
    of_b = [n for n in expected if n // 20 % 2]
    assert numbers(index.nearest(asked, 300, Filter(sources=["b"]))) == of_b
    # Of the first, hardly any is left: what the others have is not to come before what is left of it.
    few = Filter(
        without_moments=frozenset((f"{'ab'[n // 20 % 2]}/{n // 20}.mp4", n % 20 / 4) for n in exact(z, z[0])[:200])
    )
    left = [n for n in expected if n not in set(exact(z, z[0])[:200])]
    assert numbers(index.nearest(asked, 20, few)) == left[:20]


def test_a_scattered_group_finds_what_is_like_any_of_its_parts(tmp_path):
    """Left and right, whose mean is what lies between: ahead."""
    generator = np.random.default_rng(0)
    left, ahead = 4 * np.eye(2, DIM)
    towards = np.repeat([left, -left, ahead], 200, axis=0) + 0.1 * ahead
    z = (towards + generator.normal(size=towards.shape) * 0.2).astype(np.float32)
    index = create(tmp_path / "search")
    index.append(rows_of(z))
    index.settle()
    members = [
        index.find(f"{'ab'[n // 20 % 2]}/{n // 20}.mp4", n % 20 / 4 + 0.1)[0] for n in (*range(40), *range(200, 240))
    ]
    group = Groups(tmp_path / "groups", "w", DIM).save("turns", members, index.vectors(members))
    moments = Filter(without_moments=frozenset((one.video, one.start) for one in members))
    found = numbers(index.nearest(group.directions, 100, moments))
    assert max(found) < 400  # turns, and none ahead
    assert {n < 200 for n in found} == {True, False}
    assert min(numbers(index.nearest(group.z, 100, moments))) >= 400  # the mean finds these alone


def test_the_nearest_are_found_by_direction_alone(index, z):
    hits = index.nearest(3 * z[7], 10)
    assert numbers(hits) == exact(z, z[7])[:10].tolist()
    assert hits[0].distance == pytest.approx(0, abs=1e-5)
    assert hits[0].rank == pytest.approx(7 / 599, abs=1e-3)
    (opposite,) = index.nearest(-z[7], 600)[-1:]
    assert (int(opposite.speed), opposite.distance) == (7, pytest.approx(2))


@pytest.mark.parametrize(
    ("only", "allowed"),
    [
        (Filter(sources=["b"]), lambda n: n // 20 % 2 == 1),
        (Filter(min_speed=0.9), lambda n: n >= 0.9 * 599),
        (Filter(min_speed=0.25, max_speed=0.5, sources=["a"]), lambda n: (n >= 150) & (n <= 299) & (n // 20 % 2 == 0)),
        (Filter(after=1.0, before=2.0), lambda n: (n % 20 >= 4) & (n % 20 <= 7)),
        (Filter(without=frozenset({"a/0.mp4"})), lambda n: n >= 20),
        (Filter(without_moments=frozenset({("a/0.mp4", 7 / 4)})), lambda n: n != 7),
    ],
)
@pytest.mark.parametrize("count", [5, 60])
def test_filters_leave_the_nearest_of_what_they_let_through(index, z, only, allowed, count):
    wanted = exact(z, z[7], allowed(np.arange(len(z))))
    assert numbers(index.nearest(z[7], count, only)) == wanted[:count].tolist()


def test_one_of_each_video(index, z):
    hits = index.nearest(z[7], 30, distinct_videos=True)
    first = {}
    for number in exact(z, z[7]).tolist():
        first.setdefault(number // 20, number)
    assert numbers(hits) == list(first.values())


def test_an_index_whose_first_build_was_interrupted_knows_speeds_and_sources(z, tmp_path):
    index = create(tmp_path / "search")
    index.append(rows_of(z))
    index = SearchIndex.open(tmp_path / "search")
    assert index.rank_of(300.0) == pytest.approx(0.5, abs=0.01)
    assert index.sources == ["a", "b"]
    found = index.nearest(z[3], 5, Filter(min_speed=0.9))
    assert min(numbers(found)) >= 540


@pytest.mark.parametrize("dim", [64, 12])
def test_a_large_index_finds_the_same_and_goes_on_finding_what_is_added(tmp_path, monkeypatch, dim):
    monkeypatch.setattr(search_index, "INDEXED_FROM", 4000)
    rng = np.random.default_rng(1)
    z = (rng.normal(size=(40, dim))[rng.integers(0, 40, 6000)] + 0.5 * rng.normal(size=(6000, dim))).astype(np.float32)
    index = create(tmp_path / "search", dim)
    index.append(rows_of(z[:5000]))
    index.settle()
    assert index.indexed
    for count in (5000, 5500, 6000):  # not yet in the index; then it is; then added to it
        if count > 5000:
            index.append(rows_of(z[count - 500 : count], count - 500))
        for query in (3, count - 1):
            found = numbers(index.nearest(z[query], 10))
            assert found[0] == query
            assert len(set(found) & set(exact(z[:count], z[query])[:10].tolist())) >= 9
            few = index.nearest(z[query], 5, Filter(sources=["b"], min_speed=0.95))
            assert len(few) == 5
        if count == 5500:
            index.settle()


def test_latent_actions_without_a_direction(index, z, tmp_path):
    for bad in (np.zeros(DIM), np.full(DIM, np.nan)):
        with pytest.raises(WildlamError, match="has no direction"):
            index.nearest(bad, 3)
    with pytest.raises(WildlamError, match=r"of shape \[3\]; those of .* are \[64\]"):
        index.nearest(np.ones(3), 3)
    still = rows_of(np.zeros((1, DIM), np.float32), 600)
    index.append(still)
    assert 600 not in numbers(index.nearest(z[0], 601))


def test_a_transition_is_found_by_its_moment(index, z):
    found, of = index.find("b/1.mp4", 0.6)
    assert (found.start, found.end, found.source) == (0.5, 0.75, "b")
    np.testing.assert_allclose(of, z[22], rtol=1e-6)
    with pytest.raises(WildlamError, match=r"b/1\.mp4: no transition at 5 s; there are some from 0\.00 to 5\.00 s"):
        index.find("b/1.mp4", 5.0)
    with pytest.raises(WildlamError, match=r"has no video \"it's\.mp4\"; give its path relative to videos"):
        index.find("it's.mp4", 0)


def test_filters_that_let_nothing_through_are_refused():
    with pytest.raises(ValueError, match="min_speed and max_speed are shares"):
        Filter(min_speed=0.5, max_speed=0.5)
    with pytest.raises(ValueError, match="after must be at least 0 and less than before, got 3 and 2"):
        Filter(after=3, before=2)


def test_an_index_of_something_else_is_refused(index, tmp_path):
    folder = index.folder
    assert len(create(folder)) == 600
    with pytest.raises(WildlamError, match=r"latent actions of another run, .*; delete the folder and build it again"):
        create(folder, weights="other")
    assert create(folder, root=str(tmp_path)).root == str(tmp_path)  # where what was "videos" is now
    with pytest.raises(WildlamError, match=r"is an index of .*, not of elsewhere; give another out"):
        create(folder, root="elsewhere")
    with pytest.raises(WildlamError, match="has no search index; build one"):
        SearchIndex.open(tmp_path)
    (folder / "index.json").write_text("{}")
    with pytest.raises(WildlamError, match="not a search index of version 1"):
        SearchIndex.open(folder)


def test_damage_is_told(index, z):
    for file in (index.folder / "index.lance" / "data").iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(WildlamError, match=r"the search index is damaged .*; delete the folder and build it again"):
        SearchIndex.open(index.folder).nearest(z[0], 3)


def test_what_a_kill_left_before_the_first_row_is_replaced(index):
    (index.folder / "index.json").unlink()
    assert len(create(index.folder)) == 0


def test_a_filter_of_moments_leaves_these_and_an_index_knows_its_own(index, z):
    some = index.nearest(z[7], 6)
    moments = frozenset((one.video, one.start) for one in some)
    left = index.nearest(
        -z[7], 10, Filter(moments=moments, without_moments=frozenset([(some[0].video, some[0].start)]))
    )
    assert sorted(numbers(left)) == sorted(numbers(some[1:]))
    assert not index.nearest(z[7], 3, Filter(moments=frozenset()))
    elsewhere = Transition("a/0.mp4", "a", 99.0, 99.25, 1.0)
    assert index.held([*some, elsewhere]) == list(some)
    assert index.held([]) == []
    assert [one.start for one in index.of_video("a/0.mp4")] == [n / 4 for n in range(20)]
    assert index.of_video("none.mp4") == []
