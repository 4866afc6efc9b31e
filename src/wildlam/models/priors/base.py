"""The contract of a prior: from a point of its base space, and a state, to a latent action that is likely there."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from wildlam.models.bottlenecks import Bottleneck
from wildlam.types import Loss

WIDTH = 128
"""Width of the hidden layers that read a state."""


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """A prior over latent actions, given the state.

    Args:
        components: principal components of the state, of all its tokens together, that the prior sees.
    """

    components: int = 64

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"prior.{part.name} must be at least 1, got {value}")
            if isinstance(value, float) and not 0 < value < math.inf:
                raise ValueError(f"prior.{part.name} must be a positive number, got {value}")

    def build(self, state_shape: tuple[int, int], bottleneck: Bottleneck) -> LatentPrior:
        """Make the module, not yet fitted.

        Args:
            state_shape: tokens N of a state, and their width D.
            bottleneck: bottleneck whose latent actions it is for.

        Raises:
            WildlamError: it cannot be for that bottleneck.
        """
        raise TypeError("choose a prior: Gaussian, Flow, Neighbours or Codes")


class LatentPrior(nn.Module):
    """A density of latent actions ``[B, Z]`` given states ``[B, N, D]``, as a map from its base space.

    Points u of the base space that are drawn from ``N(0, I)`` become latent actions that are drawn from the prior.

    Attributes:
        dim: width Z of a latent action.
        base: width U of a point of the base space.
    """

    dim: int
    base: int
    state_mean: Tensor
    state_directions: Tensor
    state_scale: Tensor

    def __init__(self, config: PriorConfig, state_shape: tuple[int, int], dim: int, base: int) -> None:
        super().__init__()
        self.dim, self.base, self.components = dim, base, config.components
        width = state_shape[0] * state_shape[1]
        self.register_buffer("state_mean", torch.zeros(width))
        self.register_buffer("state_directions", torch.zeros(width, config.components))
        self.register_buffer("state_scale", torch.ones(()))

    # What is fitted before any training

    def see_by(self, mean: Tensor, directions: Tensor) -> None:
        """Set the principal components that stand for a state.

        Args:
            mean: mean state, flat, ``[N * D]``.
            directions: directions, ``[N * D, components]``; of fewer, the others are empty.
        """
        self.state_mean.copy_(mean)
        self.state_directions.zero_()
        self.state_directions[:, : directions.shape[1]] = directions

    def read(self, states: Tensor) -> Tensor:
        """Components of states ``[..., N, D]``, ``[..., components]``, by one factor of size 1 on average."""
        with torch.autocast(states.device.type, enabled=False):
            return (states.float().flatten(-2) - self.state_mean) @ self.state_directions / self.state_scale

    def fit(self, read: Tensor, z: Tensor) -> None:
        """Set what needs no training, by transitions of training films, once ``see_by`` is set.

        Args:
            read: what is read of the states, ``[M, components]``.
            z: latent actions inferred there, ``[M, Z]``.
        """
        factor = read.var(dim=0).mean().sqrt().clamp(min=1e-9)
        self.state_scale.mul_(factor)
        self._fit(read / factor, z)

    @abstractmethod
    def _fit(self, read: Tensor, z: Tensor) -> None: ...

    # Use

    def act(self, u: Tensor, states: Tensor) -> Tensor:
        """Latent actions ``[B, Z]`` of points ``[B, U]`` of the base space, in states ``[B, N, D]``."""
        with torch.autocast(states.device.type, enabled=False):
            return self._act(u.float(), self.read(states))

    @abstractmethod
    def _act(self, u: Tensor, read: Tensor) -> Tensor: ...

    def log_prob(self, z: Tensor, states: Tensor) -> Tensor:
        """Logarithm of the density, or of the probability of a code, of ``[..., Z]`` in ``[..., N, D]``: ``[...]``."""
        with torch.autocast(states.device.type, enabled=False):
            return self._log_prob(z.float(), self.read(states))

    @abstractmethod
    def _log_prob(self, z: Tensor, read: Tensor) -> Tensor: ...

    def surprise(self, u: Tensor, states: Tensor) -> Tensor:
        """How unlikely points ``[..., U]`` are in states ``[..., N, D]``, in nats up to a constant: ``[...]``."""
        return 0.5 * u.float().square().sum(dim=-1)

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a latent action for each of the states ``[..., N, D]``: ``[..., Z]``.

        Args:
            states: the states.
            generator: random generator, on the CPU.
        """
        flat = states.flatten(0, -3)
        u = torch.randn(len(flat), self.base, generator=generator).to(flat.device)
        return self.act(u, flat).unflatten(0, states.shape[:-2])

    def forward(self, states: Tensor, z: Tensor) -> Loss:
        """Mean negative log-likelihood of latent actions ``[B, T - 1, Z]``, each in the state before it, in nats.

        Args:
            states: ``[B, T, N, D]``.
            z: latent actions inferred between them.
        """
        nats = -self.log_prob(z, states[:, :-1]).mean()
        return Loss(nats, lambda: {"nats": nats.detach()})


def state_reader(components: int, out: int) -> nn.Sequential:
    """A small network of what is read of a state; its output is zero at first."""
    head = nn.Linear(WIDTH, out)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(nn.Linear(components, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), head)
