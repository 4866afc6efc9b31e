"""How movers and the background move: smooth, in stretches of one motion each, at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wildlam.types import Split

_GLIDE = 0.3  # seconds in which a motion takes up two thirds of a change
SCALES = (0.7, 1.4)
"""Least and greatest scale."""
_INSIDE = 0.12  # of the picture's side: who does not leave it stays so far from its edges
_OUTSIDE = 0.18  # and who leaves it goes no farther than so much


@dataclass(frozen=True)
class Motions:
    """Statistics of motion. Lengths are pixels of a picture with a side of 128, speeds are per second.

    Attributes:
        speed: least and greatest speed of a stretch.
        stretch: least and greatest duration of one, seconds.
        rest: share of the stretches in which nothing moves.
        bend: the most degrees that a stretch's direction turns by.
        spin: the most degrees that a mover turns by.
        growth: the most that the logarithm of its scale changes by.
        pan: least and greatest speed of a panning background.
        shake: least and greatest spread of a shaking one.
    """

    speed: tuple[float, float]
    stretch: tuple[float, float]
    rest: float
    bend: float
    spin: float
    growth: float
    pan: tuple[float, float]
    shake: tuple[float, float]


MOTIONS: dict[Split, Motions] = {
    "train": Motions(
        speed=(8, 45), stretch=(0.6, 2.5), rest=0.25, bend=20, spin=70, growth=0.25, pan=(6, 24), shake=(0.6, 1.6)
    ),
    "held_out": Motions(
        speed=(20, 60), stretch=(0.4, 1.5), rest=0.35, bend=120, spin=110, growth=0.4, pan=(12, 36), shake=(1.0, 2.4)
    ),
}
"""Held-out motions are faster, bend, and stop and start more often."""


@dataclass(frozen=True)
class Way:
    """How a mover goes: position in the picture and velocity over the background ``[T, 2]``, angle and scale ``[T]``.

    A frame's velocity leads to the next frame. Angles are in degrees, clockwise.
    """

    position: np.ndarray
    velocity: np.ndarray
    angle: np.ndarray
    scale: np.ndarray


def way_of(rng: np.random.Generator, how: Motions, shift: np.ndarray, fps: float, size: int, leaves: bool) -> Way:
    """A random way of a mover.

    Args:
        rng: the only source of randomness.
        how: its statistics.
        shift: where the background is in each frame, pixels ``[T, 2]``.
        fps: frames per second.
        size: side of the picture.
        leaves: whether it may leave the picture and enter it.
    """
    low, high = (-_OUTSIDE, 1 + _OUTSIDE) if leaves else (_INSIDE, 1 - _INSIDE)
    low, high = low * size, high * size
    stretches = _Stretches(rng, how, fps, size)
    place, own = rng.uniform(low, high, 2), stretches.target.copy()
    glide = 1 - np.exp(-1 / fps / _GLIDE)
    carried = np.diff(shift, axis=0, append=shift[-1:])
    positions, velocities, spins, growths = [], [], [], []
    spin = growth = 0.0
    for step in carried:
        if stretches.lead_away(place, low, high):
            stretches.head_for(rng.uniform(0.25, 0.75, 2) * size - place)
        elif stretches.left <= 0:
            stretches.begin()
        own += glide * (stretches.target - own)
        spin += glide * (stretches.spin - spin)
        growth += glide * (stretches.growth - growth)
        stretches.go_on()
        # What stands still stands still: less than a tenth of a pixel a frame is no motion.
        moves = bool(np.any(stretches.target)) or np.hypot(*own) > 0.1 * fps
        positions.append(place)
        velocities.append(own * moves)
        spins.append(spin * moves)
        growths.append(growth * moves)
        place = place + own * moves / fps + step
    turned, grown = (np.concatenate([[0.0], np.cumsum(rates)[:-1]]) / fps for rates in (spins, growths))
    scale = np.exp(_between(rng.uniform(*np.log(SCALES)) + grown, *np.log(SCALES)))
    return Way(np.stack(positions), np.stack(velocities), rng.uniform(0, 360) + turned, scale)


def camera(
    rng: np.random.Generator, background: str, how: Motions, frames: int, fps: float, size: int, room: float
) -> np.ndarray:
    """Where the window on a larger picture lies in each frame: pixels ``[T, 2]`` from its corner, 0 to ``room``.

    Args:
        rng: the only source of randomness.
        background: ``still``, ``panning`` or ``shaking``.
        how: statistics of motion.
        frames: T.
        fps: frames per second.
        size: side of the window.
        room: pixels that the window can move by.
    """
    start = rng.uniform(0.15 * room, 0.85 * room, 2).round()
    if background == "still":
        return np.tile(start, (frames, 1))
    if background == "shaking":
        return np.clip(start + _shake(rng, rng.uniform(*how.shake) * size / 128, frames, fps), 0, room)
    stretches = _Stretches(rng, how, fps, size, how.pan)
    own, place, places = np.zeros(2), start, []
    glide = 1 - np.exp(-1 / fps / _GLIDE)
    for _ in range(frames):
        if stretches.lead_away(place, 0.1 * room, 0.9 * room):
            stretches.head_for(room / 2 - place)
        elif stretches.left <= 0:
            stretches.begin()
        own += glide * (stretches.target - own)
        stretches.go_on()
        places.append(place)
        place = np.clip(place + own / fps, 0, room)
    return np.stack(places)


class _Stretches:
    """What a mover wants, one stretch of time after another: ``target`` (pixels a second), ``spin`` and ``growth``."""

    def __init__(
        self, rng: np.random.Generator, how: Motions, fps: float, size: int, speed: tuple[float, float] | None = None
    ) -> None:
        self._rng, self._how, self._fps = rng, how, fps
        low, high = how.speed if speed is None else speed
        self._speed = (low * size / 128, high * size / 128)
        self.target = np.zeros(2)
        self.begin()

    def begin(self) -> None:
        """Want something else."""
        rng, how = self._rng, self._how
        self.left = rng.uniform(*how.stretch)
        rests = rng.random() < how.rest
        self._want(rng.uniform(0, 2 * np.pi), 0.0 if rests else rng.uniform(*self._speed))
        self._bend = np.radians(rng.uniform(-how.bend, how.bend))
        turns = not rests and rng.random() < 0.6
        self.spin = rng.uniform(-how.spin, how.spin) * turns
        self.growth = rng.uniform(-how.growth, how.growth) * (not rests and rng.random() < 0.5)

    def lead_away(self, place: np.ndarray, low: float, high: float) -> bool:
        """Whether a place is outside a square, and what is wanted does not lead back."""
        return bool(((place < low) & (self.target <= 0) | (place > high) & (self.target >= 0)).any())

    def head_for(self, away: np.ndarray) -> None:
        """Go straight towards what is ``away`` pixels from here, faster than a background moves."""
        self.left = self._rng.uniform(*self._how.stretch)
        low, high = self._speed
        self._want(np.arctan2(away[1], away[0]), self._rng.uniform((low + high) / 2, high))
        self._bend = 0.0

    def go_on(self) -> None:
        """Let a frame pass."""
        self.left -= 1 / self._fps
        turn = self._bend / self._fps
        x, y = self.target
        self.target = np.array([np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y])

    def _want(self, direction: float, speed: float) -> None:
        self.target = speed * np.array([np.cos(direction), np.sin(direction)])


def _shake(rng: np.random.Generator, spread: float, frames: int, fps: float) -> np.ndarray:
    """The trembling of a hand ``[T, 2]``: a slow sway and a quick jitter, with a standard deviation of ``spread``."""
    keep = np.exp(-1 / fps / _GLIDE)
    sway, noise = np.zeros((frames, 2)), rng.normal(size=(2, frames, 2))
    sway[0] = noise[0, 0]
    for k in range(1, frames):
        sway[k] = keep * sway[k - 1] + np.sqrt(1 - keep**2) * noise[0, k]
    return spread * (0.9 * sway + 0.44 * noise[1])


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values mirrored at two ends, so that none is beyond them."""
    span = high - low
    return high - np.abs((values - low) % (2 * span) - span)
