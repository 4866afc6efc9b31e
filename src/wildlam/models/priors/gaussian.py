"""A normal distribution that the state decides: ``z = m + C (mu(s) + sigma(s) u)``, C being that of all states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.models.bottlenecks import Bottleneck
from wildlam.models.priors.base import LatentPrior, PriorConfig, state_reader

LEAST = 1e-4
"""Least variance of a direction, over the mean of all: idle dimensions of z are made so wide."""
STEEPEST = 4.0
"""Largest logarithm of a scale."""


@dataclass(frozen=True, kw_only=True)
class Gaussian(PriorConfig):
    """A normal distribution whose mean and scales a small network makes of the state."""

    def build(self, state_shape: tuple[int, int], bottleneck: Bottleneck) -> GaussianPrior:
        """Make the module; see ``PriorConfig.build``."""
        return GaussianPrior(self, state_shape, bottleneck.dim)


class WhiteningPrior(LatentPrior):
    """A prior whose base space is as wide as z, and who models z whitened: ``w = C^-1 (z - m)``."""

    z_mean: Tensor
    z_factor: Tensor

    def __init__(self, config: PriorConfig, state_shape: tuple[int, int], dim: int) -> None:
        super().__init__(config, state_shape, dim, base=dim)
        self.register_buffer("z_mean", torch.zeros(dim))
        self.register_buffer("z_factor", torch.eye(dim))

    def _fit(self, read: Tensor, z: Tensor) -> None:
        self.z_mean.copy_(z.mean(dim=0))
        centred = (z - self.z_mean).double()
        covariance = centred.T @ centred / max(len(z) - 1, 1)
        least = LEAST * float(covariance.diagonal().mean()) + 1e-12
        self.z_factor.copy_(torch.linalg.cholesky(covariance + least * torch.eye(self.dim).to(covariance)))

    def whiten(self, z: Tensor) -> Tensor:
        """Whitened latent actions ``[..., Z]``: of mean 0 and covariance I over the training films."""
        return torch.linalg.solve_triangular(self.z_factor, (z - self.z_mean)[..., None], upper=False)[..., 0]

    def colour(self, w: Tensor) -> Tensor:
        """The inverse of ``whiten``."""
        return self.z_mean + w @ self.z_factor.T


class GaussianPrior(WhiteningPrior):
    """Whitened latent actions have, in each state, a mean and a scale for each direction.

    How directions go together is the same in all states, as whitening has it: of a z of 256 dimensions, that would be
    32,640 numbers for a network to tell. Untrained, it is the normal distribution of all latent actions, whatever the
    state.
    """

    def __init__(self, config: PriorConfig, state_shape: tuple[int, int], dim: int) -> None:
        super().__init__(config, state_shape, dim)
        self.net = state_reader(config.components, 2 * dim)

    def _act(self, u: Tensor, read: Tensor) -> Tensor:
        mean, log_scale = self._moments(read)
        return self.colour(mean + log_scale.exp() * u)

    def _log_prob(self, z: Tensor, read: Tensor) -> Tensor:
        mean, log_scale = self._moments(read)
        u = (self.whiten(z) - mean) * (-log_scale).exp()
        return self._log_base(u, read) - log_scale.sum(dim=-1) - self.z_factor.diagonal().log().sum()

    def _log_base(self, u: Tensor, read: Tensor) -> Tensor:
        """Log density of what the moments are applied to, ``[..., Z]`` to ``[...]``."""
        return normal(u)

    def _moments(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the scale of whitened latent actions, ``[..., Z]`` each."""
        mean, log_scale = self.net(read).chunk(2, dim=-1)
        return mean, bounded(log_scale)


def bounded(log_scale: Tensor) -> Tensor:
    """Logarithms of scales within bounds, as they are where they are small."""
    return STEEPEST * torch.tanh(log_scale / STEEPEST)


def normal(u: Tensor) -> Tensor:
    """Log density of ``N(0, I)`` at ``[..., U]``."""
    return -0.5 * (u.square() + math.log(2 * math.pi)).sum(dim=-1)
