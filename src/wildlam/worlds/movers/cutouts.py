"""What moves: pieces of real frames, cut out along a shape. Training has corners; round shapes are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from wildlam.types import Split

SHAPES: dict[Split, tuple[str, ...]] = {
    "train": ("polygon", "star", "box", "arrow"),
    "held_out": ("disc", "ring", "crescent"),
}
"""Shapes of each split."""
RADII = (8.0, 21.0)
"""Half the least and the greatest diameter, pixels of a picture with a side of 128."""
_FINE = 4  # an outline is drawn so many times as large, and averaged
_BLUR = 2.0  # pixels by which a shadow is soft
_TRIES = 4  # squares of a picture of which the most varied is cut


@dataclass(frozen=True)
class Cutout:
    """A piece of a picture.

    Attributes:
        shape: name of its shape.
        radius: half its diameter, pixels.
        image: it, transparent around, square, its middle in the middle (RGBA).
        area: sum of its opacity, pixels.
    """

    shape: str
    radius: float
    image: Image.Image
    area: float


def cut_out(pictures: Sequence[np.ndarray], split: Split, rng: np.random.Generator, size: int) -> Cutout:
    """Cut a random shape of a split out of one of some pictures.

    Args:
        pictures: ``uint8 [H, W, 3]``, each larger than the greatest shape.
        split: whose shapes.
        rng: decides shape, size, place and colour.
        size: side of the film that it is for.
    """
    shape = str(rng.choice(SHAPES[split]))
    radius = float(rng.uniform(*RADII)) * size / 128
    half = int(np.ceil(radius + 3 * _BLUR))
    mask = Image.new("L", (2 * half * _FINE,) * 2)
    points = (outline(shape, rng) * radius + half) * _FINE
    ImageDraw.Draw(mask).polygon([tuple(point) for point in points.tolist()], fill=255)
    alpha = mask.resize((2 * half, 2 * half), Image.Resampling.BOX)
    image = Image.fromarray(_texture(pictures[int(rng.integers(len(pictures)))], 2 * half, rng))
    image.putalpha(alpha)
    return Cutout(shape, radius, image, float(np.asarray(alpha, dtype=np.float64).sum() / 255))


def shadow_of(cutout: Cutout, strength: float) -> Image.Image:
    """What it darkens where it stands in the light: black, soft, as opaque as ``strength``, 0 to 1 (RGBA)."""
    soft = cutout.image.getchannel("A").filter(ImageFilter.GaussianBlur(_BLUR)).point(lambda value: value * strength)
    dark = Image.new("RGBA", cutout.image.size)
    dark.putalpha(soft)
    return dark


def outline(shape: str, rng: np.random.Generator) -> np.ndarray:
    """Points ``[n, 2]`` of a closed line that goes round the shape, within a circle of radius 1."""
    if shape == "polygon":
        count = int(rng.integers(3, 9))
        angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count
        return _around(angles, rng.uniform(0.6, 1.0, count))
    if shape == "star":
        count = int(rng.integers(4, 8))
        radii = np.tile([1.0, rng.uniform(0.35, 0.6)], count)
        return _around(np.pi * np.arange(2 * count) / count, radii)
    if shape == "box":
        angle = rng.uniform(0.35, 1.2)
        return _around(np.array([angle, np.pi - angle, np.pi + angle, -angle]), np.ones(4))
    if shape == "arrow":
        notch, wing = rng.uniform(-0.1, 0.4), rng.uniform(0.55, 0.8)
        return np.array([[1.0, 0.0], [-0.6, wing], [-notch, 0.0], [-0.6, -wing]])
    turn = np.linspace(0, 2 * np.pi, 60)
    if shape == "disc":
        return _around(turn, np.ones(60)) * (1.0, rng.uniform(0.65, 1.0))
    if shape == "ring":
        hole = _around(turn[::-1], np.full(60, rng.uniform(0.35, 0.6)))
        return np.concatenate([_around(turn, np.ones(60)), hole])
    if shape == "crescent":
        outer = _around(np.linspace(0.6, 2 * np.pi - 0.6, 60), np.ones(60))
        depth = rng.uniform(0.1, 0.5)  # the inner arc goes through the outer one's ends
        inner = outer[::-1].copy()
        inner[:, 0] = np.cos(0.6) - (np.cos(0.6) - inner[:, 0]) * depth
        return np.concatenate([outer, inner])
    raise ValueError(f"there is no shape {shape!r}")


def _around(angles: np.ndarray, radii: np.ndarray) -> np.ndarray:
    return np.column_stack([np.cos(angles), np.sin(angles)]) * radii[:, None]


def _texture(picture: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A square of a picture with much to see in it, tinted so that it stands out, ``uint8 [side, side, 3]``."""
    squares = []
    for _ in range(_TRIES):
        top, left = (int(rng.integers(length - side + 1)) for length in picture.shape[:2])
        squares.append(picture[top : top + side, left : left + side].astype(np.float64))
    square = max(squares, key=lambda one: float(one.std()))
    tint, share = rng.uniform(0, 255, 3), rng.uniform(0.0, 0.6)
    return (square * (1 - share) + tint * share).round().astype(np.uint8)
