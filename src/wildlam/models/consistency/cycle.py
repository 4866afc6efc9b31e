"""Latent actions that mean the same in another scene: taken there, they are inferred again from what they do."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.models.consistency.base import Consistency, ConsistencyConfig, Draw, Predict


@dataclass(frozen=True, kw_only=True)
class Cycle(ConsistencyConfig):
    """z of a clip, taken in a state of another clip, must come out the same when it is inferred from its effect there.

    Args:
        weight: price of what agrees by chance alone, in units of the prediction error.
    """

    weight: float = 0.02

    def build(self, dim: int) -> CycleConsistency:
        """Make the module."""
        return CycleConsistency(self.weight)


class CycleConsistency(Consistency):
    """``g(s', p(s', z)) ≈ z`` for a state s' of another clip: the test of cycles, at one step, as a loss.

    On drawn latent actions: means alone could fade to nothing while the code goes on in the size of the noise. The
    gradient passes through both models, as they are.
    """

    def pairs(self, states: Tensor, z: Tensor, draw: Draw, predict: Predict) -> dict[str, tuple[Tensor, Tensor]]:
        """See ``Consistency.pairs``; infers one more transition, and predicts one more state, a clip."""
        batch, length = states.shape[:2]
        rows = torch.arange(batch, device=states.device)
        when, there = torch.randint(length - 1, (2, batch), device=states.device)
        taken, other = z[rows, when], states.roll(1, dims=0)[rows, there][:, None]
        effect = predict(other, taken[:, None]).to(other.dtype)
        return {"cycle": (taken, draw(torch.cat((other, effect), dim=1))[:, 0])}
