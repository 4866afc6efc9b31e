"""Latent actions that compose, in a learnt way that need not commute: to turn and walk is not to walk and turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wildlam.models.consistency.base import Consistency, ConsistencyConfig, Draw, Predict, two_steps


@dataclass(frozen=True, kw_only=True)
class Composition(ConsistencyConfig):
    """z of two steps at once is a learnt function of both, without a look at the states; z backwards is one of z.

    Args:
        weight: price of what agrees by chance alone, in units of the prediction error.
        width: hidden width of the two functions.
    """

    least_states: ClassVar[int] = 3
    weight: float = 0.02
    width: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise ValueError(f"model.consistency.width must be at least 1, got {self.width}")

    def build(self, dim: int) -> CompositionConsistency:
        """Make the module."""
        return CompositionConsistency(self, dim)


class CompositionConsistency(Consistency):
    """``z_02 ≈ c(z_01, z_12)``, ``z_10 ≈ i(z_01)`` and ``z_01 ≈ c(z_02, i(z_12))``; c and i are small and learnt.

    They begin as the sum and as minus, and depart from them as far as it helps.
    """

    def __init__(self, config: Composition, dim: int) -> None:
        super().__init__(config.weight)
        self.to_sum, self.to_minus = Departure(2 * dim, config.width, dim), Departure(dim, config.width, dim)

    def compose(self, first: Tensor, second: Tensor) -> Tensor:
        """The latent action ``[..., Z]`` of two steps at once."""
        return first + second + self.to_sum(torch.cat((first, second), dim=-1))

    def invert(self, z: Tensor) -> Tensor:
        """The latent action ``[..., Z]`` of the way back."""
        return self.to_minus(z) - z

    def pairs(self, states: Tensor, z: Tensor, draw: Draw, predict: Predict) -> dict[str, tuple[Tensor, Tensor]]:
        """See ``Consistency.pairs``; infers two more transitions a clip."""
        steps = two_steps(states, z, draw)
        return {
            "composition": (steps.both, self.compose(steps.first, steps.second)),
            "inverse": (steps.back, self.invert(steps.first)),
            "undoing": (steps.first, self.compose(steps.both, self.invert(steps.second))),
        }


class Departure(nn.Module):
    """A layer of hidden units between two linear ones: ``[..., in_width]`` to ``[..., out_width]``, zero at first."""

    def __init__(self, in_width: int, width: int, out_width: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(in_width, width), nn.Linear(width, out_width)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map as the class says."""
        return self.head(F.gelu(self.embed(x)))
