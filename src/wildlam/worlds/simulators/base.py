"""What a simulator is to the commands: how it is opened and filmed, and when an episode in it succeeds."""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildlam.episodes.action_spaces import PoseSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.errors import WildlamError
from wildlam.worlds.simulator_cost import Encode, ReinferEnd, SimulatedCost

Costs = Callable[
    [LabelledClips, Encode, int, ReinferEnd | None], AbstractContextManager[Callable[[int], SimulatedCost]]
]
"""See ``simulators.simulated_costs``."""


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


def film_parts(clip: str) -> tuple[str, int, int]:
    """World or level, seed and number of the film that a clip is from, by the clip's name.

    Raises:
        WildlamError: the film was not made by ``wildlam collect``.
    """
    parts = Path(clip).stem.rsplit("_", 2)
    if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
        raise WildlamError(f"{clip}: no film of `wildlam collect`, which names its level, seed and number")
    return parts[0], int(parts[1]), int(parts[2])
