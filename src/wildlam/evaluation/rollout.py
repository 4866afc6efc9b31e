"""Rollout error against horizon, with latent actions inferred from the true future (arXiv 2601.05230, Fig. 4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.horizon import SECONDS
from wildlam.evaluation.intervals import PerClip
from wildlam.models import LatentActionModel


@dataclass
class Rollout:
    """L1 errors of unrolled states.

    Attributes:
        by_step: error by method after each step, ``[clips, H]``.
        per_clip: their means over steps.
        seconds: time of each step after the last known state, ``H`` numbers.
    """

    by_step: dict[str, Tensor]
    per_clip: PerClip
    seconds: list[float]

    def summary(self) -> dict[str, Any]:
        """Mean error by method: over all steps with its interval, and after each step."""
        return {
            "seconds": self.seconds,
            "errors": {method: asdict(self.per_clip.estimate(method)) for method in self.per_clip.values},
            "by_step": {method: errors.mean(dim=0).tolist() for method, errors in self.by_step.items()},
        }


def horizon_of(clips: InferredClips) -> int:
    """Steps to unroll: two seconds, or as many as leave one state of a clip to start from."""
    step = float((clips.times[:, -1] - clips.times[:, 0]).mean()) / (clips.times.shape[1] - 1)
    return max(1, min(round(SECONDS / step), clips.times.shape[1] - 1))


@torch.no_grad()
def rollout(
    model: LatentActionModel, clips: InferredClips, bounds: dict[str, LatentActionModel] | None = None
) -> Rollout:
    """Unroll the end of each clip from the states before it.

    Args:
        model: the model, in evaluation mode.
        clips: clips with the latent actions that it infers.
        bounds: other models to unroll beside it with what they infer themselves, by name: ``deterministic`` (trained
            without latent actions) and ``unconstrained``.

    Returns:
        Errors of ``idm`` (latent actions inferred from the true states, fed to a model that sees its own predictions),
        ``permuted`` (another clip's), ``zero``, each of ``bounds``, and ``copy`` (the last known state).
    """
    device = next(model.parameters()).device
    horizon, partners = horizon_of(clips), clips.partners
    by_step: dict[str, list[Tensor]] = {}
    for part in clips.batches():
        states = clips.states[part].to(device).float()
        context, following = states[:, :-horizon], states[:, -horizon:]
        z = clips.z[part, -horizon:].to(device)
        predicted = {"idm": model.rollout(context, z)}
        if len(clips) > 1:
            predicted["permuted"] = model.rollout(context, clips.z[partners[part], -horizon:].to(device))
        predicted["zero"] = model.rollout(context, torch.zeros_like(z))
        for name, bound in (bounds or {}).items():
            predicted[name] = bound.rollout(context, bound.infer(states)[:, -horizon:])
        predicted["copy"] = context[:, -1:].expand_as(following)
        for method, prediction in predicted.items():
            by_step.setdefault(method, []).append((prediction.float() - following).abs().mean(dim=(2, 3)).cpu())
    errors = {method: torch.cat(parts) for method, parts in by_step.items()}
    start = clips.times.shape[1] - horizon - 1
    seconds = (clips.times[:, start + 1 :] - clips.times[:, start : start + 1]).mean(dim=0)
    means = {method: of_clips.mean(dim=1) for method, of_clips in errors.items()}
    return Rollout(errors, clips.per_clip(means), [round(s, 3) for s in seconds.tolist()])
