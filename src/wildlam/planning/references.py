"""Baselines of planning without a model, ``[C, H, A]`` each."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.action_spaces import PoseSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.planning.protocols import recon
from wildlam.planning.protocols.protocol import PlanningProtocol
from wildlam.planning.solvers.base import white_noise


def no_move(clips: LabelledClips) -> Tensor:
    """Stay where one is."""
    return torch.zeros_like(clips.actions)


def mean_plan(clips: LabelledClips, how: PlanningProtocol) -> Tensor:
    """Do what training episodes do on average, whatever the goal."""
    mean = how.prior.mean.cpu().expand(len(clips), -1, -1)
    return recon.divided(mean)[:, 0] if how.name == "recon" else mean


def random_plans(clips: LabelledClips, how: PlanningProtocol, seed: int = 0) -> Tensor:
    """One draw of the protocol's prior per clip."""
    return candidates(clips, how, 1, seed)[:, 0]


def candidates(clips: LabelledClips, how: PlanningProtocol, samples: int, seed: int = 0) -> Tensor:
    """Draws of the protocol's prior, ``[C, S, H, A]``: those that a plan begins with."""
    mean, std = how.prior.per_episode(len(clips))
    drawn = how.prior.around(mean, std, white_noise(mean, samples, torch.Generator().manual_seed(seed))).cpu()
    return recon.divided(drawn[:, :, 0]) if how.name == "recon" else drawn


def known_goal(clips: LabelledClips, how: PlanningProtocol, seed: int = 0) -> Tensor:
    """Plans of one whose cost is true: how far from the goal's pose candidates on the ground end.

    What is left of the error is due to the protocol: to few candidates, and to going in one curve where the truth did
    not. No model can plan much better.
    """
    unit, space = how.prior.std[-1].cpu().numpy(), clips.space
    assert isinstance(space, PoseSpace)

    def cost(candidates: Tensor) -> Tensor:
        costs = np.zeros(candidates.shape[:2], np.float32)
        for (b, s), actions in zip(np.ndindex(*costs.shape), candidates.cpu().double().flatten(0, 1), strict=True):
            poses = clips.poses[b].numpy()
            end = space.integrate(poses[0], actions.numpy())[-1]
            costs[b, s] = np.linalg.norm(space.between(np.stack([poses[-1], end]))[0] / unit)
        return torch.from_numpy(costs).to(candidates.device)

    return how.solve(cost, len(clips), torch.Generator().manual_seed(seed)).actions.cpu()
