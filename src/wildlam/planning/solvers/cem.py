"""The cross-entropy method (Rubinstein, 1999): draw, keep the best, draw again from where they lie."""

from __future__ import annotations

import torch

from wildlam.planning.cost import Cost
from wildlam.planning.solvers.base import Plan, Prior, lowest, next_candidates


@torch.no_grad()
def cem(
    cost: Cost,
    prior: Prior,
    *,
    batch: int,
    samples: int = 300,
    elites: int = 10,
    iterations: int = 15,
    generator: torch.Generator | None = None,
) -> Plan:
    """Minimise a cost by the cross-entropy method; the defaults are those of the DROID protocol (arXiv 2601.05230).

    The mean itself is among the candidates of every iteration but the first, so that a plan is never worse than it.

    Args:
        cost: cost of candidates ``[B, S, H, A]``.
        prior: distribution from which the first candidates are drawn; a warm start is a prior about an earlier plan.
        batch: episodes B.
        samples: candidates per iteration.
        elites: how many of them the next distribution is fitted to.
        iterations: how often.
        generator: random generator of the draws, on the CPU: the same draws on every device.

    Returns:
        The mean of the last elites, with its cost.
    """
    mean, std = prior.per_episode(batch)
    history = []
    for iteration in range(iterations):
        candidates = next_candidates(prior, mean, std, samples, generator, iteration)
        kept, costs = lowest(candidates, cost(candidates), elites)
        history.append(costs[:, 0])
        mean, std = kept.mean(dim=1), kept.std(dim=1, correction=0)
    return Plan(mean, cost(mean[:, None])[:, 0], torch.stack(history))
