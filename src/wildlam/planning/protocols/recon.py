"""The RECON protocol (Navigation World Models; arXiv 2601.05230): one action to a goal image two seconds ahead.

A candidate is one displacement and one turn, drawn once from a prior and divided into H equal steps. The mean of the
best few is the plan, judged by how far its trajectory lies from the true one. (Navigation World Models lets the whole
turn come with the last step. A body that turns by some degrees a step at most cannot, and no model has seen it.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.episode import Episode
from wildlam.errors import WildlamError
from wildlam.planning.cost import Cost
from wildlam.planning.solvers.base import Plan, Prior, lowest, white_noise

HORIZON = 8
SAMPLES = 120
BEST = 5
ITERATIONS = 1


def divided(totals_BSA: Tensor, horizon: int = HORIZON) -> Tensor:
    """Actions ``[B, S, H, A]``, H equal parts of the totals ``[B, S, A]``."""
    return totals_BSA[:, :, None].expand(-1, -1, horizon, -1) / horizon


def prior_of_totals(episodes: Sequence[Episode], fps: float, horizon: int = HORIZON) -> Prior:
    """What training episodes do in H steps: mean and deviation of their actions' sums, ``[1, A]``.

    Raises:
        WildlamError: fewer than two such windows.
    """
    totals = []
    for episode in episodes:
        for run in episode.sampled(fps)[0] if episode.split == "train" else ():
            actions = episode.actions(run)
            whole = len(actions) // horizon
            totals.append(actions[: whole * horizon].reshape(whole, horizon, -1).sum(axis=1))
    if (windows := sum(map(len, totals))) < 2:
        raise WildlamError(f"training episodes hold {windows} windows of {horizon} steps; two are needed at least")
    found = torch.from_numpy(np.concatenate(totals)).float()
    return Prior(found.mean(dim=0)[None], found.std(dim=0)[None])


@torch.no_grad()
def plan_divided(
    cost: Cost,
    prior: Prior,
    *,
    batch: int,
    samples: int = SAMPLES,
    best: int = BEST,
    iterations: int = ITERATIONS,
    horizon: int = HORIZON,
    generator: torch.Generator | None = None,
) -> Plan:
    """Draw actions, divide them, and keep the mean of the best.

    Args:
        cost: cost of candidates ``[B, S, H, A]``.
        prior: prior of their sums, ``[1, A]``.
        batch: episodes B.
        samples: actions to draw.
        best: how many of them the plan is the mean of.
        iterations: how often to draw, after the first time from where the best were (the protocol draws once).
        horizon: steps H.
        generator: random generator of the draws, on the CPU.
    """
    mean, std = prior.per_episode(batch)
    history = []
    for _ in range(iterations):
        totals = prior.around(mean, std, white_noise(mean, samples, generator))
        kept, costs = lowest(totals, cost(divided(totals[:, :, 0], horizon)), best)
        mean, std = kept.mean(dim=1), kept.std(dim=1, correction=0)
        history.append(costs[:, 0])
    actions = divided(mean, horizon)
    return Plan(actions[:, 0], cost(actions)[:, 0], torch.stack(history))
