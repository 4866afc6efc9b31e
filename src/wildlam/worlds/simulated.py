"""The worlds in place of a world model: what planning reaches where predictions are exact.

The goal is drawn anew, as a candidate's end is, without any distraction that was painted over the film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wildlam.data.action_spaces import ARM, PLANAR
from wildlam.data.labelled import LabelledClips
from wildlam.types import WildlamError
from wildlam.worlds.arm import FetchArm, Mover
from wildlam.worlds.doom import DoomNav

Encode = Callable[[Tensor], Tensor]
"""From pictures ``uint8 [B, 3, S, S]`` to states ``[B, N, D]``."""


@dataclass
class SimulatedCost:
    """Distance of what is really seen at the end of a plan from the goal's state.

    Attributes:
        end: from a plan ``[H, A]`` to the picture at its end, ``uint8 [S, S, 3]``.
        goal: the picture to reach.
        encode: makes states of both.
    """

    end: Callable[[np.ndarray], np.ndarray]
    goal: np.ndarray
    encode: Encode

    def __call__(self, candidates: Tensor) -> Tensor:
        """Costs ``[1, S]`` of candidates ``[1, S, H, A]``."""
        pictures = [self.goal, *(self.end(plan) for plan in candidates[0].double().cpu().numpy())]
        states = self.encode(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)).float()
        return (states[1:] - states[0]).flatten(1).norm(dim=-1)[None].to(candidates)


@contextmanager
def simulated_costs(clips: LabelledClips, encode: Encode, size: int) -> Iterator[Callable[[int], SimulatedCost]]:
    """The worlds that films of ``wildlam collect`` were made in: gives the cost of plans in each clip, by its index.

    Args:
        clips: from such films.
        encode: of the states that are compared.
        size: side of its pictures.

    Raises:
        WildlamError: the clips are no such films, or a simulator is missing.
    """
    costs = {PLANAR.name: _walks, ARM.name: _arms}[clips.space.name]
    with costs(clips, encode, size) as cost:
        yield cost


@contextmanager
def _walks(clips: LabelledClips, encode: Encode, size: int) -> Iterator[Callable[[int], SimulatedCost]]:
    """A plan leads where its displacements lead; the camera is put there."""
    worlds: dict[str, DoomNav] = {}

    def cost(i: int) -> SimulatedCost:
        level, *_ = _film(clips, i)
        world = worlds.get(level)
        if world is None:
            world = worlds[level] = DoomNav(level, size)
            world.reset(0)
        poses = clips.poses[i].numpy()
        return SimulatedCost(
            lambda plan: world.seen_from(PLANAR.integrate(poses[0], plan)[-1]), world.seen_from(poses[-1]), encode
        )

    try:
        yield cost
    finally:
        for world in worlds.values():
            world.close()


@contextmanager
def _arms(clips: LabelledClips, encode: Encode, size: int) -> Iterator[Callable[[int], SimulatedCost]]:
    """The film is acted again by its seed up to the moment that a plan begins; from there each candidate is done."""
    numbers = clips.places[0][1]
    stride = int(numbers[1] - numbers[0])
    with FetchArm(size, clips.fps * stride) as world:

        def cost(i: int) -> SimulatedCost:
            _, seed, number = _film(clips, i)
            rng = np.random.default_rng([int(seed), int(number)])
            world.reset(seed=int(rng.integers(2**31)))
            mover, frames = Mover(rng, world.fps), clips.places[i][1]
            for _ in range(int(frames[0])):
                world.move(mover.act(world))
            if not np.allclose(world.pose, clips.poses[i, 0].numpy(), atol=1e-4):
                raise WildlamError(f"{clips.names[i]}: the simulator comes to another pose than the film did")
            begin = world.snapshot()
            for _ in range(int(frames[-1] - frames[0])):
                world.move(mover.act(world))
            goal = world.frame

            def end(plan: np.ndarray) -> np.ndarray:
                world.restore(begin)
                for action in plan:
                    for _ in range(stride):
                        world.move(action / stride)
                return world.frame

            return SimulatedCost(end, goal, encode)

        yield cost


def _film(clips: LabelledClips, i: int) -> list[str]:
    """World or level, seed and number of the film that a clip is from."""
    parts = Path(clips.names[i]).stem.rsplit("_", 2)
    if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
        raise WildlamError(f"{clips.names[i]}: no film of `wildlam collect`, which names its level, seed and number")
    return parts
