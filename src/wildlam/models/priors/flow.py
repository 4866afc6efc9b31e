"""A conditional normalising flow: affine couplings between ``u`` and a Gaussian's map (Dinh et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Bottleneck
from wildlam.models.priors.base import PriorConfig, state_reader
from wildlam.models.priors.gaussian import GaussianPrior, bounded, normal


@dataclass(frozen=True, kw_only=True)
class Flow(PriorConfig):
    """The Gaussian, bent by couplings: half of z decides, with the state, how the other half is scaled and shifted.

    Args:
        couplings: number of couplings; neighbours change places.
    """

    couplings: int = 4

    def build(self, state_shape: tuple[int, int], bottleneck: Bottleneck) -> FlowPrior:
        """Make the module; see ``PriorConfig.build``."""
        if bottleneck.dim < 2:
            raise WildlamError("a coupling needs latent actions of two dimensions at least; choose the prior Gaussian")
        return FlowPrior(self, state_shape, bottleneck.dim)


class FlowPrior(GaussianPrior):
    """The Gaussian's map of ``f(u, s)`` in the place of u; untrained, f changes nothing."""

    def __init__(self, config: Flow, state_shape: tuple[int, int], dim: int) -> None:
        super().__init__(config, state_shape, dim)
        self.couplings = nn.ModuleList(
            Coupling(dim, config.components, first=i % 2 == 0) for i in range(config.couplings)
        )

    def _act(self, u: Tensor, read: Tensor) -> Tensor:
        for coupling in self.couplings:
            u = coupling(u, read)
        return super()._act(u, read)

    def _log_base(self, u: Tensor, read: Tensor) -> Tensor:
        log_volume = u.new_zeros(u.shape[:-1])
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, Coupling)
            u, change = coupling.back(u, read)
            log_volume = log_volume + change
        return normal(u) - log_volume


class Coupling(nn.Module):
    """Scales and shifts half of u ``[..., Z]``, by the other half and by what is read of the state.

    Args:
        dim: width Z.
        components: width of what is read.
        first: whether the first half changes.
    """

    def __init__(self, dim: int, components: int, first: bool) -> None:
        super().__init__()
        self.middle, self.first = dim // 2, first
        changed, seen = (self.middle, dim - self.middle) if first else (dim - self.middle, self.middle)
        self.net = state_reader(seen + components, 2 * changed)

    def forward(self, u: Tensor, read: Tensor) -> Tensor:
        """Change it."""
        changed, seen, shift, log_scale = self._parts(u, read)
        return self._joined(changed * log_scale.exp() + shift, seen)

    def back(self, u: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the change; also the logarithm of the volume that ``forward`` gives, ``[...]``."""
        changed, seen, shift, log_scale = self._parts(u, read)
        return self._joined((changed - shift) * (-log_scale).exp(), seen), log_scale.sum(dim=-1)

    def _parts(self, u: Tensor, read: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        one, other = u[..., : self.middle], u[..., self.middle :]
        changed, seen = (one, other) if self.first else (other, one)
        shift, log_scale = self.net(torch.cat([seen, read], dim=-1)).chunk(2, dim=-1)
        return changed, seen, shift, bounded(log_scale)

    def _joined(self, changed: Tensor, seen: Tensor) -> Tensor:
        return torch.cat([changed, seen] if self.first else [seen, changed], dim=-1)
