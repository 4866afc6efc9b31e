"""Unconstrained latent actions: the upper bound on what z may carry (arXiv 2601.05230)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks.base import Bottleneck, BottleneckConfig, moments


@dataclass(frozen=True, kw_only=True)
class Unconstrained(BottleneckConfig):
    """No limit but the width of the latent action: the best one-step error, and the worst leak of the next state."""

    def build(self) -> UnconstrainedBottleneck:
        """Make the module."""
        return UnconstrainedBottleneck(self)


class UnconstrainedBottleneck(Bottleneck):
    """Passes the IDM's output on, free of charge."""

    def __init__(self, config: Unconstrained) -> None:
        super().__init__()
        self.dim, self.in_width = config.dim, config.dim

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Bottleneck.forward``."""
        return x.float(), x.new_zeros((), dtype=torch.float32)

    def encode(self, x: Tensor) -> Tensor:
        """The input itself."""
        return x.float()

    def statistics(self, x: Tensor) -> dict[str, Tensor]:
        """Moments of the latent actions."""
        return moments(x)

    def sample(self, count: int) -> Tensor:
        """Refuse: nothing ties these latent actions to a distribution.

        Raises:
            WildlamError: always.
        """
        raise WildlamError(
            "unconstrained latent actions have no prior to sample from; train with Noisy, Adaptive, Sparse or Discrete"
        )
