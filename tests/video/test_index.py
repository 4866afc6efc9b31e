import logging
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.video.indexing import other_files, quiet_index, splits_of
from wildlam.errors import WildlamError, named, videos_given_by
from wildlam.video import index as index_module
from wildlam.video.decode import VideoError
from wildlam.video.index import find_videos, read_list
from wildlam.video.manifest import Manifest, manifest_path
from wildlam.video.splits import assign_splits


def test_finds_videos_at_any_depth(folder):
    root = folder("top.MP4", "a/one.mp4", "a/deep er/zwei ö.mp4", "b/海/三.mp4", ".hidden/x.mp4", "a/.y.mp4", "._z.mp4")
    (root / "notes.txt").write_text("hello")
    (root / "link").symlink_to(root / "a")
    assert find_videos(root) == ["a/deep er/zwei ö.mp4", "a/one.mp4", "b/海/三.mp4", "top.MP4"]
    manifest = quiet_index(root)
    assert {video.path: video.source for video in manifest} == {
        "a/deep er/zwei ö.mp4": "a",
        "a/one.mp4": "a",
        "b/海/三.mp4": "b",
        "top.MP4": ".",
    }
    video = manifest[0]
    assert (video.frames, video.width, video.height, video.rotation) == (24, 64, 64, 0)
    assert video.duration == pytest.approx(1.0)
    assert video.fps == pytest.approx(24.0)
    assert video.size == manifest.file(video.path).stat().st_size
    assert {v.path for v in manifest.split("train")} | {v.path for v in manifest.split("held_out")} == set(
        find_videos(root)
    )


def test_linked_folders_are_followed_out_of_the_tree_and_once(folder, tmp_path):
    root = folder("a.mp4", "sub/b.mp4")
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    shutil.copy(root / "a.mp4", tmp_path / "elsewhere" / "deep" / "c.mp4")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "elsewhere")
    (root / "up").symlink_to(tmp_path)
    (root / "inside").symlink_to(root / "sub")
    (root / "videos").symlink_to(tmp_path / "elsewhere")
    (root / "videos again").symlink_to(tmp_path / "elsewhere" / "deep")
    (root / "linked.mp4").symlink_to(tmp_path / "elsewhere" / "deep" / "c.mp4")
    assert find_videos(root) == ["a.mp4", "linked.mp4", "sub/b.mp4", "videos/deep/c.mp4"]
    assert len(quiet_index(root)) == 4


def test_refresh_opens_only_new_and_changed_files(folder, probed):
    root = folder("a.mp4", "b.mp4", "c.mp4")
    quiet_index(root)
    assert sorted(probed) == ["a.mp4", "b.mp4", "c.mp4"]
    probed.clear()
    path = manifest_path(root)
    before = path.stat().st_mtime_ns
    quiet_index(root)
    assert probed == []
    assert path.stat().st_mtime_ns == before  # not even written: a read-only folder may carry its manifest
    folder("new.mp4")
    os.utime(root / "b.mp4", ns=(1, 1))
    (root / "c.mp4").unlink()
    assert set(splits_of(quiet_index(root))) == {"a.mp4", "b.mp4", "new.mp4"}
    assert sorted(probed) == ["b.mp4", "new.mp4"]


def test_a_cache_elsewhere(folder, tmp_path):
    root = folder("a.mp4", "b.mp4")
    manifest = quiet_index(root, cache=tmp_path / "cache")
    assert not (root / ".wildlam").exists()
    assert list(Manifest.read(tmp_path / "cache" / "manifest.parquet")) == list(manifest)
    assert Manifest.read(tmp_path / "cache" / "manifest.parquet").file("a.mp4").exists()
    other = tmp_path / "other"
    shutil.copytree(root, other)
    with pytest.raises(WildlamError, match=r"manifest of another folder.* another data\.cache"):
        quiet_index(other, cache=tmp_path / "cache")


def test_a_folder_that_cannot_be_written(folder):
    root = folder("a.mp4", "b.mp4")
    (root / ".wildlam").write_text("in the way")  # root may write anywhere, so permissions would not do here
    with pytest.raises(WildlamError, match=r"cannot be written.* with data\.cache"):
        quiet_index(root)


def test_assigned_splits_stay_until_the_share_changes(folder):
    names = [f"{i}.mp4" for i in range(3)]
    root = folder(*names)
    before = splits_of(quiet_index(root, held_out=0.01))
    assert Counter(before.values()) == {"train": 2, "held_out": 1}  # by the smallest hash
    folder(*(f"more{i}.mp4" for i in range(6)))
    after = splits_of(quiet_index(root, held_out=0.01))
    assert {path: after[path] for path in before} == before
    redrawn = splits_of(quiet_index(root, held_out=0.5))
    assert redrawn == assign_splits(redrawn, 0.5, {})
    assert Manifest.read(manifest_path(root)).held_out == 0.5


def test_split_folders_are_no_sources(folder):
    root = folder("train/ssv2/a.mp4", "val/ssv2/b.mp4", "train/c.mp4")
    assert {v.path: v.source for v in quiet_index(root)} == {
        "train/ssv2/a.mp4": "ssv2",
        "val/ssv2/b.mp4": "ssv2",
        "train/c.mp4": ".",
    }


def test_a_single_video_cannot_be_split(folder):
    with pytest.raises(WildlamError, match=r"only\.mp4.*second video.*ffmpeg"):
        quiet_index(folder("only.mp4"))


def test_bad_files_raise_with_name_and_reason(folder):
    root = folder("a.mp4", "b.mp4", "c.mp4")
    (root / "empty.mp4").touch()
    with pytest.raises(VideoError, match=r"empty\.mp4: .*0 bytes"):
        quiet_index(root)
    (root / "text.mp4").write_text("no video at all " * 20)
    out = r"or leave them out with (--)?data\.on_error=skip"
    with pytest.raises(
        WildlamError,
        match=rf"2 of 5 videos .*empty.*text\.mp4.*{out} and (--)?data\.max_bad=0\.4 or (--)?data\.exclude PATTERN$",
    ):
        quiet_index(root)  # more than may be skipped: the first option alone would not help
    with pytest.raises(WildlamError, match=rf"2 of 5 videos .*{out} or (--)?data\.exclude PATTERN$"):
        quiet_index(root, max_skipped=0.5)
    with (
        pytest.raises(WildlamError, match=r"2 of 5 videos .*Mend or remove them$"),
        named(videos_given_by("--data")),
    ):
        quiet_index(root)
    for name in ("a", "b", "c"):
        (root / f"{name}.mp4").unlink()
    with pytest.raises(WildlamError, match=r"2 of 2 videos .*Mend or remove them$"):
        quiet_index(root)


def test_skipping_is_counted_reported_and_capped(folder, caplog, probed):
    root = folder(*(f"{i}.mp4" for i in range(12)))
    (root / "empty.mp4").touch()
    with caplog.at_level(logging.WARNING):
        assert len(quiet_index(root, on_error="skip")) == 12
    assert "skipped 1 of 13 videos" in caplog.text
    assert "empty.mp4: the file is empty" in caplog.text
    (root / "empty2.mp4").touch()
    out = r"or leave them out with (--)?data\.max_bad=0\.15 or (--)?data\.exclude PATTERN$"
    with pytest.raises(WildlamError, match=rf"2 of 14 videos .* more than the 10%.*empty.*{out}"):
        quiet_index(root, on_error="skip")
    assert len(quiet_index(root, on_error="skip", max_skipped=0.2)) == 12


@pytest.mark.parametrize("kind", ["missing", "no video inside", "a video", "another file"])
def test_roots_that_hold_no_videos(tmp_path, one_video, kind):
    if kind == "a video":
        root, message = one_video, "a single file"
    elif kind == "another file":
        root, message = tmp_path / "notes.md", "a single file"
        root.write_text("x")
    elif kind == "missing":
        root, message = tmp_path / "nowhere", "no such folder"
    else:
        root, message = tmp_path / "nothing", "no videos found"
        root.mkdir()
    with pytest.raises(WildlamError, match=message) as caught:
        quiet_index(root)
    assert str(root) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a/demo.hdf5", "a.zarr", "1.0.0/arm-train.tfrecord-00000-of-00002", "a/traj_data.pkl"]
)
def test_pictures_that_are_no_films_are_told(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    for root in (tmp_path, tmp_path / name):
        with pytest.raises(WildlamError, match=r"no videos found, but .*write each episode as a film.* --films FOLDER"):
            quiet_index(root)


def test_a_failed_indexing_keeps_what_it_has(folder, probed):
    root = folder(*(f"{i}.mp4" for i in range(6)))
    (root / "9.mp4").touch()
    with pytest.raises(VideoError):
        quiet_index(root)
    assert not manifest_path(root).exists()  # nothing that could be taken for the whole
    (root / "9.mp4").unlink()
    probed.clear()
    whole = quiet_index(root)
    assert len(whole) == 6
    assert probed == []
    assert not other_files(root / ".wildlam")
    assert list(Manifest.read(manifest_path(root))) == list(whole)


def test_a_killed_indexing_keeps_what_it_has(folder, monkeypatch, probed):
    root = folder(*(f"{i}.mp4" for i in range(6)))
    with monkeypatch.context() as patched:
        patched.setattr(index_module, "_SAVE_EVERY", 2)
        patched.setattr(index_module, "assign_splits", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            quiet_index(root)
    assert len(probed) == 6
    probed.clear()
    assert len(quiet_index(root)) == 6
    assert probed == []


def test_sources_of_a_list_lie_below_the_folder_that_all_lie_in(make_video, tmp_path):
    """A folder above that is called test holds nothing out, and buckets are sources."""
    for name in ("droid/a.mp4", "droid/b.mp4", "web/test/c.mp4", "web/d.mp4"):
        make_video(tmp_path / "test" / name, frames=12)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(str(path) for path in sorted((tmp_path / "test").rglob("*.mp4"))))
    manifest = quiet_index(listed, held_out=1e-6)
    rows = [(Path(v.path).name, v.source, v.split) for v in manifest]
    assert rows[2:] == [("d.mp4", "web", "train"), ("c.mp4", "web", "held_out")]
    # The hash of an absolute path says which of the other two; of each source one is held out.
    assert sorted(rows[:2], key=lambda row: row[2])[0][1:] == ("droid", "held_out")
    assert sorted(rows[:2], key=lambda row: row[2])[1][1:] == ("droid", "train")
    few = [line for line in listed.read_text().splitlines() if "web/" in line]
    listed.write_text("\n".join(few))
    assert {video.source for video in quiet_index(listed)} == {"."}  # now all lie in web


def test_lists_of_videos(folder, tmp_path):
    root = folder("a.mp4", "b c/d e.mp4", "b c/plain.mp4")
    outside = tmp_path / "elsewhere.webm"
    shutil.copy(root / "a.mp4", outside)
    lines = ["a.mp4 3", "b c/d e.mp4 12", '"b c/plain.mp4",kick', f"{outside} 0", "", "a.mp4 3"]
    path = root / "list.csv"
    path.write_text("\n".join(lines))
    manifest = quiet_index(path)
    assert {video.path for video in manifest} == {"a.mp4", "b c/d e.mp4", "b c/plain.mp4", str(outside)}
    assert all(manifest.file(video.path).exists() for video in manifest)
    assert manifest_path(path) == root / ".wildlam" / "list.csv.parquet"  # not the folder's own
    path.write_text("a.mp4\ngone.mp4 1\n")
    with pytest.raises(VideoError, match=r"gone\.mp4: No such file"):
        quiet_index(path)
    path.write_text("a.mp4\nnot a video\n")
    with pytest.raises(WildlamError, match=r"list\.csv, line 2: no video"):
        read_list(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_bar_counts_bytes_also_of_what_cannot_be_used(make_video, tmp_path, bars, suffix):
    root, made = tmp_path / "videos", bars(index_module)
    for i in range(3):
        make_video(root / f"{i}.{suffix}", frames=24 + i)
    (root / f"bad.{suffix}").write_bytes(b"no video")
    quiet_index(root, on_error="skip", max_skipped=0.5, workers=1)
    sizes = {path.name: path.stat().st_size for path in root.glob(f"*.{suffix}")}
    assert made[0].n == pytest.approx(sum(sizes.values())) == pytest.approx(made[0].total)
    if suffix == "mkv":  # has no index at its beginning: all of it is read
        assert 0 < made[0].steps[0] < sizes[f"0.{suffix}"] / 2
