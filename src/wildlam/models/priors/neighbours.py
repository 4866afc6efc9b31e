"""Retrieval: the latent actions of the most similar states of the training films. Nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.models.bottlenecks import Bottleneck
from wildlam.models.priors.base import PriorConfig
from wildlam.models.priors.gaussian import WhiteningPrior, normal


@dataclass(frozen=True, kw_only=True)
class Neighbours(PriorConfig):
    """The normal distribution of the latent actions that nearest states had: a baseline that takes no training.

    Args:
        memory: transitions of the training films that are kept.
        count: how many of them, those of the nearest states, a distribution is of.
        share: share of the covariance that is that of all latent actions, since few span no volume.
    """

    memory: int = 4096
    count: int = 64
    share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count > self.memory:
            raise ValueError(f"prior.count must not be over prior.memory, got {self.count} and {self.memory}")
        if self.share > 1:
            raise ValueError(f"prior.share must not be over 1, got {self.share}")

    def build(self, state_shape: tuple[int, int], bottleneck: Bottleneck) -> NeighboursPrior:
        """Make the module; see ``PriorConfig.build``."""
        return NeighboursPrior(self, state_shape, bottleneck.dim)


class NeighboursPrior(WhiteningPrior):
    """Mean and covariance of the whitened latent actions of the nearest states."""

    known: Tensor
    known_w: Tensor

    def __init__(self, config: Neighbours, state_shape: tuple[int, int], dim: int) -> None:
        super().__init__(config, state_shape, dim)
        self.count, self.share = config.count, config.share
        self.register_buffer("known", torch.zeros(config.memory, config.components))
        self.register_buffer("known_w", torch.zeros(config.memory, dim))

    def _fit(self, read: Tensor, z: Tensor) -> None:
        super()._fit(read, z)
        rows = torch.arange(len(self.known), device=z.device) % len(z)  # of fewer, some are there twice
        self.known.copy_(read[rows])
        self.known_w.copy_(self.whiten(z)[rows])

    def _act(self, u: Tensor, read: Tensor) -> Tensor:
        mean, factor = self._moments(read)
        return self.colour(mean + (factor @ u[..., None])[..., 0])

    def _log_prob(self, z: Tensor, read: Tensor) -> Tensor:
        mean, factor = self._moments(read)
        u = torch.linalg.solve_triangular(factor, (self.whiten(z) - mean)[..., None], upper=False)[..., 0]
        log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1) + self.z_factor.diagonal().log().sum()
        return normal(u) - log_volume

    def _moments(self, read: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``[..., Z]`` and Cholesky factor ``[..., Z, Z]`` of whitened latent actions."""
        nearest = torch.cdist(read.flatten(0, -2), self.known).topk(self.count, dim=1, largest=False).indices
        w = self.known_w[nearest.view(*read.shape[:-1], -1)]
        mean = w.mean(dim=-2)
        apart = w - mean[..., None, :]
        own = apart.mT @ apart / self.count
        mixed = (1 - self.share) * own + self.share * torch.eye(self.dim, device=w.device)
        return mean, torch.linalg.cholesky(mixed)
