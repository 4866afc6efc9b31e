"""Walkers through the Doom levels, and films of their walks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wildlam.episodes.action_spaces import PLANAR
from wildlam.progress import Count, uncounted
from wildlam.worlds.doom import (
    DEMO_LEVELS,
    HELD_OUT_LEVELS,
    LEVELS,
    SPEED,
    TICS_PER_SECOND,
    DoomNav,
    LevelLeft,
    require_vizdoom,
)
from wildlam.worlds.recorder import SHARE, Format, Take, check_length, distracted, film_all, split_of


class Walker:
    """Explores smoothly: stretches of half a second to three of walking, curving, turning, side-stepping or rest.

    Within a stretch the action glides towards that stretch's target, with a little noise. Against a wall (asked to
    move, hardly moving) it turns away on the spot.

    Args:
        rng: the only source of randomness.
        tics: tics per frame, which decide how far an action should carry.
        turn: the most that it turns in a frame, degrees, 5 at least.
    """

    sees = False
    """Whether it knows how far the way is clear (``DoomNav.clear``)."""

    def __init__(self, rng: np.random.Generator, tics: int, turn: float = 6.0):
        self.rng, self.tics, self.turn = rng, tics, turn
        self.action = np.zeros(3)
        self.target = np.zeros(3)
        self.frames_left = 0
        self.frames_stuck = 0
        self.side = rng.choice([-1.0, 1.0])
        self.last_position: np.ndarray | None = None

    def act(self, pose: np.ndarray, clear: np.ndarray | None) -> np.ndarray:
        """The action for the next frame ``[forward, right, turn]``, given the pose now and ``DoomNav.clear``."""
        if self._stuck(pose, 8.0):
            # The same side again and again, or a corner would hold the walker for ever.
            self._aim((0, 0, self.side * self.turn), frames=self._frames(8, 24))
        elif self.frames_left == 0:
            self._next_stretch()
        self.frames_left -= 1
        noise = self.rng.normal(size=3) * (0.8, 0.4, 0.3) * np.any(self.target)
        return self._glide(self.target, 0.4, noise)

    def _stuck(self, pose: np.ndarray, least: float) -> bool:
        """Whether two steps that asked for at least so many map units led nowhere.

        Two, as inertia makes the first step from rest short; sliding along a wall is no reason to turn.
        """
        moved = np.inf if self.last_position is None else np.hypot(*(pose[:2] - self.last_position))
        self.last_position = pose[:2]
        asked = np.hypot(*self.action[:2]) / SPEED * self.tics
        self.frames_stuck = self.frames_stuck + 1 if asked > least and moved < 0.25 * asked else 0
        return self.frames_stuck == 2

    def _glide(self, target: np.ndarray, share: float, noise: np.ndarray) -> np.ndarray:
        self.action = (1 - share) * self.action + share * target + noise
        self.action[2] = np.clip(self.action[2], -self.turn, self.turn)
        return self.action

    def _next_stretch(self) -> None:
        rng = self.rng
        kind = rng.choice(["straight", "curve", "turn", "aside", "back", "rest"], p=[0.38, 0.32, 0.1, 0.08, 0.05, 0.07])
        sign = rng.choice([-1.0, 1.0])
        ahead = rng.uniform(12, 24)
        if kind == "straight":
            self._aim((ahead, 0, 0), frames=self._frames(8, 24))
        elif kind == "curve":
            self._aim((ahead, 0, sign * rng.uniform(1, 5)), frames=self._frames(6, 18))
        elif kind == "turn":
            self._aim((0, 0, sign * rng.uniform(3, self.turn)), frames=self._frames(4, 16))
        elif kind == "aside":
            self._aim((rng.uniform(0, 8), sign * rng.uniform(10, 18), 0), frames=self._frames(4, 10))
        elif kind == "back":
            self._aim((-rng.uniform(8, 14), 0, sign * rng.uniform(0, 3)), frames=self._frames(4, 10))
        else:
            self._aim((0, 0, 0), frames=self._frames(6, 16))
        self.side = sign

    def _frames(self, low: int, high: int) -> float:
        """A random number of frames, for a range (``high`` excluded) given at 8 frames a second (4 tics each)."""
        return self.rng.integers(low, high) * 4 / self.tics

    def _aim(self, target: tuple[float, float, float], frames: float) -> None:
        self.target, self.frames_left = np.array(target), max(1, int(frames))


class Rover(Walker):
    """Drives as RECON's robot does: one speed and one curve for two seconds to six, few rests and turns on the spot.

    It sees: a wall that it comes near it passes in a curve, on the side that was clearer when it first saw it; in front
    of one it turns on the spot until there is room. It moves at one to two metres a second, taking a person's 32 units
    for half a metre, so that most of what it comes to was in view two seconds before.
    """

    sees = True
    _FAR, _ROOM, _CLOSE = 220.0, 100.0, 50.0
    """Map units ahead: where it begins to curve, what it wants before it goes on, and what it stops at."""

    def __init__(self, rng: np.random.Generator, tics: int, turn: float = 6.0):
        super().__init__(rng, tics, turn)
        self.passing: float | None = None
        """The side on which it passes the wall ahead, if one is near."""
        self.avoiding = False
        """Whether it turns on the spot in front of one."""

    def act(self, pose: np.ndarray, clear: np.ndarray | None) -> np.ndarray:
        """See ``Walker.act``."""
        left, ahead, right = clear if clear is not None else (math.inf,) * 3
        if ahead > 1.2 * self._FAR:
            self.passing = None
        elif ahead < self._FAR and self.passing is None:
            self.passing = 1.0 if right > left else -1.0
        on_the_spot = 0.7 * self.turn
        if self._stuck(pose, 4.0):
            self._aim((0, 0, self.side * on_the_spot), frames=self._frames(8, 16))
        elif ahead < self._CLOSE and self.target[0] > 0:
            self.side = self.passing or self.side
            self._aim((0, 0, self.side * on_the_spot), frames=360 // on_the_spot)  # all round at most
            self.avoiding = True
        elif self.avoiding and ahead > self._ROOM:
            self._aim((self.rng.uniform(6, 13), 0, 0), frames=self._frames(16, 48))
        elif self.frames_left == 0:
            self._next_stretch()
        self.frames_left -= 1
        forward, _, turn = self.target
        if forward > 0 and self.passing:
            near = max(0.0, 1 - ahead / self._FAR) ** 0.7
            turn = (1 - near) * turn + near * self.turn * self.passing
            forward *= np.clip(ahead / 120, 0.5, 1.0)
        noise = self.rng.normal(size=3) * (0.8, 0.2, 0.2) * np.any(self.target)
        return self._glide(np.array([forward, 0.0, turn]), 0.3, noise)

    def _next_stretch(self) -> None:
        rng = self.rng
        kind = rng.choice(["straight", "curve", "turn", "rest"], p=[0.45, 0.43, 0.05, 0.07])
        self.side = rng.choice([-1.0, 1.0])
        ahead = rng.uniform(5, 13)
        if kind == "straight":
            self._aim((ahead, 0, 0), frames=self._frames(16, 48))
        elif kind == "curve":
            self._aim((ahead, 0, self.side * rng.uniform(0.1, 0.7) * self.turn), frames=self._frames(16, 48))
        elif kind == "turn":
            self._aim((0, 0, self.side * rng.uniform(0.2, 0.7) * self.turn), frames=self._frames(6, 14))
        else:
            self._aim((0, 0, 0), frames=self._frames(6, 16))

    def _aim(self, target: tuple[float, float, float], frames: float) -> None:
        super()._aim(target, frames)
        self.avoiding = False


def walk(
    world: DoomNav,
    rng: np.random.Generator,
    frames: int,
    walker: type[Walker] = Walker,
    turn: float = 6.0,
    count: Count = uncounted,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Film ``frames`` frames of a walk through ``world``; the same ``rng`` state gives the same pixels.

    ``turn`` is the most that the ``walker`` turns in a frame, degrees. Frames are counted as they are filmed.

    Returns:
        The frames, and the true pose at each, ``float64 [frames, 3]``.

    A walk that finds the level's exit or a teleporter is dropped and another begun, so that no film has a cut.
    """
    while True:
        who = begin_walk(world, rng, walker, turn)
        try:
            film, poses = [world.frame], [world.pose]
            for _ in range(frames - 1):
                film.append(world.step(who.act(poses[-1], world.clear)))
                poses.append(world.pose)
                count(1)
            return film, np.stack(poses)
        except LevelLeft:
            continue


def begin_walk(world: DoomNav, rng: np.random.Generator, walker: type[Walker] = Walker, turn: float = 6.0) -> Walker:
    """Start the level anew and walk for up to 12 seconds, as levels have one entrance; return who walks."""
    while True:
        world.reset(int(rng.integers(2**31)))
        who = walker(rng, world.tics, turn)
        try:
            for _ in range(rng.integers(0, 12 * TICS_PER_SECOND // world.tics)):
                world.skip(who.act(world.pose, world.clear))
        except LevelLeft:
            continue
        return who


def collect_doom(
    out: Path,
    *,
    levels: Sequence[str] = tuple(DEMO_LEVELS),
    episodes: int,
    seconds: float,
    fps: float = 8.0,
    size: int = 128,
    seed: int = 0,
    walker: type[Walker] = Walker,
    turn: float = 6.0,
    held_out_levels: Sequence[str] = (),
    distractors: float = 0.0,
    progress: bool = True,
) -> list[Path]:
    """Film ``episodes`` walks, shared out evenly over ``levels``; the true poses go to files of their own.

    Walk ``n`` of a level becomes ``out/train/<level>_<seed>_<n>.mp4``, or ``out/held_out/...`` if ``n % 8 == 1``: with
    two or more walks a level is in both. Held-out walks are other walks through the *same* levels, unless levels are
    held out whole. The pixels of a
    walk depend on level, seed, ``n``, ``seconds``, ``fps`` and ``size`` alone. Finished files are kept, so that an
    interrupted call can simply be repeated; files of another length, rate or size are filmed again. Training reads the
    pixels alone; the poses next to them (``episodes.poses``) are for evaluations.

    Args:
        out: folder to write to.
        levels: keys of ``LEVELS``.
        episodes: walks in all.
        seconds: length of each film.
        fps: frames per second of the films.
        size: side of the frames in pixels, even.
        seed: seed of all walks.
        walker: who walks.
        turn: the most that a walk turns in a frame, degrees.
        held_out_levels: levels whose walks are all held out; of the others none is then.
        distractors: share of the walks with a drifting ball and changing light (``recorder.distracted``).
        progress: show a progress bar with the time left.

    Returns:
        The paths of all films, those of each level in a row.

    Raises:
        WildlamError: unknown level, impossible size, or ViZDoom is not installed.
    """
    require_vizdoom()  # a missing simulator is worth one clear message before anything starts
    out, frames = Path(out), round(seconds * fps)
    takes: dict[str, list[Take]] = {}
    for i, level in enumerate(levels):
        for n in range((episodes - i + len(levels) - 1) // len(levels)):
            split = split_of(n)
            if held_out_levels:
                split = "held_out" if level in held_out_levels else "train"
            path = out / split / f"{level}_{seed}_{n:03d}.mp4"
            takes.setdefault(level, []).append(Take(path, (seed, zlib.crc32(level.encode()), n)))

    def film(world: DoomNav, rng: np.random.Generator, count: Count) -> tuple[list[np.ndarray], np.ndarray]:
        images, poses = walk(world, rng, frames, walker, turn, count)
        return distracted(images, rng) if rng.random() < distractors else images, poses

    return film_all(
        takes,
        lambda level: DoomNav(level, size, fps, walker.sees),
        film,
        Format(frames, fps, size, PLANAR),
        title="doom walks",
        progress=progress,
    )


def collect_nav(
    out: Path,
    *,
    episodes: int,
    seconds: float,
    fps: float = 8.0,
    seed: int = 0,
    distractors: float = SHARE,
    progress: bool = True,
) -> list[Path]:
    """Film the navigation world: a ``Rover`` that turns at most 10 degrees in a quarter second, in all ``LEVELS``.

    The ``HELD_OUT_LEVELS`` are held out whole. Levels take turns, the demo's first: eight episodes are of those.

    See ``collect_doom``.

    Raises:
        WildlamError: fewer than one walk, no time to film, or ViZDoom is not installed.
    """
    check_length(episodes, seconds)
    return collect_doom(
        out,
        levels=tuple(LEVELS),
        episodes=episodes,
        seconds=seconds,
        fps=fps,
        seed=seed,
        walker=Rover,
        turn=40 / fps,
        held_out_levels=HELD_OUT_LEVELS,
        distractors=distractors,
        progress=progress,
    )
