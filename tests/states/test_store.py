"""The feature store: what goes in comes out, nothing is encoded twice, and nothing is lost."""

import multiprocessing
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.states import encode, store
from wildlam.states.encode import encode_videos
from wildlam.states.layout import origin_checksums
from wildlam.states.loader import StoreSource
from wildlam.states.store import FeatureStore
from wildlam.video.decode import VideoError, decode_grid
from wildlam.video.manifest import SCHEMA, Manifest

from ..helpers import printed, started
from .toys import CLIP, FRAME, ToyEncoder, fill, fill_without_end, random_states, stored, videos_of


def test_states_come_back_bit_equal(tmp_path):
    made = FeatureStore.create_or_resume(tmp_path / "store", FRAME, fps=4.0, frames=16)
    states, times = random_states(9), torch.arange(9, dtype=torch.float64) / 4
    made.append(stored("first.mp4"), [(0, times, random_states(9, seed=1))])
    assert made.append(stored(), [(0, times[:5], states[:5]), (0, times[5:], states[5:])]) == 9
    assert len(made) == 0  # not yet committed
    made.commit()

    again = FeatureStore.open(tmp_path / "store", FRAME)
    assert again.spec == FRAME
    assert (again.fps, again.frames, len(again)) == (4.0, 16, 18)
    assert again.sequences().length.tolist() == [9, 9]
    assert again.sequences().times[9:].tolist() == times.tolist()
    assert torch.equal(again.read_all()[9:], states.bfloat16())
    rows = np.array([[17, 9], [9, 12]])
    assert torch.equal(again.read(rows), states.bfloat16()[torch.from_numpy(rows - 9)])
    assert videos_of(again) == {"first.mp4": stored("first.mp4"), "v.mp4": stored()}


def test_wrong_shapes_are_refused(tmp_path):
    made = FeatureStore.create_or_resume(tmp_path / "store", FRAME, fps=4.0, frames=16)
    with pytest.raises(ValueError, match=r"expected states \[2, 4, 3\].*given \[2, 5, 3\]"):
        made.append(stored(), [(0, torch.zeros(2).double(), torch.zeros(2, 5, 3))])
    with pytest.raises(WildlamError, match=r"v\.mp4.*not finite"):
        made.append(stored(), [(0, torch.zeros(1).double(), torch.full((1, 4, 3), torch.nan))])


def test_another_encoder_size_or_rate_is_refused(tmp_path):
    path = tmp_path / "store"
    FeatureStore.create_or_resume(path, CLIP, fps=4.0, frames=16)
    other = replace(CLIP, fingerprint="cccc000011112222")
    for refuse in (lambda: FeatureStore.open(path, other), lambda: FeatureStore.create_or_resume(path, other, 4.0, 16)):
        with pytest.raises(WildlamError, match="bbbb000011112222, not of toy cccc000011112222: use the encoder"):
            refuse()
    with pytest.raises(WildlamError, match="holds states of encoder"):
        FeatureStore.open(path, replace(CLIP, grid=(4, 4)))
    with pytest.raises(WildlamError, match="4 fps, not 8"):
        FeatureStore.create_or_resume(path, CLIP, fps=8.0, frames=16)
    with pytest.raises(WildlamError, match="windows of 16 frames, not 8"):
        FeatureStore.create_or_resume(path, CLIP, fps=4.0, frames=8)
    with pytest.raises(WildlamError, match="multiple of 2"):
        FeatureStore.create_or_resume(tmp_path / "new", CLIP, fps=4.0, frames=7)


def test_missing_foreign_and_damaged_folders_are_named(tmp_path):
    with pytest.raises(WildlamError, match=r"nothing: no such folder"):
        FeatureStore.open(tmp_path / "nothing")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(WildlamError, match=r"photos: no feature store"):
        FeatureStore.create_or_resume(tmp_path / "photos", FRAME, 4.0, 16)
    FeatureStore.create_or_resume(tmp_path / "store", FRAME, 4.0, 16)
    for manifest in (tmp_path / "store" / "_versions").iterdir():
        manifest.write_bytes(b"damaged")
    with pytest.raises(WildlamError, match=r"store: the feature store is damaged"):
        FeatureStore.open(tmp_path / "store")


@pytest.mark.parametrize(("before", "after"), [(b'"fps": 4.0', b'"fps": 5.0'), (b'"fps": ', b'"fps"> ')])
def test_a_damaged_header_is_told(tmp_path, videos, before, after):
    """One bit of it: another frame rate, or no JSON."""
    fill(tmp_path / "store", videos)
    hit = 0
    for file in (tmp_path / "store" / "_versions").iterdir():
        data = file.read_bytes()
        hit += data.count(before)
        file.write_bytes(data.replace(before, after))
    assert hit
    with pytest.raises(WildlamError, match=r"store: the feature store is damaged \(its header"):
        FeatureStore.open(tmp_path / "store")


def test_damaged_states_are_told(tmp_path):
    made = FeatureStore.create_or_resume(tmp_path / "store", FRAME, 4.0, 16)
    made.append(stored(), [(0, torch.arange(9).double(), random_states(9))])
    made.commit()
    for file in (tmp_path / "store" / "data").iterdir():
        file.unlink()
    again = FeatureStore.open(tmp_path / "store", FRAME)
    with pytest.raises(WildlamError, match=r"store: damaged"):
        again.read(np.arange(3))
    with pytest.raises(WildlamError, match=r"store: damaged"):
        again.sequences()
    with pytest.raises(WildlamError, match=r"store: damaged"):
        again.read_all()


def test_a_video_is_one_sequence_for_an_encoder_of_frames(tmp_path, videos, monkeypatch):
    monkeypatch.setattr(encode, "_CHUNK", 4)  # several chunks a video
    made, report, _ = fill(tmp_path / "store", videos)
    assert (report.encoded, report.kept, report.states, report.skipped) == (5, 0, 70, [])
    sequences = made.sequences()
    assert sequences.length.tolist() == [10, 12, 14, 16, 18]
    root, rows = videos
    assert [video.path for video in sequences.of()] == [row.path for row in rows]
    times, frames = next(decode_grid(root / rows[2].path, 4.0, 16))
    assert sequences.times[22:36].tolist() == times.tolist()
    assert torch.equal(made.read(np.arange(22, 36)), ToyEncoder(FRAME).encode(frames[None])[0].bfloat16())


def test_windows_are_sequences_for_an_encoder_of_clips(tmp_path, videos):
    made, report, _ = fill(tmp_path / "store", videos, CLIP, frames=8)
    # 10 frames make a window of 4 states and one of 1, 14 frames one of 4 and one of 3, 18 two of 4 and one of 1.
    assert made.sequences().length.tolist() == [4, 1, 4, 2, 4, 3, 4, 4, 4, 4, 1]
    assert report.states == len(made) == 35
    assert made.sequences().times[:5].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    root, rows = videos
    _, frames = next(decode_grid(root / rows[0].path, 4.0, 16))
    toy = ToyEncoder(CLIP)
    assert torch.equal(made.read(np.arange(4)), toy.encode(frames[None, :8])[0].bfloat16())
    assert torch.equal(made.read(np.arange(4, 5)), toy.encode(frames[None, 8:])[0].bfloat16())


def test_long_videos_go_to_disk_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_GROUP_BYTES", 200)
    made = FeatureStore.create_or_resume(tmp_path / "store", FRAME, 4.0, 16)
    states, times = random_states(50), torch.arange(50).double()
    made.append(stored("small.mp4"), [(0, times[:1], states[:1])])
    made.append(stored(), ((0, times[i : i + 7], states[i : i + 7]) for i in range(0, 50, 7)))
    made.commit()

    def failing():
        yield 0, times, states
        raise VideoError("late.mp4", "damaged")

    with pytest.raises(VideoError):
        made.append(stored("late.mp4"), failing())
    made.commit()
    again = FeatureStore.open(tmp_path / "store")
    lengths = {video.path: int(n) for video, n in zip(again.sequences().of(), again.sequences().length, strict=True)}
    assert lengths == {"small.mp4": 1, "v.mp4": 50}
    first = again.sequences().first[[video.path for video in again.sequences().of()].index("v.mp4")]
    assert torch.equal(again.read(first + np.arange(50)), states.bfloat16())


def test_a_full_disk_is_told_and_loses_nothing(tmp_path):
    made = FeatureStore.create_or_resume(tmp_path / "store", FRAME, 4.0, 16)
    made.append(stored("first.mp4"), [(0, torch.arange(9).double(), random_states(9))])
    made.commit()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # a write past this size fails, as on a full disk
    try:
        made.append(stored(), [(0, torch.arange(2000).double(), random_states(2000))])
        with pytest.raises(WildlamError, match=r"store: cannot be written to .*make room and run again"):
            made.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    again = FeatureStore.create_or_resume(tmp_path / "store", FRAME, 4.0, 16)
    assert torch.equal(again.read_all(), random_states(9).bfloat16())


def test_a_kill_leaves_the_last_commit(tmp_path):
    committed, told = multiprocessing.Pipe(duplex=False)
    process = started(fill_without_end, tmp_path / "store", told)
    told.close()
    while committed.recv() < 5:
        pass
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    made = FeatureStore.create_or_resume(tmp_path / "store", FRAME, 4.0, 16)
    assert len(made) >= 6 * 9
    assert len(made) % 9 == 0
    assert made.read_all()[5 * 9].eq(5).all()


def test_several_writers_may_fill_one_store(tmp_path):
    writers = [FeatureStore.create_or_resume(tmp_path / "store", FRAME, 4.0, 16) for _ in range(2)]
    for i in range(4):
        writers[i % 2].append(stored(f"{i}.mp4"), [(0, torch.arange(9).double(), torch.full((9, 4, 3), float(i)))])
        writers[i % 2].commit()
    made = FeatureStore.open(tmp_path / "store")
    for first, video in zip(made.sequences().first, made.sequences().of(), strict=True):
        assert made.read(first + np.arange(9)).eq(int(video.path[0])).all()
    assert sorted(videos_of(made)) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]


def test_two_writers_at_once(tmp_path, videos):
    first = FeatureStore.create_or_resume(tmp_path / "store", FRAME, fps=4.0, frames=4)
    second = FeatureStore.create_or_resume(tmp_path / "store", FRAME, fps=4.0, frames=4)
    root, rows = videos

    def write(made, part):
        for row in part:  # a commit after each: they come between one another
            encode_videos([row], root, ToyEncoder(FRAME), made, progress=False)

    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(write, second, rows[1::2]), pool.submit(write, first, rows[::2])]:
            job.result()
    both = FeatureStore.open(tmp_path / "store")
    assert sorted(videos_of(both)) == sorted(row.path for row in rows)
    alone, _, _ = fill(tmp_path / "alone", videos)
    batches = [StoreSource(made, states=4, batch_size=12).batch(3) for made in (both, alone)]
    assert torch.equal(batches[0].states, batches[1].states)


MANY = 100_000
"""Of 50,000, whose columns Arrow allocates otherwise, the bytes of one say nothing."""
READ = """
import tracemalloc, pyarrow as pa
from wildlam.states.encode import refresh
from wildlam.video.manifest import Manifest
from wildlam.states import loader
from wildlam.states.store import FeatureStore
from wildlam.states.loader import StoreSource, longest_sequence

loader.free_memory = lambda: 0  # the states stay on disk

tracemalloc.start()
manifest, store = Manifest.read(many), FeatureStore.open(at)
todo, _ = refresh(manifest, store)
videos = manifest.column("path")
source = StoreSource(store, states=2, batch_size=64, videos=videos, mixture={"droid": 0.2})
assert longest_sequence(store, "held_out", videos) == 2
print(len(todo), tracemalloc.get_traced_memory()[0] / len(manifest), pa.total_allocated_bytes() / len(manifest))
"""


@pytest.mark.slow
def test_a_store_of_many_videos_keeps_columns_and_no_objects(tmp_path):
    folder = "of a depth that footage on a cluster has/" * 6
    paths = [f"{folder}{row:09}.mp4" for row in range(MANY)]
    rows = np.arange(MANY)
    known = {
        "source": pa.array(np.where(rows % 3 == 0, "droid", "wild")),
        "split": pa.array(np.where(rows % 10 == 0, "held_out", "train")),
        "size": pa.array(rows),
        "mtime_ns": pa.array(rows),
    }
    others = {f.name: pa.array(np.ones(MANY), f.type) for f in SCHEMA if f.name in ("duration", "fps", "frames")}
    others |= {f.name: pa.array(np.ones(MANY, int)) for f in SCHEMA if f.name in ("width", "height", "rotation")}
    others |= {f.name: pa.nulls(MANY, f.type) for f in SCHEMA if f.name not in {"path", *known, *others}}
    table = pa.table({f.name: ({"path": pa.array(paths)} | known | others)[f.name] for f in SCHEMA}, SCHEMA)
    Manifest(tmp_path, table, 0.1).write(tmp_path / "many.parquet")
    store = FeatureStore.create_or_resume(tmp_path / "store", FRAME, 4.0, 16)
    twice = np.repeat(rows, 2)[: 2 * (MANY - 5)]  # two states of each video but the last five
    columns = {
        "sequence": pa.array(twice),
        "index": pa.array(np.arange(len(twice)) % 2, pa.int32()),
        "time": pa.array(np.arange(len(twice)) % 2 / 4),
        "video": pa.array(paths).take(pa.array(twice)),
        **{name: column.take(pa.array(twice)) for name, column in known.items()},
        "states": pa.array([bytes(store.state_bytes)] * len(twice), pa.binary(store.state_bytes)),
        "crc": pa.array(np.zeros(len(twice)), pa.uint32()),
        "rules": pa.nulls(len(twice), pa.int32()),
    }
    columns["origin_crc"] = pa.array(origin_checksums(columns))
    lance.write_dataset(pa.table(columns, store.dataset.schema), str(tmp_path / "store"), mode="append")
    out, _ = printed(tmp_path, exec, READ, {"many": tmp_path / "many.parquet", "at": tmp_path / "store"})
    count, of_python, of_arrow = map(float, out.split())
    assert count == 5
    assert of_python < 100, of_python  # numbers of rows and times, of numpy
    assert of_arrow < 400, of_arrow  # a name, once
