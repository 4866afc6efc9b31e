"""The interface of a bottleneck: from the IDM's output to a latent action and a penalty."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from wildlam.errors import WildlamError


@dataclass(frozen=True, kw_only=True)
class BottleneckConfig:
    """A limit on the latent action.

    Args:
        dim: width Z of a latent action (paper: 128).
    """

    dim: int = 32

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"model.bottleneck.dim must be at least 1, got {self.dim}")
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, float) and not 0 <= value < math.inf:
                raise ValueError(f"model.bottleneck.{part.name} must be a number of at least 0, got {value}")

    def build(self) -> Bottleneck:
        """Make the module."""
        raise TypeError("choose a bottleneck: Noisy, Adaptive, Sparse, Discrete, Unconstrained or Deterministic")


class Bottleneck(nn.Module):
    """Maps the inverse dynamics model's output for each transition to a latent action.

    Attributes:
        dim: width Z of a latent action.
        in_width: width of what it reads; 0 if it reads nothing, in which case no inverse dynamics model is built.
        widths: to how many leading dimensions a latent action may be cut, fewest first; none if it is always whole.
        tolerance: share by which a latent action that is cut may predict worse than the whole one, and still do.
    """

    dim: int
    in_width: int
    widths: tuple[int, ...] = ()
    tolerance: float = 0.0

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """For training: ``[..., in_width]`` to latent actions ``[..., Z]``, perhaps random, and a scalar penalty.

        The penalty holds its coefficient. It may communicate with other processes, so all must call it together.
        """

    def draw(self, x: Tensor) -> Tensor:
        """Latent actions as those of ``forward``, perhaps random, but free of charge and without a trace."""
        return self.encode(x)

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """For use: ``[..., in_width]`` to latent actions ``[..., Z]``, each a function of its own input alone."""

    @abstractmethod
    def statistics(self, x: Tensor) -> dict[str, Tensor]:
        """Figures of the bottleneck's health on inputs ``[..., in_width]``: scalars, and vectors per dimension."""

    def set_prices(self, prices: Tensor) -> None:
        """Make a dimension's capacity cost so many times the bottleneck's price, ``[Z]``, if dimensions have one."""

    def nats(self, x: Tensor) -> Tensor:
        """What each dimension tells, in nats: ``[..., in_width]`` to ``[..., Z]``.

        Raises:
            WildlamError: it is not counted in nats.
        """
        raise WildlamError("these latent actions are not counted in nats; those of Noisy and Adaptive are")

    @abstractmethod
    def sample(self, count: int) -> Tensor:
        """Draw ``[count, Z]`` latent actions without an inverse dynamics model."""


def leading(x: Tensor, dims: int | Tensor) -> Tensor:
    """The leading ``dims`` of ``[..., Z]``, the others zero; ``dims`` is one number, or one for each, ``[...]``."""
    dropped = torch.arange(x.shape[-1], device=x.device) >= torch.as_tensor(dims, device=x.device)[..., None]
    return x.masked_fill(dropped, 0.0)


def moments(z: Tensor) -> dict[str, Tensor]:
    """Statistics common to all continuous latent actions ``[..., Z]``.

    ``z_std`` is the mean over dimensions of the standard deviation, ``z_covariance`` the mean squared off-diagonal
    covariance, ``z_active`` the number of dimensions whose standard deviation is over 0.1.
    """
    z = z.detach().float().flatten(0, -2)
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / max(len(z) - 1, 1)
    std = covariance.diagonal().sqrt()
    off_diagonal = covariance.square().sum() - covariance.diagonal().square().sum()
    pairs = max(z.shape[1] * (z.shape[1] - 1), 1)
    return {"z_std": std.mean(), "z_covariance": off_diagonal / pairs, "z_active": (std > 0.1).sum().float()}
