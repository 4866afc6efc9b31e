"""The worlds in place of a world model: what planning reaches where predictions are exact.

The goal is drawn anew, as a candidate's end is, without any distraction that was painted over the film.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.action_spaces import ARM, PLANAR
from wildlam.episodes.clips import LabelledClips
from wildlam.errors import WildlamError
from wildlam.worlds.arm import FetchArm, Mover
from wildlam.worlds.doom import DoomNav

Encode = Callable[[Tensor], Tensor]
"""From pictures ``uint8 [B, 3, S, S]`` to states ``[B, N, D]``."""
Relive = Callable[[Tensor], Tensor]
"""From what is seen along plans, states ``[S, H + 1, N, D]``, to what a model says of their ends, ``[S, N, D]``."""


@dataclass
class SimulatedCost:
    """Distance of what is really seen at the end of a plan from the goal's state.

    Attributes:
        seen: from a plan ``[H, A]`` and steps of it to the pictures after each of these, ``uint8 [S, S, 3]``; step 0 is
            where the plan begins.
        goal: the picture to reach.
        encode: makes states of pictures.
        reinfer_end: makes of the states along a plan its end, in place of the last of them.
        told: called with the number of candidates that are judged, if anyone counts.
    """

    seen: Callable[[np.ndarray, Sequence[int]], list[np.ndarray]]
    goal: np.ndarray
    encode: Encode
    reinfer_end: Relive | None = None
    told: Callable[[int], object] | None = None

    def __call__(self, candidates: Tensor) -> Tensor:
        """Costs ``[1, S]`` of candidates ``[1, S, H, A]``."""
        steps = candidates.shape[2]
        wanted = [steps] if self.reinfer_end is None else range(steps + 1)
        pictures = [self.goal]
        for plan in candidates[0].double().cpu().numpy():
            pictures += self.seen(plan, wanted)
            if self.told:
                self.told(1)
        states = self.encode(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)).float()
        goal, along = states[0], states[1:].unflatten(0, (-1, len(wanted)))
        ends = along[:, 0] if self.reinfer_end is None else self.reinfer_end(along)
        return (ends - goal).flatten(1).norm(dim=-1)[None].to(candidates)


@contextmanager
def simulated_costs(
    clips: LabelledClips, encode: Encode, size: int, reinfer_end: Relive | None = None
) -> Iterator[Callable[[int], SimulatedCost]]:
    """The worlds that films of ``wildlam collect`` were made in: gives the cost of plans in each clip, by its index.

    Args:
        clips: from such films.
        encode: encoder of the states that are compared.
        size: side of its pictures.
        reinfer_end: see ``SimulatedCost``.

    Raises:
        WildlamError: the clips are no such films, or a simulator is missing.
    """
    costs = {PLANAR.name: _walks, ARM.name: _arms}[clips.space.name]
    with costs(clips, encode, size, reinfer_end) as cost:
        yield cost


@contextmanager
def _walks(
    clips: LabelledClips, encode: Encode, size: int, reinfer_end: Relive | None
) -> Iterator[Callable[[int], SimulatedCost]]:
    """A plan leads where its displacements lead; the camera is put there."""
    worlds: dict[str, DoomNav] = {}

    def cost(i: int) -> SimulatedCost:
        level, *_ = _film(clips, i)
        world = worlds.get(level)
        if world is None:
            world = worlds[level] = DoomNav(level, size)
            world.reset(0)
        poses = clips.poses[i].numpy()

        def seen(plan: np.ndarray, steps: Sequence[int]) -> list[np.ndarray]:
            way = PLANAR.integrate(poses[0], plan)
            return [world.seen_from(way[step]) for step in steps]

        return SimulatedCost(seen, world.seen_from(poses[-1]), encode, reinfer_end)

    try:
        yield cost
    finally:
        for world in worlds.values():
            world.close()


@contextmanager
def _arms(
    clips: LabelledClips, encode: Encode, size: int, reinfer_end: Relive | None
) -> Iterator[Callable[[int], SimulatedCost]]:
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

            def seen(plan: np.ndarray, steps: Sequence[int]) -> list[np.ndarray]:
                world.restore(begin)
                pictures = [world.frame] if 0 in steps else []
                for step, action in enumerate(plan, 1):
                    for _ in range(stride):
                        world.move(action / stride)
                    if step in steps:
                        pictures.append(world.frame)
                return pictures

            return SimulatedCost(seen, goal, encode, reinfer_end)

        yield cost


def check_films(clips: LabelledClips) -> None:
    """Refuse clips of anything but films of ``wildlam collect``.

    Raises:
        WildlamError: see above.
    """
    for i in range(len(clips)):
        _film(clips, i)


def _film(clips: LabelledClips, i: int) -> list[str]:
    """World or level, seed and number of the film that a clip is from."""
    parts = Path(clips.names[i]).stem.rsplit("_", 2)
    if len(parts) != 3 or not (parts[1] + parts[2]).isdigit():
        raise WildlamError(f"{clips.names[i]}: no film of `wildlam collect`, which names its level, seed and number")
    return parts
