"""How far candidates end from a goal: the cost that planners minimise, ``[B, S, H, A] -> [B, S]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from wildlam.errors import WildlamError
from wildlam.planning.dynamics import Dynamics, FromPrior

Cost = Callable[[Tensor], Tensor]
"""From candidates ``[B, S, H, A]`` to their costs ``[B, S]``."""


class CountingCost(Protocol):
    """A cost that reports how many candidates it has evaluated so far."""

    count: Callable[[int], object] | None

    def __call__(self, candidates: Tensor) -> Tensor:
        """Costs ``[B, S]`` of candidates ``[B, S, H, A]``."""
        ...


ROOM = 2**29
"""Bytes of keys and values at once on a CPU, of all episodes and candidates; a GPU gives half of what is free."""


@dataclass
class GoalCost:
    """Euclidean distance of the last predicted state from the goal's, ``‖s_g - ŝ_{t+H}‖₂`` (arXiv 2601.05230).

    Attributes:
        dynamics: unrolls the candidates; the keys and values of a context are shared among its own.
        context: known states of each episode, ``[B, C, N, D]``.
        past: the real actions between them, ``[B, C - 1, A]``.
        goal: states to reach, ``[B, N, D]``.
        bf16: make matrix products in bfloat16, as training does by default.
        count: called with the number of candidates evaluated, over all episodes; None if nobody counts.
    """

    dynamics: Dynamics
    context: Tensor
    past: Tensor
    goal: Tensor
    bf16: bool = True
    count: Callable[[int], object] | None = None

    @torch.no_grad()
    def __call__(self, candidates: Tensor) -> Tensor:
        """Costs ``[B, S]`` of candidates ``[B, S, H, A]``, in chunks that fit in memory.

        Raises:
            WildlamError: one of them is not finite.
        """
        device = candidates.device
        room = _free(device) // 2 if device.type == "cuda" else ROOM
        size = max(1, room // (self.dynamics.bytes_per_state * len(candidates) * candidates.shape[2]))
        costs = []
        for chunk in candidates.split(size, dim=1):
            with torch.autocast(candidates.device.type, torch.bfloat16, enabled=self.bf16):
                states = self.dynamics.rollout(self.context, self.past, chunk)
            costs.append(self.judge(chunk, states))
            if self.count:
                self.count(len(chunk) * chunk.shape[1])
        found = torch.cat(costs, dim=1)
        if not found.isfinite().all():
            raise WildlamError("what the model predicts is not finite for some candidate actions, so that none is best")
        return found

    def judge(self, candidates: Tensor, states: Tensor) -> Tensor:
        """Costs ``[B, S]`` of candidates ``[B, S, H, A]`` by the states that they lead to, ``[B, S, H, N, D]``."""
        return (states[:, :, -1].float() - self.goal[:, None].float()).flatten(2).norm(dim=-1)


@dataclass
class LikelyCost(GoalCost):
    """Distance from the goal, plus a price of what the prior finds unlikely: an optimiser would find z that the world
    model was never trained on, and that lead to the goal in its predictions alone.

    Attributes:
        price: price of a nat, as a share of the distance from the start to the goal.
    """

    dynamics: FromPrior
    price: float = 0.0

    def judge(self, candidates: Tensor, states: Tensor) -> Tensor:
        """See ``GoalCost``."""
        away = (self.context[:, -1] - self.goal).float().flatten(1).norm(dim=-1, keepdim=True)
        unlikely = self.dynamics.surprise(self.context, candidates, states)
        return super().judge(candidates, states) + self.price * away * unlikely


@dataclass(kw_only=True)
class GuidedCost(GoalCost):
    """Distance from the goal, plus a price of leaving what was guessed of the whole motion: each tells what the other
    does not, and where the world model is wrong an optimiser finds it.

    Attributes:
        guess: sum of the actions that lead to the goal, ``[B, A]``.
        std: how far off it is, ``[A]``.
        price: price of one deviation, squared, mean over the actions, as a share of the distance from the start to the
            goal.
    """

    guess: Tensor
    std: Tensor
    price: float

    def judge(self, candidates: Tensor, states: Tensor) -> Tensor:
        """See ``GoalCost``."""
        away = (self.context[:, -1] - self.goal).float().flatten(1).norm(dim=-1, keepdim=True)
        off = (candidates.sum(dim=2) - self.guess[:, None]) / self.std
        return super().judge(candidates, states) + self.price * away * off.square().mean(dim=-1)


def counted(cost: CountingCost, bar: tqdm, times: int) -> Cost:
    """A cost whose first ``times`` calls, those of a solver's iterations, move a bar on as candidates are judged."""
    calls = count()

    def counting(candidates: Tensor) -> Tensor:
        cost.count = bar.update if next(calls) < times else None
        return cost(candidates)

    return counting


def _free(device: torch.device) -> int:
    """Bytes of a GPU that are free, or that PyTorch holds for reuse."""
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held
