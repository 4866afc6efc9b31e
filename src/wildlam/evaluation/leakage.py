"""Future leakage: at a scene cut, only copying the next state into z can predict it (arXiv 2601.05230, Table 1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.intervals import PerClip
from wildlam.models import LatentActionModel

LEAK_UNDER = 1.3
"""Ratio of the error at a cut to that without it under which a model is said to leak (the paper's lie above 2)."""


@dataclass
class Leakage:
    """One-step errors where the ends of two unrelated clips were swapped, and where they were not.

    Attributes:
        per_clip: ``plain`` (the clip as it was), ``cut`` (the same step, but the next state is another clip's), both
            with the action inferred from the transition itself; ``plain_copy`` and ``cut_copy`` copy the last state;
            ``plain_deterministic`` and ``cut_deterministic``, if there is such a model, are of one without actions.
    """

    per_clip: PerClip

    def summary(self) -> dict[str, Any]:
        """Errors; ``ratio``, cut over plain; ``copy_ratio``, when copying; ``unbridged``, cut over copying the cut."""
        estimate = self.per_clip.estimate
        return {
            "plain": asdict(estimate("plain")),
            "cut": asdict(estimate("cut")),
            "ratio": asdict(estimate("cut", over="plain")),
            "copy_ratio": asdict(estimate("cut_copy", over="plain_copy")),
            "unbridged": asdict(estimate("cut", over="cut_copy")),
        }


@torch.no_grad()
def leakage(
    model: LatentActionModel,
    clips: InferredClips,
    after_cut: Callable[[list[int]], Tensor] | None = None,
    deterministic: LatentActionModel | None = None,
) -> Leakage:
    """Cut every clip in its middle to the end of another one, and predict the first state after the cut.

    An action cannot describe a jump to an unrelated scene. If the error does not rise at the cut, z carries the state.

    Args:
        model: the model, in evaluation mode.
        clips: clips with the latent actions that it infers.
        after_cut: function for encoders whose states depend on the clip before them; gives for the indices of clips the
            states ``[n, N, D]`` that it makes of the moment after the cut to their partners' (``clips.partners``) at
            ``cut_at(clips)``. By default the partner's own state there is taken, which is the same for encoders of
            single frames.
        deterministic: a model trained without latent actions, which cannot leak: what it reaches is the control.
    """
    device = next(model.parameters()).device
    partners, cut = clips.partners, cut_at(clips)
    errors: dict[str, list[Tensor]] = {}
    for part in clips.batches():
        states = clips.states[part, : cut + 1].to(device).float()
        chosen = list(range(part.start, part.stop))
        other = clips.states[[partners[i] for i in chosen], cut] if after_cut is None else after_cut(chosen)
        spliced = torch.cat([states[:, :-1], other[:, None].to(device).float()], dim=1)
        for name, clip, z in (
            ("plain", states, clips.z[part, :cut].to(device)),
            ("cut", spliced, model.infer(spliced)),
        ):
            past, following = clip[:, :-1], clip[:, -1]
            predicted = model.predict(past, z)[:, -1]
            predictions = {name: predicted, f"{name}_copy": past[:, -1]}
            if deterministic is not None:
                bare = deterministic.predict(past, deterministic.infer(clip))
                predictions[f"{name}_deterministic"] = bare[:, -1]
            for key, prediction in predictions.items():
                errors.setdefault(key, []).append((prediction.float() - following).abs().mean(dim=(1, 2)).cpu())
    return Leakage(clips.per_clip({name: torch.cat(parts) for name, parts in errors.items()}))


def cut_at(clips: InferredClips) -> int:
    """Index of the first state after the cut: the middle of the clips."""
    return clips.states.shape[1] // 2
