"""The whole motion from a start to a goal, from these two states alone, by linear maps from few labelled clips.

It plans without a world model, and is what a planner has to beat. With z of start and goal beside the two states it
also knows what films without labels taught, and guides a planner.

What tells most depends on the data: before a camera at rest the difference of the two states, whose map to the sum of
the actions needs few clips; where the camera moves the two states themselves, and the mean action. So both are fitted,
and that which misses less of labelled recordings that it was not fitted to is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from wildlam.episodes.clips import LabelledClips
from wildlam.evaluation.clips import spread
from wildlam.evaluation.components import leading_directions
from wildlam.evaluation.intervals import numbered
from wildlam.evaluation.probes import fit_clips, standardiser
from wildlam.models import LatentActionModel
from wildlam.workflows.action_decoder import cross_validated_errors
from wildlam.workflows.controller import infer_latents

COMPONENTS = 128
"""Principal components, of all tokens together, that stand for a state."""
STATES_FOR_COMPONENTS = 2000
"""States of the labelled clips that they are computed from, at most."""

See = Callable[[Tensor], Tensor]
"""What is seen of two states ``[C, 2, N, D]``: ``float64 [C, 1, F]``."""
Told = Callable[[Tensor, int], Tensor]
"""The sum of the actions, ``float32 [C, A]``, between two states ``[C, 2, N, D]`` that are so many steps apart."""


@dataclass(frozen=True)
class GoalMap:
    """A linear map (ridge) from the first state and the last of clips, and the steps between them, to what is done.

    Attributes:
        told: the sum of the actions, ``float32 [C, A]``, on the CPU.
        missed: what maps miss of the longest motions of labelled recordings that they were not fitted to,
            ``[C, P, A]``.
    """

    told: Told
    missed: Tensor


@dataclass(frozen=True)
class GoalRegression:
    """The mean of what maps tell.

    Attributes:
        maps: the maps.
        of_states: the one of the two states, into which no model enters.
    """

    maps: tuple[GoalMap, ...]
    of_states: GoalMap

    def __call__(self, clips: LabelledClips) -> Tensor:
        """The sum of the actions from the first state of each clip to its last, ``float32 [C, A]``, on the CPU."""
        return self.told(clips.states[:, [0, -1]], clips.states.shape[1] - 1)

    def told(self, ends: Tensor, steps: int) -> Tensor:
        """See ``Told``."""
        return torch.stack([one.told(ends, steps) for one in self.maps]).mean(dim=0)

    @property
    def missed(self) -> Tensor:
        """See ``GoalMap``."""
        return torch.stack([one.missed for one in self.maps]).mean(dim=0)

    @property
    def std(self) -> Tensor:
        """Deviation of what it misses of the longest motions in clips that were not fitted to, ``float32 [A]``."""
        return self.missed.square().mean(dim=(0, 1)).sqrt().float()

    @property
    def without_model(self) -> GoalRegression:
        """That of the two states alone."""
        return GoalRegression((self.of_states,), self.of_states)


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
        model: model whose z of start and goal is read, too: in the place of the two states, or beside them, if less is
            missed so.
    """
    pairs = pairs_within(clips.states.shape[1], horizon)
    fitted = partial(_fit, clips=clips, pairs=pairs, done=sums_between(clips.actions, pairs).double())
    difference, ends = (partial(see, *leading_of(clips)) for see in (_difference, _ends))
    varied = clips.actions.double().flatten(0, 1).var(dim=0).clamp(min=1e-9)

    def off(found: GoalMap | GoalRegression) -> float:
        return float((found.missed.square().mean(dim=(0, 1)) / varied).mean())

    of_states = min(fitted(difference, together=True), fitted(ends, together=True, mean=True), key=off)
    choices = [GoalRegression((of_states,), of_states)]
    if model is not None:
        of_latents = fitted(partial(_latents, model), together=False)
        choices += [GoalRegression(maps, of_states) for maps in ((of_latents,), (of_states, of_latents))]
    return min(choices, key=off)


def leading_of(clips: LabelledClips) -> tuple[Tensor, Tensor]:
    """Mean and leading directions of the states of labelled clips, flat."""
    flat = some_states(clips)
    return leading_directions(flat, min(COMPONENTS, len(flat) - 1))


def recordings_of(clips: LabelledClips) -> Tensor:
    """Number of the recording that each clip is of, ``[C]``."""
    return numbered([episode.recording for episode, _ in clips.places])


def _fit(
    see: See, clips: LabelledClips, pairs: list[tuple[int, int]], done: Tensor, together: bool, mean: bool = False
) -> GoalMap:
    """Fit to the sums of the actions, or to their ``mean``; ``together``: what is seen has one scale for all."""
    seen = torch.cat([see(clips.states[:, pair]) for pair in pairs], dim=1)
    spans = torch.tensor([end - start for start, end in pairs], dtype=torch.float64)
    scale, of_spans = standardiser(seen, together), standardiser(spans[:, None])
    counts = spans[:, None] if mean else torch.ones(1, 1, dtype=torch.float64)

    def inputs(seen: Tensor, spans: Tensor) -> Tensor:
        return torch.cat([scale(seen), of_spans(spans[:, None]).expand(len(seen), -1, -1)], dim=-1)

    x, recordings = inputs(seen, spans), recordings_of(clips)
    predict = fit_clips(x, done / counts, recordings=recordings)

    def told(ends: Tensor, steps: int) -> Tensor:
        of_ends = predict(inputs(see(ends), spans.new_tensor([steps])))[:, 0]
        return (of_ends * (steps if mean else 1)).float()

    longest = [i for i, (a, b) in enumerate(pairs) if b - a == pairs[-1][1] - pairs[-1][0]]
    return GoalMap(told, (cross_validated_errors(x, done / counts, recordings) * counts)[:, longest])


def _difference(mean: Tensor, directions: Tensor, ends: Tensor) -> Tensor:
    """The difference of two states in principal components."""
    start, goal = _components(mean, directions, ends)
    return (goal - start)[:, None]


def _ends(mean: Tensor, directions: Tensor, ends: Tensor) -> Tensor:
    """Two states in principal components."""
    return torch.cat(_components(mean, directions, ends), dim=-1)[:, None]


def _components(mean: Tensor, directions: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    start, goal = (((ends[:, i].flatten(1).float() - mean) @ directions).double() for i in (0, 1))
    return start, goal


def _latents(model: LatentActionModel, ends: Tensor) -> Tensor:
    return infer_latents(model, ends).double().cpu()
