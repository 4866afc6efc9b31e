"""Cuts: found where they are, kept in the manifest, and straddled by no clip, whether of pixels or of stored states."""

from dataclasses import asdict

import av
import numpy as np
import pyarrow as pa
import pytest

from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.states.encode import encode_videos
from wildlam.states.loader import StoreSource
from wildlam.states.sequences import Sequences, StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import EncoderSpec
from wildlam.video import index as index_module
from wildlam.video.cuts import find_cuts
from wildlam.video.decode import VideoError
from wildlam.video.index import index
from wildlam.video.sampling import Draws, eval_windows

FPS = 8
SHOTS = (3.0, 2.5, 4.0)  # seconds of each
CUTS = [3.0, 5.5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos of three shots each, of unlike colours in which a square moves, and one of a single shot."""
    root = tmp_path_factory.mktemp("cuts")
    for name, shots in (("a.mp4", SHOTS), ("b.mp4", SHOTS), ("whole.mp4", (6.0,))):
        colours = [(200, 40, 40), (30, 180, 220), (240, 240, 60)]
        with av.open(str(root / name), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for seconds, colour in zip(shots, colours, strict=False):
                for i in range(round(seconds * FPS)):
                    image = np.full((64, 96, 3), colour, dtype=np.uint8)
                    image[20:40, i : i + 20] = 255 - np.array(colour)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    return root


@pytest.fixture
def manifest(folder, tmp_path):
    return index(folder, cuts=True, cache=tmp_path / "cache", progress=False)


def straddles(start, seconds):
    return any(start < cut - 1e-3 and start + seconds > cut + 1e-3 for cut in CUTS)


def test_cuts_are_found(folder):
    assert find_cuts(folder / "a.mp4") == pytest.approx(CUTS, abs=1e-3)
    assert find_cuts(folder / "whole.mp4") == []


def test_what_is_no_video_is_named(tmp_path):
    (tmp_path / "no.mp4").write_text("not a video")
    with pytest.raises(VideoError, match=r"no\.mp4: no cuts can be looked for"):
        find_cuts(tmp_path / "no.mp4")


def test_they_are_looked_for_once_and_told_when_asked(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    assert index(folder, cache=cache, progress=False).cuts() == {}
    found = index(folder, cuts=True, cache=cache, progress=False).cuts()
    assert found == {name: pytest.approx(CUTS, abs=1e-3) for name in ("a.mp4", "b.mp4")}
    monkeypatch.setattr("wildlam.video.index.find_cuts", None)
    assert index(folder, cuts=True, cache=cache, progress=False).cuts() == found
    assert index(folder, cache=cache, progress=False).cuts() == {}
    given = cache / "manifest.parquet"
    assert index(given, cuts=True).cuts() == found
    assert index(given).cuts() == {}


def test_a_manifest_without_cuts_is_refused_where_they_matter(folder, tmp_path):
    index(folder, cache=tmp_path / "cache", progress=False)
    with pytest.raises(WildlamError, match="have not been searched for cuts"):
        index(tmp_path / "cache" / "manifest.parquet", cuts=True)


def test_no_clip_of_pixels_straddles_one(manifest):
    drawn = Draws(manifest, 8, 4.0).windows(np.random.default_rng(0), 5000)
    cut = [window for window in drawn if window.video != "whole.mp4"]
    assert not any(straddles(window.start, 2.0) for window in cut)
    seen = {sum(window.start >= at - 1e-6 for at in CUTS) for window in cut}
    assert seen == {0, 1, 2}  # every shot gives some
    assert not any(
        straddles(window.start, 2.0) for window in eval_windows(manifest, 8, 4.0) if "whole" not in window.video
    )
    plain = Draws(manifest.uncut(), 8, 4.0).windows(np.random.default_rng(0), 5000)
    assert any(straddles(window.start, 2.0) for window in plain if window.video != "whole.mp4")


def test_shots_that_are_too_short_are_one_clear_error(manifest):
    cut = manifest.where(np.array([video.path != "whole.mp4" for video in manifest]))
    with pytest.raises(WildlamError, match=r"no shot between two cuts is long enough.* without data\.cuts"):
        Draws(cut, 20, 4.0)


def test_no_clip_of_states_straddles_one(folder, manifest, tmp_path):
    encoder = Lite0(image_size=32, dtype="float32").build("cpu")
    store = FeatureStore.create_or_resume(tmp_path / "store", encoder.spec, 4.0, 8)
    encode_videos(manifest, folder, encoder, store, progress=False)
    plain = StoreSource(store, states=8, batch_size=2000, split="train").batch(0)
    store.cut_at(manifest.cuts())
    batch = StoreSource(store, states=8, batch_size=2000).batch(0)
    for drawn, expected in ((batch, False), (plain, True)):
        spans = [
            (times[0].item(), (times[-1] - times[0]).item())
            for times, name in zip(drawn.times, drawn.names, strict=True)
            if name != "whole.mp4"
        ]
        assert any(straddles(*span) for span in spans) == expected


def test_states_of_several_frames_and_windows():
    videos = pa.Table.from_pylist([asdict(StoredVideo("v.mp4", "s", "train", 1, 2))])
    times = np.arange(12) * 0.5  # states of two frames at 4 frames a second
    whole = Sequences(np.array([0]), np.array([12]), np.array([0]), videos, times)
    frame = EncoderSpec("toy", 2, (1, 1), 4, 16, "frame", "aaaa")
    between = whole.cut({"v.mp4": [2.0]}, frame, 4.0)
    assert (between.first.tolist(), between.length.tolist()) == ([0, 4], [4, 8])
    within = whole.cut({"v.mp4": [2.25]}, frame, 4.0)  # the fifth state's second frame is of the next shot
    assert (within.first.tolist(), within.length.tolist()) == ([0, 5], [4, 7])
    windows = Sequences(np.array([0, 4, 8]), np.array([4, 4, 4]), np.zeros(3, dtype=int), videos, times)
    clip = EncoderSpec("toy", 2, (1, 1), 4, 16, "clip", "aaaa")
    assert windows.cut({"v.mp4": [3.0]}, clip, 4.0).first.tolist() == [0, 8]
    assert windows.cut({"v.mp4": [4.0]}, clip, 4.0).first.tolist() == [0, 4, 8]


def test_the_bar_moves_with_the_frames_that_are_looked_at(folder, tmp_path, bars):
    made = bars(index_module)
    index(folder, cuts=True, cache=tmp_path / "cache", workers=1)
    (bar,), sizes = made, [path.stat().st_size for path in folder.glob("*.mp4")]
    assert bar.n == pytest.approx(sum(sizes)) == pytest.approx(bar.total)
    assert max(bar.steps) < min(sizes) / 4


def test_seconds_are_counted_while_cuts_are_looked_for(folder):
    counted = []
    find_cuts(folder / "a.mp4", count=counted.append)
    assert counted == pytest.approx([1 / FPS] * round(sum(SHOTS) * FPS))
