"""Actions of any body, a vector a step whose components the data set names: recorded commands, or changes of states.

Commands are recorded more often than states are seen (10 to 50 a second, and 4). Those of a step are given one behind
the other, or as their sum, where each is a displacement.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from wildlam.episodes.action_spaces import SPACES, ActionSpace, PoseSpace
from wildlam.episodes.orientations import KINDS, Orientation, orientations_in
from wildlam.episodes.pairing import TOLERANCE
from wildlam.errors import WildlamError, option
from wildlam.types import check_choice

ActionKind = Literal["poses", "recorded", "states"]
ActionChoice = Literal["first", "poses", "recorded", "states"]
"""A kind of action, or the first of them that the data have."""
Block = Literal["concatenated", "summed"]


class UnknownRateError(WildlamError):
    """Nothing says how many frames a second recordings have."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is read of labelled videos that hold several things.

    Attributes:
        actions: what an action is: the motion between recorded poses of an arm or on the ground, the recorded commands,
            or the change of the recorded states. None: the first of these that the data have.
        block: how the commands of a step make an action.
        camera: which camera's films; None: the first that is not at a wrist.
        angles: names of components of the states that are angles, whose changes are the shorter way round.
        full_turn: a turn in their unit: 2 pi for radians, 360 for degrees; that of rotations, too.
        rotations: components of the states that are an orientation, KIND=NAMES; None: those that the names tell.
        rate: frames a second of recordings that do not say so themselves; None: what is usual in their format.
        finite: whether numbers that are not finite are refused.
        units: units of components of commands or states, NAME=UNIT.
    """

    actions: ActionKind | None = None
    block: Block = "concatenated"
    camera: str | None = None
    angles: tuple[str, ...] = ()
    full_turn: float = 2 * math.pi
    rotations: tuple[str, ...] | None = None
    rate: float | None = None
    finite: bool = True
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if wrong := [one for one in self.units if not re.fullmatch(r".+=.+", one)]:
            raise ValueError(f"{option('units')} are NAME=UNIT, such as elbow=rad; got {wrong[0]!r}")
        if wrong := [one for one in self.rotations or () if not re.fullmatch(rf"({'|'.join(KINDS)})=.+", one)]:
            raise ValueError(
                f"{option('rotations')} are KIND=NAMES, such as quaternion=qx,qy,qz,qw, of a kind of "
                f"{', '.join(KINDS)}, or none; got {wrong[0]!r}"
            )
        if self.actions is not None:
            check_choice("actions", self.actions, get_args(ActionKind))
        check_choice("block", self.block, get_args(Block))
        if not isinstance(self.full_turn, int | float) or not 0 < self.full_turn < math.inf:
            raise ValueError(f"{option('full_turn')} must be a positive number, got {self.full_turn!r}")
        if self.rate is not None and (not isinstance(self.rate, int | float) or not 0 < self.rate < math.inf):
            raise ValueError(f"{option('rate')} must be a positive number of frames a second, got {self.rate!r}")
        for name in ("angles", "rotations"):
            if getattr(self, name) and self.actions != "states":
                raise ValueError(f"{option(name)} are of changes of states; give {option('actions')} states, too")

    def changes(self, names: Sequence[str], where: str) -> Changes:
        """The space of changes of states whose components have these names.

        Raises:
            WildlamError: angles or rotations that are no names, after ``where`` they are looked for, or are both.
        """
        if unknown := sorted(set(self.angles) - set(names)):
            raise WildlamError(f"{where}: has no {', '.join(unknown)}; its states are {', '.join(names)}")
        if self.rotations is None:
            found = tuple(one for one in orientations_in(names) if not set(self.angles) & set(one.components))
        else:
            found = tuple(Orientation.said(text, names, where) for text in self.rotations)
        each = Counter([*self.angles, *(name for one in found for name in one.components)])
        if twice := [name for name, count in each.items() if count > 1]:
            raise WildlamError(
                f"{where}: {', '.join(twice)} would be of two of {option('angles')} and {option('rotations')}; name "
                "each once"
            )
        return Changes.of(names, self.angles, self.full_turn, found)

    def with_units(self, space: ActionSpace, where: str) -> ActionSpace:
        """A space whose components have the units that are said.

        Raises:
            WildlamError: they are of no component, or of poses, after ``where`` they are looked for.
        """
        if not self.units:
            return space
        if not isinstance(space, Commands | Changes):
            raise WildlamError(f"{where}: has poses, whose units are known; leave {option('units')} out")
        said = dict(one.rsplit("=", 1) for one in self.units)
        names = space.components if isinstance(space, Commands) else space.plain
        if unknown := sorted(said.keys() - set(names)):
            raise WildlamError(f"{where}: has no {', '.join(unknown)} to have a unit; there are {', '.join(names)}")
        return replace(space, said=tuple(said.items()))

    def like(self, space: ActionSpace) -> Reading:
        """The same films, with actions of a space."""
        units = tuple(f"{name}={unit}" for name, unit in space.said)
        if isinstance(space, Commands):
            return replace(self, actions="recorded", block=space.block, units=units)
        if isinstance(space, Changes):
            rotations = tuple(map(str, space.orientations))
            return replace(
                self,
                actions="states",
                angles=space.angles,
                full_turn=space.full_turn,
                rotations=rotations,
                units=units,
            )
        return replace(self, actions="poses", units=())


FIRST = Reading()
"""The first of everything that the data have."""


@dataclass(frozen=True, kw_only=True)
class ChoosesReading:
    """What is read of labelled videos, where they hold several things.

    Args:
        actions: what an action is: poses (the motion of an arm or on the ground), recorded (the commands), states
            (changes of the recorded states). By default the first that is there.
        block: how the commands of a step, which are recorded more often than states are seen, make an action:
            concatenated, or summed, where each is a displacement.
        camera: name of the camera whose films are taken; the first that is not at a wrist if not given.
        angles: components of the states, by name, that are angles, with actions states: they go the shorter way round.
        full_turn: a turn in their unit: 2 pi (radians) or 360 (degrees); that of rotations, too.
        rotations: components of the states that are an orientation, with actions states, KIND=NAMES by commas, such as
            quaternion=qx,qy,qz,qw (or wxyz=qw,qx,qy,qz), vector=rx,ry,rz, euler=roll,pitch,yaw (about fixed axes x, y,
            z), 6d=NAME (rows of the matrix, or 6d_columns) for NAME 0 to NAME 5. By default those that the names tell,
            which `wildlam data` shows; none for none. Their change is the rotation between two.
        units: units of components, NAME=UNIT, to stand beside errors, with actions recorded or states.
        rate: frames a second as they were recorded, where the data do not say so: RLDS, Zarr and HDF5.
        tolerance: largest time in seconds between a recorded state and the nearest frame of its film. A state without
            a frame is left out and reported; one farther away is an error, as the film is cut short or another's.
    """

    actions: ActionChoice = "first"
    block: Block = "concatenated"
    camera: str | None = None
    angles: list[str] = field(default_factory=list)
    full_turn: float = 2 * math.pi
    rotations: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    rate: float | None = None
    tolerance: float = TOLERANCE

    @property
    def reading(self) -> Reading:
        """What is read of the data.

        Raises:
            ValueError: a choice that there is not.
        """
        return Reading(
            actions=None if self.actions == "first" else self.actions,
            block=self.block,
            camera=self.camera,
            angles=tuple(self.angles),
            full_turn=self.full_turn,
            rotations=() if self.rotations == ["none"] else tuple(self.rotations) or None,
            units=tuple(self.units),
            rate=self.rate,
        )


@dataclass(frozen=True)
class Changes(PoseSpace):
    """Changes of recorded states, component by component, such as the angles of joints.

    The change of an orientation is the rotation ``R_{t+1} R_t^T``, as a vector along its axis and as long as its angle.

    Attributes:
        orientations: components that are one, whose change has three.
    """

    orientations: tuple[Orientation, ...] = ()

    @staticmethod
    def of(
        names: Sequence[str],
        angles: Sequence[str] = (),
        full_turn: float = 2 * math.pi,
        orientations: Sequence[Orientation] = (),
    ) -> Changes:
        """The space of states whose components have these names, some of which are angles or orientations."""
        space = Changes("states", tuple(names), (), 0, tuple(angles), full_turn, tuple(orientations))
        parts = [part.axes if isinstance(part, Orientation) else (part,) for part in space._parts]
        changes = tuple(f"d {name}" for part in parts for name in part)
        return replace(space, action_names=changes, position=len(changes))

    @property
    def plain(self) -> tuple[str, ...]:
        """Names of the components of states that are of no orientation."""
        taken = {name for one in self.orientations for name in one.components}
        return tuple(name for name in self.pose_names if name not in taken)

    @property
    def _parts(self) -> list[str | Orientation]:
        """Components, and orientations in the places of their first ones."""
        of = {name: one for one in self.orientations for name in one.components}
        return list(dict.fromkeys(of.get(name, name) for name in self.pose_names))

    def _places(self, part: str | Orientation) -> list[int]:
        names = part.components if isinstance(part, Orientation) else (part,)
        return [self.pose_names.index(name) for name in names]

    def sound(self, poses: np.ndarray) -> np.ndarray:
        """For each orientation, at which of the states ``[T, P]`` it is one, ``bool [T, O]``."""
        found = [one.sound(poses[:, self._places(one)]) for one in self.orientations]
        return np.stack(found, axis=1) if found else np.ones((len(poses), 0), dtype=bool)

    def between(self, poses: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``."""
        half, done = self.full_turn / 2, []
        for part in self._parts:
            values = poses[:, self._places(part)]
            if isinstance(part, Orientation):
                rotations = part.read(values, self.full_turn)
                done.append((rotations[1:] * rotations[:-1].inv()).as_rotvec() * (half / math.pi))
            else:
                change = np.diff(values, axis=0)
                done.append(half - (half - change) % self.full_turn if part in self.angles else change)
        return np.concatenate(done, axis=1)

    def integrate(self, start: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``; angles go on beyond a full turn, orientations are the same, perhaps written otherwise."""
        way, column = np.repeat(start[None].astype(np.float64), len(actions) + 1, axis=0), 0
        for part in self._parts:
            places = self._places(part)
            width = 3 if isinstance(part, Orientation) else 1
            done, column = actions[:, column : column + width], column + width
            if isinstance(part, Orientation):
                way[:, places] = part.turned(start[places], done, self.full_turn)
            else:
                way[1:, places] += np.cumsum(done, axis=0)
        return way

    @property
    def units(self) -> dict[str, str]:
        """See ``ActionSpace``: of angles and rotations, by what a full turn is."""
        unit = {360.0: "degrees", 2 * math.pi: "rad"}.get(float(self.full_turn))
        axes = (axis for one in self.orientations for axis in one.axes)
        turning = dict.fromkeys([*self.angles, *axes], unit) if unit else {}
        return {f"d {name}": unit for name, unit in (turning | dict(self.said)).items()}


@dataclass(frozen=True)
class Commands(ActionSpace):
    """Recorded commands.

    Attributes:
        components: names of the components of one command.
        block: how the commands of a step make an action.
        commands: how many a step has.
    """

    components: tuple[str, ...]
    block: Block
    commands: int

    @staticmethod
    def of(components: Sequence[str], block: Block, states: Sequence[str] = (), commands: int = 1) -> Commands:
        """The space of commands with these components, beside recorded states with those."""
        names = tuple(components)
        if block == "concatenated" and commands > 1:
            names = tuple(f"{name} {k + 1}/{commands}" for k in range(commands) for name in components)
        return Commands("recorded", tuple(states), names, len(names), tuple(components), block, commands)

    @property
    def zero_stays(self) -> bool:
        """See ``ActionSpace``: a command may be where to go."""
        return self.block == "summed"

    @property
    def units(self) -> dict[str, str]:
        """See ``ActionSpace``; of a command's components."""
        return dict(self.said)

    def over(self, commands: int) -> Commands:
        """The space of actions of so many commands."""
        return replace(Commands.of(self.components, self.block, self.pose_names, commands), said=self.said)

    def joined(self, commands: np.ndarray) -> np.ndarray:
        """The action ``[A]`` of the commands ``[n, C]`` of a step."""
        return commands.sum(axis=0) if self.block == "summed" else commands.reshape(-1)


def described(space: ActionSpace) -> str:
    """A space in words."""
    if isinstance(space, Commands):
        of = f"{len(space.components)} numbers ({few(list(map(space.with_unit, space.components)))})"
        return f"recorded actions of {of}, {space.commands} a step, {space.block}"
    if space.name in SPACES:
        return f"{space.name} actions"
    of = f" of {len(space.action_names)} numbers ({few(list(map(space.with_unit, space.action_names)))})"
    found = space.orientations if isinstance(space, Changes) else ()
    return f"{space.name} actions{of}" + (f", with rotations {' '.join(map(str, found))}" if found else "")


def few(names: Sequence[str], most: int = 8) -> str:
    """The first of some names, and how many there are if those are not all."""
    return ", ".join(names[:most]) + (f", ... ({len(names)} of them)" if len(names) > most else "")


def facts_of(space: ActionSpace) -> dict[str, Any]:
    """What JSON keeps of a space; see ``space_of``."""
    facts: dict[str, Any] = {"space": space.name, "actions": space.action_names, "units": dict(space.said)}
    if isinstance(space, Commands):
        of_commands = {"components": space.components, "block": space.block, "commands": space.commands}
        return facts | {"states": space.pose_names} | of_commands
    if isinstance(space, Changes):
        rotations = list(map(str, space.orientations))
        turns = {"angles": space.angles, "full turn": space.full_turn, "rotations": rotations}
        return facts | {"states": space.pose_names} | turns
    return facts


def space_of(facts: Mapping[str, Any]) -> ActionSpace | None:
    """The space that ``facts_of`` told of; None if they tell of none."""
    name = facts.get("space")
    try:
        said = tuple(facts.get("units", {}).items())  # earlier versions knew none
        if name == "recorded":
            found = Commands.of(facts["components"], facts["block"], facts["states"], facts["commands"])
            return replace(found, said=said)
        if name == "states":
            names = facts["states"]
            rotations = [Orientation.said(text, names, "") for text in facts.get("rotations", ())]  # as units
            return replace(Changes.of(names, facts["angles"], facts["full turn"], rotations), said=said)
        return SPACES.get(str(name))
    except (KeyError, TypeError, AttributeError, WildlamError):
        return None
