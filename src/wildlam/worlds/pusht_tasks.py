"""Starts and goals of PushT that everybody is judged by, in a file: fifty a seed.

As DINO-WM and stable-worldmodel draw them: a start is a moment of a recorded episode, the goal what it looked like
``AWAY`` commands later. The episodes are of an ``Explorer`` whom nobody films, one for each pair; starts where the goal
is reached already are left out. ``benchmarks/pusht_tasks.py`` writes the file anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import count, islice

import numpy as np

from wildlam.errors import WildlamError, option
from wildlam.worlds.pusht import PushT, is_reached
from wildlam.worlds.pusht_films import exploration

AWAY = 25
"""Commands from a start to its goal."""
BUDGET = 50
"""Commands to reach it with."""
SEEDS, EPISODES = 3, 50
"""Of the file."""
FILE = "pusht_tasks.json"
_FRAMES = 200
_OWN = 20261128  # of the episodes, which films' seeds of two numbers are never the same as


def drawn(seed: int, episodes: int = EPISODES) -> list[list[list[float]]]:
    """Draw pairs of a state to start from and one to reach, as ``PushT.state`` gives them.

    Args:
        seed: seed of the episodes.
        episodes: how many.
    """
    return [[np.round(way[i], 3).tolist() for i in (0, -1)] for way in islice(ways(seed), episodes)]


def ways(seed: int) -> Iterator[np.ndarray]:
    """States ``[AWAY + 1, 7]`` of the recorded episodes from start to goal, of the pairs of a seed in their order."""
    world = PushT(size=16)
    for number in count():
        rng = np.random.default_rng([_OWN, seed, number])
        states = np.stack([state for state, _ in islice(exploration(world, rng), _FRAMES)])
        start = int(rng.integers(_FRAMES - AWAY))
        if not is_reached(states[start], states[start + AWAY]):
            yield states[start : start + AWAY + 1]


def tasks(seed: int, episodes: int) -> list[dict[str, list[float]]]:
    """The first pairs of a seed of the file: options of ``PushT.reset``.

    Raises:
        WildlamError: the file has no such seed, or not so many.
    """
    if seed >= SEEDS or episodes > EPISODES:
        raise WildlamError(
            f"PushT has {EPISODES} starts and goals for each of the seeds 0 to {SEEDS - 1}; give {option('seed')} "
            f"below {SEEDS} and {option('episodes')} up to {EPISODES}"
        )
    pairs = json.loads(_content())["pairs"][seed][:episodes]
    return [{"state": start, "goal": goal} for start, goal in pairs]


def fingerprint() -> str:
    """Tells the file from any other: results with the same one are of the same starts and goals."""
    return hashlib.sha256(_content()).hexdigest()[:12]


def _content() -> bytes:
    return (files("wildlam.worlds") / FILE).read_bytes()
