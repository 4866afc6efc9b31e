"""Simulators to film, act in and plan with: a file for each, which a new file in this folder adds to.

Nothing of a simulator is imported before it is used.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager

from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.vectors import described
from wildlam.errors import WildlamError, option
from wildlam.worlds.cameras import check_cameras
from wildlam.worlds.simulator_cost import Encode, ReinferEnd, SimulatedCost
from wildlam.worlds.simulators.base import Simulator, film_parts


def _found() -> dict[str, Simulator]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    simulators: list[Simulator] = [module.SIMULATOR for module in modules if hasattr(module, "SIMULATOR")]
    return {one.name: one for one in simulators}


SIMULATORS = _found()
"""All simulators by name."""


def chosen_cameras(world: str, cameras: str | None) -> dict[str, str]:
    """A choice of cameras as keywords of a simulator's ``open`` and ``film``, its default if none is given.

    Args:
        world: name of the simulator, or of a world that has none.
        cameras: the choice.

    Raises:
        WildlamError: it has no such, or there is nothing to choose.
    """
    having = {name: one.cameras for name, one in SIMULATORS.items() if one.cameras}
    if world in having:
        return {"cameras": check_cameras(cameras or having[world][0], having[world])}
    if cameras is not None:
        raise WildlamError(f"{option('cameras')} is for {' and '.join(having)}, not for {world}")
    return {}


def simulated_costs(
    clips: LabelledClips, encode: Encode, size: int, reinfer_end: ReinferEnd | None = None
) -> AbstractContextManager[Callable[[int], SimulatedCost]]:
    """Open the simulator that the films of clips were made in: gives the cost of plans in each clip, by its index.

    Args:
        clips: clips of such films.
        encode: encoder of the states that are compared.
        size: side of its pictures.
        reinfer_end: see ``SimulatedCost``.

    Raises:
        WildlamError: the clips are not of films of ``wildlam collect``, or a simulator is missing.
    """
    return _simulator_of(clips, 0).costs(clips, encode, size, reinfer_end)


def check_films(clips: LabelledClips) -> None:
    """Refuse clips of anything but films of ``wildlam collect``, and other actions than the changes of their poses.

    Raises:
        WildlamError: see above.
    """
    for i in range(len(clips)):
        _simulator_of(clips, i)


def _simulator_of(clips: LabelledClips, i: int) -> Simulator:
    film_name, *_ = film_parts(clips.names[i])
    of_film = [one for one in SIMULATORS.values() if film_name in one.film_names]
    for one in of_film:
        if one.space == clips.space:
            return one
    if of_film:
        raise WildlamError(
            f"the simulator of {clips.names[i]} plans in {described(of_film[0].space)}, the clips hold "
            f"{described(clips.space)}; give a controller of {option('actions')} poses"
        )
    raise WildlamError(f"{clips.names[i]}: no film of `wildlam collect`, which names its level, seed and number")
