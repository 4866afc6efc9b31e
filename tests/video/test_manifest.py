from __future__ import annotations

import logging
import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from wildlam.errors import WildlamError
from wildlam.video import index as index_module
from wildlam.video import manifest as manifest_module
from wildlam.video.decode import VideoError
from wildlam.video.index import assign_splits, find_videos, index, read_list
from wildlam.video.manifest import Manifest, manifest_path


@pytest.fixture(scope="session")
def one_video(tmp_path_factory, make_video) -> Path:
    return make_video(tmp_path_factory.mktemp("one") / "one.mp4")


@pytest.fixture
def folder(tmp_path, one_video):
    """Make a folder of copies of a video under the given names."""

    def fill(*names: str) -> Path:
        for name in names:
            path = tmp_path / "videos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(one_video, path)
        return tmp_path / "videos"

    return fill


@pytest.fixture
def probed(monkeypatch) -> list[str]:
    """Names of the files that get opened."""
    names: list[str] = []
    real = index_module.probe

    def counting(path):
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(index_module, "probe", counting)
    return names


def quiet_index(root, **options) -> Manifest:
    return index(root, progress=False, **options)


def other_files(cache: Path) -> set[str]:
    """Names of files that are neither the manifest nor its lock."""
    return {path.name for path in cache.iterdir()} - {"manifest.parquet", ".manifest.parquet.lock"}


def splits(manifest: Manifest) -> dict[str, str]:
    return {video.path: video.split for video in manifest}


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


def test_written_and_read_back(folder):
    root = folder("a.mp4", "b.mp4", "c/d.mp4")
    made = quiet_index(root, held_out=0.3)
    path = root / ".wildlam" / "manifest.parquet"
    for read in (Manifest.read(path), quiet_index(path)):
        assert list(read) == list(made)
        assert read.held_out == 0.3
        assert read.file("a.mp4").exists()
    assert not other_files(path.parent)  # nothing temporary is left
    root.rename(root.with_name("moved"))
    assert Manifest.read(root.with_name("moved") / ".wildlam" / "manifest.parquet").file("a.mp4").exists()


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
    assert set(splits(quiet_index(root))) == {"a.mp4", "b.mp4", "new.mp4"}
    assert sorted(probed) == ["b.mp4", "new.mp4"]


def test_a_cache_elsewhere(folder, tmp_path):
    root = folder("a.mp4", "b.mp4")
    manifest = quiet_index(root, cache=tmp_path / "cache")
    assert not (root / ".wildlam").exists()
    assert list(Manifest.read(tmp_path / "cache" / "manifest.parquet")) == list(manifest)
    assert Manifest.read(tmp_path / "cache" / "manifest.parquet").file("a.mp4").exists()
    other = tmp_path / "other"
    shutil.copytree(root, other)
    with pytest.raises(WildlamError, match=r"manifest of another folder.*--data\.cache"):
        quiet_index(other, cache=tmp_path / "cache")


def test_a_folder_that_cannot_be_written(folder):
    root = folder("a.mp4", "b.mp4")
    (root / ".wildlam").write_text("in the way")  # root may write anywhere, so permissions would not do here
    with pytest.raises(WildlamError, match=r"cannot write to .*--data\.cache"):
        quiet_index(root)


def test_split_is_stable_when_files_are_added():
    first = [f"clip {i}.mp4" for i in range(200)]
    before = assign_splits(first, 0.2, {})
    after = assign_splits([*first, *(f"more/{i}.mp4" for i in range(300))], 0.2, {})
    assert all(after[path] == split for path, split in before.items())
    assert 0.1 < Counter(before.values())["held_out"] / 200 < 0.3
    assert 0.15 < Counter(after.values())["held_out"] / 500 < 0.25


def test_assigned_splits_stay_until_the_share_changes(folder):
    names = [f"{i}.mp4" for i in range(3)]
    root = folder(*names)
    before = splits(quiet_index(root, held_out=0.01))
    assert Counter(before.values()) == {"train": 2, "held_out": 1}  # by the smallest hash
    folder(*(f"more{i}.mp4" for i in range(6)))
    after = splits(quiet_index(root, held_out=0.01))
    assert {path: after[path] for path in before} == before
    redrawn = splits(quiet_index(root, held_out=0.5))
    assert redrawn == assign_splits(redrawn, 0.5, {})
    assert Manifest.read(manifest_path(root)).held_out == 0.5


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train/a.mp4", "train"),
        ("x/Training/a.mp4", "train"),
        ("x/val/a.mp4", "held_out"),
        ("Test/a.mp4", "held_out"),
        ("validation/deep/a.mp4", "held_out"),
        ("held-out/a.mp4", "held_out"),
        ("valid/a.mp4", "held_out"),
        ("heldout/a.mp4", "held_out"),
        ("HELD_OUT/a.mp4", "held_out"),
    ],
)
def test_folder_names_decide(name, split):
    for share in (0.001, 0.999):
        others = {f"{i}.mp4": "train" if i % 2 else "held_out" for i in range(4)}
        assert assign_splits([name, *others], share, others)[name] == split


def test_split_folders_are_no_sources(folder):
    root = folder("train/ssv2/a.mp4", "val/ssv2/b.mp4", "train/c.mp4")
    assert {v.path: v.source for v in quiet_index(root)} == {
        "train/ssv2/a.mp4": "ssv2",
        "val/ssv2/b.mp4": "ssv2",
        "train/c.mp4": ".",
    }


@pytest.mark.parametrize("share", [1e-9, 1 - 1e-9])
def test_neither_split_is_ever_empty(share):
    for count in (2, 3, 10):
        found = assign_splits([f"{i}.mp4" for i in range(count)], share, {})
        assert set(found.values()) == {"train", "held_out"}
    assert set(assign_splits(["train/a.mp4", "train/b.mp4"], share, {}).values()) == {"train", "held_out"}


def test_a_single_video_cannot_be_split(folder):
    with pytest.raises(WildlamError, match=r"only\.mp4.*second video.*ffmpeg"):
        quiet_index(folder("only.mp4"))


def test_bad_files_raise_with_name_and_reason(folder):
    root = folder("a.mp4", "b.mp4", "c.mp4")
    (root / "empty.mp4").touch()
    with pytest.raises(VideoError, match=r"empty\.mp4: .*0 bytes"):
        quiet_index(root)
    (root / "text.mp4").write_text("no video at all " * 20)
    with pytest.raises(WildlamError, match=r"2 of 5 videos .*empty\.mp4.*text\.mp4.*Mend or remove them$"):
        quiet_index(root)  # more than may be skipped: the option would not help
    with pytest.raises(WildlamError, match=r"2 of 5 videos .*--data\.on_error=skip$"):
        quiet_index(root, max_skipped=0.5)


def test_skipping_is_counted_reported_and_capped(folder, caplog, probed):
    root = folder(*(f"{i}.mp4" for i in range(12)))
    (root / "empty.mp4").touch()
    with caplog.at_level(logging.WARNING):
        assert len(quiet_index(root, on_error="skip")) == 12
    assert "skipped 1 of 13 videos" in caplog.text
    assert "empty.mp4: the file is empty" in caplog.text
    (root / "empty2.mp4").touch()
    with pytest.raises(WildlamError, match=r"2 of 14 videos .* more than the 10%.*empty"):
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


def test_no_flipped_bit_becomes_another_manifest(folder):
    root = folder("a.mp4", "b.mp4")
    manifest = quiet_index(root)
    path = root / ".wildlam" / "manifest.parquet"
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 101):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        path.write_bytes(spoilt)
        try:
            read = Manifest.read(path)
        except WildlamError:
            continue
        assert read.table.equals(manifest.table)
        assert read.held_out == manifest.held_out


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, "another table"])
def test_a_damaged_manifest_is_named_with_the_remedy(folder, content):
    root = folder("a.mp4", "b.mp4")
    quiet_index(root)
    path = manifest_path(root)
    if content == "another table":
        manifest_module.pq.write_table(manifest_module.pa.table({"path": ["a.mp4"]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(WildlamError, match=r"manifest\.parquet: unreadable.*delete it"):
        quiet_index(root)
    with pytest.raises(WildlamError, match=r"manifest\.parquet: unreadable.*delete it"):
        quiet_index(path)


def test_an_interrupted_write_leaves_the_old_manifest(folder, monkeypatch):
    root = folder("a.mp4", "b.mp4")
    before = list(quiet_index(root))

    def broken(self, batch):
        raise OSError("disk full")

    monkeypatch.setattr(manifest_module.pq.ParquetWriter, "write_batch", broken)
    folder("c.mp4")
    with pytest.raises(OSError, match="disk full"):
        quiet_index(root)
    path = manifest_path(root)
    assert list(Manifest.read(path)) == before
    assert not other_files(path.parent)


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


@pytest.mark.parametrize(
    ("paths", "sources"),
    [
        (("s3://droid/x/a.mp4", "s3://web/b.mp4"), ["droid", "web"]),
        (("s3://data/droid/a.mp4", "s3://data/web/val/b.mp4"), ["droid", "web"]),
        (("s3://data/droid/a.tar", "gs://web/b.mp4"), ["data", "web"]),
        (("/data/test/a.mp4", "/data/test/b.mp4"), [".", "."]),
        (("x/a.mp4", "/data/test/y/b.mp4"), ["x", "."]),
    ],
)
def test_sources_of_urls(paths, sources):
    top = index_module._top(paths)
    assert [index_module._source(path, top) for path in paths] == sources


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


@pytest.fixture
def mapped(folder, monkeypatch) -> Manifest:
    """A manifest that is mapped into memory."""
    monkeypatch.setattr(manifest_module, "MAPPED_FROM", 1)
    path = manifest_path(folder(*(f"{source}/{i}.mp4" for source in "ab" for i in range(4))))
    monkeypatch.setattr(index_module, "find_cuts", lambda path: [0.25] if path.name == "1.mp4" else [])
    quiet_index(path.parent.parent, cuts=True)
    return Manifest.read(path)


def in_memory(manifest: Manifest) -> Manifest:
    return Manifest(manifest.root, manifest.table.take(list(range(len(manifest)))), manifest.held_out)


def test_a_mapped_manifest_is_as_one_in_memory(mapped):
    plain = in_memory(mapped)
    assert mapped.mapped.name == ".manifest.arrow"
    for one, other in (
        (mapped, plain),
        (mapped.split("train"), plain.split("train")),
        (mapped.split("held_out"), plain.split("held_out")),
        (mapped.share(1, 3), plain.share(1, 3)),
        (mapped.share(1, 3).split("train"), plain.share(1, 3).split("train")),
        (mapped.uncut(), plain.uncut()),
    ):
        assert list(one) == list(other)
        assert [one[i] for i in range(len(one))] == list(other)
        assert one.cuts() == other.cuts()
        assert one.sources()[1].tolist() == other.sources()[1].tolist()
    assert mapped.cuts() == {"a/1.mp4": [0.25], "b/1.mp4": [0.25]}


@pytest.mark.parametrize("part", ["all", "train", "uncut"])
def test_a_mapped_manifest_goes_to_other_processes_by_name(mapped, part):
    manifest = {"all": mapped, "train": mapped.split("train"), "uncut": mapped.uncut()}[part]
    data = pickle.dumps(manifest)
    assert b"1.mp4" not in data
    assert list(pickle.loads(data)) == list(manifest)


def test_the_working_copy_of_a_mapped_manifest(mapped, folder, monkeypatch, caplog):
    path, copy = manifest_path(mapped.root), mapped.mapped
    made = copy.stat().st_mtime_ns
    Manifest.read(path)
    assert copy.stat().st_mtime_ns == made  # as it is sound
    rows, spoilt = list(mapped), bytearray(copy.read_bytes())
    spoilt[spoilt.index(b"1.mp4")] ^= 1
    copy.unlink()  # it is mapped
    copy.write_bytes(spoilt)
    assert list(Manifest.read(path)) == rows
    assert copy.read_bytes() != spoilt
    root = folder("c/new.mp4")
    quiet_index(root)
    assert "c/new.mp4" in splits(Manifest.read(path))
    copy.unlink()
    copy.mkdir()  # in the way
    with caplog.at_level(logging.WARNING):
        held = Manifest.read(path)
    assert held.mapped is None
    assert len(held) == 9
    assert "held in memory" in caplog.text
    copy.rmdir()
    table = manifest_module.pq.read_table(path)
    manifest_module.pq.write_table(table.slice(1), path)  # as if it were the whole
    with pytest.raises(WildlamError, match=r"manifest\.parquet: unreadable.*delete it"):
        Manifest.read(path)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_manifest_of_version_4_opens(videos, tmp_path, monkeypatch, mapped):
    """It lacks what is odd about videos; indexing the folder looks again."""
    monkeypatch.setattr(manifest_module, "MAPPED_FROM", 1 if mapped else 100)
    new = index(videos, cache=tmp_path, progress=False)
    path = tmp_path / "manifest.parquet"
    names = [name for name in manifest_module.SCHEMA.names if name not in manifest_module._LACKING[4]]
    before = pa.schema([manifest_module.SCHEMA.field(name) for name in names])
    with monkeypatch.context() as patch:
        patch.setattr(manifest_module, "SCHEMA", before)
        patch.setattr(manifest_module, "_VERSION", 4)
        Manifest(new.root, new.table.select(names), new.held_out).write(path)
    old = Manifest.read(path)
    assert [video.path for video in old] == [video.path for video in new]
    assert {video.odd for video in old} == {None}
    assert old.cuts() == {}
    assert [video.odd for video in index(videos, cache=tmp_path, progress=False)] == [[]] * len(new)


MANY = 200_000
READ = """
import sys, numpy as np, pyarrow as pa
from pathlib import Path
from wildlam.data.clips import ClipSource, eval_windows, long_enough
from wildlam.data.manifest import Manifest

def anonymous():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("RssAnon"))

manifest = Manifest.read(Path(sys.argv[1]))  # the working copy is made
del manifest
pa.default_memory_pool().release_unused()
before = anonymous()
manifest = long_enough(Manifest.read(Path(sys.argv[1])), 16, 4.0, "skip")
source = ClipSource(manifest.split("train"), frames=16, fps=4.0, size=32, batch=64, mixture={"droid": 0.2})
windows = [source.draws.windows(np.random.default_rng(step), 64) for step in range(20)]
windows += eval_windows(manifest.split("held_out"), 16, 4.0, per_source=128)
print(len(windows), (anonymous() - before) / len(manifest))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_millions_of_rows_are_not_held_in_memory(tmp_path):
    folder = "of a depth that footage on a cluster has/" * 6
    rows = np.arange(MANY)
    columns = {
        "path": pa.array([f"{folder}{row:09}.mp4" for row in rows]),
        "source": pa.array(np.where(rows % 3 == 0, "droid", "wild")),
        "duration": pa.array(3.0 + rows % 100),
        "fps": pa.array(np.full(MANY, 24.0)),
        **{
            name: pa.array(np.ones(MANY, int)) for name in ("frames", "width", "height", "rotation", "size", "mtime_ns")
        },
        "split": pa.array(np.where(rows % 10 == 0, "held_out", "train")),
        **{name: pa.nulls(MANY, manifest_module.SCHEMA.field(name).type) for name in ("cuts", "breaks", "odd")},
        "offset": pa.nulls(MANY, pa.int64()),
        **{name: pa.nulls(MANY, manifest_module.SCHEMA.field(name).type) for name in ("look", "copy_of", "recording")},
    }
    path = tmp_path / "many.parquet"
    Manifest(tmp_path, pa.table(columns, manifest_module.SCHEMA), 0.1).write(path)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    count, bytes_per_row = map(float, done.stdout.split())
    assert count == 20 + 2 * 128
    assert bytes_per_row < 220  # numbers of rows, times of clips and what a process needs anyway; the path is longer
