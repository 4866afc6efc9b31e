"""Every reader takes the frames that a player shows, at the same times, whatever the container says of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.video.backends import BACKENDS
from tests.video.ffmpeg import H264, ffmpeg, film, needs_ffmpeg
from wildlam.cli import main
from wildlam.encoders import Lite0
from wildlam.states.encode import encode_videos
from wildlam.states.loader import StoreSource
from wildlam.states.store import FeatureStore
from wildlam.video import frames as frames_module
from wildlam.video.decode import decode_at, decode_grid, probe
from wildlam.video.frames import all_frames, line_of
from wildlam.video.given import VideoFile
from wildlam.video.index import index
from wildlam.video.loader import ClipSource, decode_windows
from wildlam.video.oddities import oddities
from wildlam.video.opening import opened_video
from wildlam.video.sampling import Draws, eval_windows
from wildlam.video.timeline import Stamp, from_stamps, in_decoders_order, known_plain

pytestmark = needs_ffmpeg


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def shifted(path: Path, source: Path, seconds: float) -> Path:
    ffmpeg("-i", source, "-c", "copy", "-output_ts_offset", seconds, path)
    return path


def two_streams(folder: Path, suffix: str, codec: str, offset: float = 0.0, fps: int = 10) -> Path:
    a = film(folder / f"a.{suffix}", codec, 20, fps=fps)
    b = film(folder / f"b.{suffix}", f"{codec} -output_ts_offset {offset}", 20, first=20, fps=fps)
    return joined(folder / f"ab.{suffix}", a, b)


def trimmed(folder: Path, suffix: str) -> Path:
    """Without encoding anew: frames before the first shown one are there, and an edit list hides them."""
    whole = film(folder / "whole.mp4", H264.replace("-g 10", "-g 250"), 45)
    ffmpeg("-ss", "1.5", "-i", whole, "-c", "copy", folder / f"trimmed.{suffix}")
    return folder / f"trimmed.{suffix}"


def beside(folder: Path, other: str, disposition: str, suffix: str) -> Path:
    """A film that is the second picture stream of its file; the first is a cover, or what is not to be shown."""
    first = folder / f"first.{'jpg' if disposition == 'attached_pic' else 'mp4'}"
    ffmpeg("-f", "lavfi", "-i", other, *(["-frames:v", "1"] if first.suffix == ".jpg" else []), first)
    both = folder / f"both.{suffix}"
    streams = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", disposition, "-disposition:v:1", "default"]
    ffmpeg("-i", first, "-i", film(folder / "film.mp4", H264), *streams, both)
    return both


def wrapping(folder: Path) -> Path:
    """The 33 bits pass zero in the middle, too late for libavformat to have counted back from there."""
    return film(folder / "wrap.ts", f"{H264} -output_ts_offset {2**33 / 90000 - 80} -vf fps=1", 85, fps=1)


# name -> (what makes the film, numbers of the frames that are shown, breaks in seconds, kinds of oddities)
FILMS = {
    "AVI, B-frames, no pts": (lambda d: film(d / "a.avi", H264), range(30), [], []),
    "AVI, MPEG-4": (lambda d: film(d / "a.avi", "-c:v mpeg4 -bf 2 -g 10 -q:v 2"), range(30), [], []),
    "AVI, no B-frames": (lambda d: film(d / "a.avi", "-c:v mjpeg -q:v 2"), range(30), [], []),
    "raw H.264": (
        lambda d: film(d / "a.ts", f"{H264} -f h264"),
        range(30),
        [],
        ["no timestamps"],
    ),
    "raw MPEG-1": (
        lambda d: film(d / "a.mpg", "-c:v mpeg1video -bf 2 -q:v 2 -f mpeg1video", fps=25),
        range(30),
        [],
        ["no timestamps"],
    ),
    "MPEG-PS": (
        lambda d: film(d / "a.mpg", "-c:v mpeg2video -bf 2 -g 10 -q:v 2", fps=25),
        range(30),
        [],
        ["timestamps repeated"],
    ),
    "WMV": (lambda d: film(d / "a.wmv", "-c:v wmv2 -q:v 2"), range(30), [], []),
    "edit list": (lambda d: trimmed(d, "mp4"), range(15, 45), [], ["hidden frames"]),
    "edit list, MOV": (lambda d: trimmed(d, "mov"), range(15, 45), [], ["hidden frames"]),
    "joined TS": (lambda d: two_streams(d, "ts", H264), range(40), [2.0], ["discontinuity"]),
    "joined PS": (
        lambda d: two_streams(d, "mpg", "-c:v mpeg2video -bf 2 -g 10 -q:v 2", fps=25),
        range(40),
        [0.8],
        ["discontinuity"],
    ),
    "60 s ahead": (lambda d: two_streams(d, "ts", H264, 60), range(40), [2.0], ["discontinuity"]),
    "5 s ahead": (lambda d: two_streams(d, "ts", H264, 5), range(40), [2.0], ["discontinuity"]),
    "25 h ahead": (lambda d: two_streams(d, "ts", H264, 90000), range(40), [2.0], ["discontinuity"]),
    "far above zero": (lambda d: film(d / "a.ts", f"{H264} -output_ts_offset 70000"), range(30), [], []),
    "below zero": (
        lambda d: shifted(d / "b.ts", film(d / "a.mp4", H264), 95441.7),
        range(30),
        [],
        [],
    ),
    "a cover first": (lambda d: beside(d, "color=red:s=600x600", "attached_pic", "mp4"), range(30), [], []),
    "a cover first, Matroska": (lambda d: beside(d, "color=red:s=600x600", "attached_pic", "mkv"), range(30), [], []),
    "a still film first": (lambda d: beside(d, "color=gray:s=32x24:r=10:d=3", "0", "mkv"), range(30), [], []),
    "late in Matroska": (lambda d: shifted(d / "b.mkv", film(d / "a.mp4", H264), 70), range(30), [], []),
}


@pytest.fixture(scope="module", params=FILMS)
def case(request, tmp_path_factory):
    make, numbers, breaks, odd = FILMS[request.param]
    return make(tmp_path_factory.mktemp("film")), list(numbers), breaks, odd


def test_every_reader_takes_the_same_frames(case, read_number):
    path, numbers, breaks, odd = case
    info = probe(path)
    fps = round(info.fps)
    assert info.frames == len(numbers)
    assert info.duration == pytest.approx(len(numbers) / fps, abs=1e-3)
    assert info.breaks == pytest.approx(breaks, abs=1e-3)
    assert [text.split(":")[0] for text in info.odd] == odd
    frames = list(all_frames(path))  # as the search for cuts reads them
    pixels = torch.stack(
        [torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1) for frame, _, _ in frames]
    )
    assert [read_number(image) for image in pixels] == numbers
    assert [begin for _, begin, _ in frames] == pytest.approx(np.arange(len(numbers)) / fps, abs=2e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_grid_and_random_seeks_agree(case, read_number, backend):
    path, numbers, _, _ = case
    fps = round(probe(path).fps)
    _, images = zip(*decode_grid(path, fps, 32, backend), strict=True)
    assert [read_number(image) for image in torch.cat(images)] == numbers
    chosen = np.random.default_rng(0).permutation(len(numbers))[:5].tolist()
    for k in chosen:  # in the middle of each frame's time
        assert read_number(decode_at(path, [(k + 0.5) / fps], 32, backend)[0]) == numbers[k]
    together = decode_at(path, [(k + 0.5) / fps for k in chosen], 32, backend)
    assert [read_number(image) for image in together] == [numbers[k] for k in chosen]


class Reads:
    """Counts how often a film is read through for its time line."""

    def __init__(self, monkeypatch):
        self.count = 0
        monkeypatch.setattr(frames_module, "_LINES", {})
        monkeypatch.setattr(frames_module, "from_stamps", self._from_stamps)

    def _from_stamps(self, *args):
        self.count += 1
        return from_stamps(*args)


def varying(folder: Path) -> Path:
    """Every third frame is 20 ms late, and every other third 40 ms."""
    times = "-vf settb=1/1000,setpts=PTS+mod(N\\,3)*20 -enc_time_base 1/1000 -fps_mode passthrough"
    return film(folder / "a.mkv", f"{H264} {times}")


# name -> (what makes a film that the index finds plain, whether it is read through all the same)
PLAIN = {
    "MKV": (lambda d: film(d / "a.mkv", H264), False),
    "MKV, starts late": (lambda d: film(d / "a.mkv", f"{H264} -output_ts_offset 70"), False),
    "MKV of an MP4": (lambda d: shifted(d / "b.mkv", film(d / "a.mp4", H264), 3.3), False),
    "MKV, varying rate": (varying, False),
    "MKV, long group": (lambda d: film(d / "a.mkv", H264.replace("-g 10", "-g 250"), 60), False),
    "MKV, VP9": (lambda d: film(d / "a.mkv", "-c:v libvpx-vp9 -b:v 1M -g 10"), False),
    "WebM": (lambda d: film(d / "a.webm", "-c:v libvpx-vp9 -b:v 1M -g 10"), False),
    "TS": (lambda d: film(d / "a.ts", H264), False),
    "TS, starts late": (lambda d: film(d / "a.ts", f"{H264} -output_ts_offset 70000"), False),
    "TS, MPEG-2": (lambda d: film(d / "a.ts", "-c:v mpeg2video -bf 2 -g 10 -q:v 2", fps=25), False),
    "FLV": (lambda d: film(d / "a.flv", H264), False),
    "AVI": (lambda d: film(d / "a.avi", "-c:v mjpeg -q:v 2"), False),
    "AVI, B-frames": (lambda d: film(d / "a.avi", H264), True),
    "MP4": (lambda d: film(d / "a.mp4", H264), False),
    "MP4 in fragments": (lambda d: film(d / "a.mp4", f"{H264} -movflags frag_keyframe+empty_moov"), False),
}


@pytest.fixture(scope="module", params=PLAIN)
def plain(request, tmp_path_factory):
    make, through = PLAIN[request.param]
    return make(tmp_path_factory.mktemp("film")), through


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_film_known_as_plain_gives_the_same_frames_without_being_read_through(plain, backend, monkeypatch):
    path, through = plain
    info = probe(path)
    assert known_plain(info.odd)
    reads = Reads(monkeypatch)
    fps = info.frames / info.duration
    clips = [[(first + k + 0.5) / fps for k in range(4)] for first in range(0, info.frames - 5, 3)]
    seeking = [decode_at(path, times, 32, backend, plain=True) for times in clips]
    assert reads.count == through
    for clip, times in zip(seeking, clips, strict=True):
        assert torch.equal(clip, decode_at(path, times, 32, backend))
    # Of the grid, the times too: the last frame ends where it does.
    pieces = zip(
        decode_grid(path, 3 * fps, 32, backend, plain=True), decode_grid(path, 3 * fps, 32, backend), strict=True
    )
    for (times, frames), (same_times, same_frames) in pieces:
        assert torch.equal(times, same_times)
        assert torch.equal(frames, same_frames)
    # All frames, too, where each is shown: what cuts are looked for in.
    shown, same_shown = ([(begin, end) for _, begin, end in all_frames(path, plain)] for plain in (True, False))
    assert shown == same_shown


def test_what_the_index_tells_of_a_film_is_what_its_packets_do(case):
    """A film is plain by the index if it is plain by its packets, but for those that `in_decoders_order` knows."""
    path, _, _, _ = case
    with opened_video(path) as (container, stream):
        line = line_of(path, container, stream)
        by_index = known_plain(probe(path).odd) and not in_decoders_order(container, stream)
    assert by_index == (line.plain and not line.hides)


def test_readers_of_an_indexed_folder_read_no_plain_film_through(tmp_path, monkeypatch):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mkv", "b.ts", "c.webm"):
        film(folder / name, H264 if name != "c.webm" else "-c:v libvpx-vp9 -b:v 1M -g 10", 40, first=ord(name[0]) % 90)
    reads = Reads(monkeypatch)
    manifest = index(folder, cache=tmp_path, cuts=True, progress=False)
    chosen = manifest.frames("a.mkv", [2.2, 0.3], 32)
    decode_windows(manifest, eval_windows(manifest, 5, 5.0), 5, 5.0, 32)
    ClipSource(manifest, frames=5, fps=5.0, size=32, batch=4).batch(0)
    encoder = Lite0(image_size=32, dtype="float32").build("cpu")
    store = FeatureStore.create_or_resume(tmp_path / "store", encoder.spec, 10.0, 4)
    assert encode_videos(manifest, folder, encoder, store, progress=False).encoded == 3
    assert VideoFile(folder / "c.webm").seconds() == pytest.approx(4.0, abs=0.05)
    first = VideoFile(folder / "c.webm").first(3, 10.0, 32, "pyav")
    assert reads.count == 0
    assert torch.equal(chosen, decode_at(folder / "a.mkv", [2.2, 0.3], 32))
    assert torch.equal(first, decode_at(folder / "c.webm", [0.0, 0.1, 0.2], 32))


def test_a_clock_that_wraps_goes_on(tmp_path, read_number):
    path = wrapping(tmp_path)
    info = probe(path)
    assert (info.frames, info.breaks) == (85, ())
    assert info.duration == pytest.approx(85.0)
    for k in (3, 76, 77, 78, 79, 80, 81, 84):  # it wraps near the 79th
        assert read_number(decode_at(path, [k + 0.5], 32)[0]) == k


def test_a_long_still_in_a_slow_film_is_no_break(tmp_path, make_video):
    """A picture every 15 s is a slide show."""
    path = make_video(tmp_path / "slides.mkv", frames=8, times=[15.0 * k for k in range(8)])
    assert probe(path).breaks == ()
    assert probe(path).duration > 100


def test_no_gap_becomes_still_pictures(tmp_path, make_video, read_number):
    """An hour without frames, in a container that says nothing of breaks."""
    times = [k / 10 for k in range(20)] + [3600 + k / 10 for k in range(20)]
    for name in ("a.mkv", "b.mp4"):
        path = make_video(tmp_path / name, frames=40, times=times, gop=5)
        info = probe(path)
        assert info.breaks == pytest.approx([2.0], abs=1e-3)
        assert info.duration == pytest.approx(4.0, abs=0.1)
        _, images = zip(*decode_grid(path, 10, 32), strict=True)
        assert [read_number(image) for image in torch.cat(images)] == list(range(40))


def test_joined_and_remuxed_streams_that_overlap(tmp_path, read_number):
    """The muxer has mended the decoding times; some frames of both would be shown at the same moments."""
    a = film(tmp_path / "a.ts", "-c:v libx264 -pix_fmt yuv420p -g 10", 20)
    b = film(tmp_path / "b.ts", "-c:v libx264 -pix_fmt yuv420p -g 10 -output_ts_offset 1.8", 20, first=20)
    ffmpeg("-i", joined(tmp_path / "ab.ts", a, b), "-c", "copy", tmp_path / "ab.mkv")
    _, images = zip(*decode_grid(tmp_path / "ab.mkv", 10, 32), strict=True)
    assert [read_number(image) for image in torch.cat(images)] == list(range(40))


class FakeStream:
    """What the time line asks of a stream."""

    def __init__(self, discontinuous: bool, name: str = "mpegts", ticks: int = 1000):
        self.time_base, self.codec_context = 1 / ticks, self
        self.format, self.name, self.flags, self.has_b_frames = self, name, 0x200 * discontinuous, True


def test_a_step_back_by_33_bits_is_no_break():
    """Where libavformat has not seen it coming."""
    stream = FakeStream(True, ticks=90000)
    stamps = [
        Stamp((2**33 - 50 * 9000 + k * 9000) % 2**33, (2**33 - 52 * 9000 + k * 9000) % 2**33, 9000, False, k == 0)
        for k in range(100)
    ]
    stamps = [stamp._replace(pts=stamp.pts + 2**33 * (stamp.pts < stamp.dts)) for stamp in stamps]
    line = from_stamps(stream, stream, stamps)
    assert (line.frames, line.breaks, line.plain) == (100, (), False)
    assert line.duration == pytest.approx(10.0)
    assert line.odd[0].startswith("clock wraps")


def test_missing_timestamps_are_filled_in():
    stream = FakeStream(True)
    stamps = [Stamp(100 * k if k % 20 != 19 else None, 100 * k, 100, False, k == 0) for k in range(40)]
    line = from_stamps(stream, stream, stamps)
    assert (line.frames, line.breaks, line.plain) == (40, (), False)
    assert line.odd == ("timestamps missing: 2 of 40 frames have none",)


def test_decoding_times_alone_are_shown_in_the_decoders_order():
    stream = FakeStream(False, "matroska,webm")
    stamps = [Stamp(None, 100 * k, 100, False, k == 0) for k in range(20)]
    line = from_stamps(stream, stream, stamps)
    assert line.shown.tolist() == pytest.approx(np.arange(20) / 10)
    assert "decoding times only" in line.odd[0]


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    parts = tmp_path_factory.mktemp("parts")
    two_streams(parts, "ts", H264, 60).rename(folder / "joined.ts")
    trimmed(parts, "mp4").rename(folder / "trimmed.mp4")
    film(folder / "sound.mp4", H264, 40)
    return folder


def test_the_index_tells_and_no_clip_crosses_a_break(odd_folder, tmp_path, capsys, read_number):
    report = tmp_path / "odd.csv"
    assert main(["index", str(odd_folder), "--cache", str(tmp_path), "--report", str(report)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("3 videos, 0.00 hours")
    assert told[1].startswith("discontinuity: 1 (joined.ts: ")
    assert "hidden frames: 1 (trimmed.mp4: an edit list hides 5 of 20)" in told or any(
        "hidden frames: 1" in t for t in told
    )
    rows = list(csv.reader(report.open()))
    assert rows[0] == ["path", "kind", "details"]
    odd = [row[:2] for row in rows[1:] if row[1] != "copy"]  # the films are made of the same frames
    assert odd == [["joined.ts", "discontinuity"], ["trimmed.mp4", "hidden frames"]]

    manifest = index(odd_folder, cache=tmp_path, progress=False)
    assert len(oddities(manifest)) == len(rows) - 1
    assert manifest.cuts() == {"joined.ts": [pytest.approx(2.0)]}
    windows = Draws(manifest, 5, 5.0).windows(np.random.default_rng(0), 60) + eval_windows(manifest, 5, 5.0)
    of_joined = [window for window in windows if window.video == "joined.ts"]
    clips = decode_windows(manifest, of_joined, 5, 5.0, 32).video
    sides = [{read_number(frame) < 20 for frame in clip} for clip in clips]
    assert all(len(side) == 1 for side in sides)
    assert {True, False} == set.union(*sides)


def test_the_report_says_which_files_were_skipped_and_why(tmp_path):
    folder, report = tmp_path / "videos", tmp_path / "odd.csv"
    (folder / "b").mkdir(parents=True)
    for number in range(3):
        film(folder / f"{number}.mp4", H264, first=40 * number)
    (folder / "b" / "text.mp4").write_text("no film")
    (folder / "empty.mkv").touch()
    (folder / "shard.tar").write_text("no shard")
    args = ["index", str(folder), "--report", str(report), "--on_error", "skip", "--max_bad", "0.6"]
    for _ in range(2):  # again, when the others are known
        assert main(args) == 0
        skipped = [row for row in csv.reader(report.open()) if row[1] == "skipped"]
        assert [row[0] for row in skipped] == ["b/text.mp4", "empty.mkv", "shard.tar"]
        assert "not a video" in skipped[0][2]
        assert "empty" in skipped[1][2]
        assert "not a tar file" in skipped[2][2]


def test_no_sequence_of_states_crosses_a_break(odd_folder, tmp_path):
    manifest = index(odd_folder, cache=tmp_path, progress=False)
    encoder = Lite0(image_size=32, dtype="float32").build("cpu")
    store = FeatureStore.create_or_resume(tmp_path / "store", encoder.spec, 10.0, 4)
    encode_videos(manifest, odd_folder, encoder, store, progress=False)
    store.cut_at(manifest.cuts())
    batch = StoreSource(store, states=4, batch_size=300).batch(0)
    of_joined = [times for times, name in zip(batch.times, batch.names, strict=True) if name == "joined.ts"]
    assert of_joined
    assert not any(times[0] < 2.0 - 1e-3 and times[-1] > 2.0 - 1e-3 for times in of_joined)
