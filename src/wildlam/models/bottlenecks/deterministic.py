"""No latent action: the lower bound, a world model that must average over what may happen (arXiv 2601.05230)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.models.bottlenecks.base import Bottleneck, BottleneckConfig


@dataclass(frozen=True, kw_only=True)
class Deterministic(BottleneckConfig):
    """No latent action at all: every transition's is zero, and no inverse dynamics model is trained."""

    def build(self) -> DeterministicBottleneck:
        """Make the module."""
        return DeterministicBottleneck(self)


class DeterministicBottleneck(Bottleneck):
    """Gives zeros, free of charge."""

    def __init__(self, config: Deterministic) -> None:
        super().__init__()
        self.dim, self.in_width = config.dim, 0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Bottleneck.forward``; ``x`` is ``[..., 0]``."""
        return self.encode(x), x.new_zeros(())

    def encode(self, x: Tensor) -> Tensor:
        """Zeros."""
        return x.new_zeros((*x.shape[:-1], self.dim))

    def statistics(self, x: Tensor) -> dict[str, Tensor]:
        """None: there is nothing to measure."""
        return {}

    def sample(self, count: int) -> Tensor:
        """The one latent action there is: zero."""
        return torch.zeros(count, self.dim)
