"""Noisy latent actions: a variational bottleneck with a standard normal prior (arXiv 2601.05230)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.models.bottlenecks.base import Bottleneck, BottleneckConfig, moments

LEAST, MOST = -12.0, 2.0
"""Bounds of the logarithm of a variance. One above the prior's, 0, tells nothing and costs exponentially: under a bound
of 12 a linear map paid thousands of nats in some batches (of a mix with filmed clips), and the step went into that."""


@dataclass(frozen=True, kw_only=True)
class Noisy(BottleneckConfig):
    """Noise on the latent action, priced by a KL divergence.

    Args:
        beta: price of one nat, ``beta * KL``; larger leaves less capacity (paper: 1e-6 to 5e-3). The KL is *summed*
            over the Z dimensions and averaged over transitions, so that beta does not depend on Z.
    """

    dim: int = 256
    beta: float = 1e-4

    def build(self) -> NoisyBottleneck:
        """Make the module."""
        return NoisyBottleneck(self)


class NoisyBottleneck(Bottleneck):
    """``q(z | s_t, s_{t+1}) = N(mu, sigma²)``, sampled by reparameterisation in training; its mean in use.

    The penalty is ``beta * KL(q || N(0, I))``. The paper prints it with a minus sign; a penalty is meant.
    """

    def __init__(self, config: Noisy) -> None:
        super().__init__()
        self.dim, self.in_width, self.beta = config.dim, 2 * config.dim, config.beta
        self.prices: Tensor
        self.register_buffer("prices", torch.ones(config.dim), persistent=False)

    def set_prices(self, prices: Tensor) -> None:
        """See ``Bottleneck.set_prices``: those of a nat."""
        self.prices = prices

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Bottleneck.forward``; ``x`` holds the mean and the logarithm of the variance."""
        return self.draw(x), self.beta * (self.prices * self.nats(x)).sum(dim=-1).mean()

    def draw(self, x: Tensor) -> Tensor:
        """A sample of the posterior."""
        mean, log_var = self._posterior(x)
        return mean + torch.randn_like(mean) * (0.5 * log_var).exp()

    def encode(self, x: Tensor) -> Tensor:
        """The mean of the posterior."""
        return self._posterior(x)[0]

    def statistics(self, x: Tensor) -> dict[str, Tensor]:
        """KL in nats: total, per dimension, and the number of dimensions with more than 0.01 (active)."""
        kl = self.nats(x).flatten(0, -2).mean(dim=0)
        return moments(self.encode(x)) | {
            "kl": kl.sum(),
            "kl_active": (kl > 0.01).sum().float(),
            "kl_per_dimension": kl,
        }

    def nats(self, x: Tensor) -> Tensor:
        """KL divergence of each dimension's posterior from the prior."""
        return _kl(*self._posterior(x))

    def sample(self, count: int) -> Tensor:
        """Draw from the prior ``N(0, I)``."""
        return torch.randn(count, self.dim)

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # In float32: small variances and their logarithms do not survive bf16.
        mean, log_var = x.float().chunk(2, dim=-1)
        return mean, log_var.clamp(LEAST, MOST)


def _kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL divergence of ``N(mean, exp(log_var))`` from ``N(0, 1)``, elementwise, in nats."""
    return 0.5 * (mean.square() + log_var.exp() - 1.0 - log_var)
