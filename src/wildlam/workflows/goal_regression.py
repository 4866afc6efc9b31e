"""The whole motion from a start to a goal, from these two states alone, by linear maps from few labelled clips.

It plans without a world model, and is what a planner has to beat. With z of start and goal beside the two states, or
with pseudo-labels (``pseudo_labels``), it also knows what films without labels taught, and guides a planner.

What tells most depends on the data: before a camera at rest the difference of the two states, whose map to the sum of
the actions needs few clips; where the camera moves the two states themselves, and the mean action. So both are fitted,
and that which misses less of labelled recordings that it was not fitted to is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.episodes.clips import LabelledClips
from wildlam.evaluation.clips import infer_latents
from wildlam.evaluation.probes import FOLDS, standardiser
from wildlam.models import LatentActionModel
from wildlam.workflows.motions import Motions, motions_of
from wildlam.workflows.pseudo_labels import PseudoLabels
from wildlam.workflows.span_map import SpanMap

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


def in_equal_steps(sums: Tensor, steps: int) -> Tensor:
    """Plans ``[C, H, A]`` that do in ``steps`` equal ones what is to be done, ``[C, A]``."""
    return (sums / steps)[:, None].repeat(1, steps, 1)


def fit_goal_regression(
    clips: LabelledClips,
    horizon: int,
    model: LatentActionModel | None = None,
    pseudo: PseudoLabels | None = None,
) -> GoalRegression:
    """Fit to all pairs of states of labelled clips that are at most ``horizon`` steps apart.

    Args:
        clips: the labelled clips, four at least.
        horizon: steps of a plan.
        model: model whose z of start and goal is read, too: in the place of the two states, or beside them, if less is
            missed so.
        pseudo: what these clips tell of videos without labels: fitted to in the place of the clips, if less is missed
            so.
    """
    motions = motions_of(clips, horizon)

    def off(found: GoalMap | GoalRegression) -> float:
        return float((found.missed / motions.varied).square().mean())

    of_states = min((_of_states(motions, mean) for mean in (False, True)), key=off)
    choices = [GoalRegression((of_states,), of_states)]
    of_latents = [] if model is None else [_of_latents(model, clips, motions)]
    if of_latents:
        choices += [GoalRegression((*others, *of_latents), of_states) for others in ((), (of_states,))]
    if pseudo is not None:
        of_films = _of_films(pseudo)
        choices.append(GoalRegression((of_films,), of_states))
        if of_latents:
            choices.append(GoalRegression((of_films, *of_latents), of_states))
    return min(choices, key=off)


def _of_states(motions: Motions, mean: bool) -> GoalMap:
    """What the two states tell in labelled clips."""
    look, fitted = _map_of_states(motions, mean)
    return GoalMap(_told(motions, look, fitted), fitted.missed()[:, motions.longest])


def _map_of_states(motions: Motions, mean: bool) -> tuple[Callable[[Tensor], Tensor], SpanMap]:
    """What is seen of two states ``[..., 2, K]``, ``[..., F]``, and the map from it: from both of them to the mean
    action, or from their difference to the sum.
    """

    def see(ends: Tensor) -> Tensor:
        return ends.flatten(-2) if mean else ends[..., 1, :] - ends[..., 0, :]

    scale = standardiser(see(motions.ends), together=True)

    def look(ends: Tensor) -> Tensor:
        return scale(see(ends))

    return look, SpanMap(look(motions.ends), motions.spans, motions.done, motions.recordings, mean)


def _told(motions: Motions, look: Callable[[Tensor], Tensor], fitted: SpanMap) -> Told:
    def told(ends: Tensor, steps: int) -> Tensor:
        return fitted(look(motions.see(ends)[:, None]), motions.spans.new_tensor([steps]))[:, 0].float()

    return told


def _of_latents(model: LatentActionModel, clips: LabelledClips, motions: Motions) -> GoalMap:
    """What z from one state straight to the other tells of the sum."""

    def see(ends: Tensor) -> Tensor:
        return infer_latents(model, ends).double().cpu()

    seen = torch.cat([see(clips.states[:, pair]) for pair in motions.pairs], dim=1)
    scale = standardiser(seen)
    fitted = SpanMap(scale(seen), motions.spans, motions.done, motions.recordings, mean=False)

    def told(ends: Tensor, steps: int) -> Tensor:
        return fitted(scale(see(ends)), motions.spans.new_tensor([steps]))[:, 0].float()

    return GoalMap(told, fitted.missed()[:, motions.longest])


def _of_films(pseudo: PseudoLabels) -> GoalMap:
    """What the two states tell in films with pseudo-labels, of the mean action if these do.

    How far off it is, labelled recordings say that had no part in the pseudo-labels.
    """
    own, recordings = pseudo.labelled, pseudo.labelled.recordings
    fold = recordings % min(FOLDS, int(recordings.max()) + 1)
    told = torch.empty_like(own.done)
    for i in range(int(fold.max()) + 1):
        look, fitted = _map_of_states(pseudo.relabel(torch.nonzero(fold != i)[:, 0]), pseudo.mean)
        told[fold == i] = fitted(look(own.ends[fold == i]), own.spans)
    return GoalMap(_told(pseudo.films, *_map_of_states(pseudo.films, pseudo.mean)), (own.done - told)[:, own.longest])
