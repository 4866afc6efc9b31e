"""Walks through Doom levels (ViZDoom)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.clips import LabelledClips
from wildlam.worlds.doom import HELD_OUT_LEVELS, LEVELS, METRE, DoomNav
from wildlam.worlds.simulator_cost import Encode, ReinferEnd, SimulatedCost
from wildlam.worlds.simulators.base import Simulator, film_parts


def _open(i: int, fps: float, size: int) -> Any:
    from wildlam.worlds.nav import DoomWalk

    return DoomWalk(HELD_OUT_LEVELS[i % len(HELD_OUT_LEVELS)], size, fps)


def _film(out: Path, **kwargs: Any) -> list[Path]:
    from wildlam.worlds.walkers import collect_nav

    return collect_nav(out, **kwargs)


@contextmanager
def _costs(
    clips: LabelledClips, encode: Encode, size: int, reinfer_end: ReinferEnd | None
) -> Iterator[Callable[[int], SimulatedCost]]:
    """A plan leads where its displacements lead; the camera is put there."""
    worlds: dict[str, DoomNav] = {}
    with ExitStack() as stack:

        def cost(i: int) -> SimulatedCost:
            level, *_ = film_parts(clips.names[i])
            if level not in worlds:
                worlds[level] = stack.enter_context(DoomNav(level, size))
                worlds[level].reset(0)
            world, poses = worlds[level], clips.poses[i].numpy()

            def seen(plan: np.ndarray, steps: Sequence[int]) -> list[np.ndarray]:
                way = PLANAR.integrate(poses[0], plan)
                return [world.seen_from(way[step]) for step in steps]

            return SimulatedCost(seen, world.seen_from(poses[-1]), encode, reinfer_end)

        yield cost


SIMULATOR = Simulator(
    name="nav",
    about="drives through 71 Doom levels, nine of them held out whole, as RECON's robot drives: one speed and curve "
    "for seconds, past walls in a curve; turns of at most 10 degrees in a quarter second",
    space=PLANAR,
    unit="map units",
    metre=METRE,
    near=30.0,  # a person is 32 wide
    far=60.0,
    film_names=LEVELS,
    open=_open,
    film=_film,
    costs=_costs,
)
