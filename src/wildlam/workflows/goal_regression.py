"""The whole motion from a start to a goal, from these two states alone, by linear maps from few labelled clips.

It plans without a world model, and is what a planner has to beat. With z of start and goal beside the difference of the
two states it also knows what films without labels taught, and guides a planner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class GoalMap:
    """A linear map (ridge) from the first state and the last of clips to the sum of the actions between them.

    Attributes:
        told: what it tells, ``float32 [C, A]``, on the CPU.
        missed: what maps miss of the longest motions of labelled clips that they were not fitted to, ``[C, P, A]``.
    """

    told: Told
    missed: Tensor


@dataclass(frozen=True)
class GoalRegression:
    """The mean of what maps tell.

    Attributes:
        maps: that of the difference of the two states, into which no model enters; then, if a model was given, that of
            the z that it infers of the two.
    """

    maps: tuple[GoalMap, ...]

    def __call__(self, clips: LabelledClips) -> Tensor:
        """The sum of the actions from the first state of each clip to its last, ``float32 [C, A]``, on the CPU."""
        return torch.stack([one.told(clips) for one in self.maps]).mean(dim=0)

    @property
    def std(self) -> Tensor:
        """Deviation of what it misses of the longest motions in clips that were not fitted to, ``float32 [A]``."""
        missed = torch.stack([one.missed for one in self.maps]).mean(dim=0)
        return missed.square().mean(dim=(0, 1)).sqrt().float()

    @property
    def of_states(self) -> GoalRegression:
        """Without the model."""
        return GoalRegression(self.maps[:1])


def pairs_within(states: int, horizon: int) -> list[tuple[int, int]]:
    """Pairs of a clip's states that are at most ``horizon`` steps apart: single steps first."""
    return [(i, i + k) for k in range(1, min(horizon, states - 1) + 1) for i in range(states - k)]


def sums_between(actions: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Sums of the actions ``[C, T - 1, A]`` between pairs of states, ``[C, P, A]``."""
    return torch.stack([actions[:, start:end].sum(dim=1) for start, end in pairs], dim=1)


def some_states(clips: LabelledClips) -> Tensor:
    """States spread over clips, flat, for principal components: ``float32 [n, N D]``."""
    flat = clips.states.flatten(2).flatten(0, 1)
    return flat[spread(len(flat), STATES_FOR_COMPONENTS)].float()


def in_equal_steps(sums: Tensor, steps: int) -> Tensor:
    """Plans ``[C, H, A]`` that do in ``steps`` equal ones what is to be done, ``[C, A]``."""
    return (sums / steps)[:, None].repeat(1, steps, 1)


def fit_goal_regression(clips: LabelledClips, horizon: int, model: LatentActionModel | None = None) -> GoalRegression:
    """Fit to all pairs of states of labelled clips that are at most ``horizon`` steps apart.

    Args:
        clips: the labelled clips, four at least.
        horizon: steps of a plan.
        model: model whose z of start and goal is read, too.
    """
    pairs = pairs_within(clips.states.shape[1], horizon)
    fitted = partial(_fit, clips=clips, pairs=pairs, done=sums_between(clips.actions, pairs).double())
    of_states = fitted(_difference(clips), together=True)
    return GoalRegression(
        (of_states,) if model is None else (of_states, fitted(partial(_latents, model), together=False))
    )


def _fit(see: See, clips: LabelledClips, pairs: list[tuple[int, int]], done: Tensor, together: bool) -> GoalMap:
    seen = torch.cat([see(_between(clips, *pair)) for pair in pairs], dim=1)
    scale = standardiser(seen, together)
    predict = fit_clips(scale(seen), done)

    def told(clips: LabelledClips) -> Tensor:
        ends = _between(clips, 0, clips.states.shape[1] - 1)
        return predict(scale(see(ends)))[:, 0].float()

    longest = [i for i, (a, b) in enumerate(pairs) if b - a == pairs[-1][1] - pairs[-1][0]]
    return GoalMap(told, cross_validated_errors(scale(seen), done)[:, longest])


def _between(clips: LabelledClips, start: int, end: int) -> LabelledClips:
    return replace(clips, states=clips.states[:, [start, end]])


def _difference(clips: LabelledClips) -> See:
    """The difference of two states in principal components of the labelled clips' states."""
    flat = some_states(clips)
    mean, directions = leading_directions(flat, min(COMPONENTS, len(flat) - 1))

    def see(ends: LabelledClips) -> Tensor:
        start, goal = ((ends.states[:, i].flatten(1).float() - mean) @ directions for i in (0, 1))
        return (goal - start)[:, None].double()

    return see


def _latents(model: LatentActionModel, ends: LabelledClips) -> Tensor:
    return infer_latents(model, ends).double().cpu()
