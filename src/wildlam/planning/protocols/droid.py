"""The DROID protocol (V-JEPA 2-AC; arXiv 2601.05230): three free steps towards a goal image, found by CEM.

A plan is evaluated by where it leads: the L1 distance between the sums of the planned and of the true displacements.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.episode import Episode
from wildlam.errors import WildlamError
from wildlam.planning.solvers.base import Prior, mixing_of

HORIZON = 3
SAMPLES = 300
ELITES = 10
ITERATIONS = 15


def prior_of_actions(episodes: Sequence[Episode], fps: float, horizon: int = HORIZON) -> Prior:
    """``N(0, I)`` in units of the deviations of training episodes' actions, bounded by the largest of them.

    About their mean, where an action of zeros is not to stay: commands of a step, given one behind the other. These
    vary together, as they did in training: drawn each by itself, they would hardly ever go anywhere.

    Raises:
        WildlamError: fewer than two such actions.
    """
    found = []
    for episode in episodes:
        if episode.split == "train":
            found += [episode.actions(run) for run in episode.sampled(fps)[0] if len(run) > 1]
    if sum(map(len, found)) < 2:
        raise WildlamError("training episodes hold fewer than two actions")
    actions = torch.from_numpy(np.concatenate(found)).float()
    std = actions.std(dim=0).expand(horizon, -1)
    bounds = actions.amin(dim=0), actions.amax(dim=0)
    if episodes[0].space.zero_stays:
        return Prior(torch.zeros_like(std), std, *bounds)
    return Prior(actions.mean(dim=0).expand(horizon, -1), std, *bounds, mixing_of(actions))


def displacement_error(planned_BHA: Tensor, true_BHA: Tensor, position: int) -> Tensor:
    """``‖Σ a_plan - Σ a_true‖₁`` over the first ``position`` components, ``[B]``."""
    difference = planned_BHA[:, :, :position].sum(dim=1) - true_BHA[:, :, :position].sum(dim=1)
    return difference.abs().sum(dim=-1)
