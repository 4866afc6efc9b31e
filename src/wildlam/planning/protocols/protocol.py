"""What a protocol of planning is, and how one is set up for a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.episode import Episode
from wildlam.errors import WildlamError
from wildlam.planning.cost import Cost
from wildlam.planning.protocols import droid, recon
from wildlam.planning.solvers.base import Plan, Prior
from wildlam.planning.solvers.cem import cem
from wildlam.planning.solvers.icem import icem
from wildlam.planning.solvers.mppi import mppi

ProtocolName = Literal["droid", "recon"]
SolverName = Literal["cem", "icem", "mppi"]


@dataclass(frozen=True)
class PlanningProtocol:
    """How plans are made and evaluated.

    Attributes:
        name: name of the protocol, droid or recon.
        horizon: steps of a plan.
        samples: candidates of an iteration.
        iterations: number of times that they are drawn.
        prior: distribution from which candidates are drawn.
        solve: maps a cost, a number of episodes and a generator to plans.
    """

    name: ProtocolName
    horizon: int
    samples: int
    iterations: int
    prior: Prior
    solve: Callable[[Cost, int, torch.Generator], Plan]

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
            raise WildlamError(f"the recon protocol keeps the best of one draw; --solver {solver} is for droid")
        if episodes[0].space is not PLANAR:
            raise WildlamError("the recon protocol plans on the ground; for an arm give --protocol droid")
        totals = recon.prior_of_totals(episodes, fps).to(device)
        samples, iterations = samples or recon.SAMPLES, iterations or recon.ITERATIONS
        divided = partial(recon.plan_divided, samples=samples, iterations=iterations)
        return PlanningProtocol(
            name,
            recon.HORIZON,
            samples,
            iterations,
            totals,
            lambda cost, batch, g: divided(cost, totals, batch=batch, generator=g),
        )
    prior = droid.prior_of_actions(episodes, fps).to(device)
    samples, iterations = samples or droid.SAMPLES, iterations or droid.ITERATIONS
    solve: dict[SolverName, Callable[..., Plan]] = {
        "cem": partial(cem, elites=droid.ELITES),
        "icem": partial(icem, elites=droid.ELITES),
        "mppi": mppi,
    }
    return PlanningProtocol(
        name,
        droid.HORIZON,
        samples,
        iterations,
        prior,
        lambda cost, batch, g: solve[solver](
            cost, prior, batch=batch, samples=samples, iterations=iterations, generator=g
        ),
    )
