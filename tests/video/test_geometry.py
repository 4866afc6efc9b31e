"""Pictures stand as a player shows them: turned, mirrored, with square pixels; by both back ends."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.video.backends import BACKENDS
from tests.video.ffmpeg import ffmpeg, needs_ffmpeg
from wildlam.video.decode import decode_at, probe

pytestmark = needs_ffmpeg

GREYS = np.array([[20, 90], [160, 230]], np.uint8)  # of the stored picture's quadrants
# The display matrix's (a, b, c, d), for x to the right and y downwards, and the quadrants on display.
MATRICES = {
    "as it is": ((1, 0, 0, 1), GREYS),
    "turned clockwise": ((0, 1, -1, 0), np.rot90(GREYS, -1)),
    "upside down": ((-1, 0, 0, -1), np.rot90(GREYS, 2)),
    "turned anticlockwise": ((0, -1, 1, 0), np.rot90(GREYS)),
    "left is right": ((-1, 0, 0, 1), GREYS[:, ::-1]),
    "top is bottom": ((1, 0, 0, -1), GREYS[::-1]),
    "transposed": ((0, 1, 1, 0), GREYS.T),
    "transposed the other way": ((0, -1, -1, 0), np.rot90(GREYS, 2).T),
}


def quadrants(path: Path, size: tuple[int, int] = (96, 64), options: str = "") -> Path:
    stored = np.kron(GREYS, np.ones((size[1] // 2 + 1, size[0] // 2 + 1), np.uint8))[: size[1], : size[0]]
    raw = stored[..., None].repeat(3, 2).tobytes() * 10
    form = f"-f rawvideo -pix_fmt rgb24 -s {size[0]}x{size[1]} -r 10 -i -"
    ffmpeg(*form.split(), *["-c:v", "libx264", "-pix_fmt", "yuv444p", "-crf", "5"], *options.split(), path, stdin=raw)
    return path


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into the track header of an MP4 (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    x, y = 96 * (min(a, 0) + min(c, 0)), 64 * (min(b, 0) + min(d, 0))
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, -x << 16, -y << 16, 1 << 30)
    path.write_bytes(data)


def corners(frame: torch.Tensor) -> np.ndarray:
    grey = frame[0].float().numpy()
    return np.array([[grey[4, 4], grey[4, -5]], [grey[-5, 4], grey[-5, -5]]])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MATRICES)
def test_all_eight_display_matrices(tmp_path, name, backend):
    matrix, shown = MATRICES[name]
    path = quadrants(tmp_path / "a.mp4")
    with_matrix(path, *matrix)
    info = probe(path)
    assert (info.width, info.height) == ((96, 64) if matrix[0] else (64, 96))
    assert any(odd.startswith("mirrored") for odd in info.odd) == (np.linalg.det(np.reshape(matrix, (2, 2))) < 0)
    np.testing.assert_allclose(corners(decode_at(path, [0.5], 32, backend)[0]), shown, atol=6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("aspect", ["2/1", "1/2", "16/11"])
def test_pixels_come_out_square(tmp_path, aspect, turned, backend):
    """A disc on display is a disc."""
    width, height = (round(96 * eval(aspect)), 96) if eval(aspect) > 1 else (96, round(96 / eval(aspect)))
    y, x = np.mgrid[:height, :width]
    disc = ((x - width / 2) ** 2 + (y - height / 2) ** 2 < 30**2).astype(np.uint8)[..., None].repeat(3, 2) * 255
    path = tmp_path / "disc.mp4"
    form = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r 10 -i -"
    how = f"-vf scale=96:96,setsar={aspect} -c:v libx264 -pix_fmt yuv444p"
    ffmpeg(*form.split(), *how.split(), path, stdin=disc.tobytes() * 10)
    if turned:
        with_matrix(path, 0, 1, -1, 0)
    info = probe(path)
    # Within a pixel: the stored side stays.
    assert (info.width, info.height) == pytest.approx((height, width) if turned else (width, height), abs=1) or (
        aspect == "1/2"
    )
    shown = decode_at(path, [0.5], 64, backend)[0, 0] > 128
    assert abs(int(shown.any(0).sum()) - int(shown.any(1).sum())) <= 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [(97, 65), (65, 97), (33, 33)])
def test_odd_sizes(tmp_path, size, backend):
    path = quadrants(tmp_path / "odd.mp4", size)
    assert (probe(path).width, probe(path).height) == size
    np.testing.assert_allclose(corners(decode_at(path, [0.5], 32, backend)[0]), GREYS, atol=6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_size_may_change(tmp_path, backend):
    """Each frame is cut from its own picture, or the back end that cannot names the one that can."""
    parts = [quadrants(tmp_path / "a.ts", (96, 64)), quadrants(tmp_path / "b.ts", (64, 128))]
    (tmp_path / "ab.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = decode_at(tmp_path / "ab.ts", [0.5, 1.5], 32, backend)
    for frame in frames:
        np.testing.assert_allclose(corners(frame), GREYS, atol=6)
