from __future__ import annotations

import pickle
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.video.backends import BACKENDS, needs_torchcodec
from wildlam.errors import WildlamError
from wildlam.video import frames
from wildlam.video.decode import VideoError, decode_at, decode_grid, probe

# Irregular, as of a phone that slows down in the dark; a long gap in the middle.
IRREGULAR = [
    0.0,
    0.033,
    0.05,
    0.12,
    0.2,
    0.21,
    0.22,
    0.5,
    1.3,
    1.31,
    1.4,
    1.55,
    1.6,
    1.601,
    1.7,
    2.0,
    2.4,
    2.41,
    2.5,
    2.6,
]


def shown(times, stamps):
    """What must be on display: the last frame with a timestamp at or before each time."""
    return [int(np.searchsorted(stamps, t + 1e-6, side="right")) - 1 for t in times]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_constant_rate_exact_frames(tmp_path, make_video, read_number, backend, suffix):
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    path = make_video(tmp_path / f"a.{suffix}", frames=40, fps=20, codec=codec)
    times = [i / 20 for i in range(40)] + [0.049, 0.0501, 1.999]
    numbers = [read_number(f) for f in decode_at(path, times, 32, backend)]
    assert numbers == [*range(40), 0, 1, 39]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_rate_shows_the_frame_on_display(tmp_path, make_video, read_number, backend, suffix):
    path = make_video(tmp_path / f"v.{suffix}", frames=len(IRREGULAR), times=IRREGULAR, gop=5)
    times = np.arange(0, 2.6, 0.017).tolist()
    numbers = [read_number(f) for f in decode_at(path, times, 32, backend)]
    assert numbers == shown(times, IRREGULAR)
    alone = [read_number(decode_at(path, [t], 32, backend)[0]) for t in times[::10]]  # each by a seek of its own
    assert alone == numbers[::10]


@pytest.mark.parametrize("backend", BACKENDS)
def test_grid_equals_decode_at_in_any_chunks(tmp_path, make_video, backend):
    path = make_video(tmp_path / "v.mp4", frames=len(IRREGULAR), times=IRREGULAR, gop=5)
    pieces = list(decode_grid(path, 8.0, 32, backend, chunk=6))
    times, frames = torch.cat([t for t, _ in pieces]), torch.cat([f for _, f in pieces])
    assert times.dtype == torch.float64
    assert frames.dtype == torch.uint8
    assert [len(t) for t, _ in pieces] == [6] * 3 + [len(times) - 18]
    assert times.tolist() == [i / 8 for i in range(len(times))]
    assert torch.equal(frames, decode_at(path, times.tolist(), 32, backend))
    assert times[-1] >= 2.5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("frames", "fps", "grid"), [(40, 20, 4.0), (41, 20, 4.0), (30, 10, 25.0), (24, 24, 24.0)])
def test_grid_spans_the_video(tmp_path, make_video, read_number, backend, frames, fps, grid):
    path = make_video(tmp_path / "a.mp4", frames=frames, fps=fps)
    times, images = zip(*decode_grid(path, grid, 32, backend), strict=True)
    expected = np.arange(np.ceil(frames / fps * grid - 1e-6)) / grid
    assert np.array_equal(torch.cat(times), expected)
    assert [read_number(f) for f in torch.cat(images)] == [int(t * fps + 1e-6) for t in expected]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.avi", "mpeg4"), ("b.mov", "libx264"), ("c.ts", "libx264"), ("e.flv", "libx264")],
)
def test_other_containers(tmp_path, make_video, read_number, name, codec):
    path = make_video(tmp_path / name, frames=50, fps=25, codec=codec)
    times = [i / 25 for i in range(50)]
    info = probe(path)
    assert info.frames == 50
    assert info.duration == pytest.approx(2.0, abs=0.002)
    assert [read_number(f) for f in decode_at(path, times, 32)] == list(range(50))
    assert [read_number(decode_at(path, [t], 32)[0]) for t in times[::7]] == list(range(50))[::7]


def test_times_in_any_order_and_repeated(tmp_path, make_video, read_number):
    path = make_video(tmp_path / "a.mp4", frames=30, fps=10)
    assert [read_number(f) for f in decode_at(path, [2.5, 0.0, 2.5, 1.01], 32)] == [25, 0, 25, 10]


def test_a_start_after_zero_counts_from_the_first_frame(tmp_path, make_video, read_number):
    path = make_video(tmp_path / "late.mkv", frames=20, times=[5 + i / 10 for i in range(20)])
    assert probe(path).duration == pytest.approx(2.0, abs=0.12)
    assert read_number(decode_at(path, [1.25], 32)[0]) == 12


def test_seeks_instead_of_decoding_from_the_start(tmp_path, make_video, monkeypatch):
    path = make_video(tmp_path / "a.mp4", frames=200, fps=20, gop=10)
    decoded = 0

    def counted(frames, *args):
        nonlocal decoded
        for frame in frames:
            decoded += 1
            yield frame

    monkeypatch.setattr(frames, "_in_order", counted)
    decode_at(path, [9.0], 32)
    assert decoded <= 15


def textured(path: Path, codec: str = "libx264", frames: int = 30) -> Path:
    """Frames full of detail, on which any difference in decoding shows; B-frames where the codec has them."""
    texture = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = 126, 94, "yuv420p"
        for i in range(frames):
            image = np.ascontiguousarray(np.roll(texture, 3 * i, 1)[:94, :126])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("fps", [4.0, 11.3, 30.0])
def test_frames_passed_over_change_no_pixel(tmp_path, fps):
    path = textured(tmp_path / "a.mp4", frames=60)
    with av.open(str(path)) as container:
        plain = [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    times, frames = (torch.cat(parts) for parts in zip(*decode_grid(path, fps, 94), strict=True))
    for time, frame in zip(times.tolist(), frames, strict=True):
        assert torch.equal(frame, plain[int(time * 30 + 1e-4)].permute(2, 0, 1)[:, :, 16:110])


def quadrants(path: Path, rotation: int) -> Path:
    """A stored picture, 96 x 64, of which each quadrant has its own colour."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(rotation)
        image = np.zeros((64, 96, 3), np.uint8)
        image[:32, :48], image[:32, 48:], image[32:, :48], image[32:, 48:] = 20, 90, 160, 230
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotated_video_comes_upright(tmp_path, rotation, backend):
    path = quadrants(tmp_path / "phone.mp4", rotation)
    info = probe(path)
    assert info.rotation == rotation
    assert (info.width, info.height) == ((64, 96) if rotation in (90, 270) else (96, 64))
    frame = decode_at(path, [0.5], 32, backend)[0, 0].float()
    corners = torch.tensor([[frame[4, 4], frame[4, -5]], [frame[-5, 4], frame[-5, -5]]])
    stored = torch.tensor([[20.0, 90.0], [160.0, 230.0]])
    assert torch.allclose(corners, stored.rot90(rotation // 90), atol=6)


def test_short_side_is_resized_and_the_centre_cut(tmp_path):
    path = tmp_path / "wide.mp4"
    image = np.zeros((64, 192, 3), np.uint8)
    image[:, 64:128] = 200  # exactly the centre square
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 192, 64, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    for size in (32, 64, 96):
        frame = decode_at(path, [0.0], size)
        assert frame.shape == (1, 3, size, size)
        assert frame[..., 3:-3].float().sub(200).abs().max() < 8


def test_mpeg_program_stream(tmp_path, make_video):
    """Its multiplexer gives only some frames a timestamp, so that their exact times are FFmpeg's guess."""
    path = make_video(tmp_path / "a.mpg", frames=50, fps=25, codec="mpeg2video")
    times = [i / 10 for i in range(20)]
    alone = torch.cat([decode_at(path, [t], 32) for t in times])
    assert probe(path).frames == 50
    assert torch.equal(decode_at(path, times, 32), alone)


@needs_torchcodec
@pytest.mark.parametrize("name", ["a.mp4", "b.webm", "c.mkv", "d.avi", "e.ts"])
def test_torchcodec_gives_equal_pixels(tmp_path, name):
    """Both convert by swscale with the same settings: no tolerance is needed, on textured frames too."""
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(Path(name).suffix, "libx264")
    textured(tmp_path / name, codec)
    times = [0.0, 0.2, 0.21, 0.5, 0.93]
    ours, theirs = (decode_at(tmp_path / name, times, 48, backend) for backend in ("pyav", "torchcodec"))
    assert torch.equal(ours, theirs)


def test_torchcodec_that_cannot_be_loaded_names_the_remedy(tmp_path, make_video, monkeypatch):
    path = make_video(tmp_path / "a.mp4")
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(WildlamError, match=r"torchcodec .* cannot be loaded.* choose data\.backend=pyav"):
        decode_at(path, [0.0], 32, "torchcodec")


def bad_file(kind: str, folder: Path, make_video) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("these are not the frames you are looking for\n" * 50)
    elif kind == "folder":
        path.mkdir()
    elif kind == "truncated":  # the index, at the end, is lost
        path.write_bytes(make_video(folder / "whole.mp4").read_bytes()[:-400])
    elif kind == "tail lost":  # the index, at the front, is there
        whole = make_video(folder / "whole.mp4", frames=96)
        move_index_to_front(whole, folder / "fast.mp4")
        data = (folder / "fast.mp4").read_bytes()
        path.write_bytes(data[: len(data) * 3 // 5])
    elif kind == "noise inside":
        data = bytearray(make_video(folder / "whole.mp4").read_bytes())
        start = data.index(b"mdat") + 4
        data[start : start + 4000] = np.random.default_rng(0).bytes(4000)
        path.write_bytes(data)
    elif kind == "unknown codec":
        path.write_bytes(make_video(folder / "whole.mp4").read_bytes().replace(b"avc1", b"zzz9"))
    elif kind == "sound":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate = 16000
            for _ in range(8):
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def move_index_to_front(source: Path, target: Path) -> None:
    """Copy the packets into an mp4 that has its index at the front."""
    with av.open(str(source)) as old, av.open(str(target), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file"),
        ("empty", "0 bytes"),
        ("text", "not a video"),
        ("folder", "a folder"),
        ("truncated", "damaged"),
        ("tail lost", "cut short"),
        ("noise inside", "damaged"),
        ("unknown codec", "no decoder for its video stream"),
        ("sound", "no video stream"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, make_video, kind, reason):
    path = bad_file(kind, tmp_path, make_video)
    with pytest.raises(VideoError, match=reason) as caught:
        probe(path)
    assert caught.value.path == str(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated"])
def test_decoding_bad_files_names_them(tmp_path, make_video, kind, backend):
    path = bad_file(kind, tmp_path, make_video)
    with pytest.raises(VideoError, match=kind):
        decode_at(path, [0.0], 32, backend)
    with pytest.raises(VideoError, match=kind):
        list(decode_grid(path, 4.0, 32, backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("time", [-0.1, 1.01, 50.0, float("nan")])
def test_times_outside_the_video(tmp_path, make_video, time, backend):
    path = make_video(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=r"a\.mp4: no frame at"):
        decode_at(path, [0.5, time], 32, backend)


def test_damage_inside_a_video_is_named(tmp_path):
    data = bytearray(textured(tmp_path / "whole.ts", frames=60).read_bytes())
    for start in range(len(data) // 3, len(data) - 2000, 3000):
        data[start : start + 500] = np.random.default_rng(start).bytes(500)
    path = tmp_path / "scratched.ts"
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"scratched\.ts: .*damaged"):
        list(decode_grid(path, 30.0, 32))


def test_names_with_spaces_and_other_alphabets(tmp_path, make_video, read_number):
    path = make_video(tmp_path / "мой отпуск" / "día 1 — 海.mp4")
    assert probe(path).frames == 24
    assert read_number(decode_at(path, [0.5], 32)[0]) == 12


def test_video_error_survives_pickling():
    error = pickle.loads(pickle.dumps(VideoError("a b.mp4", "broken")))
    assert (error.path, error.reason, str(error)) == ("a b.mp4", "broken", "a b.mp4: broken")


def test_frames_that_come_late_are_put_in_order():
    class Late:
        def __init__(self, pts):
            self.pts = pts

    order = [f.pts for f in frames._in_order(Late(p) for p in [0, 3, 2, 4, 8, 6, 7, 9])]
    assert order == [0, 2, 3, 4, 6, 7, 8, 9]
