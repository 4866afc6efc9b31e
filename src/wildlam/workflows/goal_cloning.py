"""Goal-conditioned behaviour cloning: a small network from a start and a goal to what to do, from few labelled clips.

What a sceptic would train with the same labels, beside a linear regression (``goal_regression``): no world model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from wildlam.episodes.clips import LabelledClips
from wildlam.evaluation.probes import fit_clips, fit_mlp, standardiser
from wildlam.workflows.goal_regression import leading_of, pairs_within, recordings_of, sums_between


@dataclass(frozen=True)
class GoalCloning:
    """A network that tells what to do to come to a goal.

    Attributes:
        act: the mean action ``float32 [C, A]``, on the CPU, between two states ``[C, 2, N, D]`` that are so many steps
            apart.
    """

    act: Callable[[Tensor, int], Tensor]

    def __call__(self, clips: LabelledClips) -> Tensor:
        """Plans ``float32 [C, H, A]`` from the first state of each clip to its last, ``H`` steps later."""
        steps = clips.states.shape[1] - 1
        return self.act(clips.states[:, [0, -1]], steps)[:, None].repeat(1, steps, 1)


def fit_goal_cloning(clips: LabelledClips, horizon: int, seed: int = 0) -> GoalCloning:
    """Fit to all pairs of states of labelled clips that are at most ``horizon`` steps apart.

    The network sees the first state and the difference, in principal components of the labelled clips' states, and how
    many steps lie between them; it tells the mean action of these, which a plan repeats. It stops early by every fifth
    recording.

    Args:
        clips: the labelled clips, four at least.
        horizon: steps of a plan.
        seed: seed of the network.
    """
    mean, directions = leading_of(clips)
    pairs = pairs_within(clips.states.shape[1], horizon)
    spans = torch.tensor([end - start for start, end in pairs], dtype=torch.float64)

    def see(ends: Tensor) -> Tensor:
        first, last = ((ends[:, i].flatten(1).float() - mean) @ directions for i in (0, 1))
        return torch.cat([first, last - first], dim=-1).double()

    seen = torch.stack([see(clips.states[:, pair]) for pair in pairs], dim=1)
    scale = standardiser(seen, together=True)  # alike, the last components would be mostly noise, blown up

    def inputs(seen: Tensor, spans: Tensor) -> Tensor:
        return torch.cat([scale(seen), (spans / horizon).expand(len(seen), -1)[..., None]], dim=-1)

    done = sums_between(clips.actions, pairs).double() / spans[:, None]
    predict = fit_clips(inputs(seen, spans), done, partial(fit_mlp, seed=seed), recordings_of(clips))

    def act(ends: Tensor, steps: int) -> Tensor:
        return predict(inputs(see(ends)[:, None], spans.new_tensor([steps])))[:, 0].float()

    return GoalCloning(act)
