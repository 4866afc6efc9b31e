"""Films of PushT: somebody pushes the T about, and what was done is written beside each film."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.csgraph import dijkstra

from wildlam.episodes.action_spaces import PUSHER
from wildlam.episodes.commands_file import commands_file, write_commands
from wildlam.progress import Count
from wildlam.types import Split
from wildlam.worlds.pusht import AGENT, LAG, RATE, TABLE, PushT, distance_to_block, outline, simulator
from wildlam.worlds.recorder import SHARE, WORKERS, Format, Take, check_length, distracted, film_all, split_of

COMMANDS = ("x", "y")
"""Where the disc is told to go."""
DRAWN = 5
"""Places to push at that are drawn, of which one is taken."""
_GAP = 4.0  # pixels before an edge that a push begins at
_WALL = 10.0  # pixels from the table's edge that the T's corners are led to: it has walls
_EDGE = 25.0  # pixels from the table's edge that the disc is led to


class Explorer:
    """Pushes the T about: from any side, at any of its edges, in curves, until it has moved far enough.

    It goes round the T to a place before one of its edges, pushes across that edge, at up to 40 degrees, in a path that
    bends by chance, for 30 to 150 pixels or until it slips off, and begins again; now and then it waits. Of some places
    that are drawn evenly along the edges it takes a near one, and one from where the T does not leave the table.

    Args:
        rng: the only source of randomness.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.wait = self.patience = 0
        self.pushing = False

    def act(self, world: PushT) -> np.ndarray:
        """Where to go, ``[2]``, for the next tenth of a second."""
        pose = world.pose
        agent, block = pose[:2], pose[2:]
        if self.wait:
            self.wait -= 1
            return agent
        if self.patience == 0:
            self._choose(agent, block)
            if self.patience == 0:  # no place that was drawn can be reached: others are, next time
                return agent
        self.patience -= 1
        return self._push(agent, block) if self.pushing else self._approach(agent, block)

    def _choose(self, agent: np.ndarray, block: np.ndarray) -> None:
        """Draw an edge, and how to push there."""
        rng = self.rng
        outward = (outline(block).mean(axis=0) - TABLE / 2) / (TABLE / 2)
        best = np.inf
        for at in rng.uniform(size=DRAWN):
            before, normal = _before(block, at)
            cost = float(np.linalg.norm(before - agent) - 500 * min(0, outward @ normal))
            if _inside(before) and cost < best:
                self.at, best = at, cost
        self.pushing, self.patience = False, 40 if np.isfinite(best) else 0
        self.slant, self.bend = rng.uniform(-0.7, 0.7), 0.0
        self.length, self.pace, self.speed = rng.uniform(30, 150), rng.uniform(3, 10), rng.uniform(18, 30)

    def _approach(self, agent: np.ndarray, block: np.ndarray) -> np.ndarray:
        before, normal = _before(block, self.at)
        far = float(np.linalg.norm(before - agent))
        if far < 2 * _GAP:
            self.pushing, self.lost, self.patience = True, 0, -1
            self.heading = float(np.arctan2(-normal[1], -normal[0])) + self.slant
        if (place := _next_place(agent, before, block)) is None:
            self.patience = 0
            return agent
        return self._toward(agent, place - agent, min(self.speed, far + 1))

    def _push(self, agent: np.ndarray, block: np.ndarray) -> np.ndarray:
        rng = self.rng
        self.bend = 0.8 * self.bend + rng.normal() * 0.05
        self.heading += self.bend
        self.length -= self.pace
        direction = np.array([np.cos(self.heading), np.sin(self.heading)])
        ahead = outline(block) + 2 * self.pace * direction
        self.lost = self.lost + 1 if distance_to_block(agent, block) > AGENT + 6 else 0
        leaves = not _inside(agent + direction * AGENT) or np.abs(ahead - TABLE / 2).max() > TABLE / 2 - _WALL
        if self.length <= 0 or self.lost > 2 or leaves:
            self.patience = 0
            self.wait = int(rng.integers(2, 8)) if rng.random() < 0.1 else 0
        return self._toward(agent, direction, self.pace)

    def _toward(self, agent: np.ndarray, direction: np.ndarray, pace: float) -> np.ndarray:
        ahead = pace * (RATE * LAG + 0.5) + self.rng.normal()
        return np.clip(agent + ahead * direction / (np.linalg.norm(direction) + 1e-9), _EDGE, TABLE - _EDGE)


def _before(block: np.ndarray, at: float) -> tuple[np.ndarray, np.ndarray]:
    """A place before a point of the T's outline, given by its share of the way round, and the normal there, outward."""
    corners = outline(block)
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(edges, axis=1)
    ends = np.cumsum(lengths)
    i = int(np.searchsorted(ends, at * ends[-1]))
    along = edges[i] / lengths[i]
    normal = np.array([along[1], -along[0]])
    point = corners[i] + along * (at * ends[-1] - ends[i] + lengths[i])
    return point + normal * (AGENT + _GAP), normal


def _inside(point: np.ndarray) -> bool:
    return bool((point > _EDGE).all() and (point < TABLE - _EDGE).all())


def _next_place(agent: np.ndarray, there: np.ndarray, block: np.ndarray) -> np.ndarray | None:
    """Where to go first to come to a place without touching the T: the shortest way by places on a circle around it.

    None if there is no way.
    """
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ring = outline(block).mean(axis=0) + 105 * np.column_stack([np.cos(angles), np.sin(angles)])
    places = np.concatenate([agent[None], there[None], ring.clip(_EDGE, TABLE - _EDGE)])
    between = places[:, None] + np.linspace(0, 1, 12)[1:, None, None, None] * (places[None] - places[:, None])
    near = distance_to_block(between, block)[:-1].min(axis=0)  # the end of a way may be near the T
    lengths = np.linalg.norm(places[:, None] - places[None], axis=-1)
    lengths[near < min(AGENT + 1, float(distance_to_block(agent, block)) - 0.5)] = 0  # no way
    _, before = dijkstra(lengths, indices=1, return_predecessors=True, directed=False)
    return places[before[0]] if before[0] >= 0 else None


class _WithCommands(Format):
    """Films with poses and commands."""

    def truth_paths(self, film: Path) -> tuple[Path, ...]:
        return *super().truth_paths(film), commands_file(film)

    def write_truth(self, film: Path, truth: tuple[np.ndarray, np.ndarray]) -> None:
        poses, commands = truth
        super().write_truth(film, poses)
        write_commands(film, COMMANDS, np.arange(len(commands)) / self.fps, commands)


def exploration(world: PushT, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """An endless episode of an ``Explorer``: at each frame the state ``[7]``, and where the disc is told to go.

    The table is in that state until the next is asked for.
    """
    world.reset(seed=int(rng.integers(2**31)))
    explorer = Explorer(rng)
    while True:
        target = explorer.act(world)
        yield world.state, target
        world.command(target)


def collect_pusht(
    out: Path,
    *,
    episodes: int,
    seconds: float,
    fps: float = RATE,
    size: int = 128,
    seed: int = 0,
    distractors: float = SHARE,
    progress: bool = True,
) -> list[Path]:
    """Film an ``Explorer``, with the true poses of disc and T and with what the disc was told; training reads pixels
    alone.

    Film ``n`` becomes ``out/train/pusht_<seed>_<n>.mp4``, or ``out/held_out/...`` if ``n % 8 == 1``. Finished films are
    kept, so that an interrupted call can simply be repeated.

    Args:
        out: folder to write to.
        episodes: films in all.
        seconds: length of each.
        fps: frames per second; ``RATE``.
        size: side of the frames in pixels, even.
        seed: seed of all films.
        distractors: share of the films with a drifting ball and changing light (``recorder.distracted``).
        progress: show a progress bar with the time left.

    Returns:
        The paths of all films, worker by worker.

    Raises:
        WildlamError: fewer than one film, no time to film, or the simulator is missing.
    """
    check_length(episodes, seconds)
    simulator()  # a missing simulator is worth one clear message before anything starts
    frames, out = round(seconds * fps), Path(out)
    takes: dict[tuple[Split, int], list[Take]] = {}
    for n in range(episodes):
        split = split_of(n)
        takes.setdefault((split, n % WORKERS), []).append(Take(out / split / f"pusht_{seed}_{n:04d}.mp4", (seed, n)))

    def film(world: PushT, rng: np.random.Generator, count: Count) -> tuple[list[np.ndarray], Any]:
        images, poses, commands = [], [], []
        for state, target in islice(exploration(world, rng), frames):
            images.append(world.frame)
            poses.append(state[:5])
            commands.append(target)
            count(1)
        images = distracted(images, rng) if rng.random() < distractors else images
        return images, (np.stack(poses), np.stack(commands))

    form = _WithCommands(frames, fps, size, PUSHER)
    return film_all(takes, lambda stage: PushT(size, fps), film, form, title="pusht", progress=progress)
