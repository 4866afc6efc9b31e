"""What a protocol of planning is, and how one is set up for a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.episode import Episode
from wildlam.errors import WildlamError, option
from wildlam.planning.cost import Cost
from wildlam.planning.protocols import droid, recon
from wildlam.planning.solvers.base import Plan, Prior
from wildlam.planning.solvers.cem import cem
from wildlam.planning.solvers.icem import icem
from wildlam.planning.solvers.mppi import mppi

ProtocolName = Literal["droid", "recon"]
SolverName = Literal["cem", "icem", "mppi"]


Solver = Callable[..., Plan]
"""From a cost and a prior, with ``batch`` and ``generator``, to plans; such as ``cem``."""


@dataclass(frozen=True)
class PlanningProtocol:
    """How plans are made and evaluated.

    Attributes:
        name: name of the protocol, droid or recon.
        horizon: steps of a plan.
        samples: candidates of an iteration.
        iterations: number of times that they are drawn.
        prior: distribution from which candidates are drawn.
        solver: makes plans.
    """

    name: ProtocolName
    horizon: int
    samples: int
    iterations: int
    prior: Prior
    solver: Solver

    def solve(self, cost: Cost, batch: int, generator: torch.Generator) -> Plan:
        """Plans of a number of episodes, by a cost; candidates are drawn by a generator on the CPU."""
        return self.solver(cost, self.prior, batch=batch, generator=generator)

    def in_base_space(self, width: int) -> PlanningProtocol:
        """The same search in the base space of a latent prior, whose points are ``width`` wide, from ``N(0, I)``.

        In the recon protocol a candidate is one point, used at every step.
        """
        free = self.name == "droid"
        size = torch.ones(self.horizon, width) if free else torch.full((1, width), float(self.horizon))
        std = size.to(self.prior.mean)
        return replace(self, prior=Prior(torch.zeros_like(std), std))

    def shown(self, episodes: int, progress: bool) -> dict[str, Any]:
        """What a bar counts: candidates, as a whole episode, or an iteration, may take minutes."""
        return {"total": episodes * self.iterations * self.samples, "unit": "candidate", "disable": not progress}


def protocol(
    name: ProtocolName,
    episodes: Sequence[Episode],
    fps: float,
    device: torch.device,
    samples: int | None = None,
    iterations: int | None = None,
    solver: SolverName = "cem",
) -> PlanningProtocol:
    """Set a protocol up by the poses of training episodes, the same for every model.

    Args:
        name: which.
        episodes: episodes of one kind; those for training decide the prior.
        fps: steps per second.
        device: device that plans are made on.
        samples: candidates of an iteration; the protocol's (300 and 120) if not given.
        iterations: how often candidates are drawn; the protocol's (15 and 1) if not given.
        solver: solver of the droid protocol, which is for the cross-entropy method.

    Raises:
        WildlamError: the episodes are of another kind, or too short; or the protocol has no choice of solvers.
    """
    if name == "recon":
        if solver != "cem":
            raise WildlamError(
                f"the recon protocol keeps the best of one draw; {option('solver')} {solver} is for droid"
            )
        if episodes[0].space != PLANAR:
            raise WildlamError(
                f"the recon protocol plans on the ground; for an arm or any other body give {option('protocol')} droid"
            )
        totals = recon.prior_of_totals(episodes, fps).to(device)
        samples, iterations = samples or recon.SAMPLES, iterations or recon.ITERATIONS
        divided = partial(recon.plan_divided, samples=samples, iterations=iterations)
        return PlanningProtocol(name, recon.HORIZON, samples, iterations, totals, divided)
    prior = droid.prior_of_actions(episodes, fps).to(device)
    samples, iterations = samples or droid.SAMPLES, iterations or droid.ITERATIONS
    solvers: dict[SolverName, Solver] = {
        "cem": partial(cem, elites=droid.ELITES),
        "icem": partial(icem, elites=droid.ELITES),
        "mppi": mppi,
    }
    solve = partial(solvers[solver], samples=samples, iterations=iterations)
    return PlanningProtocol(name, droid.HORIZON, samples, iterations, prior, solve)
