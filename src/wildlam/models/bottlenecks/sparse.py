"""Sparse latent actions: an L1 energy, with variance, covariance and mean terms against collapse (arXiv 2601.05230)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.distributed import sum_over_processes
from wildlam.models.bottlenecks.base import Bottleneck, BottleneckConfig, moments

LANGEVIN_STEPS = 1000
LANGEVIN_STEP_SIZE = 1e-2


@dataclass(frozen=True, kw_only=True)
class Sparse(BottleneckConfig):
    """Sparsity of the latent action, with variance-covariance-mean regularisation against collapse.

    Args:
        l1: λ_l1, price of the L1 norm; larger leaves less capacity (paper: 0.01 to 0.4).
        l2: λ_l2, price of a squared norm under √Z.
        variance: λ_V, price of a standard deviation under 1.
        covariance: λ_C, price of squared covariances between dimensions.
        mean: λ_M, price of squared means.
    """

    l1: float = 0.05
    l2: float = 1.0
    variance: float = 0.1
    covariance: float = 0.001
    mean: float = 0.1

    def build(self) -> SparseBottleneck:
        """Make the module."""
        return SparseBottleneck(self)


class SparseBottleneck(Bottleneck):
    """``L(Z) = VCM(Z) + mean_i E(z_i)`` on all latent actions of the *global* batch.

    ``E(z) = λ_l2 max(√D - ‖z‖², 0) + λ_l1 ‖z‖_1`` with √D against the squared norm, as the paper prints it. Its
    mean term is printed as ``1/(ND) Σ Z``, which has no lower bound; read here as the squared mean of each dimension,
    averaged over dimensions. Variances are unbiased, as is the covariance (VICReg; Bardes et al., 2022).

    With several processes the moments are summed over all of them, differentiably. Under gradient accumulation they are
    those of each micro-batch.
    """

    def __init__(self, config: Sparse) -> None:
        super().__init__()
        self.dim, self.in_width, self.config = config.dim, config.dim, config

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Bottleneck.forward``; the latent action is the input itself."""
        z = x.float()
        flat = z.flatten(0, -2)
        return z, self.vcm(flat) + self.energy(flat).mean()

    def encode(self, x: Tensor) -> Tensor:
        """The input itself."""
        return x.float()

    def energy(self, z: Tensor) -> Tensor:
        """Energy E of each latent action, ``[..., Z]`` to ``[...]``."""
        shortfall = (self.dim**0.5 - z.square().sum(dim=-1)).clamp(min=0)
        return self.config.l2 * shortfall + self.config.l1 * z.abs().sum(dim=-1)

    def vcm(self, z: Tensor) -> Tensor:
        """Variance, covariance and mean terms of ``[N, Z]``, this process's share of the global batch."""
        count = sum_over_processes(z.new_tensor(float(len(z))))
        mean = sum_over_processes(z.sum(dim=0)) / count
        centred = z - mean
        covariance = sum_over_processes(centred.T @ centred) / (count - 1).clamp(min=1)
        # The epsilon keeps the square root's gradient finite when a dimension is constant, as in VICReg.
        std = (covariance.diagonal() + 1e-6).sqrt()
        off_diagonal = covariance - covariance.diagonal().diag()
        return (
            self.config.variance * (1 - std).clamp(min=0).mean()
            + self.config.covariance * off_diagonal.square().sum() / max(self.dim * (self.dim - 1), 1)
            + self.config.mean * mean.square().mean()
        )

    def statistics(self, x: Tensor) -> dict[str, Tensor]:
        """Energy, L1 norm, squared norm, and the share of entries under a hundredth of the largest (sparsity)."""
        z = x.detach().float()
        return moments(z) | {
            "energy": self.energy(z).mean(),
            "z_l1": z.abs().sum(dim=-1).mean(),
            "z_squared_norm": z.square().sum(dim=-1).mean(),
            "sparsity": (z.abs() < 0.01 * z.abs().amax(dim=-1, keepdim=True)).float().mean(),
        }

    def sample(self, count: int) -> Tensor:
        """Langevin dynamics on the energy, ``z <- z - α/2 ∇E(z) + N(0, α)`` (arXiv 2601.05230), from ``N(0, I)``."""
        z = torch.randn(count, self.dim)
        for _ in range(LANGEVIN_STEPS):
            # By hand, so that it also runs where gradients are off.
            short = (z.square().sum(dim=-1, keepdim=True) < self.dim**0.5).float()
            gradient = self.config.l1 * z.sign() - self.config.l2 * short * 2 * z
            z = z - 0.5 * LANGEVIN_STEP_SIZE * gradient + LANGEVIN_STEP_SIZE**0.5 * torch.randn_like(z)
        return z
