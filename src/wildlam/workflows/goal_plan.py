"""Plan from one picture to another with a controller, and show what the model expects on the way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from wildlam.encoders.base import fast_dtype
from wildlam.episodes.action_spaces import PLANAR, ActionSpace
from wildlam.errors import WildlamError
from wildlam.models.controller import Controller
from wildlam.planning.cost import GoalCost
from wildlam.planning.dynamics import Controlled
from wildlam.planning.protocols.recon import plan_divided
from wildlam.planning.solvers.base import Plan, Prior
from wildlam.planning.solvers.cem import cem
from wildlam.progress import Count, uncounted
from wildlam.types import check_count
from wildlam.workflows.trained import Trained

SAMPLES, ITERATIONS, ELITES = 64, 6, 8
"""Fewer candidates than the protocols', whose episodes are judged by hundreds: one plan is to take seconds."""
MOST_STEPS = 16


@dataclass(frozen=True)
class GoalPlan:
    """A plan from a start to a goal.

    Attributes:
        actions: real actions ``[H, A]``.
        states: what the model expects, the start's first, ``[H + 1, N, D]``.
        distances: distance of each of these from the goal's state, ``[H + 1]``.
    """

    actions: Tensor
    states: Tensor
    distances: Tensor


@torch.no_grad()
def plan_to_goal(
    trained: Trained,
    controller: Controller,
    space: ActionSpace,
    start: Tensor,
    goal: Tensor,
    steps: int,
    seed: int = 0,
    count: Count = uncounted,
) -> GoalPlan:
    """Find real actions that lead from a start to what a goal picture shows.

    On the ground (forward, left, turn) a plan is one motion in equal steps, as in the RECON protocol, else each step is
    free, as in DROID's. Candidates are drawn from the sizes of the actions that the controller learnt from.

    Args:
        trained: the run.
        controller: controller of its model.
        space: its actions.
        start: states ``[C, N, D]``, the last of them where the plan begins.
        goal: state ``[N, D]``.
        steps: how many steps to take.
        seed: seed of the candidates.
        count: called with the share of the work done since the last call.

    Raises:
        WildlamError: the states are not finite.
        ValueError: fewer than one step, or more than ``MOST_STEPS``.
    """
    check_count("steps", steps)
    if steps > MOST_STEPS:
        raise ValueError(f"steps must be at most {MOST_STEPS}, got {steps}")
    if not (start.isfinite().all() and goal.isfinite().all()):
        raise WildlamError("the states of start or goal are not finite")
    device = trained.encoder.device
    bf16 = trained.config.training.precision == "bf16" and fast_dtype(device) == torch.bfloat16
    dynamics = Controlled(trained.model, controller)
    context, goal = start.to(device).float()[None], goal.to(device).float()[None]
    mean, std = controller.action_mean, controller.action_std
    past = mean.new_zeros(1, context.shape[1] - 1, len(mean))

    def judged(candidates: int) -> None:
        count(candidates / (SAMPLES * ITERATIONS + 1))  # and what is found, judged once more

    cost = GoalCost(dynamics, context, past, goal, bf16, judged)
    rest = torch.zeros_like(mean) if space.zero_stays else mean
    if space == PLANAR:
        prior = Prior(mean[None] * steps, std[None] * steps)
        solve = partial(plan_divided, horizon=steps, best=ELITES)
    else:
        prior = Prior(rest.expand(steps, -1), std.expand(steps, -1))
        solve = partial(cem, elites=ELITES)
    generator = torch.Generator().manual_seed(seed)
    found: Plan = solve(cost, prior, batch=1, samples=SAMPLES, iterations=ITERATIONS, generator=generator)
    predicted = dynamics.rollout(context, past, found.actions[:, None])[0, 0].float()
    states = torch.cat([context[0, -1:], predicted])
    distances = (states - goal).flatten(1).norm(dim=1)
    return GoalPlan(found.actions[0].cpu(), states.cpu(), distances.cpu())
