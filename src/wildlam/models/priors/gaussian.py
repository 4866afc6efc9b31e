"""A normal distribution whose mean and covariance the state decides: ``z = mu(s) + L(s) u``."""

from __future__ import annotations

import math
from abc import abstractmethod
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
    """A normal distribution whose mean and covariance a small network makes of the state."""

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


class NormalPrior(WhiteningPrior):
    """A normal distribution in each state, of which subclasses know the moments; what is normal may be bent further."""

    @abstractmethod
    def moments(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``[..., Z]`` and Cholesky factor ``[..., Z, Z]`` of whitened latent actions."""

    def _act(self, u: Tensor, read: Tensor) -> Tensor:
        mean, factor = self.moments(read)
        return self.colour(mean + (factor @ u[..., None])[..., 0])

    def _log_prob(self, z: Tensor, read: Tensor) -> Tensor:
        mean, factor = self.moments(read)
        u = torch.linalg.solve_triangular(factor, (self.whiten(z) - mean)[..., None], upper=False)[..., 0]
        log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1) + self.z_factor.diagonal().log().sum()
        return self._log_base(u, read) - log_volume

    def _log_base(self, u: Tensor, read: Tensor) -> Tensor:
        """Log density of what the moments are applied to, ``[..., Z]`` to ``[...]``."""
        return normal(u)


class GaussianPrior(NormalPrior):
    """Untrained, it is the normal distribution of all latent actions, whatever the state."""

    def __init__(self, config: PriorConfig, state_shape: tuple[int, int], dim: int) -> None:
        super().__init__(config, state_shape, dim)
        self.net = state_reader(config.components, dim + dim * (dim + 1) // 2)

    def moments(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """See ``NormalPrior``."""
        out = self.net(read)
        mean, scales, below = out.split([self.dim, self.dim, out.shape[-1] - 2 * self.dim], dim=-1)
        factor = bounded(scales).exp().diag_embed()
        rows, columns = torch.tril_indices(self.dim, self.dim, -1, device=out.device)
        factor[..., rows, columns] = below
        return mean, factor


def bounded(log_scale: Tensor) -> Tensor:
    """Logarithms of scales within bounds, as they are where they are small."""
    return STEEPEST * torch.tanh(log_scale / STEEPEST)


def normal(u: Tensor) -> Tensor:
    """Log density of ``N(0, I)`` at ``[..., U]``."""
    return -0.5 * (u.square() + math.log(2 * math.pi)).sum(dim=-1)
