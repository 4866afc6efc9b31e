"""Cycle consistency: actions survive the journey to an unrelated video and back (arXiv 2601.05230, Table 2)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.estimates import PerClip
from wildlam.evaluation.rollout import horizon_of
from wildlam.models import LatentActionModel


@dataclass
class Cycle:
    """Rollout errors with latent actions that have been to another video, and with those that have not.

    Attributes:
        per_clip: mean L1 error of two-second rollouts: ``original`` (z inferred on the clip), ``cycled`` (z re-inferred
            from its effect on another clip), ``other`` (z that is the other clip's own: what remains if nothing
            survives).
    """

    per_clip: PerClip

    def summary(self) -> dict[str, Any]:
        """Errors, the ratio ``cycled / original`` and, as its upper end, ``other / original``."""
        estimate = self.per_clip.estimate
        return {
            **{name: asdict(estimate(name)) for name in self.per_clip.values},
            "ratio": asdict(estimate("cycled", over="original")),
            "other_ratio": asdict(estimate("other", over="original")),
        }


@torch.no_grad()
def cycle(model: LatentActionModel, clips: InferredClips) -> Cycle:
    """Infer z on clip A, unroll it on an unrelated clip B, infer z' from that prediction, unroll z' on A.

    Args:
        model: in evaluation mode.
        clips: at least two, with the latent actions that it infers; B is ``clips.partners`` of A.
    """
    device = next(model.parameters()).device
    horizon, partners = horizon_of(clips), clips.partners
    errors: dict[str, list[Tensor]] = {}
    for part in clips.batches():
        of_a = clips.states[part].to(device).float()
        context_a, following = of_a[:, :-horizon], of_a[:, -horizon:]
        context_b = clips.states[partners[part], :-horizon].to(device).float()
        z = clips.z[part, -horizon:].to(device)
        on_b = model.rollout(context_b, z)
        cycled = model.infer(torch.cat([context_b, on_b], dim=1))[:, -horizon:]
        actions = {"original": z, "cycled": cycled, "other": clips.z[partners[part], -horizon:].to(device)}
        for name, of_clip in actions.items():
            predicted = model.rollout(context_a, of_clip)
            errors.setdefault(name, []).append((predicted.float() - following).abs().mean(dim=(1, 2, 3)).cpu())
    return Cycle(PerClip({name: torch.cat(parts) for name, parts in errors.items()}, clips.names, clips.sources))
