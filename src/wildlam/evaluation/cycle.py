"""Cycle consistency: actions survive the journey to an unrelated video and back (arXiv 2601.05230, Table 2)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.rollout import Rollout, horizon_of
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
def cycle(model: LatentActionModel, clips: InferredClips, unrolled: Rollout) -> Cycle:
    """Infer z on clip A, unroll it on an unrelated clip B, infer z' from that prediction, unroll z' on A.

    Args:
        model: the model, in evaluation mode.
        clips: at least two clips, with the latent actions that it infers; B is ``clips.partners`` of A.
        unrolled: what ``rollout`` found of them: A's errors with its own latent actions and with B's.
    """
    device = next(model.parameters()).device
    horizon, partners = horizon_of(clips), clips.partners
    errors = []
    for part in clips.batches():
        of_a = clips.states[part].to(device).float()
        context_a, following = of_a[:, :-horizon], of_a[:, -horizon:]
        context_b = clips.states[partners[part], :-horizon].to(device).float()
        on_b = model.rollout(context_b, clips.z[part, -horizon:].to(device))
        again = model.infer(torch.cat([context_b, on_b], dim=1))[:, -horizon:]
        errors.append((model.rollout(context_a, again).float() - following).abs().mean(dim=(1, 2, 3)).cpu())
    known = unrolled.per_clip.values
    values = {"original": known["idm"], "cycled": torch.cat(errors), "other": known["permuted"]}
    return Cycle(clips.per_clip(values))
