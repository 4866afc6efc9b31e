"""Egocentric walks through empty Doom levels: a world whose true camera motion is known.

Units. Lengths are Doom's map units: a person is 32 wide and sees from a height of 41, a corridor is 128 wide; where
metres are asked for, ``METRE`` units are one. The engine runs at 35 tics a second; a frame is a whole number of tics,
so that all frames last equally long. At 8 frames per second (4 tics each) the world therefore runs at 8/8.75 of its
usual speed.
"""

from __future__ import annotations

import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import av
import numpy as np

from wildlam.errors import WildlamError
from wildlam.worlds.recorder import WorldLost

METRE = 64.0
"""Map units that are taken for a metre: a person is half a metre wide."""
TICS_PER_SECOND = 35
DEPTH = 7.2
"""Map units of one step of the engine's depth picture."""
JUMP = 32.0
"""Map units a tic that no one runs: a teleporter."""
SPEED = 3.0
"""Doom's unit of speed: kept up, a speed ``v`` moves ``v / SPEED`` map units a tic."""


class Level(NamedTuple):
    """Where a level lies: the game file, the map's name in it and, for ViZDoom's own rooms, the scenario's file."""

    game: str
    map: str
    scenario: str | None = None


DEMO_LEVELS = {
    "map04": Level("freedoom2.wad", "MAP04"),
    "map09": Level("freedoom2.wad", "MAP09"),
    "map15": Level("freedoom2.wad", "MAP15"),
    "e1m3": Level("freedoom1.wad", "E1M3"),
    "e3m1": Level("freedoom1.wad", "E3M1"),
    "maze": Level("freedoom2.wad", "MAP01", "my_way_home.wad"),
    "arena": Level("freedoom2.wad", "MAP01", "deathmatch.wad"),
    "garden": Level("freedoom2.wad", "MAP01", "health_gathering_supreme.wad"),
}
"""The levels that ``collect_doom`` walks through, by name: bright, open and unlike each other."""

LEVELS = (
    DEMO_LEVELS
    | {f"map{n:02d}": Level("freedoom2.wad", f"MAP{n:02d}") for n in range(1, 33)}
    | {f"e{e}m{m}": Level("freedoom1.wad", f"E{e}M{m}") for e in range(1, 5) for m in range(1, 10)}
)
"""All levels: those of the demo, then the rest of both Freedoom games."""

HELD_OUT_LEVELS = ("e3m1", "arena", "map07", "map12", "map20", "map29", "e1m5", "e2m4", "e4m2")
"""Levels that the navigation world keeps for evaluation."""


def require_vizdoom() -> Any:
    """The module, or one clear error."""
    try:
        import vizdoom
    except ImportError as error:
        raise WildlamError("The Doom levels need ViZDoom: pip install 'wildlam[worlds]'") from error
    return vizdoom


class LevelLeft(Exception):
    """The last action led out of the level, through its exit, or through a teleporter; ``reset`` starts anew."""


_STARTING = threading.Lock()
PATIENCE = 20.0
"""Seconds that the engine may take over a call. Once in some hundred starts it waits for ever."""


def _engines() -> set[int]:
    """Process ids of the engines that this process started, on Linux."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, name, _, parent = stat.read_text().split()[:4]
        except (OSError, ValueError):  # gone meanwhile, or a name with a space
            continue
        if "vizdoom" in name and int(parent) == os.getpid():
            found.add(int(pid))
    return found


class _Watched:
    """Ends an engine that does not come back from a call (``with watched: ...``) in ``PATIENCE`` seconds."""

    def __init__(self, pids: set[int]) -> None:
        self._pids, self._since, self._closed = pids, math.inf, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._since = math.inf

    def _watch(self) -> None:
        while not self._closed.wait(PATIENCE / 4):
            if time.monotonic() - self._since > PATIENCE:
                for pid in self._pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()


class DoomNav:
    """One level to walk through: no monsters, no weapon, no damage, no HUD, and a head that does not bob.

    An action is ``(forward, right, turn)``: the first two are Doom's speeds (25 walks, 50 runs; kept up, a speed ``v``
    moves ``v / SPEED`` map units a tic, reached with some inertia), ``turn`` is in degrees per frame, clockwise.

    Args:
        level: a key of ``LEVELS``.
        size: side in pixels of the square frames, even and at most 600.
        fps: frames per second, rounded so that a frame is a whole number of tics (at least one).
        sees: make ``clear`` known, too.

    Raises:
        WildlamError: unknown level, impossible size, or ViZDoom is not installed.
    """

    # What ViZDoom can render at 4:3. The lowest that is at least as high as the frame is cut square and scaled down.
    _SCREENS = ((160, 120), (256, 192), (320, 240), (400, 300), (512, 384), (640, 480), (800, 600))

    def __init__(self, level: str, size: int = 128, fps: float = 8.0, sees: bool = False):
        vzd = require_vizdoom()
        if level not in LEVELS:
            raise WildlamError(f"Unknown level {level!r}; choose from {', '.join(LEVELS)}")
        screen = next(((w, h) for w, h in self._SCREENS if h >= size), None)
        if screen is None or size < 2 or size % 2:
            raise WildlamError(f"Frame size {size} is not an even number from 2 to 600")
        self.level, self.size, self.sees = level, size, sees
        self.tics = max(1, round(TICS_PER_SECOND / fps))

        self._game = game = vzd.DoomGame()
        files = Path(vzd.__file__).parent
        where = LEVELS[level]
        game.set_doom_game_path(str(files / where.game))
        if where.scenario:
            game.set_doom_scenario_path(str(files / "scenarios" / where.scenario))
        game.set_doom_map(where.map)
        game.set_screen_resolution(getattr(vzd.ScreenResolution, "RES_{}X{}".format(*screen)))
        game.set_screen_format(vzd.ScreenFormat.RGB24)
        game.set_depth_buffer_enabled(sees)
        for thing in ("hud", "crosshair", "weapon", "decals", "particles", "messages", "screen_flashes", "corpses"):
            getattr(game, f"set_render_{thing}")(False)
        button, variable = vzd.Button, vzd.GameVariable
        game.set_available_buttons(
            [button.MOVE_FORWARD_BACKWARD_DELTA, button.MOVE_LEFT_RIGHT_DELTA, button.TURN_LEFT_RIGHT_DELTA]
        )
        self._pose = (variable.POSITION_X, variable.POSITION_Y, variable.ANGLE)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_episode_timeout(0)
        # Nodes of a level, if they took long to build, would be kept in a folder in the working directory.
        game.add_game_args("-nomonsters +sv_nomonsters 1 +sv_cheats 1 +movebob 0 +gl_cachenodes 0")
        # Unless its settings file names an (empty) list of start-up scripts per game, the engine makes itself a folder
        # in the working directory.
        self._folder = tempfile.TemporaryDirectory(prefix="wildlam-doom-")
        settings = Path(self._folder.name) / "doom.ini"
        settings.write_text("".join(f"[{name}.AutoExec]\n" for name in ("Doom", "Heretic", "Hexen", "Strife", "Chex")))
        game.set_doom_config_path(str(settings))
        self._prepare(game, Path(self._folder.name))
        with _STARTING:  # or it would not be known whose engine is whose
            before = _engines()
            game.init()
            self._engine = _Watched(_engines() - before)

    def _prepare(self, game: Any, folder: Path) -> None:
        """What a subclass asks of the engine before it starts; ``folder`` is there as long as the engine runs."""

    def reset(self, seed: int) -> np.ndarray:
        """Start the level anew, everything random in it given by ``seed``, and return the first ``frame``."""
        self._game.set_seed(seed)
        self._wait(self._game.new_episode)
        self._game.send_game_command("god")
        self._game.set_action([0.0, 0.0, 0.0])  # or the action before the reset would go on
        self._advance(TICS_PER_SECOND // 2)  # the engine ignores the first quarter second of input
        return self.frame

    def step(self, action: Sequence[float] | np.ndarray) -> np.ndarray:
        """Act for one frame and return what is seen then, ``uint8 [size, size, 3]`` RGB.

        Raises:
            LevelLeft: the action led through the level's exit, or a teleporter.
        """
        self.skip(action)
        return self.frame

    def skip(self, action: Sequence[float] | np.ndarray) -> None:
        """Act for one frame without looking. Raises as ``step`` does."""
        forward, right, turn = action
        before = self.pose
        self._game.set_action([forward, right, turn / self.tics])
        self._advance(self.tics)
        if self._game.is_episode_finished() or np.hypot(*(self.pose - before)[:2]) > JUMP * self.tics:
            raise LevelLeft(self.level)

    @property
    def frame(self) -> np.ndarray:
        """What is seen now: ``uint8 [size, size, 3]`` RGB, the square middle of the screen (74 degrees wide)."""
        screen = self._game.get_state().screen_buffer
        height, width = screen.shape[:2]
        left = (width - height) // 2
        square = np.ascontiguousarray(screen[:, left : left + height])
        image = av.VideoFrame.from_ndarray(square, format="rgb24")
        # AREA averages over the pixels that fall together, so that distant walls do not flicker.
        return image.reformat(width=self.size, height=self.size, interpolation="AREA").to_ndarray()

    @property
    def pose(self) -> np.ndarray:
        """True pose ``float64 [3]``: x and y in map units, heading in degrees, counter-clockwise from the x axis."""
        return np.array([self._game.get_game_variable(variable) for variable in self._pose])

    @property
    def clear(self) -> np.ndarray | None:
        """How far the way is clear on the left, ahead and on the right, in map units, ``[3]``; None if not ``sees``.

        Ahead counts what is nearest, at the sides the mean, in a band at the height of the eyes.
        """
        if not self.sees:
            return None
        depth = self._game.get_state().depth_buffer
        height, width = depth.shape
        band = depth[int(0.46 * height) : int(0.56 * height)].min(axis=0) * DEPTH
        third = width // 3
        middle = band[width // 2 - width // 12 : width // 2 + width // 12]  # as wide as a person, two steps ahead
        return np.array([band[:third].mean(), middle.min(), band[-third:].mean()])

    def seen_from(self, pose: np.ndarray) -> np.ndarray:
        """Put the camera to a pose (of whole map units), at rest, and return what is seen from there."""
        x, y, heading = pose
        self._game.send_game_command(f"warp {x} {y}")
        self._game.set_action([0.0, 0.0, 0.0])
        self._advance(1)
        self._game.set_action([0.0, 0.0, (self.pose[2] - heading + 180) % 360 - 180])
        self._advance(1)
        self._game.set_action([0.0, 0.0, 0.0])
        self._advance(1)
        return self.frame

    def _advance(self, tics: int) -> None:
        self._wait(self._game.advance_action, tics)

    def _wait(self, call: Callable[..., None], *arguments: int) -> None:
        engine = require_vizdoom()
        try:
            with self._engine:
                call(*arguments)
        except (engine.ViZDoomErrorException, engine.ViZDoomUnexpectedExitException) as error:
            raise WorldLost(f"{self.level}: the engine ended, or stood still and was ended") from error

    def close(self) -> None:
        """End the engine's process and remove its settings."""
        self._engine.close()
        self._game.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
