"""Pairing of recorded states with frames: one rule for every labelled data set.

A state is paired with the real frame nearest to it in time, if one lies within half a frame period. The period is the
median spacing of the film's frames and is used for that "near" alone: where a frame lies is read from the file, never
computed from an average rate, so drift, jitter, offsets and gaps move pairs and do not add up. A state without a frame
is left out and reported; one that is farther than ``TOLERANCE`` from every frame indicates the wrong film or the wrong
clock, and is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from wildlam.errors import WildlamError, option
from wildlam.video.decode import Backend, decode_at, probe
from wildlam.video.frames import times_of
from wildlam.video.timeline import known_plain

log = logging.getLogger(__name__)

TOLERANCE = 1.0
"""Seconds that a state may be away from the nearest frame; it is left out, and one still farther is refused."""
NEAR = 0.5
"""Share of a frame period that a frame may be away from its state; farther, another frame would be nearer."""
DOUBTFUL = 0.25
"""Share of a frame period beyond which a pair is reported: half of the way to the neighbouring frame."""
NAMED = 20
"""Episodes that a warning names, at most."""

Frames = Callable[[Sequence[int], int], Tensor]
"""From numbers of frames and a side S in pixels to ``uint8 [n, 3, S, S]``."""
Stored = Callable[[Sequence[int]], list[Tensor]]
"""From numbers of frames to their pictures as they are stored, each ``uint8 [H, W, 3]``."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of states and frames.

    Attributes:
        states: numbers of the states that have a frame, ``int64 [P]``, ascending.
        frames: number of each one's frame, ``int64 [P]``.
        lost: how many states have none.
        farthest: largest distance of those from a frame, in seconds; 0 if all have one.
        apart: largest distance within a pair, in frame periods, at most ``NEAR``.
    """

    states: np.ndarray
    frames: np.ndarray
    lost: int
    farthest: float
    apart: float


def pair(states: np.ndarray, frames: np.ndarray, what: str, tolerance: float = TOLERANCE) -> Pairs:
    """Pair recorded states with frames, by time.

    Args:
        states: moments of the states ``[S]``, seconds.
        frames: moments at which frames are shown ``[F]``, seconds on the same clock, ascending.
        what: the episode, for errors.
        tolerance: seconds that a state may be away from every frame.

    Raises:
        WildlamError: there are fewer than two frames, fewer than two states have one, or a state is farther from every
            frame than ``tolerance``.
    """
    if len(frames) < 2:
        raise WildlamError(f"{what}: {len(frames)} frames for {len(states)} states; two are needed at least")
    period = float(np.median(np.diff(frames)))
    nearest, distance = nearest_to(states, frames)
    near = distance <= NEAR * period * (1 + 1e-6)  # at exactly half a period, float rounding would decide
    farthest = float(distance[~near].max(initial=0))
    if farthest > tolerance:
        raise WildlamError(
            f"{what}: {int((~near).sum())} of {len(states)} states have no frame near them; one is {farthest:.2f} s "
            f"from every frame, {tolerance:g} s are tolerated. Its film is cut short, has a gap, or counts time from "
            f"another moment: repair it, or give a larger {option('tolerance')} to leave such states out"
        )
    if near.sum() < 2:
        raise WildlamError(
            f"{what}: {int(near.sum())} of {len(states)} states have a frame near them; two are needed at least"
        )
    apart = float(distance[near].max() / period)
    return Pairs(np.flatnonzero(near), nearest[near], int((~near).sum()), farthest, apart)


def nearest_to(moments: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of two or more ascending frames ``[F]`` to each moment ``[S]``: its number, and how far it is."""
    after = np.searchsorted(frames, moments).clip(1, len(frames) - 1)
    nearest = np.where(moments - frames[after - 1] <= frames[after] - moments, after - 1, after)
    return nearest, np.abs(frames[nearest] - moments)


def report_pairs(path: Path, pairs: Mapping[str, Pairs]) -> None:
    """Warn of states without a frame and of doubtful pairs, episode by episode."""
    lost = {name: found for name, found in pairs.items() if found.lost}
    if lost:
        log.warning(
            "%s: left out, as no frame is near: %d of the states: %s",
            path,
            sum(found.lost for found in lost.values()),
            listed(f"{name} {found.lost} (up to {found.farthest:.3f} s away)" for name, found in lost.items()),
        )
    doubtful = {name: found for name, found in pairs.items() if found.apart > DOUBTFUL}
    if doubtful:
        log.warning(
            "%s: states lie far from the frames nearest to them, so their own may be the next or the last ones: %s",
            path,
            listed(f"{name} (up to {found.apart:.2f} of a frame)" for name, found in doubtful.items()),
        )


def listed(parts: Iterable[str]) -> str:
    """The reports on the first episodes in one line, and how many more there are."""
    found = list(parts)
    more = f"; and {len(found) - NAMED} more episodes" if len(found) > NAMED else ""
    return "; ".join(found[:NAMED]) + more


@dataclass(frozen=True)
class Film:
    """Times at which the frames of a film are shown.

    Attributes:
        path: the film.
        times: moment of each frame, ``float64 [F]``, ascending, in seconds since the first.
        start: the first frame's timestamp in the file, in seconds; players and most readers count from it.
        plain: whether it was found to be decodable from any place; see `known_plain`.
    """

    path: Path
    times: np.ndarray
    start: float
    plain: bool

    def frames(self, numbers: np.ndarray, backend: Backend = "pyav") -> Frames:
        """Some of its frames ``[P]``, by number, as an episode's frames 0 to P - 1."""
        # A moment within each frame's own time on display, so that rounding cannot make it the neighbour's.
        within = (self.times + 0.25 * np.diff(self.times, append=self.times[-1]))[numbers]
        return lambda chosen, size: decode_at(self.path, within[list(chosen)].tolist(), size, backend, self.plain)


def read_film(path: Path) -> Film:
    """Find out when a film's frames are shown: from the packets of the whole file, of which one frame is decoded.

    Raises:
        VideoError: it is missing, damaged or cut short; see ``probe``.
    """
    plain = known_plain(probe(path).odd)
    return Film(path, *times_of(path), plain)
