"""Model predictive path integral control (Williams et al., 2015): a mean of all candidates, weighted by their cost."""

from __future__ import annotations

import torch

from wildlam.planning.cost import Cost
from wildlam.planning.solvers.base import Plan, Prior, next_candidates


@torch.no_grad()
def mppi(
    cost: Cost,
    prior: Prior,
    *,
    batch: int,
    samples: int = 300,
    iterations: int = 15,
    temperature: float = 0.1,
    generator: torch.Generator | None = None,
) -> Plan:
    """Minimise a cost by path integrals. The noise keeps its size; only the mean moves.

    Args:
        cost: cost of candidates ``[B, S, H, A]``.
        prior: distribution from which the first candidates are drawn, and whose deviations stay.
        batch: episodes B.
        samples: candidates per iteration.
        iterations: how often.
        temperature: weights are ``exp(-(cost - lowest) / (temperature * spread))``, with the spread of the candidates'
            costs, so that it has no unit.
        generator: random generator of the draws, on the CPU.

    Returns:
        The last mean, with its cost.
    """
    mean, std = prior.per_episode(batch)
    history = []
    for iteration in range(iterations):
        candidates = next_candidates(prior, mean, std, samples, generator, iteration)
        costs = cost(candidates)
        lowest = costs.amin(dim=1, keepdim=True)
        history.append(lowest[:, 0])
        spread = costs.std(dim=1, correction=0, keepdim=True).clamp(min=1e-12)
        weights = (-(costs - lowest) / (temperature * spread)).softmax(dim=1)
        mean = (weights[:, :, None, None] * candidates).sum(dim=1)
    return Plan(mean, cost(mean[:, None])[:, 0], torch.stack(history))
