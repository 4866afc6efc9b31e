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
from wildlam.evaluation.probes import fit_clips, standardiser
from wildlam.models import LatentActionModel
from wildlam.workflows.action_decoder import cross_validated_errors
from wildlam.workflows.controller import infer_latents

COMPONENTS = 128
"""Principal components, of all tokens together, that stand for a state."""
STATES_FOR_COMPONENTS = 2000
"""States of the labelled clips that they are computed from, at most."""

See = Callable[[LabelledClips], Tensor]
"""What is seen of clips of two states ``[C, 2, N, D]``: ``float64 [C, 1, F]``."""
Told = Callable[[LabelledClips], Tensor]
"""The sum of the actions from the first state of each clip to its last, ``float32 [C, A]``."""


@dataclass
class GoalRegression:
    """Linear maps (ridge) from the first state and the last of clips to the sum of the actions between them.

    Attributes:
        of_states: that of the difference of the states, ``float32 [C, A]``, on the CPU: no model enters.
        of_latents: that of the z that a model infers of the two.
        std: deviation of what their mean misses of the longest motions in clips that were not fitted to, ``[A]``.
    """

    of_states: Told
    of_latents: Told
    std: Tensor

    def __call__(self, clips: LabelledClips) -> Tensor:
        """The mean of both, ``float32 [C, A]``, on the CPU."""
        return (self.of_states(clips) + self.of_latents(clips)) / 2


def in_equal_steps(sums: Tensor, steps: int) -> Tensor:
    """Plans ``[C, H, A]`` that do in ``steps`` equal ones what is to be done, ``[C, A]``."""
    return (sums / steps)[:, None].repeat(1, steps, 1)


def fit_goal_regression(clips: LabelledClips, horizon: int, model: LatentActionModel) -> GoalRegression:
    """Fit to all pairs of states of labelled clips that are at most ``horizon`` steps apart.

    Args:
        clips: the labelled clips, four at least.
        horizon: steps of a plan.
        model: model whose z of start and goal is read.
    """
    pairs = list(_pairs(clips, horizon))
    done = torch.stack([clips.actions[:, a:b].sum(dim=1) for a, b in pairs], dim=1).double()
    of_states, missed_by_states = _fit(_difference(clips), clips, pairs, done, together=True)
    of_latents, missed_by_latents = _fit(partial(_latents, model), clips, pairs, done, together=False)
    longest = [i for i, (a, b) in enumerate(pairs) if b - a == pairs[-1][1] - pairs[-1][0]]
    missed = ((missed_by_states + missed_by_latents) / 2)[:, longest]
    return GoalRegression(of_states, of_latents, missed.square().mean(dim=(0, 1)).sqrt().float())


def _fit(
    see: See, clips: LabelledClips, pairs: list[tuple[int, int]], done: Tensor, together: bool
) -> tuple[Told, Tensor]:
    """A map of what is seen, and what maps miss in clips that they were not fitted to, ``[C, P, A]``."""
    seen = torch.cat([see(_between(clips, *pair)) for pair in pairs], dim=1)
    scale = standardiser(seen, together)
    predict = fit_clips(scale(seen), done)

    def told(clips: LabelledClips) -> Tensor:
        ends = _between(clips, 0, clips.states.shape[1] - 1)
        return predict(scale(see(ends)))[:, 0].float()

    return told, cross_validated_errors(scale(seen), done)


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
        start, goal = ((ends.states[:, i].flatten(1).float() - mean) @ directions for i in (0, 1))
        return (goal - start)[:, None].double()

    return see


def _latents(model: LatentActionModel, ends: LabelledClips) -> Tensor:
    return infer_latents(model, ends).double().cpu()
