from __future__ import annotations

import logging
import pickle
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers import printed
from tests.video.indexing import other_files, quiet_index, splits_of
from wildlam.errors import WildlamError
from wildlam.video import index as index_module
from wildlam.video import manifest as manifest_module
from wildlam.video.index import index
from wildlam.video.loader import ClipSource
from wildlam.video.manifest import Manifest, manifest_path
from wildlam.video.sampling import eval_windows, long_enough


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


@pytest.fixture
def mapped(folder, monkeypatch) -> Manifest:
    """A manifest that is mapped into memory."""
    monkeypatch.setattr(manifest_module, "MAPPED_FROM", 1)
    path = manifest_path(folder(*(f"{source}/{i}.mp4" for source in "ab" for i in range(4))))
    monkeypatch.setattr(index_module, "find_cuts", lambda path, *_: [0.25] if path.name == "1.mp4" else [])
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
    assert "c/new.mp4" in splits_of(Manifest.read(path))
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


MANY = 100_000


def anonymous():
    return next(
        int(line.split()[1]) << 10
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("RssAnon")
    )


def read_many(path):
    """Print how many windows were drawn, and the bytes of memory that it took for each row."""
    manifest = Manifest.read(path)  # the working copy is made
    del manifest
    pa.default_memory_pool().release_unused()
    before = anonymous()
    manifest = long_enough(Manifest.read(path), 16, 4.0, "skip")
    source = ClipSource(manifest.split("train"), frames=16, fps=4.0, size=32, batch=64, mixture={"droid": 0.2})
    windows = [source.draws.windows(np.random.default_rng(step), 64) for step in range(20)]
    windows += eval_windows(manifest.split("held_out"), 16, 4.0, per_source=128)
    print(len(windows), (anonymous() - before) / len(manifest))


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
    count, bytes_per_row = map(float, printed(tmp_path, read_many, path)[0].split())
    assert count == 20 + 2 * 128
    assert bytes_per_row < 220  # numbers of rows, times of clips and what a process needs anyway; the path is longer
