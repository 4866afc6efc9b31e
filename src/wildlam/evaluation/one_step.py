"""One-step prediction error of held-out states: does the inferred action explain what happened? (arXiv 2601.05230)"""

from __future__ import annotations

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.intervals import PerClip
from wildlam.models import LatentActionModel

METHODS = {
    "idm": "inferred actions",
    "permuted": "another clip's actions",
    "zero": "zero actions",
    "deterministic": "model without actions",
    "copy": "copy the last frame",
}
"""The ways to predict the next state, best first when all is well: the latent action inferred from the transition
itself, inferred from another clip of the same source, zero; a model trained without latent actions; the last state,
copied."""


@torch.no_grad()
def one_step(model: LatentActionModel, clips: InferredClips, deterministic: LatentActionModel | None = None) -> PerClip:
    """Measure one-step L1 errors, teacher-forced, with every kind of latent action that ``METHODS`` names.

    Args:
        model: the model, in evaluation mode.
        clips: clips with the latent actions that it infers.
        deterministic: a model trained without latent actions, for the row of that name.
    """
    device = next(model.parameters()).device
    partners = clips.partners
    errors: dict[str, list[Tensor]] = {}
    for part in clips.batches():
        states = clips.states[part].to(device).float()
        past, following = states[:, :-1], states[:, 1:]
        z = clips.z[part].to(device)
        predicted = {"idm": model.predict(past, z), "zero": model.predict(past, torch.zeros_like(z)), "copy": past}
        if len(clips) > 1:
            predicted["permuted"] = model.predict(past, clips.z[partners[part]].to(device))
        if deterministic is not None:
            predicted["deterministic"] = deterministic.predict(past, deterministic.infer(states))
        for method, prediction in predicted.items():
            errors.setdefault(method, []).append((prediction.float() - following).abs().mean(dim=(1, 2, 3)).cpu())
    return clips.per_clip({m: torch.cat(errors[m]) for m in METHODS if m in errors})


def error_table(errors: PerClip) -> dict[str, dict]:
    """``{"sources": {NAME: {METHOD: mean error}}, "all": {METHOD: mean error}}``."""

    def means(source: str | None) -> dict[str, float]:
        chosen = [i for i, s in enumerate(errors.sources) if source in (None, s)]
        return {method: float(values[chosen].mean()) for method, values in errors.values.items()}

    return {"sources": {s: means(s) for s in sorted(set(errors.sources))}, "all": means(None)}


@torch.no_grad()
def error_maps(model: LatentActionModel, states: Tensor) -> dict[str, Tensor]:
    """Where the one-step error lies: L1 error per token, by method, ``[B, T - 1, N]``, of clips ``[B, T, N, D]``."""
    past, following = states[:, :-1].float(), states[:, 1:].float()
    z = model.infer(states.float())
    predicted = {"idm": model.predict(past, z), "zero": model.predict(past, torch.zeros_like(z)), "copy": past}
    return {method: (prediction.float() - following).abs().mean(dim=-1) for method, prediction in predicted.items()}
