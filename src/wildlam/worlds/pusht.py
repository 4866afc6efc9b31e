"""PushT: a disc pushes a T over a table, seen from above; the world that robot learners measure themselves in.

Physics and pictures are gym-pusht's (a port of Diffusion Policy's, Apache 2.0; arXiv 2303.04137): ten times a second
the disc is told where to go, in pixels of a table of 512 to the right and down, and a PD controller drives it there.
Nothing stops the disc, and the T moves only while it is pushed.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from wildlam.episodes.action_spaces import PUSHER
from wildlam.errors import WildlamError

try:
    import gymnasium
except ImportError as error:
    raise WildlamError("PushT needs gymnasium: pip install 'wildlam[pusht]'") from error

RATE = 10.0
"""Commands a second."""
TABLE = 512.0
"""Side of the table in pixels, of which a picture may have fewer."""
AGENT = 15.0
"""Radius of the disc."""
TOLERANCE, TURN = 20.0, np.pi / 9
"""How far disc and T together may be from a goal that is reached, in pixels, and how far the T may be turned."""
SOLVED = 0.95
"""How much of the green T must be covered, of gym-pusht's own task."""

_OUTLINE = np.array([[-60, 0], [60, 0], [60, 30], [15, 30], [15, 120], [-15, 120], [-15, 30], [-60, 30]], dtype=float)
"""Corners of the T in its own axes, clockwise as seen."""
_BARS = np.array([[[-60, 0], [60, 30]], [[-15, 30], [15, 120]]], dtype=float)  # two corners of each
_PERIOD = 10  # steps of the physics between two commands
_STEP = 0.01  # seconds each
_STIFFNESS, _DAMPING = 100.0, 20.0  # of the PD controller
LAG = _DAMPING / _STIFFNESS
"""Seconds that a moving disc stays behind where it is told to go."""


@cache
def simulator() -> Any:
    """gym-pusht's environment.

    Raises:
        WildlamError: it is missing, or what it needs is too new.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pymunk
        from gym_pusht.envs.pusht import PushTEnv
        from pygame.surfarray import pixels3d  # noqa: F401, pygame loads it at first use, and not for two threads at once
    except ImportError as error:
        raise WildlamError(f"PushT cannot be simulated ({error}); pip install 'wildlam[pusht]'") from error
    if int(pymunk.version.split(".")[0]) >= 7:
        raise WildlamError(f"gym-pusht needs pymunk below 7, this is {pymunk.version}: pip install 'pymunk<7'")
    return PushTEnv


class PushT(gymnasium.Env[np.ndarray, np.ndarray]):
    """The table behind gymnasium's API.

    An observation is the picture, ``uint8 [size, size, 3]``. An action is how far the disc shall move to the right and
    down until the next step, ``[2]``; where it came to, and the T, is in ``pose``. ``command`` tells it where to go, as
    gym-pusht's own actions do.

    With ``reset(options={"state": ..., "goal": ...})`` an episode begins in a ``state`` and ends as soon as another is
    reached, to ``TOLERANCE`` and ``TURN``: ``is_success`` in what ``step`` tells.

    Args:
        size: side in pixels of the square frames.
        fps: steps per second, ten or a whole part of that.

    Raises:
        WildlamError: gym-pusht is missing, or there is no such rate.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012, as gymnasium has it
    render_mode = "rgb_array"
    space = PUSHER

    def __init__(self, size: int = 128, fps: float = RATE) -> None:
        self.commands = round(RATE / fps)
        if abs(self.commands * fps - RATE) > 1e-6 * RATE:
            raise WildlamError(f"PushT takes {RATE:g} commands a second, of which {fps:g} steps take no whole number")
        self.size, self.fps = size, fps
        self._env = simulator()(obs_type="pixels", observation_width=size, observation_height=size)
        self._goal: np.ndarray | None = None
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-TABLE, TABLE, (2,), np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Put disc and T somewhere, apart from each other, or where ``options`` say; see ``gymnasium.Env``."""
        super().reset(seed=seed)
        options = options or {}
        self._goal = np.array(options["goal"], dtype=float) if "goal" in options else None
        if "state" in options:
            self.restore(np.array(options["state"], dtype=float))
            return self.frame, {"pose": self.pose}
        rng = self.np_random
        while True:
            agent, block = rng.uniform(60, TABLE - 60, 2), rng.uniform(130, TABLE - 130, 2)
            state = np.array([*agent, *block, rng.uniform(-np.pi, np.pi), 0, 0])
            self.restore(state)
            if float(distance_to_block(agent, self.pose[2:])) > 2 * AGENT:
                return self.frame, {"pose": self.pose}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Move for one step; there is no reward, and an end only where a goal is reached. See ``gymnasium.Env``."""
        reached = False
        for target in self.way(action):
            self.command(target)
            reached = self._goal is not None and bool(is_reached(self.pose, self._goal))
            if reached:
                break
        return self.frame, 0.0, reached, False, {"pose": self.pose, "is_success": reached}

    def way(self, action: np.ndarray) -> np.ndarray:
        """Commands ``[n, 2]`` of a step that lead the disc by ``action``: evenly on, as far ahead as is needed for it.

        The disc is a linear system, so how far ahead follows from where it would come to with commands that stay.
        """
        state = self.state
        ramp = np.linspace(0, 1, self.commands + 1)[1:, None]
        rest, moved = (_driven(state[:2], state[5:], state[:2] + ramp * a) for a in (np.zeros(2), np.ones(2)))
        ahead = (state[:2] + np.asarray(action, dtype=float) - rest) / (moved - rest)
        return np.clip(state[:2] + ramp * ahead, 0, TABLE)

    def command(self, target: np.ndarray) -> None:
        """Tell the disc where to go, ``[2]``, and let a tenth of a second pass, without looking."""
        space, agent = self._env.space, self._env.agent
        for _ in range(_PERIOD):
            asked = _STIFFNESS * (target - np.array(agent.position)) - _DAMPING * np.array(agent.velocity)
            agent.velocity = tuple(np.array(agent.velocity) + asked * _STEP)
            space.step(_STEP)

    @property
    def pose(self) -> np.ndarray:
        """Where the disc and the T are, ``float64 [5]``; the T's angle is in radians, clockwise as seen."""
        block = self._env.block
        return np.array([*self._env.agent.position, *block.position, block.angle])

    @property
    def state(self) -> np.ndarray:
        """All that the future depends on, ``float64 [7]``: the pose, and the disc's velocity in pixels a second."""
        return np.array([*self.pose, *self._env.agent.velocity])

    def restore(self, state: np.ndarray) -> None:
        """Go to a ``state``, in a space of its own: what had touched what is forgotten."""
        self._env._setup()
        agent, block = self._env.agent, self._env.block
        agent.position, agent.velocity = tuple(state[:2]), tuple(state[5:])
        block.angle = float(state[4])  # turns it about its centre of mass, so that the place comes after
        block.position = tuple(state[2:4])
        self._env.space.reindex_shapes_for_body(agent)
        self._env.space.reindex_shapes_for_body(block)

    def coverage_in(self, pose: np.ndarray) -> float:
        """How much of the green T is covered by the T at a pose, 0 to 1: gym-pusht's own task is to come to ``SOLVED``.

        The table is then as it is there, the disc at rest.
        """
        self.restore(np.array([*pose[:5], 0.0, 0.0]))
        return float(self._env._get_coverage())

    @property
    def frame(self) -> np.ndarray:
        """What is seen now, ``uint8 [size, size, 3]`` RGB."""
        return self._env.get_obs()

    def seen_in(self, state: np.ndarray) -> np.ndarray:
        """What is seen in a ``state``, in which the table then is."""
        self.restore(state)
        return self.frame

    def render(self) -> np.ndarray:
        """See ``gymnasium.Env``."""
        return self.frame


class ToldPushT(PushT):
    """The table as gym-pusht has it: an action is where the disc is told to go, ``[2]``, for each of the commands of a
    step, one behind the other.
    """

    def __init__(self, size: int = 128, fps: float = RATE) -> None:
        super().__init__(size, fps)
        self.action_space = gymnasium.spaces.Box(0, TABLE, (2 * self.commands,), np.float64)

    def way(self, action: np.ndarray) -> np.ndarray:
        """See ``PushT``: the action itself, on the table."""
        return np.clip(np.reshape(np.asarray(action, dtype=float), (self.commands, 2)), 0, TABLE)


def _driven(position: np.ndarray, velocity: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Where the disc comes to by commands ``[n, 2]``, ``[2]``."""
    for target in targets:
        for _ in range(_PERIOD):
            velocity = velocity + (_STIFFNESS * (target - position) - _DAMPING * velocity) * _STEP
            position = position + velocity * _STEP
    return position


def off(poses: np.ndarray, goal: np.ndarray) -> dict[str, np.ndarray]:
    """How far poses ``[..., P]`` are from a goal: ``disc`` and ``block`` in pixels, ``turn`` of the block in radians.

    Args:
        poses: poses or states.
        goal: pose or state, or several ``[..., P]``.
    """
    difference = poses[..., :5] - np.asarray(goal)[..., :5]
    turn = np.abs((difference[..., 4] + np.pi) % (2 * np.pi) - np.pi)
    disc, block = (np.linalg.norm(difference[..., i : i + 2], axis=-1) for i in (0, 2))
    return {"disc": disc, "block": block, "turn": turn}


def is_reached(poses: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Whether a goal is reached as DINO-WM and stable-worldmodel have it.

    Disc and T together, as one vector of four, are less than ``TOLERANCE`` away, the T is turned by less than ``TURN``
    (``eval_state`` of gaoyuezhou/dino_wm and of galilai-group/stable-worldmodel).
    """
    away = off(poses, goal)
    return (np.hypot(away["disc"], away["block"]) < TOLERANCE) & (away["turn"] < TURN)


def outline(block: np.ndarray) -> np.ndarray:
    """Corners ``[8, 2]`` of a T at a pose ``[3]``."""
    c, s = np.cos(block[2]), np.sin(block[2])
    return block[:2] + _OUTLINE @ np.array([[c, s], [-s, c]])


def distance_to_block(points: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Distance in pixels from points ``[..., 2]`` to a T at a pose ``[3]``, ``[...]``; 0 inside."""
    c, s = np.cos(block[2]), np.sin(block[2])
    local = ((points - block[:2]) @ np.array([[c, -s], [s, c]]))[..., None, :]
    beyond = np.maximum(np.maximum(_BARS[:, 0] - local, local - _BARS[:, 1]), 0)
    return np.linalg.norm(beyond, axis=-1).min(axis=-1)
