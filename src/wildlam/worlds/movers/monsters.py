"""Doom's own monsters, who walk about at random and hurt nobody, seen by a camera that stands still."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wildlam.episodes.movers import Truth
from wildlam.progress import Count, uncounted
from wildlam.types import Split
from wildlam.worlds.doom import DoomNav, require_vizdoom
from wildlam.worlds.walkers import begin_walk


class Monster(NamedTuple):
    """How the engine knows it, the sprites of its steps, and its height in map units."""

    name: str
    steps: str
    height: float


MONSTERS: dict[Split, tuple[Monster, ...]] = {
    "train": (
        Monster("Zombieman", "POSS AABBCCDD", 56),
        Monster("ShotgunGuy", "SPOS AABBCCDD", 56),
        Monster("DoomImp", "TROO AABBCCDD", 56),
        Monster("Demon", "SARG AABBCCDD", 56),
    ),
    "held_out": (
        Monster("BaronOfHell", "BOSS AABBCCDD", 64),
        Monster("Cacodemon", "HEAD AAAAAAAA", 56),
        Monster("LostSoul", "SKUL AABBAABB", 56),
    ),
}
"""The monsters of each split; both Freedoom games have them."""
SPEEDS: dict[Split, int] = {"train": 4, "held_out": 6}
"""Map units of a step, of which there is one in three tics."""
_PREFIX = "Wandering"
_ACTOR = """actor {prefix}{name} : {name} {{
  -SHOOTABLE +THRUSPECIES
  Species "Wanderer"
  Speed {speed}
  States {{
    Spawn: {sprite} A 0
    Walk: {steps} 3 A_Wander
      {sprite} A 0 A_Jump(40, "Rest")
      Loop
    Rest: {sprite} A 20
      {sprite} A 0 A_Jump(100, "Walk")
      Loop
    See: {sprite} A 1
      Goto Walk
  }}
}}
"""
"""In the engine's language: it is solid to the camera, but not to its like, beside which it appears."""
_FOCAL = 1.2  # of an upright pixel, over that of a wide one: Doom's pixels are taller than wide
_SCALE_ONE = 128.0
"""Distance in map units at which the scale of a monster is 1."""
_NEAREST = 8.0  # map units before the camera: what is nearer, or behind it, counts as so far away
_HEADINGS = 6  # directions of which the camera takes the clearest
_SETTLE = 8  # frames in which a walk comes to rest, and between one monster and the next
_SPREAD = (1.0, 3.0)  # seconds that the monsters walk before a film begins


class MonsterDoom(DoomNav):
    """A Doom level in which monsters can be put, ``split`` deciding which; see ``DoomNav``."""

    def __init__(self, level: str, split: Split, size: int = 128, fps: float = 8.0) -> None:
        self.split: Split = split
        super().__init__(level, size, fps, sees=True)

    def _prepare(self, game: Any, folder: Path) -> None:
        actors = "".join(
            _ACTOR.format(
                prefix=_PREFIX, name=one.name, sprite=one.steps.split()[0], steps=one.steps, speed=SPEEDS[self.split]
            )
            for one in MONSTERS[self.split]
        )
        (folder / "monsters.wad").write_bytes(_wad("DECORATE", actors.encode()))
        game.add_game_args(f"-file {folder / 'monsters.wad'}")
        game.set_labels_buffer_enabled(True)
        game.set_objects_info_enabled(True)

    def summon(self, name: str) -> None:
        """Put a monster in front of the camera, and let it walk for a second."""
        self._game.send_game_command(f"summon {_PREFIX}{name}")
        for _ in range(_SETTLE):
            self.skip((0.0, 0.0, 0.0))

    def monsters(self) -> dict[int, np.ndarray]:
        """Where the monsters are, x, y and z of their feet, in map units, by number in the order of their coming."""
        return {
            one.id: np.array([one.position_x, one.position_y, one.position_z])
            for one in self._game.get_state().objects
            if one.name.startswith(_PREFIX)
        }

    def boxes(self) -> dict[int, np.ndarray]:
        """Left, top, right and bottom of what is seen of the monsters, in the picture, by number."""
        found, (height, width) = {}, self._game.get_state().screen_buffer.shape[:2]
        left, scale = (width - height) // 2, self.size / height
        for one in self._game.get_state().labels:
            if one.object_name.startswith(_PREFIX):
                corners = np.array([one.x - left, one.y, one.x + one.width - left, one.y + one.height]) * scale
                box = np.concatenate([np.floor(corners[:2]), np.ceil(corners[2:])]).clip(0, self.size)
                if box[2] > box[0] and box[3] > box[1]:
                    found[one.object_id] = box
        return found

    def seen_at(self, place: np.ndarray) -> tuple[np.ndarray, float]:
        """Where a place (x, y, z) is seen in the picture, pixels ``[2]``, and how far in front of the camera it is."""
        eye, heading = self._eye, np.radians(self.pose[2])
        ahead, left = np.cos(heading), np.sin(heading)
        east, north, up = place - eye
        depth = max(ahead * east + left * north, _NEAREST)
        height, width = self._game.get_state().screen_buffer.shape[:2]
        focal = width / 2 * self.size / height  # the view is 90 degrees wide
        across, below = (left * east - ahead * north) / depth, -up / depth
        return self.size / 2 + focal * np.array([across, _FOCAL * below]), depth

    @property
    def _eye(self) -> np.ndarray:
        variable = require_vizdoom().GameVariable
        names = (variable.CAMERA_POSITION_X, variable.CAMERA_POSITION_Y, variable.CAMERA_POSITION_Z)
        return np.array([self._game.get_game_variable(name) for name in names])


def film_monsters(
    world: MonsterDoom, rng: np.random.Generator, *, monsters: int, frames: int, fps: float, count: Count = uncounted
) -> tuple[list[np.ndarray], Truth]:
    """Film monsters from somewhere in a level; the same state of ``rng`` gives the same pixels.

    Args:
        world: the level.
        rng: the only source of randomness.
        monsters: how many come; they may leave the picture and enter it.
        frames: length of the film.
        fps: its frames per second.
        count: counts each frame as it is filmed.

    Returns:
        Frames ``uint8 [size, size, 3]`` and their truth, in which ``visible`` is 1 where anything of a monster is seen.
    """
    begin_walk(world, rng)
    _look_around(world)
    kinds = [MONSTERS[world.split][i] for i in rng.integers(len(MONSTERS[world.split]), size=monsters)]
    for kind in kinds:
        world.summon(kind.name)
    for _ in range(round(rng.uniform(*_SPREAD) * fps)):
        world.skip((0.0, 0.0, 0.0))
    numbers = sorted(world.monsters())
    film, places = [], np.zeros((frames + 1, len(numbers), 3))
    boxes = np.zeros((frames, len(numbers), 4), np.int16)
    for t in range(frames + 1):  # one more, as the last velocity leads to it
        there, seen = world.monsters(), world.boxes()
        for m, number in enumerate(numbers):
            middle, depth = world.seen_at(there[number] + (0, 0, kinds[m].height / 2))
            places[t, m] = *middle, depth
            if t < frames and number in seen:
                boxes[t, m] = seen[number]
        if t < frames:
            film.append(world.frame)
            count(1)
            world.skip((0.0, 0.0, 0.0))
    return film, _truth(kinds, places, boxes, world.size, fps)


def _truth(kinds: list[Monster], places: np.ndarray, boxes: np.ndarray, size: int, fps: float) -> Truth:
    position, depth = places[..., :2], places[:-1, :, 2]
    heights = np.array([kind.height for kind in kinds], np.float32)
    return Truth(
        fps=np.array(float(fps)),
        background=np.array("still"),
        shapes=np.array([kind.name for kind in kinds], dtype=str),
        radius=heights / 2 * np.float32(_FOCAL * size * 2 / 3 / _SCALE_ONE),
        position=position[:-1].astype(np.float32),
        velocity=(np.diff(position, axis=0) * fps).astype(np.float32),
        angle=np.zeros(depth.shape, np.float32),
        scale=(_SCALE_ONE / depth).astype(np.float32),
        visible=(boxes[..., 2] > 0).astype(np.float32),
        box=boxes,
        shift=np.zeros((len(depth), 2), np.float32),
    )


def _look_around(world: MonsterDoom) -> None:
    """Come to rest, and turn to where the way is clear the farthest."""
    for _ in range(_SETTLE):
        world.skip((0.0, 0.0, 0.0))
    clear = []
    for _ in range(_HEADINGS):
        world.skip((0.0, 0.0, 360 / _HEADINGS))
        seen = world.clear
        clear.append(0.0 if seen is None else float(seen.mean()))
    for _ in range((int(np.argmax(clear)) + 1) % _HEADINGS):
        world.skip((0.0, 0.0, 360 / _HEADINGS))


def _wad(name: str, lump: bytes) -> bytes:
    """A file of the engine's with one lump in it."""
    header = struct.pack("<4sii", b"PWAD", 1, 12 + len(lump))
    return header + lump + struct.pack("<ii8s", 12, len(lump), name.encode())
