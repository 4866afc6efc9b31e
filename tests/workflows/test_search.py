"""Search by action, from videos to a page: built once, brought up to date, asked by examples of every kind."""

import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import wildlam
from wildlam.distributed import Processes
from wildlam.encoders import Lite0
from wildlam.encoders.lite0 import Lite0Encoder
from wildlam.errors import WildlamError
from wildlam.fileio import locked
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Discrete
from wildlam.runs import checkpoints
from wildlam.states import dataset
from wildlam.video.opening import VideoError
from wildlam.workflows import search as search_module
from wildlam.workflows import search_build
from wildlam.workflows.search import SearchConfig, open_index, pictures, search
from wildlam.workflows.search_build import build_search

from ..helpers import make_run

pytestmark = pytest.mark.usefixtures("tiny_models")

ENCODER = Lite0(image_size=64, dtype="float32")
ASKED = "a/train/a0.mp4@1.3"


@pytest.fixture
def run(encoded_videos, tmp_path):
    """A run on six videos of 16 states, encoded already."""
    return make_run(tmp_path / "run", encoded_videos, ENCODER)


@pytest.fixture
def built(run):
    return build_search(run=run)


def test_states_that_are_stored_are_not_encoded_again(run, encoded_videos, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Lite0Encoder, "encode", lambda *_: pytest.fail("encoded"))
        result = build_search(run=run)
    assert (result.added, result.removed, result.rows, result.new_rows) == (6, 0, 90, 90)
    assert re.search(r"^rows +90 transitions, 90 of them new at [\d,]+ a second$", str(result), flags=re.MULTILINE)
    transition, z = result.index.find("a/train/a0.mp4", 1.3)
    assert (transition.start, transition.end, transition.source) == (1.25, 1.5, "a")
    trained = wildlam.load(run)
    actions = trained.infer(encoded_videos / "a" / "train" / "a0.mp4")
    torch.testing.assert_close(torch.from_numpy(z), actions.z[5], atol=0.02, rtol=0.02)  # states are in bfloat16
    states = torch.cat([states for _, states in trained.encode(encoded_videos / "a" / "train" / "a0.mp4")])
    assert transition.speed == pytest.approx(float((states[6] - states[5]).abs().mean() / 0.25), rel=0.02)


def test_without_a_store_the_same_is_inferred_from_the_films(run, built, monkeypatch, tmp_path):
    monkeypatch.setattr(dataset, "fits", lambda *_: False)
    again = build_search(run=run, out=tmp_path / "again")
    assert again.rows == 90
    for moment in (0.1, 1.3, 3.6):
        (one, z), (other, same) = (index.find("b/test/b2.mp4", moment) for index in (built.index, again.index))
        assert one.start == other.start
        np.testing.assert_allclose(z, same, atol=0.02, rtol=0.02)


def test_only_what_is_new_is_inferred(run, built, encoded_videos, make_video, monkeypatch):
    assert build_search(run=run).added == 0
    make_video(encoded_videos / "b" / "train" / "new.mp4", frames=96, gop=24)
    (encoded_videos / "a" / "train" / "a1.mp4").unlink()
    make_video(encoded_videos / "a" / "train" / "a0.mp4", frames=120, gop=24)  # 20 states, where 16 were
    inferred = []
    real = search_build.transitions
    monkeypatch.setattr(search_build, "transitions", lambda *given: inferred.append(len(given[1])) or real(*given))
    result = build_search(run=run)
    assert (result.added, result.removed, result.rows) == (2, 2, 4 * 15 + 15 + 19)
    assert sum(inferred) == 15 + 19
    with pytest.raises(WildlamError, match="has no video"):
        result.index.find("a/train/a1.mp4", 1.0)
    assert result.index.find("a/train/a0.mp4", 4.6)


def test_an_index_follows_videos_that_were_moved(run, built, encoded_videos):
    moved = encoded_videos.rename(encoded_videos.with_name("moved"))
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(encoded_videos), str(moved)))
    assert build_search(run=run).added == 0
    page = search(run=run, like=ASKED, count=1).page.read_text()
    assert page.count("data:image/webp") == 2


def test_a_copy_of_a_run_has_its_own_videos_and_index(encoded_videos, tmp_path):
    run, copy = make_run(tmp_path / "run", tmp_path / "run" / "videos", ENCODER), tmp_path / "copy"
    encoded_videos.rename(run / "videos")
    build_search(run=run)
    shutil.copytree(run, copy)
    (copy / "videos" / "a" / "train" / "a1.mp4").unlink()
    assert open_index(copy).root == str(copy / "videos")
    with locked(run / "search", "building", file=run / "search" / ".lock", refusal="wait"):
        assert (build_search(run=copy).removed, build_search(run=copy).added) == (1, 0)
    assert build_search(run=run).removed == 0


def test_videos_that_cannot_be_used_are_left_out_if_they_may_be(run, encoded_videos):
    for name in ("one", "other"):
        (encoded_videos / f"{name}.mp4").write_bytes(b"no film")
    says = r"2 of 8 videos cannot be used: .*leave them out with on_error=skip and max_bad=0\.25 or exclude PATTERN$"
    with pytest.raises(WildlamError, match=says):
        build_search(run=run)
    with pytest.raises(WildlamError, match="max_bad is 2"):
        build_search(run=run, on_error="skip", max_bad=2)
    result = build_search(run=run, on_error="skip", max_bad=0.25)
    assert (result.added, [path for path, _ in result.skipped]) == (6, ["one.mp4", "other.mp4"])
    assert str(result).endswith("6 new, 0 taken out, 2 left out")
    assert build_search(run=run, exclude=["o*.mp4"]).skipped == []


def test_an_interrupted_build_keeps_what_it_inferred(run, monkeypatch, caplog):
    real, calls = search_build.transitions, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(search_build, "transitions", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_search(run=run)
    assert len(open_index(run)) == 30
    assert "its building was interrupted" in caplog.text
    result = build_search(run=run)
    assert (result.added, result.rows) == (4, 90)
    assert result.index.sources == ["a", "b"]
    assert result.index.settled


def test_what_is_found_lies_in_other_videos_and_is_shown(run, built, encoded_videos):
    found = search(run=run, like=ASKED, count=5)
    assert len(found.hits) == 5
    assert "a/train/a0.mp4" not in {hit.video for hit in found.hits}
    assert [hit.distance for hit in found.hits] == sorted(hit.distance for hit in found.hits)
    page = found.page.read_text()
    assert found.page == run / "search" / "search.html"
    assert page.count("data:image/webp") == 6
    link = os.path.relpath(encoded_videos / "a" / "train" / "a0.mp4", found.page.parent)
    assert f'<a href="{link}#t=1.250,1.500">a/train/a0.mp4, 1.25 to 1.50 s</a>' in page
    assert "distance" in found._repr_html_()
    assert len(str(found).splitlines()) == 6
    within = search(run=run, like=ASKED, count=8, same_video=True, before=2.0).hits
    assert "a/train/a0.mp4" in {hit.video for hit in within}
    assert ("a/train/a0.mp4", 1.25) not in {(hit.video, hit.start) for hit in within}
    of_b = search(run=run, like=ASKED, count=10, sources=["b"], distinct_videos=True, out=run / "b.html")
    assert sorted(hit.video for hit in of_b.hits) == ["b/test/b2.mp4", "b/train/b0.mp4", "b/train/b1.mp4"]
    assert (run / "b.html").is_file()


def test_the_same_film_elsewhere_is_found_as_itself(run, built, encoded_videos, tmp_path):
    """Videos that the index does not have, and saved latent actions, are examples too."""
    shutil.copy(encoded_videos / "a" / "train" / "a0.mp4", tmp_path / "other.mp4")
    wildlam.infer(run=run, videos=tmp_path / "other.mp4", output=tmp_path / "saved")
    np.savez(tmp_path / "one.npz", z=np.load(tmp_path / "saved.npz")["z"][5])
    for like in ("other.mp4@1.3", "saved.npz@1.3", "one.npz"):
        hit = search(run=run, like=str(tmp_path / like), count=1).hits[0]
        assert hit.distance == pytest.approx(0, abs=1e-3)
    whole_path = f"{encoded_videos / 'a' / 'train' / 'a0.mp4'}@1.3"
    assert search(run=run, like=whole_path).hits == search(run=run, like=ASKED).hits


def test_a_group_is_looked_for_by_name(run, built, monkeypatch):
    monkeypatch.setattr(search_module, "HITS_SHOWN", 2)
    found = search(run=run, like=ASKED, count=3, save_group="dark")
    again = search(run=run, like="group:dark", count=86)
    members = {(hit.video, hit.start) for hit in found.hits} | {("a/train/a0.mp4", 1.25)}
    assert len(again.hits) == 86
    assert again.page.read_text().count("data:image/webp") == 4 + 2
    assert "86 of 90 transitions" in again.page.read_text()
    assert "; the first 2 are shown" in again.page.read_text()
    assert not members & {(hit.video, hit.start) for hit in again.hits}
    assert "Like group:dark" in again.page.read_text()
    assert (run / "groups" / "dark.json").is_file()


def test_a_group_of_a_run_is_known_to_all_its_indices(run, built, encoded_videos, tmp_path):
    """It points the same way there, but its members may be of other videos."""
    search(run=run, like=ASKED, count=3, save_group="dark")
    videos = shutil.copytree(encoded_videos / "a", tmp_path / "others")
    build_search(run=run, data=videos, out=tmp_path / "other")
    found = search(run=run, like="group:dark", index=tmp_path / "other", save_group="also", out=tmp_path / "page.html")
    assert found.hits
    assert not found.example.transitions
    assert "cannot be shown" not in found.page.read_text()
    assert sorted(file.name for file in (run / "groups").iterdir()) == ["also.json", "dark.json"]


def test_groups_of_the_packaged_run_lie_beside_the_index(run, built, monkeypatch, tmp_path):
    monkeypatch.setattr("wildlam.workflows.groups.TINY", run)  # small, as the others here
    index = shutil.copytree(built.index.folder, tmp_path / "index")
    search(run=run, index=index, like=ASKED, count=2, save_group="ahead")
    assert (index / "groups" / "ahead.json").is_file()
    assert not (run / "groups").exists()
    assert search(run=run, index=index, like="group:ahead", count=2).hits


@pytest.mark.parametrize(
    ("like", "says"),
    [
        ("a/train/a0.mp4", r"^like a/train/a0\.mp4: give VIDEO@SECONDS, such as"),
        ("a/train/a0.mp4@9", r"no transition at 9 s; there are some from 0\.00 to 3\.75 s"),
        ("a/train/a0.mp4@x", "give VIDEO@SECONDS"),
        ("nowhere.mp4@1", r"has no video 'nowhere\.mp4'"),
        ("nowhere.npz", "no such file"),
        ("group:none", "has no group 'none'"),
    ],
)
def test_examples_that_there_are_not(run, built, like, says):
    with pytest.raises(WildlamError, match=says):
        search(run=run, like=like)


def test_files_that_hold_no_example(run, built, tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    np.savez(tmp_path / "wide.npz", z=np.zeros((1, 7)))
    np.savez(tmp_path / "several.npz", z=np.ones((2, 4)))
    said = {"bad": "is no file of latent actions", "wide": r"of width 4, got \[1, 7\]", "several": "holds 2"}
    for name, says in said.items():
        with pytest.raises(WildlamError, match=says):
            search(run=run, like=str(tmp_path / f"{name}.npz"))


def test_hits_that_mean_little_are_said_to(run, built):
    found = search(run=run, like=ASKED, count=3)
    hits = [replace(hit, rank=rank, distance=0.3) for hit, rank in zip(found.hits, (0.1, 0.1, 0.9), strict=True)]
    assert "most of these hardly move" in str(replace(found, hits=hits))
    assert "unrelated" in str(replace(found, hits=[replace(hits[2], distance=0.9)]))
    assert not replace(found, hits=hits[2:]).notes


def test_sources_and_counts_that_cannot_be(run, built):
    with pytest.raises(WildlamError, match="sources: no source c; there are a, b"):
        search(run=run, like=ASKED, sources=["c"])
    with pytest.raises(WildlamError, match="count must be at least 1"):
        search(run=run, like=ASKED, count=0)


def test_an_index_of_weights_of_before_is_refused(run, built):
    spec = ENCODER.build("cpu").spec
    torch.manual_seed(5)
    model = ModelConfig(bottleneck=wildlam.Noisy(dim=4)).build(spec.width, spec.grid)
    writer = checkpoints.Writer(run / "checkpoints", 1, Processes(0, 1, torch.device("cpu")))
    writer.save(2, None, model.state_dict(), {})
    writer.wait()
    for call in (lambda: search(run=run, like=ASKED), lambda: build_search(run=run)):
        with pytest.raises(WildlamError, match="of this one before more training; delete the folder"):
            call()


def test_an_index_of_another_folder_keeps_its_own(run, built, encoded_videos, tmp_path):
    videos = shutil.copytree(encoded_videos, tmp_path / "others")
    with pytest.raises(WildlamError, match=r"is an index of .*, not of .*; give another out"):
        build_search(run=run, data=videos / "a")
    other = build_search(run=run, data=videos / "a", out=tmp_path / "a")
    assert other.rows == 45
    assert search(run=run, like="train/a0.mp4@1.3", index=tmp_path / "a").hits
    with pytest.raises(WildlamError, match=r"is an index of .*/videos, not of .*/others; give another index"):
        search(run=run, like=ASKED, data=videos)


def test_the_index_of_the_packaged_run_lies_with_its_videos(run, encoded_videos, monkeypatch, tmp_path):
    monkeypatch.setattr("wildlam.workflows.search_build.TINY", run)  # small, as the others here
    monkeypatch.setattr("wildlam.workflows.groups.TINY", run)
    before = sorted(run.rglob("*"))
    built = build_search(run=run, data=encoded_videos)
    assert built.index.folder == encoded_videos / ".wildlam" / "search-tiny"
    assert search(run=run, data=encoded_videos, like=ASKED, count=2, save_group="ahead").hits
    assert (built.index.folder / "groups" / "ahead.json").is_file()
    assert sorted(run.rglob("*")) == before
    with pytest.raises(WildlamError, match="give a folder of videos as data, or that of the index as out"):
        build_search(run=run)
    with pytest.raises(WildlamError, match="give a folder of videos as data, or that of the index as index"):
        search(run=run, like=ASKED)


def test_a_video_that_is_gone_is_told_on_the_page(run, built, encoded_videos):
    for name in ("a0", "a1"):
        (encoded_videos / "a" / "train" / f"{name}.mp4").unlink()
    index = open_index(run)
    found = search(run=run, like=ASKED, count=10)
    assert re.search(r"a/train/a1\.mp4, .*: cannot be shown \(.*no such file\)", found.page.read_text())
    gone = next(hit for hit in found.hits if hit.video == "a/train/a1.mp4")
    with pytest.raises(VideoError, match="no such file"):
        pictures(index, gone)


def test_pictures_go_from_before_to_after(run, built, read_number):
    index = open_index(run)
    transition, _ = index.find("a/train/a0.mp4", 1.3)
    frames = pictures(index, transition, size=64, count=3)
    assert [read_number(frame) for frame in frames] == [30, 33, 36]


def test_codes_are_found_by_being_the_same(encoded_videos, tmp_path):
    run = make_run(tmp_path / "codes", encoded_videos, ENCODER, ModelConfig(bottleneck=Discrete(dim=4, codes=3)))
    index = build_search(run=run).index
    _, z = index.find("a/train/a0.mp4", 1.3)
    hits = index.nearest(z, 75)
    same = [np.array_equal(found, z) for found in index.vectors(hits)]
    assert any(same)
    assert same == sorted(same, reverse=True)


def test_two_builds_at_once_are_refused(run, built):
    with (
        locked(run / "search", "building", file=run / "search" / ".lock"),
        pytest.raises(WildlamError, match=r"is in use by process .*; let it end, or give another out"),
    ):
        build_search(run=run)


def test_the_configuration_is_refused_before_anything_is_opened():
    with pytest.raises(ValueError, match="min_speed and max_speed"):
        SearchConfig(run="nowhere", like="x", min_speed=2.0)
