"""Latent actions that add up, and turn round when time does: right for a camera that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from wildlam.models.consistency.base import Consistency, ConsistencyConfig, Draw, Predict, two_steps


@dataclass(frozen=True, kw_only=True)
class Additive(ConsistencyConfig):
    """z of two steps at once is the sum of both, and z of a step backwards is minus that of the step.

    Args:
        weight: price of what agrees by chance alone, in units of the prediction error.
    """

    least_states: ClassVar[int] = 3
    weight: float = 0.02

    def build(self, dim: int) -> AdditiveConsistency:
        """Make the module."""
        return AdditiveConsistency(self.weight)


class AdditiveConsistency(Consistency):
    """``z_02 ≈ z_01 + z_12`` and ``z_10 ≈ -z_01``, on drawn latent actions, so that the code cannot flee into noise."""

    def pairs(self, states: Tensor, z: Tensor, draw: Draw, predict: Predict) -> dict[str, tuple[Tensor, Tensor]]:
        """See ``Consistency.pairs``; infers two more transitions a clip."""
        steps = two_steps(states, z, draw)
        return {
            "additivity": (steps.both, steps.first + steps.second),
            "reversal": (steps.back, -steps.first),
        }
