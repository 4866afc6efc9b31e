"""A Fetch arm over a table (MuJoCo)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wildlam.episodes.action_spaces import ARM
from wildlam.episodes.clips import LabelledClips
from wildlam.errors import WildlamError
from wildlam.worlds.cameras import CAMERAS
from wildlam.worlds.simulator_cost import Encode, ReinferEnd, SimulatedCost
from wildlam.worlds.simulators.base import Simulator, film_parts


def _open(_: int, fps: float, size: int, cameras: str = CAMERAS[0]) -> Any:
    from wildlam.worlds.arm import FetchArm, drawing

    return FetchArm(size, fps, drawing(cameras, "held_out"))


def _film(out: Path, **kwargs: Any) -> list[Path]:
    from wildlam.worlds.arm import collect_arm

    return collect_arm(out, **kwargs)


@contextmanager
def _costs(
    clips: LabelledClips, encode: Encode, size: int, reinfer_end: ReinferEnd | None
) -> Iterator[Callable[[int], SimulatedCost]]:
    """The film is acted again by its seed up to the moment that a plan begins; from there each candidate is done.

    It is seen by the film's own camera.
    """
    from wildlam.worlds.arm import FIXED, FetchArm, Mover

    numbers = clips.places[0][1]
    stride = int(numbers[1] - numbers[0])
    with FetchArm(size, clips.fps * stride) as world:

        def cost(i: int) -> SimulatedCost:
            _, seed, number = film_parts(clips.names[i])
            rng = np.random.default_rng([seed, number])
            world.reset(seed=int(rng.integers(2**31)))
            world.camera = clips.places[i][0].camera or FIXED
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


SIMULATOR = Simulator(
    name="arm",
    about="a Fetch arm (MuJoCo) that moves over a table, pushes and grips; on Debian: apt-get install libegl1 libgl1 "
    "libgles2",
    space=ARM,
    unit="m",
    metre=1.0,
    near=0.05,
    far=0.1,
    film_names=("arm",),
    open=_open,
    film=_film,
    costs=_costs,
    cameras=CAMERAS,
)
