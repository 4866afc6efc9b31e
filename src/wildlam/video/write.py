"""Short films side by side, as H.264 that browsers play."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from wildlam.video.mp4 import write_mp4

SIDE = 192
"""Side of a panel, pixels."""
BAND = 24
"""Height of the labels above the panels."""
CRF_IN_PAGES = 26
"""Rate factor of films that stand in pages; see ``write_mp4``."""


def side_by_side(panels: Mapping[str, Tensor]) -> list[np.ndarray]:
    """Films side by side, each with its name above it.

    Args:
        panels: name to ``uint8 [F, 3, H, W]``, all of as many frames.

    Returns:
        ``F`` frames ``uint8 [BAND + SIDE, SIDE * panels, 3]``.
    """
    films = [F.interpolate(film.float(), size=(SIDE, SIDE), mode="bilinear") for film in panels.values()]
    joined = np.concatenate([film.round().byte().permute(0, 2, 3, 1).numpy() for film in films], axis=2)
    band = Image.new("RGB", (SIDE * len(panels), BAND), "white")
    draw = ImageDraw.Draw(band)
    font = ImageFont.load_default(13)
    for i, name in enumerate(panels):
        draw.text((SIDE * i + SIDE / 2, BAND / 2), name, fill="black", font=font, anchor="mm")
    head = np.asarray(band)
    return [np.concatenate([head, frame]) for frame in joined]


def mp4_bytes(frames: list[np.ndarray], fps: float) -> bytes:
    """Frames ``uint8 [H, W, 3]`` as the bytes of an H.264 file, small enough to stand in a page."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_mp4(path, frames, fps, crf=CRF_IN_PAGES)
        return path.read_bytes()
