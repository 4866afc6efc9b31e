"""One-step prediction error of held-out states: does the inferred action tell what happened? (arXiv 2601.05230)"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wildlam.models import LatentActionModel
from wildlam.types import StateBatch

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


@dataclass
class OneStep:
    """Mean L1 error of the predicted next states, per clip.

    Attributes:
        errors: by method (a key of ``METHODS``), one value per clip.
        sources: each clip's source.
        names: each clip's video.
        times: timestamps of each clip's states, seconds, ``[clips, T]``.
        actions: the inferred latent actions, ``[clips, T - 1, Z]``.
    """

    errors: dict[str, list[float]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    times: Tensor = field(default_factory=lambda: torch.empty(0))
    actions: Tensor = field(default_factory=lambda: torch.empty(0))

    def mean(self, source: str | None = None) -> dict[str, float]:
        """Mean error by method, of one source's clips or of all."""
        chosen = [i for i, s in enumerate(self.sources) if source in (None, s)]
        return {method: sum(values[i] for i in chosen) / len(chosen) for method, values in self.errors.items()}

    def table(self) -> dict[str, dict]:
        """``{"sources": {NAME: {METHOD: error}}, "all": {METHOD: error}}``."""
        return {"sources": {s: self.mean(s) for s in sorted(set(self.sources))}, "all": self.mean()}


@torch.no_grad()
def one_step(
    model: LatentActionModel,
    clips: Callable[[], Iterable[StateBatch]],
    deterministic: LatentActionModel | None = None,
) -> OneStep:
    """Measure one-step errors, teacher-forced, with every kind of latent action that ``METHODS`` names.

    Args:
        model: in evaluation mode.
        clips: gives the same batches of clips each time it is called.
        deterministic: a model trained without latent actions, for the row of that name.
    """
    device = next(model.parameters()).device
    result = OneStep()
    actions, times = [], []
    for batch in clips():
        times.append(batch.times)
        actions.append(model.infer(batch.states.to(device).float()).cpu())
        result.sources += batch.sources
        result.names += batch.names
    result.actions, result.times = torch.cat(actions), torch.cat(times)
    others = result.actions[another_clip(result.sources, result.names)]

    first = 0
    errors: dict[str, list[Tensor]] = {}
    for batch in clips():
        states = batch.states.to(device).float()
        past, following = states[:, :-1], states[:, 1:]
        share = slice(first, first + len(states))
        first += len(states)
        z = result.actions[share].to(device)
        predicted = {
            "idm": model.predict(past, z),
            "zero": model.predict(past, torch.zeros_like(z)),
        }
        if len(result.names) > 1:
            predicted["permuted"] = model.predict(past, others[share].to(device))
        if deterministic is not None:
            predicted["deterministic"] = deterministic.predict(past, deterministic.infer(states))
        predicted["copy"] = past
        for method, prediction in predicted.items():
            errors.setdefault(method, []).append((prediction.float() - following).abs().mean(dim=(1, 2, 3)).cpu())
    result.errors = {method: torch.cat(errors[method]).tolist() for method in METHODS if method in errors}
    return result


@torch.no_grad()
def error_maps(model: LatentActionModel, states: Tensor) -> dict[str, Tensor]:
    """Where the one-step error lies: L1 error per token, by method, ``[B, T - 1, N]``, of clips ``[B, T, N, D]``."""
    past, following = states[:, :-1].float(), states[:, 1:].float()
    z = model.infer(states.float())
    predicted = {"idm": model.predict(past, z), "zero": model.predict(past, torch.zeros_like(z)), "copy": past}
    return {method: (prediction.float() - following).abs().mean(dim=-1) for method, prediction in predicted.items()}


def another_clip(sources: list[str], names: list[str]) -> list[int]:
    """For each clip the index of another: of another video of the same source where there is one, never itself.

    Clips of a source are ranked by video; the partner is the one half the source further on. So the pairing depends on
    the clips alone, and a source of one clip borrows from the next clip of all.
    """
    partner = [(i + 1) % len(sources) for i in range(len(sources))]
    for source in set(sources):
        members = sorted((i for i, s in enumerate(sources) if s == source), key=lambda i: (names[i], i))
        for rank, i in enumerate(members):
            half = (rank + len(members) // 2) % len(members)
            candidates = [j for j in members[half:] + members[:half] if j != i]
            if candidates:
                partner[i] = next((j for j in candidates if names[j] != names[i]), candidates[0])
    return partner
