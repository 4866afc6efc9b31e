"""Clips of a folder's videos: from a store or encoded at every step, shared out by split, and as videos change."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from wildlam.distributed import Processes
from wildlam.errors import WildlamError
from wildlam.states import dataset
from wildlam.states.dataset import clips_of, frames_to_encode, held_out_size, index_videos, store_path
from wildlam.states.encode import encode_videos
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import VideoBatch
from wildlam.video.config import DataConfig

from .toys import CLIP, FRAME, ToyEncoder

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def folder(make_video, tmp_path):
    """Six videos of 4 s from two sources; one of each source is held out."""
    for source in "ab":
        for name in ("train/0", "train/1", "test/2"):
            make_video(tmp_path / "videos" / source / f"{name}.mp4", frames=96, size=(16, 16))
    return tmp_path / "videos"


@pytest.fixture
def data(folder):
    return DataConfig(path=folder, workers=0)


def load(data, encoder=None, seconds=2.0, **options):
    return clips_of(data, encoder or ToyEncoder(FRAME), ALONE, batch_size=4, seed=0, seconds=seconds, **options)


def drawn(clips, steps=40):
    """The videos of the training batches."""
    return {name for step in range(steps) for name in clips.source.batch(step).names}


def held_out(clips):
    return {name for batch in clips.held_out for name in batch.names}


@pytest.mark.parametrize("store", [True, False])
def test_a_held_out_video_is_never_trained_on(data, store):
    clips = load(replace(data, store=store))
    assert clips.online is not store
    assert drawn(clips) == {f"{source}/train/{i}.mp4" for source in "ab" for i in range(2)}
    assert held_out(clips) == {"a/test/2.mp4", "b/test/2.mp4"}


@pytest.mark.parametrize("spec", [FRAME, CLIP], ids=["frame", "clip"])
def test_without_a_store_the_states_are_the_same(data, spec):
    stored, online = load(data, ToyEncoder(spec)), load(replace(data, store=False), ToyEncoder(spec))
    assert isinstance(online.source.batch(0), VideoBatch)

    def by_clip(clips):
        return {
            (name, round(start, 3)): states.float()
            for batch in clips.held_out
            for name, start, states in zip(batch.names, batch.starts, batch.states, strict=True)
        }

    one, other = by_clip(stored), by_clip(online)
    assert one.keys() == other.keys()
    for key in one:
        torch.testing.assert_close(one[key], other[key], atol=0.02, rtol=0.02)
    (states,) = online.states(online.source.batch(0))
    assert states.shape == stored.states(stored.source.batch(0))[0].shape == (4, 8 // spec.frames_per_state, 4, 3)


@pytest.mark.parametrize("store", [True, False])
def test_videos_that_come_and_go(data, store, make_video, folder):
    data = replace(data, store=store)
    load(data)
    make_video(folder / "a/train/new.mp4", frames=96, size=(16, 16))
    (folder / "b/train/0.mp4").unlink()
    (folder / "b/test/2.mp4").rename(folder / "a/test/moved.mp4")
    clips = load(data)
    assert drawn(clips) == {f"a/train/{name}.mp4" for name in ("0", "1", "new")} | {"b/train/1.mp4"}
    assert held_out(clips) == {"a/test/2.mp4", "a/test/moved.mp4"}


def test_two_runs_encode_every_video_once(data, caplog):
    """The one waits for the other, and writes nothing again."""

    class UntilTheOtherWaits(ToyEncoder):
        def encode(self, video_BTCHW):
            deadline = time.monotonic() + 30
            while "waiting for" not in caplog.text and time.monotonic() < deadline:
                time.sleep(0.01)
            return super().encode(video_BTCHW)

    manifest = index_videos(data)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(dataset.encode, data, UntilTheOtherWaits(FRAME), manifest, ALONE) for _ in range(2)]
        stores = [job.result() for job in jobs]
    assert [len(store.sequences().length) for store in stores] == [6, 6]
    assert f"waiting for process {os.getpid()} on" in caplog.text  # though it has only just begun
    assert "(encoding videos)" in caplog.text


def test_a_video_that_a_store_has_twice_is_removed(data, caplog):
    manifest, encoder = index_videos(data), ToyEncoder(FRAME)
    store = dataset.encode(data, encoder, manifest, ALONE)
    states = len(store)
    other = FeatureStore.create_or_resume(store.path.with_name("other.lance"), encoder.spec, store.fps, store.frames)
    encode_videos([manifest[0]], manifest.root, encoder, other, progress=False)
    store.append(StoredVideo.of(manifest[0]), [(0, torch.from_numpy(other.sequences().times), other.read_all())])
    store.commit()
    assert len(store) > states
    assert len(dataset.encode(data, encoder, manifest, ALONE)) == states
    assert "states were there twice, of 1 videos; removed" in caplog.text


def test_what_is_to_be_encoded_is_known_before(data):
    found = []
    load(data, before=lambda manifest, frames: found.append((len(manifest), frames)))
    load(data, before=lambda manifest, frames: found.append((len(manifest), frames)))
    load(replace(data, store=False), before=lambda manifest, frames: found.append((len(manifest), frames)))
    assert found == [(6, 96.0), (6, 0.0), (6, None)]
    assert frames_to_encode(index_videos(data), data, FRAME) == 0
    assert frames_to_encode(index_videos(data), replace(data, fps=2), FRAME) == 48  # a store of its own


def test_a_store_belongs_to_an_encoder_a_rate_and_a_length_of_window(data):
    others = [replace(data, fps=2), replace(data, frames=4)]
    assert len({store_path(one, spec) for one in (data, *others) for spec in (FRAME, CLIP)}) == 5
    assert store_path(data, FRAME) == store_path(replace(data, frames=4), FRAME)  # states of single frames


def test_the_held_out_clips_are_those_that_were_counted(data):
    for spec in (FRAME, CLIP):
        clips = load(data, ToyEncoder(spec)).held_out
        count, states = held_out_size(index_videos(data), data, spec, 2.0)
        assert count == sum(len(batch.names) for batch in clips)
        assert {batch.states.shape[1] for batch in clips} == {states}


def test_many_sources_share_the_held_out_clips(data, monkeypatch):
    short = {"data": replace(data, frames=4), "seconds": 0.5}
    assert sum(len(batch.names) for batch in load(**short).held_out) == 8
    monkeypatch.setattr(dataset, "HELD_OUT_CLIPS", 2)
    assert sum(len(batch.names) for batch in load(**short).held_out) == 2


def test_only_when_the_disk_is_too_small_are_clips_encoded_at_every_step(data, monkeypatch, caplog):
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: usage._replace(free=100))
        assert isinstance(load(data).source.batch(0), VideoBatch)
        assert "decoded and encoded at every step" in caplog.text
    assert not load(data).online
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=100))
    assert not load(data).online  # what is stored needs no room


def test_frames_that_are_seen_twice_are_reported(data, caplog):
    load(replace(data, fps=30))
    assert "6 of 6 videos have fewer than the 30 frames/s asked for (data.fps)" in caplog.text
    assert "frames will be seen twice, 144 of 720; data.fps 24 would repeat none" in caplog.text


def test_videos_without_poses_give_no_labelled_clips(data):
    for store in (True, False):
        assert load(replace(data, store=store)).labelled() == []


def test_a_mixture_of_sources_that_are_not_there_is_refused_before_anything_is_encoded(data):
    with pytest.raises(WildlamError, match="mixture"):
        load(replace(data, mixture={"c": 0.5}))
    assert not store_path(data, FRAME).exists()


def test_clips_are_judged_in_the_same_batches_with_and_without_a_store(data):
    """While it trains, a run is evaluated on some of the batches: their number must not depend on who encodes them."""
    stored, online = (load(replace(data, store=store)).held_out for store in (True, False))
    assert [len(batch.names) for batch in online] == [len(batch.names) for batch in stored] == [2]


def test_clips_encoded_at_every_step_move_a_bar_one_by_one(data, bars):
    made = bars(dataset)
    clips = load(replace(data, store=False))
    (bar,) = made
    assert bar.n == bar.total == len(bar.steps) == sum(len(batch.names) for batch in clips.held_out)
