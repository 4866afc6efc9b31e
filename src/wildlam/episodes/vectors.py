"""Actions of any body, a vector a step whose components the data set names: recorded commands, or changes of states.

Commands are recorded more often than states are seen (10 to 50 a second, and 4). Those of a step are given one behind
the other, or as their sum, where each is a displacement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from wildlam.episodes.action_spaces import SPACES, ActionSpace, PoseSpace
from wildlam.types import check_choice

ActionKind = Literal["poses", "recorded", "states"]
Block = Literal["concatenated", "summed"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is read of labelled videos that hold several things.

    Attributes:
        actions: what an action is: the motion between recorded poses of an arm or on the ground, the recorded commands,
            or the change of the recorded states. None: the first of these that the data have.
        block: how the commands of a step make an action.
        camera: which camera's films; None: the first that is not at a wrist.
    """

    actions: ActionKind | None = None
    block: Block = "concatenated"
    camera: str | None = None

    def __post_init__(self) -> None:
        if self.actions is not None:
            check_choice("actions", self.actions, get_args(ActionKind))
        check_choice("block", self.block, get_args(Block))

    def like(self, space: ActionSpace) -> Reading:
        """The same films, with actions of a space."""
        if isinstance(space, Commands):
            return replace(self, actions="recorded", block=space.block)
        return replace(self, actions="states" if isinstance(space, Changes) else "poses")


FIRST = Reading()
"""The first of everything that the data have."""


class Changes(PoseSpace):
    """Changes of recorded states, component by component, such as the angles of joints."""

    @staticmethod
    def of(names: Sequence[str]) -> Changes:
        """The space of states whose components have these names."""
        return Changes("states", tuple(names), tuple(f"d {name}" for name in names), len(names), (), 1.0)

    def between(self, poses: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``."""
        return np.diff(poses, axis=0)

    def integrate(self, start: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """See ``PoseSpace``."""
        return start + np.concatenate([np.zeros((1, len(start))), np.cumsum(actions, axis=0)])


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

    def over(self, commands: int) -> Commands:
        """The space of actions of so many commands."""
        return Commands.of(self.components, self.block, self.pose_names, commands)

    def joined(self, commands: np.ndarray) -> np.ndarray:
        """The action ``[A]`` of the commands ``[n, C]`` of a step."""
        return commands.sum(axis=0) if self.block == "summed" else commands.reshape(-1)


def described(space: ActionSpace) -> str:
    """A space in words."""
    if isinstance(space, Commands):
        return f"recorded actions of {len(space.components)} numbers, {space.commands} a step, {space.block}"
    return f"{space.name} actions" + (f" of {len(space.action_names)} numbers" if space.name not in SPACES else "")


def facts_of(space: ActionSpace) -> dict[str, Any]:
    """What JSON keeps of a space; see ``space_of``."""
    facts: dict[str, Any] = {"space": space.name, "actions": space.action_names}
    if isinstance(space, Commands):
        of_commands = {"components": space.components, "block": space.block, "commands": space.commands}
        return facts | {"states": space.pose_names} | of_commands
    return facts | ({"states": space.pose_names} if isinstance(space, Changes) else {})


def space_of(facts: Mapping[str, Any]) -> ActionSpace | None:
    """The space that ``facts_of`` told of; None if they tell of none."""
    name = facts.get("space")
    try:
        if name == "recorded":
            return Commands.of(facts["components"], facts["block"], facts["states"], facts["commands"])
        return Changes.of(facts["states"]) if name == "states" else SPACES.get(str(name))
    except (KeyError, TypeError):
        return None
