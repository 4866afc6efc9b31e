"""A film of movers: cut-outs with their shadows in front of a background, and what is true of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from wildlam.episodes.movers import Truth
from wildlam.progress import Count, uncounted
from wildlam.types import Split
from wildlam.worlds.movers.cutouts import Cutout, cut_out, shadow_of
from wildlam.worlds.movers.motion import MOTIONS, Way, camera, way_of

_ROOM = (0.5, 1.0)
"""The least and the most that a background is larger than the picture, in sides of it."""
_SHADOWED = 0.6  # share of the films with shadows
_HIDING = 0.3  # share of the films with something in the foreground
_LEAVING = 1 / 3  # share of the movers in company that leave the picture and enter it


@dataclass(frozen=True)
class Scene:
    """What does not move by itself.

    Attributes:
        background: larger than the picture, with the foreground in it (RGB).
        foreground: how much of it hides what moves (L), as large as the background.
        window: where the picture lies in it, in each frame, ``[T, 2]``.
        light: where a shadow falls, pixels to the right and down ``[2]``, and how dark it is, 0 to 1.
    """

    background: Image.Image
    foreground: Image.Image
    window: np.ndarray
    light: tuple[np.ndarray, float]


def make_film(
    pictures: Sequence[np.ndarray],
    split: Split,
    rng: np.random.Generator,
    *,
    movers: int,
    background: str,
    frames: int,
    fps: float,
    size: int,
    count: Count = uncounted,
) -> tuple[list[np.ndarray], Truth]:
    """Make a film of movers, given by the pictures and the generator's state alone.

    Args:
        pictures: two or more, square ``uint8 [H, H, 3]``: the background and what is cut from, ``H`` about twice
            ``size``.
        split: its shapes and statistics of motion.
        rng: the only source of randomness.
        movers: how many.
        background: ``still``, ``panning`` or ``shaking``.
        frames: its length.
        fps: frames per second.
        size: side of the frames in pixels.
        count: counts each frame as it is made.

    Returns:
        Frames ``uint8 [size, size, 3]`` and their truth.
    """
    scene = _scene(pictures, split, rng, background, frames, fps, size)
    shift = scene.window[0] - scene.window
    cutouts = [cut_out(pictures[1:], split, rng, size) for _ in range(movers)]
    # Alone, a mover stays in the picture, so that what it does can be asked for.
    leaves = (rng.random(movers) < _LEAVING) & (movers > 1)
    ways = [way_of(rng, MOTIONS[split], shift, fps, size, bool(one)) for one in leaves]
    shadows = [shadow_of(cutout, scene.light[1]) for cutout in cutouts]
    film, visible, boxes = [], np.zeros((frames, movers)), np.zeros((frames, movers, 4))
    for t in range(frames):
        image, visible[t], boxes[t] = _frame(scene, cutouts, shadows, ways, t, size)
        film.append(image)
        count(1)

    def of_all(name: str, *shape: int) -> np.ndarray:
        values = [getattr(way, name) for way in ways]
        return np.stack(values, axis=1).astype(np.float32) if values else np.zeros((frames, 0, *shape), np.float32)

    truth = Truth(
        fps=np.array(float(fps)),
        background=np.array(background),
        shapes=np.array([cutout.shape for cutout in cutouts], dtype=str),
        radius=np.array([cutout.radius for cutout in cutouts], dtype=np.float32),
        position=of_all("position", 2),
        velocity=of_all("velocity", 2),
        angle=of_all("angle"),
        scale=of_all("scale"),
        visible=visible.astype(np.float32),
        box=boxes.astype(np.int16),
        shift=shift.astype(np.float32),
    )
    return film, truth


def _scene(
    pictures: Sequence[np.ndarray],
    split: Split,
    rng: np.random.Generator,
    background: str,
    frames: int,
    fps: float,
    size: int,
) -> Scene:
    room = round(rng.uniform(*_ROOM) * size)
    behind = Image.fromarray(pictures[0]).resize((size + room,) * 2, Image.Resampling.BOX)
    window = camera(rng, background, MOTIONS[split], frames, fps, size, room)
    hiding = Image.new("L", behind.size)
    if rng.random() < _HIDING:
        _pillar(behind, hiding, pictures[-1], rng, window[0] + size / 2, size)
    direction, length = rng.uniform(0, 2 * np.pi), rng.uniform(2, 7) * size / 128
    falls = length * np.array([np.cos(direction), abs(np.sin(direction))])  # light comes from above
    darkness = rng.uniform(0.3, 0.6) if rng.random() < _SHADOWED else 0.0
    return Scene(behind, hiding, window, (falls, darkness))


def _pillar(
    behind: Image.Image, hiding: Image.Image, picture: np.ndarray, rng: np.random.Generator, near: np.ndarray, size: int
) -> None:
    """Put something upright, with the look of another picture, into a background."""
    x = near[0] + rng.uniform(-0.35, 0.35) * size
    width, slant = rng.uniform(0.06, 0.14) * size, rng.uniform(-0.1, 0.1) * size
    top = near[1] - (rng.uniform(0.1, 0.4) * size if rng.random() < 0.5 else 2 * size)
    corners = [(x - width + slant, top), (x + width + slant, top), (x + width, 2.5 * size), (x - width, 2.5 * size)]
    ImageDraw.Draw(hiding).polygon(corners, fill=255)
    behind.paste(Image.fromarray(picture).resize(behind.size, Image.Resampling.BOX), mask=hiding)


@dataclass(frozen=True)
class _Layer:
    """A part of the picture: what is painted there (RGBA), and its upper left corner."""

    image: Image.Image
    left: int
    top: int

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom of all that is not transparent, in the picture."""
        found = self.image.getchannel("A").getbbox()
        if found is None:
            return None
        return self.left + found[0], self.top + found[1], self.left + found[2], self.top + found[3]

    def take_from(self, clear: np.ndarray) -> float:
        """How many pixels of it are seen, where ``clear`` ``[H, W]`` tells what is clear yet; takes them from it."""
        part = clear[self.top : self.top + self.image.height, self.left : self.left + self.image.width]
        alpha = np.asarray(self.image.getchannel("A"), dtype=np.float64) / 255
        seen = float((alpha * part).sum())
        part *= 1 - alpha
        return seen


def _frame(
    scene: Scene, cutouts: list[Cutout], shadows: list[Image.Image], ways: list[Way], t: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture ``uint8 [size, size, 3]``, visible share ``[M]`` and box ``[M, 4]`` of each mover."""
    behind, hiding = (_seen_from(part, scene.window[t], size) for part in (scene.background, scene.foreground))
    picture, (falls, darkness) = behind.convert("RGBA"), scene.light
    painted, boxes = [], []
    for cutout, shadow, way in zip(cutouts, shadows, ways, strict=True):
        place, turn, scale = way.position[t], way.angle[t], way.scale[t]
        mover = _placed(cutout.image, place, turn, scale, size)
        dark = _placed(shadow, place + falls, turn, scale, size) if darkness else None
        layers = [part for part in (dark, mover) if part is not None]
        for part in layers:
            picture.alpha_composite(part.image, (part.left, part.top))
        painted.append(mover)
        boxes.append(_around([box for part in layers if (box := part.box)]))
    picture.paste(behind, mask=hiding)
    clear, visible = 1 - np.asarray(hiding, dtype=np.float64) / 255, np.zeros(len(cutouts))
    for m in reversed(range(len(cutouts))):
        if (layer := painted[m]) is not None:
            visible[m] = min(1.0, layer.take_from(clear) / (cutouts[m].area * ways[m].scale[t] ** 2))
    return np.asarray(picture.convert("RGB")), visible, np.array(boxes).reshape(-1, 4)


def _seen_from(image: Image.Image, window: np.ndarray, size: int) -> Image.Image:
    x, y = window
    return image.transform((size, size), Image.Transform.AFFINE, (1, 0, x, 0, 1, y), Image.Resampling.BICUBIC)


def _placed(image: Image.Image, place: np.ndarray, angle: float, scale: float, size: int) -> _Layer | None:
    """An image with its middle at a place of the picture, turned clockwise and scaled; None where nothing is seen."""
    middle = image.width / 2
    reach = np.sqrt(2) * middle * scale
    left, top = np.floor(place - reach).clip(0, size).astype(int).tolist()
    right, bottom = np.ceil(place + reach).clip(0, size).astype(int).tolist()
    if right <= left or bottom <= top:
        return None
    cos, sin = np.cos(np.radians(angle)) / scale, np.sin(np.radians(angle)) / scale
    x, y = place - (left, top)
    inverse = (cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y)
    size_of_part = (right - left, bottom - top)
    return _Layer(image.transform(size_of_part, Image.Transform.AFFINE, inverse, Image.Resampling.BICUBIC), left, top)


def _around(boxes: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    """The least box that holds some; zeros if there are none."""
    if not boxes:
        return (0, 0, 0, 0)
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
