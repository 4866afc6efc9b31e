"""From latent actions to real ones, by a linear map from few labelled clips: where planning in latent space ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.evaluation.clips import infer_latents
from wildlam.evaluation.probes import FOLDS, Predict, fit_clips, standardiser
from wildlam.models import LatentActionModel


@dataclass
class ActionDecoder:
    """A linear map (ridge) from latent actions to real ones.

    Attributes:
        predict: maps latent actions ``[C, P, Z]`` and states ``[C, P, N, D]`` to real actions ``[C, P, A]``.
        sees_state: whether the state is of use: whether it made clips better told that were not fitted to.
        covariance: covariance of what is missed in such clips, ``[A, A]``, in the actions' units.
        explained: R² of each action in such clips, ``[A]``.
        action_mean: mean of the labelled clips' actions, ``[A]``.
        action_std: deviation of these.
        space: what they are.
        clips: number of labelled clips.
    """

    predict: Callable[[Tensor, Tensor], Tensor]
    sees_state: bool
    covariance: Tensor
    explained: Tensor
    action_mean: Tensor
    action_std: Tensor
    space: ActionSpace
    clips: int

    def __call__(self, z: Tensor, states: Tensor) -> Tensor:
        """Real actions ``float32 [C, P, A]``, on the CPU; see ``predict``."""
        return self.predict(z, states).float()


def fit_action_decoder(
    model: LatentActionModel, clips: LabelledClips, read: Callable[[Tensor], Tensor]
) -> ActionDecoder:
    """Fit the linear map to labelled clips, four at least, from z alone or with the state, whichever tells more.

    Args:
        model: model that infers z.
        clips: the labelled clips.
        read: what stands for states ``[C, P, N, D]``, ``[C, P, F]``, such as ``LatentPrior.read``.
    """
    device = next(model.parameters()).device

    def seen(z: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        parts = [read(some.to(device).float()).cpu() for some in states]  # clip by clip, as a state may be large
        return z.double().cpu(), torch.stack(parts).double()

    z, state = seen(infer_latents(model, clips.states), clips.states[:, :-1])
    # Components of the state by one factor for all: alike, the last would be mostly noise, blown up.
    scale_z, scale_state = standardiser(z), standardiser(state, together=True)

    def inputs(z: Tensor, state: Tensor, sees_state: bool) -> Tensor:
        return torch.cat([scale_z(z), scale_state(state)], dim=-1) if sees_state else scale_z(z)

    y = clips.actions.double()
    spread = y.flatten(0, 1).var(dim=0).clamp(min=1e-18)
    missed = {sees: cross_validated_errors(inputs(z, state, sees), y) for sees in (False, True)}
    errors = {sees: (of.square().mean(dim=(0, 1)) / spread) for sees, of in missed.items()}
    best = min(errors, key=lambda sees: float(errors[sees].mean()))
    predict: Predict = fit_clips(inputs(z, state, best), y)
    flat = missed[best].flatten(0, 1)
    return ActionDecoder(
        lambda z, states: predict(inputs(*seen(z, states), best)),
        best,
        (flat.T @ flat / len(flat)).float(),
        (1 - errors[best]).float(),
        y.mean(dim=(0, 1)).float().to(device),
        spread.sqrt().float().to(device),
        clips.space,
        len(clips),
    )


def cross_validated_errors(x: Tensor, y: Tensor, recordings: Tensor | None = None) -> Tensor:
    """What maps miss of the actions ``[C, P, A]`` of recordings that they were not fitted to; see ``fit_clips``."""
    recordings = torch.arange(len(x)) if recordings is None else recordings
    fold, missed = recordings % min(FOLDS, int(recordings.max()) + 1), torch.empty_like(y)
    for i in range(int(fold.max()) + 1):
        inner, outer = fold != i, fold == i
        left = recordings[inner].unique(return_inverse=True)[1]
        missed[outer] = y[outer] - fit_clips(x[inner], y[inner], recordings=left)(x[outer])
    return missed
