"""The feature store: what goes in comes out, nothing is encoded twice, and nothing is lost."""

import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import av
import lance
import numpy as np
import pyarrow as pa
import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.states import encode, store
from wildlam.states.encode import encode_videos
from wildlam.states.layout import origin_checksums
from wildlam.states.loader import StoreSource, eval_batches
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import EncoderSpec
from wildlam.video.decode import VideoError, decode_grid
from wildlam.video.manifest import SCHEMA, Manifest, Video

FRAME = EncoderSpec("toy", 1, (2, 2), 3, 16, "frame", "aaaa000011112222")
CLIP = replace(FRAME, frames_per_state=2, context="clip", fingerprint="bbbb000011112222")


class ToyEncoder:
    """Mean colour of each quadrant; with tubelets, the mean of two frames plus the number of frames before them."""

    def __init__(self, spec):
        self.spec, self.calls, self.device = spec, 0, torch.device("cpu")

    def encode(self, video_BTCHW):
        self.calls += 1
        step = self.spec.frames_per_state
        quadrants = torch.nn.functional.adaptive_avg_pool2d(video_BTCHW.flatten(0, 1).float(), 2)
        states = quadrants.flatten(2).transpose(1, 2).unflatten(0, video_BTCHW.shape[:2])
        states = states.unflatten(1, (-1, step)).mean(2) / 255
        if self.spec.context == "clip":
            states = states + torch.arange(states.shape[1])[:, None, None]
        return states


def write_video(path, frames, seed):
    """A video of ``frames`` frames at 8 fps, 16 x 16 pixels, of a random colour each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            image = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (16, 16, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


def row(root, path, split="train"):
    stat = (root / path).stat()
    return Video(path, path.split("/")[0], 1.0, 8.0, 8, 16, 16, 0, stat.st_size, stat.st_mtime_ns, split)


@pytest.fixture
def videos(tmp_path):
    """Five videos, of 10, 12, 14, 16 and 18 states at 4 fps and one state a frame; the last is held out."""
    root = tmp_path / "videos"
    names = ["a/1.mp4", "a/it's 2.mp4", "b/3.mp4", "b/4.mp4", "b/5.mp4"]
    for i, name in enumerate(names):
        write_video(root / name, frames=20 + 4 * i, seed=i)
    return root, [row(root, name, "held_out" if i == 4 else "train") for i, name in enumerate(names)]


def fill(path, videos, spec=FRAME, frames=4, rows=None, **options):
    root, all_rows = videos
    made = FeatureStore.create_or_resume(path, spec, fps=4.0, frames=frames)
    encoder = ToyEncoder(spec)
    rows = all_rows if rows is None else rows
    report = encode_videos(rows, root, encoder, made, progress=False, workers=2, **options)
    return made, report, encoder


def random_states(n, spec=FRAME, seed=0):
    return torch.randn(n, spec.tokens, spec.width, generator=torch.Generator().manual_seed(seed))


def videos_of(store):
    """The committed videos by path."""
    return {video.path: video for video in store.sequences().of()}


def stored(path="v.mp4", split="train", source="s"):
    return StoredVideo(path, source, split, 1, 2)


@pytest.mark.parametrize("spec", [FRAME, CLIP])
def test_a_cpu_encodes_little_at_once_and_the_same(videos, tmp_path, spec, monkeypatch):
    """So that the bar moves on."""
    root, rows = videos

    def encoded(name):
        made = FeatureStore.create_or_resume(tmp_path / name, spec, 4.0, 4)
        encoder = ToyEncoder(spec)
        encode_videos(rows, root, encoder, made, progress=False)
        return encoder.calls, torch.cat([batch.states for batch in eval_batches(made, "train", 2, None, 4)])

    calls, states = encoded("one")
    monkeypatch.setattr(encode, "_ON_CPU", 3)
    more, same = encoded("other")
    assert torch.equal(states, same)
    assert (calls, more) == ((6, 25) if spec is FRAME else (19, 19))


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


def test_nothing_is_encoded_twice(tmp_path, videos):
    path, (_, rows) = tmp_path / "store", videos
    _, report, _ = fill(path, videos, rows=rows[:2])
    assert (report.encoded, report.kept) == (2, 0)
    _, report, _ = fill(path, videos)
    assert (report.encoded, report.kept) == (3, 2)
    made, report, encoder = fill(path, videos)
    assert (report.encoded, report.kept, encoder.calls) == (0, 5, 0)
    whole, _, _ = fill(tmp_path / "whole", videos)
    assert torch.equal(made.read_all(), whole.read_all())


def test_a_changed_video_is_encoded_anew_and_a_moved_one_relabelled(tmp_path, videos):
    path, (root, rows) = tmp_path / "store", videos
    fill(path, videos)
    write_video(root / rows[1].path, frames=40, seed=99)
    changed = [*rows[:1], row(root, rows[1].path), *rows[2:4], replace(rows[4], split="train", source="it's")]
    made, report, _ = fill(path, videos, rows=changed)
    assert (report.encoded, report.kept) == (1, 4)
    lengths = {video.path: n for video, n in zip(made.sequences().of(), made.sequences().length, strict=True)}
    assert lengths == {row.path: n for row, n in zip(rows, [10, 20, 14, 16, 18], strict=True)}
    moved = videos_of(made)[rows[4].path]
    assert (moved.split, moved.source) == ("train", "it's")
    fresh, _, _ = fill(tmp_path / "fresh", videos, rows=changed)
    for name in lengths:
        states = []
        for each in (made, fresh):
            at = [video.path for video in each.sequences().of()].index(name)
            states.append(each.read(each.sequences().first[at] + np.arange(lengths[name])))
        assert torch.equal(*states)


@pytest.mark.parametrize("spec", [FRAME, CLIP], ids=["frame", "clip"])
def test_what_an_earlier_version_may_have_taken_wrongly_is_encoded_anew_once(tmp_path, videos, caplog, spec):
    """Its stores do not tell by what rules frames were found; here, all its states are zeros."""
    path, (root, rows) = tmp_path / "store", videos
    rows = [replace(row, duration=(20 + 4 * i) / 8, odd=[]) for i, row in enumerate(rows)]
    write_video(root / "c/6.avi", frames=20, seed=6)
    rows.append(replace(row(root, "c/6.avi"), duration=2.5, odd=[]))
    made = FeatureStore.create_or_resume(path, spec, fps=4.0, frames=4)
    for i, video in enumerate(rows):
        states = (10 + 2 * i if i < 5 else 10) // spec.frames_per_state
        times = torch.arange(states, dtype=torch.float64) * spec.frames_per_state / 4
        made.append(replace(StoredVideo.of(video), rules=None), [(0, times, random_states(states, spec) * 0)])
    made.commit()
    made.dataset.drop_columns(["rules"])
    assert len(FeatureStore.open(path).sequences().videos) == len(rows)  # opens as it is

    odd = ["discontinuity: timestamps jump at 1.00 s; shots end there"]
    rows[1] = replace(rows[1], odd=odd)
    rows[2] = replace(rows[2], duration=rows[2].duration + 2)
    rows[3] = replace(rows[3], odd=None)  # of a manifest that does not tell
    with caplog.at_level("WARNING"):
        made, report, _ = fill(path, videos, spec, rows=rows)
    assert (report.encoded, report.kept) == (3, 3)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "3 videos are encoded anew (a/it's 2.mp4, b/3.mp4, c/6.avi)" in told[0]
    for i, found in enumerate(made.sequences().of()):
        states = made.read(made.sequences().first[i] + np.arange(made.sequences().length[i]))
        assert bool(states.any()) == (found.path in ("a/it's 2.mp4", "b/3.mp4", "c/6.avi"))

    made, report, encoder = fill(path, videos, spec, rows=rows)
    assert (report.encoded, report.kept, encoder.calls) == (0, 6, 0)


def test_a_failing_video_leaves_nothing_behind(tmp_path, videos):
    root, rows = videos
    broken = root / rows[2].path
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(VideoError, match=r"3\.mp4"):
        fill(tmp_path / "store", videos)
    assert len(FeatureStore.open(tmp_path / "store")) == 10 + 12  # the two before it
    made, report, _ = fill(tmp_path / "store", videos, on_error="skip", max_skipped=0.5)
    assert (report.encoded, report.kept) == (2, 2)
    assert [path for path, _ in report.skipped] == [str(broken)]
    assert broken.name not in "".join(videos_of(made))
    with pytest.raises(WildlamError, match="more than the 10% that may be skipped"):
        fill(tmp_path / "other", videos, on_error="skip")


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
    script = f"""
import torch
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import EncoderSpec
store = FeatureStore.create_or_resume({str(tmp_path / "store")!r}, {FRAME!r}, 4.0, 16)
for i in range(10**6):
    video = StoredVideo(f"{{i}}.mp4", "s", "train", 1, 2)
    store.append(video, [(0, torch.arange(9).double(), torch.full((9, 4, 3), i))])
    store.commit()
    print(i, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 5:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
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


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(("spec", "states"), [(FRAME, 6), (CLIP, 3)])
def test_windows_lie_inside_a_training_sequence_and_are_equally_likely(
    tmp_path, videos, monkeypatch, spec, states, in_memory
):
    if not in_memory:
        monkeypatch.setattr("wildlam.states.loader.free_memory", lambda: 0)
    made, _, _ = fill(tmp_path / "store", videos, spec, frames=8)
    source = StoreSource(made, states=states, batch_size=64, seed=3)
    assert (source.memory is not None) == in_memory
    sequences, everything = made.sequences(), made.read_all()
    seen = {}
    for step in range(20):
        batch = source.batch(step)
        assert batch.states.shape == (64, states, 4, 3)
        assert batch.states.dtype == torch.bfloat16
        assert batch.times[:, 0].tolist() == batch.starts
        spacing = spec.frames_per_state / 4
        assert torch.equal(batch.times.diff(dim=1), torch.full((64, states - 1), spacing, dtype=torch.float64))
        for i in range(64):
            place = (batch.names[i], batch.starts[i])
            seen[place] = seen.get(place, 0) + 1
            inside = [
                first + start
                for first, length, video in zip(sequences.first, sequences.length, sequences.of(), strict=True)
                if video.path == place[0] and video.split == "train" and video.source == batch.sources[i]
                for start in range(length - states + 1)
                if sequences.times[first + start] == place[1]
            ]
            assert len(inside) == 1
            assert torch.equal(batch.states[i], everything[inside[0] : inside[0] + states])
    train = [n for n, video in zip(sequences.length, sequences.of(), strict=True) if video.split == "train"]
    windows = sum(max(0, n - states + 1) for n in train)
    assert len(seen) == windows
    expected = 20 * 64 / windows
    assert all(abs(count - expected) < 5 * expected**0.5 for count in seen.values())


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


def test_a_mixture_gives_each_source_its_share_and_every_window_of_it(tmp_path, videos):
    made, _, _ = fill(tmp_path / "store", videos)
    source = StoreSource(made, states=4, batch_size=4000, mixture={"a": 0.7})
    batch = source.batch(0)
    assert batch.sources.count("a") / 4000 == pytest.approx(0.7, abs=0.03)
    drawn = {(name, start) for name, start in zip(batch.names, batch.starts, strict=True)}
    plain = StoreSource(made, states=4, batch_size=4000).batch(0)
    assert drawn == {(name, start) for name, start in zip(plain.names, plain.starts, strict=True)}
    with pytest.raises(WildlamError, match="no training clip of z"):
        StoreSource(made, states=4, batch_size=4, mixture={"z": 0.7})


def test_batches_depend_on_seed_and_step_alone_and_are_shared_out(tmp_path, videos):
    made, _, _ = fill(tmp_path / "store", videos)
    options = {"states": 4, "batch_size": 12}
    source = StoreSource(made, **options, seed=1)
    whole = source.batch(7)
    source.batch(8)
    again = StoreSource(FeatureStore.open(tmp_path / "store"), **options, seed=1).batch(7)
    assert torch.equal(again.states, whole.states)
    assert (again.names, again.starts) == (whole.names, whole.starts)
    assert StoreSource(made, **options, seed=2).batch(7).starts != whole.starts
    assert source.batch(8).starts != whole.starts
    shares = [StoreSource(made, **options, seed=1, rank=rank, world_size=3).batch(7) for rank in range(3)]
    assert torch.equal(torch.cat([share.states for share in shares]), whole.states)
    assert [name for share in shares for name in share.names] == whole.names
    with pytest.raises(WildlamError, match="12 clips cannot be shared equally by 5"):
        StoreSource(made, **options, rank=0, world_size=5)


def test_clips_too_long_for_the_store_are_refused(tmp_path, videos):
    made, _, _ = fill(tmp_path / "store", videos)
    with pytest.raises(WildlamError, match="no clip of 17 states in split train, whose longest sequence has 16"):
        StoreSource(made, states=17, batch_size=1)
    with pytest.raises(WildlamError, match="longest sequence has 0"):
        StoreSource(FeatureStore.create_or_resume(tmp_path / "empty", FRAME, 4.0, 16), states=2, batch_size=1)


def test_evaluation_sees_fixed_clips_side_by_side(tmp_path, videos):
    made, _, _ = fill(tmp_path / "store", videos)
    clips = [
        (name, start)
        for batch in eval_batches(made, "train", states=4, per_source=None, batch_size=3)
        for name, start in zip(batch.names, batch.starts, strict=True)
    ]
    counts = {row.path: n // 4 for row, n in zip(videos[1], [10, 12, 14, 16], strict=False)}
    assert clips == [(name, float(k)) for name, n in counts.items() for k in range(n)]
    some = [batch.starts for batch in eval_batches(made, "train", states=4, per_source=2, batch_size=3)]
    assert some == [[0.0, 2.0, 0.0], [3.0]]  # the first and the last of each of two sources
    (held_out,) = eval_batches(made, "held_out", states=4, per_source=None, batch_size=8)
    assert set(held_out.names) == {"b/5.mp4"}


MANY = 100_000
READ = """
import sys, tracemalloc, pyarrow as pa
from pathlib import Path
from wildlam.states.encode import refresh
from wildlam.video.manifest import Manifest
from wildlam.states import loader
from wildlam.states.store import FeatureStore
from wildlam.states.loader import StoreSource, longest_sequence

loader.free_memory = lambda: 0  # the states stay on disk

tracemalloc.start()
manifest, store = Manifest.read(Path(sys.argv[1])), FeatureStore.open(sys.argv[2])
todo, _ = refresh(manifest, store)
videos = manifest.column("path")
source = StoreSource(store, states=2, batch_size=64, videos=videos, mixture={"droid": 0.2})
assert longest_sequence(store, "held_out", videos) == 2
print(len(todo), tracemalloc.get_traced_memory()[0] / len(manifest), pa.total_allocated_bytes() / len(manifest))
"""


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
    command = [sys.executable, "-c", READ, str(tmp_path / "many.parquet"), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, of_python, of_arrow = map(float, done.stdout.split())
    assert count == 5
    assert of_python < 100, of_python  # numbers of rows and times, of numpy
    assert of_arrow < 400, of_arrow  # a name, once
