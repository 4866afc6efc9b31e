from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from wildlam.errors import WildlamError, fields_as_options, option
from wildlam.types import VideoBatch
from wildlam.video.config import DataConfig
from wildlam.video.decode import VideoError
from wildlam.video.index import index
from wildlam.video.loader import ClipSource, decode_windows, prefetch
from wildlam.video.manifest import SCHEMA, Manifest, Video
from wildlam.video.sampling import Draws, Window, eval_windows, long_enough


@pytest.fixture(scope="module")
def manifest(tmp_path_factory, make_video) -> Manifest:
    """Five videos at 20 frames/s, of two sources: 1.0, 1.5, 2.0 and 1.25, 1.75 s."""
    root = tmp_path_factory.mktemp("videos")
    for name, frames in {"a/1.mp4": 20, "a/2.mp4": 30, "a/3.mp4": 40, "b/4.mp4": 25, "b/5.mp4": 35}.items():
        make_video(root / name, frames=frames, fps=20)
    return index(root, progress=False)


def table(*durations: float, sources: str = "") -> Manifest:
    """A manifest of videos that do not exist."""
    rows = [
        {
            **dict.fromkeys(SCHEMA.names, 1),
            **dict.fromkeys(("breaks", "odd")),
            "path": f"{i}.mp4",
            "source": sources[i] if sources else ".",
            "duration": float(duration),
            "fps": 20.0,
            **dict.fromkeys(("cuts", "offset", "breaks", "odd", "look", "copy_of", "recording")),
            "split": "train",
        }
        for i, duration in enumerate(durations)
    ]
    return Manifest(Path("nowhere"), pa.Table.from_pylist(rows, SCHEMA), 0.1)


def clip_source(manifest: Manifest, **options) -> ClipSource:
    return ClipSource(manifest, **{"frames": 4, "fps": 10.0, "size": 32, "batch": 4, "seed": 3, **options})


def same(a: VideoBatch, b: VideoBatch) -> bool:
    return torch.equal(a.video, b.video) and (a.names, a.sources, a.starts) == (b.names, b.sources, b.starts)


def test_draws_are_a_function_of_their_generator():
    draws = Draws(table(3, 9, 5), 8, 4.0)
    first = draws.windows(np.random.default_rng((0, 7)), 16)
    assert first == draws.windows(np.random.default_rng((0, 7)), 16)
    assert first != draws.windows(np.random.default_rng((0, 8)), 16)


def test_draws_cover_all_footage_evenly():
    videos = table(2.0, 4.0, 12.0, 1.9)  # 1, 9, 41 and no start positions for 2 s clips
    drawn = Draws(videos, 8, 4.0).windows(np.random.default_rng(0), 20_000)
    counts = Counter(window.video for window in drawn)
    assert counts["3.mp4"] == 0
    for name, positions in {"0.mp4": 1, "1.mp4": 9, "2.mp4": 41}.items():
        assert counts[name] / 20_000 == pytest.approx(positions / 51, rel=0.15)
    starts = np.array([window.start for window in drawn if window.video == "2.mp4"])
    assert 0 <= starts.min() < 0.05
    assert 9.95 < starts.max() <= 10.0
    assert np.histogram(starts, 5, (0, 10))[0].std() < 0.05 * len(starts)
    assert {window.start for window in drawn if window.video == "0.mp4"} == {0.0}


def test_eval_windows_are_side_by_side_and_in_order():
    windows = eval_windows(table(5.0, 1.9, 4.0), 8, 4.0)
    assert windows == [
        Window("0.mp4", ".", 0.0, None, 1, False),
        Window("0.mp4", ".", 2.0, None, 1, False),
        Window("2.mp4", ".", 0.0, None, 1, False),
        Window("2.mp4", ".", 2.0, None, 1, False),
    ]


def test_eval_windows_are_capped_evenly_for_each_source():
    windows = eval_windows(table(20, 20, 2, 200, sources="aabb"), 8, 4.0, per_source=4)
    assert Counter(window.source for window in windows) == {"a": 4, "b": 4}
    assert Counter(window.video for window in windows) == {"0.mp4": 2, "1.mp4": 2, "3.mp4": 4}
    assert len(set(windows)) == 8
    assert eval_windows(table(20), 8, 4.0, per_source=10) == eval_windows(table(20), 8, 4.0)


def test_a_mixture_gives_each_source_its_share(manifest):
    sources = sorted({video.source for video in manifest})
    assert len(sources) > 1
    drawn = Draws(manifest, 4, 10.0, {sources[0]: 0.25}).windows(np.random.default_rng(0), 20_000)
    assert sum(window.source == sources[0] for window in drawn) / 20_000 == pytest.approx(0.25, abs=0.01)
    within = Counter(window.video for window in drawn if window.source == sources[1])
    plain = Draws(manifest.where(np.array([v.source == sources[1] for v in manifest])), 4, 10.0)
    expected = Counter(window.video for window in plain.windows(np.random.default_rng(0), 20_000))
    for video, count in expected.items():
        assert within[video] / within.total() == pytest.approx(count / 20_000, abs=0.02)
    batch = clip_source(manifest, mixture={sources[0]: 0.999}, batch=16).batch(0)
    assert batch.sources.count(sources[0]) == 16


def test_short_videos_follow_the_policy(caplog):
    videos = table(5.0, 1.0, 0.5)
    with pytest.raises(WildlamError, match=r"2 of 3 videos are too short .*2\.00 s .*1\.mp4: 1\.00 s.*on_error=skip"):
        long_enough(videos, 8, 4.0)
    with caplog.at_level(logging.WARNING):
        assert [v.path for v in long_enough(videos, 8, 4.0, "skip")] == ["0.mp4"]
    assert "2 of 3 videos are too short" in caplog.text
    for function in (
        lambda: long_enough(table(1.0), 8, 4.0, "skip"),
        lambda: Draws(table(1.0), 8, 4.0),
        lambda: eval_windows(table(1.0), 8, 4.0),
        lambda: clip_source(table(0.1), on_error="skip"),
    ):
        with pytest.raises(WildlamError, match=r"0\.mp4.* lower data\.frames"):
            function()


def test_batches_hold_the_frames_they_name(manifest, read_number):
    batch = clip_source(manifest, batch=6).batch(0)
    assert batch.video.shape == (6, 4, 3, 32, 32)
    assert batch.video.dtype == torch.uint8
    sources = {video.path: video.source for video in manifest}
    for clip, name, source, start in zip(batch.video, batch.names, batch.sources, batch.starts, strict=True):
        assert [read_number(frame) for frame in clip] == [int((start + k / 10) * 20 + 1e-4) for k in range(4)]
        assert sources[name] == source


def test_a_fresh_source_gives_the_same_batches(manifest):
    one, other = clip_source(manifest), clip_source(manifest)
    one.batch(0)
    one.batch(1)
    assert same(one.batch(5), other.batch(5))
    assert not same(one.batch(5), one.batch(6))


def test_shares_of_the_processes_make_up_the_global_batch(manifest):
    whole = clip_source(manifest).batch(2)
    shares = [clip_source(manifest, rank=rank, world_size=2).batch(2) for rank in range(2)]
    assert torch.equal(torch.cat([share.video for share in shares]), whole.video)
    assert [name for share in shares for name in share.names] == whole.names
    with pytest.raises(ValueError, match="batch is 4"):
        clip_source(manifest, world_size=3)


def test_decode_windows(manifest, read_number):
    windows = eval_windows(manifest, 5, 10.0)
    batch = decode_windows(manifest, windows, 5, 10.0, 32)
    assert batch.video.shape == (len(windows), 5, 3, 32, 32)
    assert [read_number(clip[0]) for clip in batch.video] == [round(w.start * 20) for w in windows]
    assert batch.starts == [w.start for w in windows]


@pytest.mark.parametrize("workers", [0, 2])
def test_prefetch_gives_the_batches_in_order(manifest, workers):
    source = clip_source(manifest)
    fetched = list(prefetch(source, 2, 9, workers))
    assert len(fetched) == 7
    assert all(same(batch, source.batch(step)) for step, batch in enumerate(fetched, 2))
    assert list(prefetch(source, 3, 3, workers)) == []


class Numbers:
    """A source without videos, for what must not depend on them."""

    def __init__(self, fails_at: int = -1, error: Exception | None = None):
        self.fails_at, self.error = fails_at, error

    def batch(self, step: int) -> VideoBatch:
        if step == self.fails_at and self.error is not None:
            raise self.error
        return VideoBatch(torch.full((2,), step), ["a"], ["."], [0.0])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_surfaces_as_it_was_after_the_batches_before_it(workers):
    batches = prefetch(Numbers(3, VideoError("a b.mp4", "it broke")), 0, 10, workers)
    assert [int(next(batches).video[0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(VideoError, match=r"^a b\.mp4: it broke$"):
        next(batches)
    with pytest.raises(ZeroDivisionError):  # a programming error too
        list(prefetch(Numbers(3, ZeroDivisionError("bug")), 0, 10, workers))


class Refusing:
    """A source whose error names a field."""

    def batch(self, step: int) -> VideoBatch:
        raise WildlamError(f"lower {option('data.frames')}")


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_a_command_name_its_options_wherever_batches_are_made(workers):
    with fields_as_options(), pytest.raises(WildlamError, match=r"^lower --data\.frames$"):
        list(prefetch(Refusing(), 0, 1, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_breaking_off_early_stops_the_workers(workers):
    began = time.monotonic()
    batches = prefetch(Numbers(), 0, 1_000_000, workers)
    for batch in batches:
        if int(batch.video[0]) == 2:
            break
    batches.close()
    assert time.monotonic() - began < 20
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


@pytest.mark.parametrize("workers", [0, 1])
def test_prefetch_leaves_the_random_state_alone(workers):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(prefetch(Numbers(), 0, 3, workers))
    assert torch.equal(torch.get_rng_state(), before)


def broken_set(tmp_path: Path, make_video) -> Manifest:
    """Three good videos, and one that was lost after indexing."""
    for i in range(4):
        make_video(tmp_path / f"{i}.mp4", frames=40, fps=20)
    manifest = index(tmp_path, progress=False)
    (tmp_path / "2.mp4").write_bytes(b"")
    return manifest


@pytest.mark.parametrize("workers", [0, 2])
def test_a_video_lost_since_indexing_is_named(tmp_path, make_video, workers):
    source = clip_source(broken_set(tmp_path, make_video))
    with pytest.raises(VideoError, match=r"2\.mp4: the file is empty"):
        list(prefetch(source, 0, 20, workers))


def test_skipping_a_lost_video_draws_another_reproducibly(tmp_path, make_video, caplog):
    manifest = broken_set(tmp_path, make_video)
    with caplog.at_level(logging.WARNING):
        batches = [clip_source(manifest, on_error="skip").batch(step) for step in range(6)]
    assert "2.mp4: the file is empty" in caplog.text
    assert "2.mp4" not in {name for batch in batches for name in batch.names}
    assert all(same(clip_source(manifest, on_error="skip").batch(step), batches[step]) for step in range(6))
    whole = batches[0]
    halves = [clip_source(manifest, on_error="skip", rank=r, world_size=2).batch(0) for r in range(2)]
    assert halves[0].names + halves[1].names == whole.names
    for i in range(4):
        (tmp_path / f"{i}.mp4").write_bytes(b"")
    with pytest.raises(VideoError, match="empty"):  # and does not try for ever
        clip_source(manifest, on_error="skip").batch(0)


def test_data_config_checks_its_fields():
    config = DataConfig(path=Path("videos"))
    assert config.cache_folder == Path("videos/.wildlam")
    assert DataConfig(path=Path("videos"), cache=Path("c")).cache_folder == Path("c")
    with pytest.raises(FrozenInstanceError):
        config.frames = 3  # type: ignore[misc]
    for key, value in {
        "frames": 1,
        "fps": 0.0,
        "held_out": 1.0,
        "workers": -1,
        "on_error": "ignore",
        "backend": "cv2",
    }.items():
        with pytest.raises(ValueError, match=rf"data\.{key} is .*{value}"):
            DataConfig(**{"path": Path("videos"), key: value})  # type: ignore[arg-type]


def test_rows_are_videos(manifest):
    assert all(isinstance(video, Video) for video in manifest)
    assert manifest[1] == list(manifest)[1]
