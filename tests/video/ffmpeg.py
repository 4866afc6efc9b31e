"""Films made by ffmpeg's command line; each frame tells its number, as ``read_number`` reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg's command line is not installed")


def ffmpeg(*args: str | Path, stdin: bytes | None = None) -> None:
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, args)], input=stdin, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """``uint8 [H, W, 3]``: the left half's grey level is ``number % 16``, the right half's ``number // 16``."""
    image = np.full((height, width, 3), 8 + 15 * (number % 16), dtype=np.uint8)
    image[:, width // 2 :] = 8 + 15 * (number // 16)
    return image


def film(
    path: Path, args: str, frames: int = 30, first: int = 0, fps: int = 10, size: tuple[int, int] = (64, 48)
) -> Path:
    """Encode frames ``first``, ``first + 1`` ... with ffmpeg's output options ``args``."""
    raw = b"".join(picture(number, *size).tobytes() for number in range(first, first + frames))
    form = f"-f rawvideo -pix_fmt rgb24 -s {size[0]}x{size[1]} -r {fps} -i -"
    ffmpeg(*form.split(), *args.split(), path, stdin=raw)
    return path


H264 = "-c:v libx264 -pix_fmt yuv420p -g 10 -bf 3"
