"""The whole motion from a start to a goal, from these two states alone, by linear maps from few labelled clips.

It plans without a world model, and is what a planner has to beat. With z of start and goal beside the difference of the
two states it also knows what films without labels taught, and guides a planner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from wildlam.episodes.clips import LabelledClips
from wildlam.evaluation.clips import spread
from wildlam.evaluation.components import leading_directions
from wildlam.evaluation.probes import Predict, fit_clips, standardiser
from wildlam.models import LatentActionModel
from wildlam.workflows.action_decoder import cross_validated_errors
from wildlam.workflows.controller import infer_latents

COMPONENTS = 128
"""Principal components, of all tokens together, that stand for a state."""
STATES_FOR_COMPONENTS = 2000
"""States of the labelled clips that they are computed from, at most."""

See = Callable[[LabelledClips], Tensor]
"""What is seen of clips of two states ``[C, 2, N, D]``: ``float64 [C, 1, F]``."""


@dataclass
class GoalRegression:
    """Linear maps (ridge) from start and goal to the sum of the actions between them; their mean, if there are several.

    Attributes:
        maps: what each sees, and its map.
        std: deviation of what is missed of the longest motions in clips that were not fitted to, ``[A]``.
        horizon: steps of the longest motions that they were fitted to.
    """

    maps: list[tuple[See, Predict]]
    std: Tensor
    horizon: int

    def __call__(self, clips: LabelledClips) -> Tensor:
        """The sum of the actions from the first state of each clip to its last, ``float32 [C, A]``, on the CPU."""
        ends = _between(clips, 0, clips.states.shape[1] - 1)
        return torch.stack([predict(see(ends))[:, 0] for see, predict in self.maps]).mean(dim=0).float()

    def plans(self, clips: LabelledClips) -> Tensor:
        """Plans that do it in equal steps, ``[C, H, A]``."""
        steps = clips.actions.shape[1]
        return (self(clips) / steps)[:, None].expand(-1, steps, -1).clone()


def fit_goal_regression(clips: LabelledClips, horizon: int, model: LatentActionModel | None = None) -> GoalRegression:
    """Fit to all pairs of states of labelled clips that are at most ``horizon`` steps apart.

    Args:
        clips: the labelled clips, four at least.
        horizon: steps of a plan.
        model: if given, z of start and goal is read as well.
    """
    pairs = list(_pairs(clips, horizon))
    done = torch.stack([clips.actions[:, a:b].sum(dim=1) for a, b in pairs], dim=1).double()
    longest = [i for i, (a, b) in enumerate(pairs) if b - a == max(b - a for a, b in pairs)]
    fitted = [_fit(_difference(clips), clips, pairs, done, together=True)]
    if model is not None:
        fitted.append(_fit(partial(_latents, model), clips, pairs, done, together=False))
    of_longest = torch.stack([errors for *_, errors in fitted]).mean(dim=0)[:, longest]
    return GoalRegression(
        [(see, predict) for see, predict, _ in fitted],
        of_longest.flatten(0, 1).square().mean(dim=0).sqrt().float(),
        horizon,
    )


def _fit(
    see: See, clips: LabelledClips, pairs: list[tuple[int, int]], done: Tensor, together: bool
) -> tuple[See, Predict, Tensor]:
    """What is seen, a map of it, and what maps miss in clips that they were not fitted to."""
    seen = torch.cat([see(_between(clips, *pair)) for pair in pairs], dim=1)
    scale = standardiser(seen, together)
    predict = fit_clips(scale(seen), done)
    return see, lambda x: predict(scale(x)), cross_validated_errors(scale(seen), done)


def _pairs(clips: LabelledClips, horizon: int) -> Iterator[tuple[int, int]]:
    states = clips.states.shape[1]
    for k in range(1, min(horizon, states - 1) + 1):
        yield from ((i, i + k) for i in range(states - k))


def _between(clips: LabelledClips, start: int, end: int) -> LabelledClips:
    return replace(clips, states=clips.states[:, [start, end]])


def _difference(clips: LabelledClips) -> See:
    """The difference of two states in principal components of the labelled clips' states."""
    flat = clips.states.flatten(2).flatten(0, 1)
    flat = flat[spread(len(flat), STATES_FOR_COMPONENTS)].float()
    mean, directions = leading_directions(flat, min(COMPONENTS, len(flat) - 1))

    def see(ends: LabelledClips) -> Tensor:
        parts = ((ends.states[:, i].flatten(1).float() - mean) @ directions for i in (0, 1))
        start, goal = parts
        return (goal - start)[:, None].double()

    return see


def _latents(model: LatentActionModel, ends: LabelledClips) -> Tensor:
    return infer_latents(model, ends).double().cpu()
