"""Videos elsewhere than in files on a disk: in tar shards, and in an object store (moto's server, over HTTP)."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from tests.video.backends import BACKENDS
from wildlam import cli
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.states.encode import encode_videos
from wildlam.states.store import FeatureStore
from wildlam.video.decode import VideoError, decode_at, decode_grid, probe
from wildlam.video.files import TarMember, is_remote, location, opened, tar_members
from wildlam.video.index import index
from wildlam.video.loader import ClipSource, decode_windows
from wildlam.video.manifest import Manifest
from wildlam.video.sampling import eval_windows

NAMES = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


def quiet_index(root, **options) -> Manifest:
    return index(root, progress=False, **options)


@pytest.fixture(scope="module")
def _folder(tmp_path_factory, make_video) -> Path:
    tmp_path = tmp_path_factory.mktemp("folder")
    for i, name in enumerate(NAMES):
        make_video(tmp_path / "plain" / name, frames=24 + 4 * i)
    (tmp_path / "tars" / "wild").mkdir(parents=True)
    for number, names in enumerate((NAMES[:2], NAMES[2:])):
        with tarfile.open(tmp_path / "tars" / "wild" / f"{number:04}.tar", "w") as tar:
            for name in names:
                tar.add(tmp_path / "plain" / name, name)
                text = tarfile.TarInfo(name.replace("mp4", "json"))
                text.size = 2
                tar.addfile(text, io.BytesIO(b"{}"))
    return tmp_path


@pytest.fixture
def folder(_folder, tmp_path) -> Path:
    """Videos, and the same in two tar shards beside other files."""
    return shutil.copytree(_folder, tmp_path, dirs_exist_ok=True)


def same_clips(one: Manifest, other: Manifest) -> bool:
    first, second = (decode_windows(m, eval_windows(m, 4, 8.0), 4, 8.0, 32) for m in (one, other))
    return torch.equal(first.video, second.video) and first.starts == second.starts


def test_videos_in_tar_shards_are_those_in_files(folder):
    plain, shards = quiet_index(folder / "plain"), quiet_index(folder / "tars")
    assert [v.path for v in shards] == [f"wild/{'0000' if n < 'c' else '0001'}.tar/{n}" for n in NAMES]
    assert {v.source for v in shards} == {"wild"}
    for one, other in zip(plain, shards, strict=True):
        assert (one.duration, one.frames, one.size) == (other.duration, other.frames, other.size)
        assert other.offset > 0
    assert same_clips(plain, shards)
    options = {"frames": 4, "fps": 8.0, "size": 32, "batch": 4, "on_error": "skip"}
    batches = [ClipSource(manifest, **options).batch(0) for manifest in (plain, shards)]
    assert torch.equal(batches[0].video, batches[1].video)


def test_hidden_files_and_capitals_are_the_same_in_folders_and_shards(folder):
    """macOS puts ``._a.mp4``, which is no video, beside each file of a tar; cameras write capitals."""
    (folder / "mac").mkdir()
    with tarfile.open(folder / "mac" / "S.TAR", "w") as tar:
        for name in NAMES[:2]:
            hidden = tarfile.TarInfo(f"./._{name}")
            hidden.size = 4
            tar.addfile(hidden, io.BytesIO(b"\0\5\x16\7"))
            tar.add(folder / "plain" / name, f"./{name.upper()}")
    manifest = quiet_index(folder / "mac")
    assert [video.path for video in manifest] == ["S.TAR/./A.MP4", "S.TAR/./B.MP4"]
    assert {video.source for video in manifest} == {"."}
    video = manifest.file("S.TAR/./B.MP4")
    assert torch.equal(decode_at(video, [0.5], 32), decode_at(folder / "plain" / "b.mp4", [0.5], 32))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gifs_are_films(tmp_path, make_video, read_number, backend):
    for name in "ab":
        make_video(tmp_path / f"{name}.mp4", frames=10, fps=10)
        ffmpeg = ["ffmpeg", "-v", "error", "-i", tmp_path / f"{name}.mp4", tmp_path / f"{name}.GIF"]
        subprocess.run(ffmpeg, check=True)
        (tmp_path / f"{name}.mp4").unlink()
    assert [(video.path, video.frames) for video in quiet_index(tmp_path)] == [("a.GIF", 10), ("b.GIF", 10)]
    times = [0.05, 0.35, 0.95]
    assert [read_number(frame) for frame in decode_at(tmp_path / "a.GIF", times, 32, backend)] == [0, 3, 9]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_video_in_a_tar_shard_decodes_as_the_file(folder, backend):
    member = {m.name: m for m in tar_members(folder / "tars" / "wild" / "0001.tar")}["d.mp4"]
    assert str(member).endswith("0001.tar/d.mp4")
    with opened(member) as file:
        assert file.read() == (folder / "plain" / "d.mp4").read_bytes()
    assert probe(member) == probe(folder / "plain" / "d.mp4")
    frames = [decode_at(file, [1.0, 0.2], 32, backend) for file in (member, folder / "plain" / "d.mp4")]
    assert torch.equal(*frames)
    whole = [
        torch.cat([f for _, f in decode_grid(file, 4.0, 32, backend)]) for file in (member, folder / "plain/d.mp4")
    ]
    assert torch.equal(*whole)


def test_an_index_of_shards_follows_their_changes(folder):
    root = folder / "tars"
    before = {v.path: v for v in quiet_index(root)}
    assert {v.path: v for v in quiet_index(root)} == before
    shard = root / "wild" / "0000.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(folder / "plain" / "b.mp4", "b.mp4")  # now in the first place
    after = {v.path: v for v in quiet_index(root)}
    assert "wild/0000.tar/a.mp4" not in after
    assert after["wild/0000.tar/b.mp4"].offset < before["wild/0000.tar/b.mp4"].offset
    assert decode_at(quiet_index(root).file("wild/0000.tar/b.mp4"), [0.5], 32).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "not a tar file, or damaged: empty"), (b"no tar", "not a tar file"), ("text", "holds no video")],
)
def test_bad_shards_are_named(folder, content, said):
    path = folder / "tars" / "bad.tar"
    if content == "text":
        with tarfile.open(path, "w") as tar:
            tar.addfile(tarfile.TarInfo("readme.txt"))
    else:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=rf"bad\.tar: {said}"):
        quiet_index(folder / "tars")
    assert len(quiet_index(folder / "tars", on_error="skip", max_skipped=0.5)) == 4


@pytest.mark.parametrize("damage", ["bit", "zeros"])
def test_a_damaged_header_does_not_hide_what_follows(folder, damage):
    shard = folder / "tars" / "wild" / "0001.tar"
    with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in NAMES[2:]:
            tar.add(folder / "plain" / name, name)
    data = bytearray(shard.read_bytes())
    header = next(m for m in tar_members(shard) if m.name == "d.mp4").offset - 512
    data[header : header + 512] = bytes(512) if damage == "zeros" else data[header : header + 8] + bytes([1]) * 504
    shard.write_bytes(data)
    with pytest.raises(VideoError, match=rf"0001\.tar: not a tar file, or damaged: no file begins at byte {header:,}"):
        quiet_index(folder / "tars")


def test_a_shard_that_is_cut_short_names_the_video(folder):
    shard = folder / "tars" / "wild" / "0001.tar"
    manifest = quiet_index(folder / "tars")
    shard.write_bytes(shard.read_bytes()[: manifest[3].offset + 500])
    with pytest.raises(VideoError, match=r"0001\.tar/d\.mp4: "):
        decode_at(manifest.file("wild/0001.tar/d.mp4"), [0.5], 32)
    shard.unlink()
    with pytest.raises(VideoError, match=r"0001\.tar/d\.mp4: no such file"):
        decode_at(manifest.file("wild/0001.tar/d.mp4"), [0.5], 32)


def test_a_section_is_read_within_its_bounds(tmp_path):
    (tmp_path / "x.tar").write_bytes(bytes(range(100)))
    with opened(TarMember(tmp_path / "x.tar", "v", 10, 20)) as file:
        assert file.read() == bytes(range(10, 30))
        assert file.seek(-5, io.SEEK_END) == 15
        assert file.read(10) == bytes(range(25, 30))
        file.seek(3)
        file.seek(2, io.SEEK_CUR)
        assert file.read(2) == bytes([15, 16])


@pytest.fixture(scope="module")
def store():
    """The address of an S3 service on this machine."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(store, folder, monkeypatch):
    """A bucket with the folder's content."""
    s3fs = pytest.importorskip("s3fs")
    for name, value in {
        "AWS_ENDPOINT_URL": store,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    name = f"videos-{abs(hash(str(folder))) % 10**8}"
    files.mkdir(name)
    for path in folder.rglob("*.*"):
        files.put(str(path), f"{name}/{path.relative_to(folder).as_posix()}")
    return f"s3://{name}"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["plain", "tars"])
def test_videos_in_an_object_store_are_those_on_the_disk(bucket, folder, tmp_path, what):
    far = quiet_index(f"{bucket}/{what}", cache=tmp_path / "cache")
    near = quiet_index(folder / what)
    assert is_remote(far.root)
    assert [(v.path, v.duration, v.size, v.split) for v in far] == [(v.path, v.duration, v.size, v.split) for v in near]
    assert same_clips(far, near)
    path = tmp_path / "cache" / "manifest.parquet"
    written = path.stat().st_mtime_ns
    again = quiet_index(f"{bucket}/{what}", cache=tmp_path / "cache")
    assert path.stat().st_mtime_ns == written  # nothing was opened again
    assert list(again) == list(far)
    assert same_clips(Manifest.read(path), near)


def test_of_a_large_shard_far_away_a_video_is_fetched_and_no_more(bucket, folder, monkeypatch):
    from s3fs.core import S3File

    shard = folder / "large.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(folder / "plain" / "a.mp4", "a.mp4")
        rest = tarfile.TarInfo("rest.bin")
        rest.size = 20 << 20
        tar.addfile(rest, io.BytesIO(bytes(rest.size)))
    video = replace(tar_members(shard)[0], tar=location(f"{bucket}/large.tar"))
    video.tar.write_bytes(shard.read_bytes())
    fetched = []
    fetch = S3File._fetch_range
    monkeypatch.setattr(S3File, "_fetch_range", lambda file, a, b: fetched.append(b - a) or fetch(file, a, b))
    with opened(video) as file:
        assert file.read() == (folder / "plain" / "a.mp4").read_bytes()
    assert video.size <= sum(fetched) <= video.size + (1 << 20)


def test_what_is_wrong_with_an_object_store_is_told(bucket, tmp_path):
    with pytest.raises(WildlamError, match=r"nowhere: no such folder"):
        quiet_index(f"{bucket}/nowhere", cache=tmp_path)
    with pytest.raises(WildlamError, match=r"plain: name a folder on a disk.* by data\.cache"):
        quiet_index(f"{bucket}/plain")
    manifest = quiet_index(f"{bucket}/plain", cache=tmp_path)
    location(f"{bucket}/plain/a.mp4").unlink()
    with pytest.raises(VideoError, match=r"a\.mp4: no such file"):
        decode_at(manifest.file("a.mp4"), [0.0], 32)
    with pytest.raises(WildlamError, match=r"nothing://x: no file system that fsspec knows"):
        location("nothing://x")


def test_an_object_store_that_cannot_be_reached_is_named(bucket, tmp_path, monkeypatch):
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(WildlamError, match=r"elsewhere/x: cannot be read: .*credentials"):
        quiet_index("s3://elsewhere/x", cache=tmp_path)


def test_a_list_of_addresses(bucket, folder, tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"{bucket}/plain/{name}\n" for name in NAMES))
    manifest = quiet_index(tmp_path / "list.txt")
    assert [v.path for v in manifest] == [f"{bucket}/plain/{name}" for name in NAMES]
    assert same_clips(manifest, quiet_index(folder / "plain"))


@pytest.fixture
def new_helpers(bucket):
    """Processes started from here on know the bucket's credentials, and those after the test do not."""
    forkserver._forkserver._stop()  # which keeps the environment that it was started in
    yield
    forkserver._forkserver._stop()


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_models")
def test_a_run_on_an_object_store(bucket, tmp_path, new_helpers):
    """By the command, from an address; batches are prepared by a process of its own."""
    out = tmp_path / "run"
    options = ["--data.path", f"{bucket}/tars", "--data.cache", str(tmp_path / "cache"), "--data.frames", "4"]
    options += ["--data.store", "false", "--data.workers", "1", "--encoder.image_size", "64"]
    options += ["--training.steps", "2", "--training.batch_size", "2", "--action_free", "false"]
    assert cli.main(["train", *options, "--out", str(out)]) == 0
    assert (out / "report.html").stat().st_size > 0
    assert f"path: {bucket}/tars" in (out / "config.yaml").read_text()


def test_states_of_videos_in_an_object_store_are_kept(bucket, folder, tmp_path):
    encoder, stores = Lite0(image_size=32, pool=2, fold=1, dtype="float32").build("cpu"), []
    for name, root in (("far", f"{bucket}/tars"), ("near", folder / "tars")):
        manifest = quiet_index(root, cache=tmp_path / name)
        store = FeatureStore.create_or_resume(tmp_path / f"{name}.lance", encoder.spec, 4.0, 4)
        report = encode_videos(manifest, manifest.root, encoder, store, progress=False)
        assert report.encoded == 4
        stores.append(store)
    assert torch.equal(stores[0].read_all(), stores[1].read_all())


def test_what_an_object_store_raises_names_the_video(bucket, folder, tmp_path, monkeypatch):
    import s3fs

    manifest = quiet_index(f"{bucket}/plain", cache=tmp_path)
    monkeypatch.setattr(s3fs.core.S3File, "_fetch_range", lambda *_: 1 / 0)
    with pytest.raises(VideoError, match=r"a\.mp4: cannot be read: ZeroDivisionError"):
        decode_at(manifest.file("a.mp4"), [0.0], 32)
