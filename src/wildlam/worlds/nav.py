"""The navigation world behind gymnasium's API: a camera that walks through a Doom level."""

from __future__ import annotations

from typing import Any

import numpy as np

from wildlam.episodes.action_spaces import PLANAR
from wildlam.errors import WildlamError
from wildlam.worlds.doom import SPEED, DoomNav, LevelLeft
from wildlam.worlds.walkers import begin_walk

try:
    import gymnasium
except ImportError as error:
    raise WildlamError("the walks need gymnasium: pip install 'wildlam[worlds]'") from error

MOST = np.array([60.0, 40.0, 10.0])
"""The most that an action walks forward, to the left (map units) and turns (degrees)."""


class DoomWalk(gymnasium.Env[np.ndarray, np.ndarray]):
    """A level to walk through, in steps of a quarter second by default.

    An observation is the picture, ``uint8 [size, size, 3]``. An action is a planar one, ``[3]``: forward and left in
    map units in the frame of the pose before it, and the turn in degrees counter-clockwise: what shall happen.
    Inertia, walls and the engine's whole speeds (3 map units a step) have their say; what happened is in ``pose``.

    Args:
        level: a key of ``doom.LEVELS``.
        size: side in pixels of the square frames.
        fps: steps per second.

    Raises:
        WildlamError: unknown level, impossible size, or ViZDoom is not installed.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012, as gymnasium has it
    render_mode = "rgb_array"
    space = PLANAR

    def __init__(self, level: str = "arena", size: int = 128, fps: float = 4.0) -> None:
        self._world = DoomNav(level, size, fps)
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Box(-MOST, MOST, dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start somewhere in the level, after a walk of up to twelve seconds; see ``gymnasium.Env``."""
        super().reset(seed=seed)
        begin_walk(self._world, self.np_random)
        return self._world.frame, {"pose": self.pose}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Walk for one step; there is no reward. It ends where the level's exit is. See ``gymnasium.Env``."""
        forward, left, turn = np.clip(action, -MOST, MOST)
        speed = SPEED / self._world.tics
        try:
            # The engine cuts speeds to whole numbers.
            frame = self._world.step((round(forward * speed), round(-left * speed), -turn))
        except LevelLeft:
            return np.zeros((self._world.size, self._world.size, 3), np.uint8), 0.0, True, False, {}
        return frame, 0.0, False, False, {"pose": self.pose}

    @property
    def pose(self) -> np.ndarray:
        """True pose ``float64 [3]``: x and y in map units, heading in degrees counter-clockwise."""
        return self._world.pose

    def render(self) -> np.ndarray:
        """See ``gymnasium.Env``."""
        return self._world.frame

    def close(self) -> None:
        """End the engine's process."""
        self._world.close()
