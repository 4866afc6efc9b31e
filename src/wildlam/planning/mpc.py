"""Model-predictive control: plan towards a goal image, act, observe, and replan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from wildlam.planning.cost import GoalCost, LikelyCost
from wildlam.planning.dynamics import Dynamics, FromPrior
from wildlam.planning.solvers.base import Prior
from wildlam.planning.solvers.cem import cem

MEMORY = 4
"""Frames that a plan knows, at most."""

SAMPLES = 64
ELITES = 8
ITERATIONS = 3
"""Iterations of the cross-entropy method: fewer than the DROID protocol's, as every step starts from the last plan."""


class World(Protocol):
    """A simulator behind gymnasium's API whose pictures are its observations."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin anew: a picture ``uint8 [S, S, 3]``, and the ``pose``."""
        ...

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Act; the second boolean or the first says that it has ended, ``is_success`` that it did at its goal."""
        ...


@dataclass
class Trace:
    """What was seen and where it led.

    Attributes:
        frames: ``uint8 [T, S, S, 3]``.
        poses: ``float64 [T, P]``.
        actions: requested actions, ``float64 [T - 1, A]``; their effect is in the poses.
    """

    frames: np.ndarray
    poses: np.ndarray
    actions: np.ndarray


Start = dict[str, Any]
"""What ``World.reset`` takes."""
Policy = Callable[[list[np.ndarray], list[np.ndarray], list[np.ndarray]], np.ndarray]
"""From frames so far ``uint8 [B, S, S, 3]`` each, the poses at them ``[B, P]`` each, and the actions requested between
them ``[B, A]`` each, to what to do, ``[B, A]``.
"""


def follow(worlds: Sequence[World], starts: Sequence[Start], policy: Policy, steps: int) -> list[Trace]:
    """Let a policy act in several worlds at once, each reset to its start; one that ends stays where it is."""
    first = [world.reset(**start) for world, start in zip(worlds, starts, strict=True)]
    frames, poses = [np.stack([frame for frame, _ in first])], [np.stack([info["pose"] for _, info in first])]
    ended, actions = [False] * len(worlds), list[np.ndarray]()
    for _ in range(steps):
        chosen = policy(frames, poses, actions)
        actions.append(chosen)
        seen, there = frames[-1].copy(), poses[-1].copy()
        for i, world in enumerate(worlds):
            if not ended[i]:
                frame, _, terminated, truncated, info = world.step(chosen[i])
                ended[i] = terminated or truncated
                if not ended[i] or info.get("is_success"):
                    seen[i], there[i] = frame, info["pose"]
        frames.append(seen)
        poses.append(there)
    film, way, asked = (np.stack(parts, axis=1) for parts in (frames, poses, actions))
    return [Trace(film[i], way[i], asked[i]) for i in range(len(worlds))]


@dataclass
class Replanner:
    """Replans at every step by the cross-entropy method, starting from the rest of the last plan.

    Attributes:
        dynamics: world model of real actions.
        encode: maps video ``uint8 [B, T, 3, S, S]`` to states ``[B, T, N, D]``, one for each frame.
        goals: states to reach, ``[B, N, D]``.
        prior: prior of the first plan, ``[H, A]``; its deviation, halved, is that of the later ones.
        between: maps the poses ``[T, P]`` of an episode to what was really done, ``[T - 1, A]``, as it was learnt; None
            of commands, which are learnt as they were given.
        seed: seed of the candidates.
        bf16: see ``GoalCost``.
        arrive: steps from the start in which the goal is to be reached: plans are as long as what is left of these, one
            step at least, as a plan of constant length always arrives later. None: plans are as long as the prior.
        propose: what a search begins about, ``[B, H, A]``, from states ``[B, N, D]`` after so many steps, in the place
            of the rest of the last plan.
        guide: makes of the cost of plans, after so many steps and of so many, another one (such as ``GuidedCost``).
    """

    dynamics: Dynamics
    encode: Callable[[Tensor], Tensor]
    goals: Tensor
    prior: Prior
    between: Callable[[np.ndarray], np.ndarray] | None
    seed: int = 0
    bf16: bool = True
    arrive: int | None = None
    propose: Callable[[Tensor, int], Tensor] | None = None
    guide: Callable[[GoalCost, int, int], GoalCost] | None = None

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)
        self._plan: Tensor | None = None

    def __call__(self, frames: list[np.ndarray], poses: list[np.ndarray], actions: list[np.ndarray]) -> np.ndarray:
        """See ``Policy``."""
        known = min(MEMORY, len(frames))
        video = torch.from_numpy(np.stack(frames[-known:], axis=1)).permute(0, 1, 4, 2, 3)
        states = self.encode(video).to(self.goals.device).float()
        past = torch.from_numpy(self._done(poses[-known:], actions)).to(states)
        about, acted = self.prior, len(frames) - 1
        if self.propose is not None:
            begin = self.prior.clip(self.propose(states[:, -1], acted).to(self.prior.mean))
            about = replace(self.prior, mean=begin, std=self.prior.std / 2)
        elif self._plan is not None and self._plan.shape[1] > 1:
            left = torch.cat([self._plan[:, 1:], self.prior.mean[-1].expand(len(states), 1, -1)], dim=1)
            about = replace(self.prior, mean=left, std=self.prior.std / 2)
        if self.arrive is not None:
            steps = max(1, self.arrive - acted)
            about = replace(about, mean=about.mean[..., :steps, :], std=about.std[..., :steps, :])
        cost = self.cost(states, past)
        self._plan = cem(
            self.guide(cost, acted, about.mean.shape[-2]) if self.guide else cost,
            about,
            batch=len(states),
            samples=SAMPLES,
            elites=ELITES,
            iterations=ITERATIONS,
            generator=self._generator,
        ).actions
        return self.chosen(states, self._plan).double().cpu().numpy()

    def _done(self, poses: list[np.ndarray], actions: list[np.ndarray]) -> np.ndarray:
        """What was done between the last poses, ``[B, T - 1, A]``."""
        if self.between is not None:
            return np.stack([self.between(of_episode) for of_episode in np.stack(poses, axis=1)])
        if not actions:
            return np.empty((len(poses[0]), 0, self.prior.mean.shape[-1]))
        return np.stack(actions[1 - len(poses) :], axis=1)

    def cost(self, states: Tensor, past: Tensor) -> GoalCost:
        """Cost of candidates after known states ``[B, C, N, D]``, between which ``[B, C - 1, A]`` was done."""
        return GoalCost(self.dynamics, states, past, self.goals, self.bf16)

    def chosen(self, states: Tensor, plan: Tensor) -> Tensor:
        """What to do now, ``[B, A]``, by a plan ``[B, H, A]`` from known states."""
        return plan[:, 0]


@dataclass(kw_only=True)
class LatentReplanner(Replanner):
    """Replans in the base space of a prior, and decodes the first latent action.

    Attributes:
        dynamics: latent action model and prior.
        decode: maps latent actions ``[B, P, Z]`` and the states ``[B, P, N, D]`` that they are taken in to real ones,
            ``[B, P, A]``.
        unlikely: price of a nat of what the prior finds unlikely; see ``LikelyCost``.
    """

    dynamics: FromPrior
    decode: Callable[[Tensor, Tensor], Tensor]
    unlikely: float

    def cost(self, states: Tensor, past: Tensor) -> GoalCost:
        """See ``Replanner``."""
        return LikelyCost(self.dynamics, states, past, self.goals, self.bf16, price=self.unlikely)

    @torch.no_grad()
    def chosen(self, states: Tensor, plan: Tensor) -> Tensor:
        """See ``Replanner``."""
        z, used_in = self.dynamics.latents(states, plan[:, :1])
        return self.decode(z, used_in)[:, 0]
