"""A disc that pushes a T over a table (gym-pusht)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from wildlam.episodes.action_spaces import PUSHER, ActionSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.episode import Episode
from wildlam.episodes.vectors import Changes, Commands
from wildlam.errors import WildlamError
from wildlam.worlds.simulator_cost import Encode, ReinferEnd, SimulatedCost
from wildlam.worlds.simulators.base import Budget, Simulator, film_parts


class _PushT(Simulator):
    """Episodes as DINO-WM and stable-worldmodel have them, by the commands of the disc."""

    def takes(self, space: ActionSpace, fps: float) -> bool:
        """See ``Simulator``; changes of two recorded states, as public sets have, are those of the disc's place, two
        recorded numbers where it is told to go.
        """
        if isinstance(space, Commands):
            told = len(space.components), space.block, space.commands
            return told == (2, "concatenated", self.commands(fps))
        return super().takes(space, fps) or (isinstance(space, Changes) and len(space.action_names) == 2)

    def taking(self, space: ActionSpace) -> Simulator:
        """See ``Simulator``."""
        return replace(self, open=partial(self.open, told=True)) if isinstance(space, Commands) else self

    def commands(self, fps: float) -> int:
        """Commands of a step, at so many steps a second."""
        assert self.rate is not None
        return round(self.rate / fps)

    @property
    def taken(self) -> str:
        """See ``Simulator``."""
        return (
            f"poses, of the states of a LeRobotDataset, or of recorded commands, {self.rate:g} a second, each where to "
            "go, concatenated"
        )

    def other_units(self, space: ActionSpace, mean: np.ndarray, std: np.ndarray, away: int) -> str | None:
        """See ``Simulator``; commands are places on the table."""
        from wildlam.worlds.pusht import TABLE

        if not isinstance(space, Commands):
            return super().other_units(space, mean, std, away)
        if (mean - std >= 0).all() and (mean + std <= TABLE).all() and 3 * std.max() >= self.far:
            return None
        about = ", ".join(f"{one:.3g}" for one in mean[:2])
        return f"its commands vary by {std.max():.3g} about ({about}), so they are no places on {TABLE:g} pixels"

    def budget(self, fps: float) -> Budget:
        """See ``Simulator``."""
        from wildlam.worlds.pusht import RATE
        from wildlam.worlds.pusht_tasks import AWAY, BUDGET

        away, steps = (max(1, round(commands * fps / RATE)) for commands in (AWAY, BUDGET))
        return Budget(away=away, steps=steps, horizon=away, closing=True)

    def tasks(self, seed: int, episodes: int) -> list[dict[str, Any]] | None:
        """See ``Simulator``."""
        from wildlam.worlds.pusht_tasks import tasks

        return tasks(seed, episodes)

    def figures(self, ways: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        """See ``Simulator``; a goal is reached if it was at any moment, and distances are of disc and T together."""
        from wildlam.worlds.pusht import is_reached, off

        away = off(ways, targets[:, None])
        together = np.hypot(away["disc"], away["block"])
        return {
            "success": is_reached(ways, targets[:, None]).any(axis=1),
            "final distance": together[:, -1],
            "start distance": together[:, 0],
            "disc": away["disc"][:, -1],
            "block": away["block"][:, -1],
            "turn": away["turn"][:, -1],
        }

    def as_lerobot(self, episodes: Sequence[Episode]) -> dict[str, Any]:
        """See ``Simulator``; as the public ``lerobot/pusht`` is: rewards are of the frame after an action."""
        from wildlam.worlds.pusht import SOLVED, PushT

        world = PushT(size=16)
        covered = [np.array([world.coverage_in(pose) for pose in episode.poses]) for episode in episodes]
        after = [np.append(one[1:], one[-1]) for one in covered]
        more = {
            "next.reward": [np.clip(one / SOLVED, 0, 1).astype(np.float32) for one in after],
            "next.done": [np.arange(len(one)) == len(one) - 1 for one in after],
            "next.success": [one > SOLVED for one in after],
        }
        return {"size": 96, "camera": "observation.image", "more": more}

    @property
    def facts(self) -> dict[str, Any]:
        """See ``Simulator``."""
        from wildlam.worlds.pusht import TURN
        from wildlam.worlds.pusht_tasks import fingerprint

        return super().facts | {"turn": TURN, "tasks": fingerprint()}

    @property
    def criterion(self) -> str:
        """See ``Simulator``."""
        return (
            f"to come within {self.near:g} {self.unit} of the goal, disc and T together, the T turned by less than "
            "20 degrees"
        )


def _open(_: int, fps: float, size: int, told: bool = False) -> Any:
    from wildlam.worlds.pusht import PushT, ToldPushT

    return (ToldPushT if told else PushT)(size, fps)


def _film(out: Path, **kwargs: Any) -> list[Path]:
    from wildlam.worlds.pusht_films import collect_pusht

    return collect_pusht(out, **kwargs)


@contextmanager
def _costs(
    clips: LabelledClips, encode: Encode, size: int, reinfer_end: ReinferEnd | None
) -> Iterator[Callable[[int], SimulatedCost]]:
    """The film is acted again by its seed up to the moment that a plan begins; from there each candidate is done."""
    from wildlam.worlds.pusht import PushT
    from wildlam.worlds.pusht_films import exploration

    with PushT(size, clips.fps) as world:

        def cost(i: int) -> SimulatedCost:
            _, seed, number = film_parts(clips.names[i])
            first, last = (int(frame) for frame in clips.places[i][1][[0, -1]])
            states = [s for s, _ in islice(exploration(world, np.random.default_rng([seed, number])), last + 1)]
            if not np.allclose(states[first][:5], clips.poses[i, 0].numpy(), atol=1e-3):
                raise WildlamError(f"{clips.names[i]}: the simulator comes to another pose than the film did")
            goal = world.seen_in(states[last])

            def seen(plan: np.ndarray, steps: Sequence[int]) -> list[np.ndarray]:
                world.restore(states[first])
                pictures = [world.frame] if 0 in steps else []
                for step, action in enumerate(plan, 1):
                    for target in world.way(action):
                        world.command(target)
                    if step in steps:
                        pictures.append(world.frame)
                return pictures

            return SimulatedCost(seen, goal, encode, reinfer_end)

        yield cost


SIMULATOR = _PushT(
    name="pusht",
    about="a disc that pushes a T about on a table seen from above (gym-pusht), in contact for more than half of the "
    "time, from any side and in any direction; starts, goals and success are those of the public benchmark",
    space=PUSHER,
    unit="pixels",
    metre=1.0,
    near=20.0,
    far=20.0,
    film_names=("pusht",),
    open=_open,
    film=_film,
    costs=_costs,
    rate=10.0,
)
