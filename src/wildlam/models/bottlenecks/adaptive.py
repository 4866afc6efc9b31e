"""Noisy latent actions of as many dimensions as a transition needs, by nested dropout (as in arXiv 2606.19408)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.models.bottlenecks.base import BottleneckConfig, leading
from wildlam.models.bottlenecks.noisy import Noisy, NoisyBottleneck


@dataclass(frozen=True, kw_only=True)
class Adaptive(BottleneckConfig):
    """Noise as of Noisy on the k leading dimensions, the others zero: k as large as a transition needs.

    Args:
        beta: price of one nat, as of Noisy, in the dimensions that are kept; larger leaves less capacity.
        tolerance: share by which a latent action of fewer dimensions may predict a transition worse than the whole
            one, and still do. It is a share of the error that is left in any case, so that more must be gained, for
            another dimension, where much cannot be foreseen.
    """

    dim: int = 256
    beta: float = 1e-4
    tolerance: float = 0.02

    def build(self) -> AdaptiveBottleneck:
        """Make the module."""
        return AdaptiveBottleneck(self)


class AdaptiveBottleneck(NoisyBottleneck):
    """``q(z | s_t, s_{t+1}) = N(mu, sigma²)`` on the first k dimensions; only these are priced.

    In training k is drawn for each transition from ``widths``, 1, 2, 4, ... and Z, so that the first dimensions learn
    to tell most. In use ``encode`` gives the mean of all Z, of which the model keeps as many as it needs, which only
    the world model can tell (``LatentActionModel.needed``).
    """

    def __init__(self, config: Adaptive) -> None:
        super().__init__(Noisy(dim=config.dim, beta=config.beta))
        self.widths = (*(2**i for i in range((config.dim - 1).bit_length())), config.dim)
        self.tolerance = config.tolerance

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Bottleneck.forward``; ``x`` holds the mean and the logarithm of the variance."""
        dims = self._drawn_dims(x.shape[:-1], x.device)
        return leading(super().draw(x), dims), self.beta * leading(self.prices * self.nats(x), dims).sum(dim=-1).mean()

    def draw(self, x: Tensor) -> Tensor:
        """A sample of the posterior, cut to as many dimensions as were drawn for it."""
        dims = self._drawn_dims(x.shape[:-1], x.device)
        return leading(super().draw(x), dims)

    def statistics(self, x: Tensor) -> dict[str, Tensor]:
        """As of Noisy, ``kl`` being what is told on average in training; and what the first k tell, for each width."""
        found = super().statistics(x)
        by_width = found["kl_per_dimension"].cumsum(dim=0)[[width - 1 for width in self.widths]]
        return found | {"kl": by_width.mean(), "kl_by_width": by_width}

    def sample(self, count: int) -> Tensor:
        """Draw from the prior, ``N(0, I)``, as many dimensions as in training."""
        z = super().sample(count)
        return leading(z, self._drawn_dims((count,), z.device))

    def _drawn_dims(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        widths = torch.tensor(self.widths, device=device)
        return widths[torch.randint(len(widths), shape, device=device)]
