"""What a simulator is to the commands: how it is opened and filmed, and when an episode in it succeeds."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wildlam.episodes.action_spaces import ActionSpace, PoseSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.episode import Episode
from wildlam.errors import WildlamError
from wildlam.worlds.simulator_cost import Encode, ReinferEnd, SimulatedCost

Costs = Callable[
    [LabelledClips, Encode, int, ReinferEnd | None], AbstractContextManager[Callable[[int], SimulatedCost]]
]
"""See ``simulators.simulated_costs``."""


@dataclass(frozen=True)
class Budget:
    """Steps of an episode of the closed loop.

    Attributes:
        away: from a start to its goal.
        steps: to reach it in.
        horizon: of a plan, at first.
        closing: whether plans shorten to what is left of the way to the goal.
    """

    away: int
    steps: int
    horizon: int
    closing: bool = False


@dataclass(frozen=True)
class Simulator:
    """A world to film, to act in and to plan with; the ``SIMULATOR`` of each file in this folder is one.

    Attributes:
        name: name as users write it, ``play --world NAME``.
        about: what there is to see and do, for the help of ``wildlam collect``.
        space: kind of its actions and poses.
        unit: unit of lengths, in words.
        metre: units in a metre.
        near: largest final distance from the goal that is a success.
        far: smallest distance of a goal from the start.
        film_names: first part of the names of its films, ``<film name>_<seed>_<number>.mp4``.
        open: opens the world number ``i`` behind gymnasium's API, at a number of steps a second, with pictures of a
            side in pixels.
        film: films it into a folder; takes ``episodes``, ``seconds``, ``fps``, ``distractors`` and ``seed``, and
            returns the paths of the films.
        costs: costs of plans in clips of its films.
        cameras: choices of cameras that ``open`` and ``film`` take by that name, the default first; none if there is
            nothing to choose.
        rate: commands a second, which are its films' frames, too; None if it takes any number.
    """

    name: str
    about: str
    space: PoseSpace
    unit: str
    metre: float
    near: float
    far: float
    film_names: Container[str]
    open: Callable[..., Any]
    film: Callable[..., list[Path]]
    costs: Costs
    cameras: tuple[str, ...] = ()
    rate: float | None = None

    def steps_a_second(self, fps: float) -> float:
        """The nearest to a number of steps a second of which each takes a whole number of commands.

        As labelled films are sampled: see ``episodes.episode.Episode.stride``.
        """
        return fps if self.rate is None else self.rate / max(1, round(self.rate / fps))

    def takes(self, space: ActionSpace, fps: float) -> bool:
        """Whether it can be acted in by actions of a space, so many a second."""
        return space == self.space

    def taking(self, space: ActionSpace) -> Simulator:
        """It, opened for actions of a space that it ``takes``."""
        return self

    @property
    def taken(self) -> str:
        """What ``--actions`` of a controller it can be acted in with, in words."""
        return "poses"

    def other_units(self, space: ActionSpace, mean: np.ndarray, std: np.ndarray, away: int) -> str | None:
        """What shows that actions of some mean and deviation ``[A]`` are in other units, in words; None if nothing
        does. Goals are ``away`` steps away.
        """
        reach = away * float(np.linalg.norm((np.abs(mean) + 3 * std)[: space.position]))
        if reach >= self.far:
            return None
        return f"{away} of its largest actions lead {reach:.3g} {self.unit} far, goals lie {self.far:g} away at least"

    def budget(self, fps: float) -> Budget:
        """How long episodes and plans are at a number of steps a second."""
        return Budget(away=6, steps=12, horizon=3)

    def tasks(self, seed: int, episodes: int) -> list[dict[str, Any]] | None:
        """Starts and goals that everybody is judged by: options of ``reset``; None if they are drawn."""
        return None

    def figures(self, ways: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        """``success``, ``final distance`` and ``start distance`` of episodes with poses ``[E, T, P]`` to ``[E, P]``."""
        away = np.linalg.norm((ways - targets[:, None])[..., : self.space.position], axis=-1)
        return {"success": away[:, -1] <= self.near, "final distance": away[:, -1], "start distance": away[:, 0]}

    def as_lerobot(self, episodes: Sequence[Episode]) -> dict[str, Any]:
        """How ``write_lerobot`` writes its films: what to give it beside the episodes."""
        return {}

    @property
    def facts(self) -> dict[str, Any]:
        """What a result says of how episodes are judged."""
        return {"unit": self.unit, "near": self.near}

    @property
    def criterion(self) -> str:
        """What a success is, after ``success is``."""
        return f"to end within {self.near:g} {self.unit}"


def film_parts(clip: str) -> tuple[str, int, int]:
    """World or level, seed and number of the film that a clip is from, by the clip's name.

    Raises:
        WildlamError: the film was not made by ``wildlam collect``.
    """
    parts = Path(clip).stem.rsplit("_", 2)
    if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
        raise WildlamError(f"{clip}: no film of `wildlam collect`, which names its level, seed and number")
    return parts[0], int(parts[1]), int(parts[2])
