"""The contract of a consistency loss, and the one measure, free of scale, that all of them use."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor, nn

from wildlam.distributed import sum_over_processes
from wildlam.errors import WildlamError

EPSILON = 1e-8
"""Variance of noise where nothing varies at all."""

Draw = Callable[[Tensor], Tensor]
"""From states ``[P, T, N, D]`` to the latent actions between them as in training, noise included, ``[P, T - 1, Z]``."""

Predict = Callable[[Tensor, Tensor], Tensor]
"""From states ``[P, T, N, D]`` and the latent actions ``[P, T, Z]`` taken there to the states after them."""


@dataclass(frozen=True, kw_only=True)
class ConsistencyConfig:
    """Something that is asked of latent actions besides prediction."""

    least_states: ClassVar[int] = 2
    """States that a clip must have."""

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if isinstance(value, float) and not 0 <= value < math.inf:
                raise ValueError(f"model.consistency.{part.name} must be a number of at least 0, got {value}")

    def build(self, dim: int) -> Consistency | None:
        """Make the module for latent actions of width ``dim``; None if nothing is asked."""
        raise TypeError("choose a consistency: Absent, Additive, Composition or Cycle")


class Consistency(nn.Module):
    """Asks that latent actions which should be the same are the same.

    Args:
        weight: price of what agrees by chance alone.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, states: Tensor, z: Tensor, draw: Draw, predict: Predict) -> tuple[Tensor, dict[str, Tensor]]:
        """Price the disagreement of a batch. It may speak with the other processes, so all must call it together.

        Args:
            states: clips ``[B, T, N, D]``.
            z: the latent actions between them as drawn for training, ``[B, T - 1, Z]``.
            draw: the model's inference, as for training.
            predict: its prediction.

        Returns:
            The penalty, its weight included, and by name the disagreements whose mean it prices.
        """
        pairs = self.pairs(states, z, draw, predict)
        with torch.autocast(z.device.type, enabled=False):
            unit = spread_of(z.flatten(0, -2))
            found = {name: disagreement(a, b, unit) for name, (a, b) in pairs.items()}
        return self.weight * torch.stack(list(found.values())).mean(), found

    @abstractmethod
    def pairs(self, states: Tensor, z: Tensor, draw: Draw, predict: Predict) -> dict[str, tuple[Tensor, Tensor]]:
        """Latent actions ``[P, Z]`` that should be the same, by what they are called; see ``forward``."""


@dataclass(frozen=True)
class Spread:
    """How latent actions vary, as the unit in which they are compared.

    Attributes:
        root: lower triangular root L of their covariance ``L Lᵀ``, ``[Z, Z]``.
        noise: variance of the noise that was added in every dimension, so that none is without any.
    """

    root: Tensor
    noise: Tensor


def spread_of(z: Tensor) -> Spread:
    """The spread of latent actions ``[P, Z]``, over all processes; the noise is a hundredth of the mean variance."""
    z = z.float()
    count = sum_over_processes(z.new_tensor(float(len(z))))
    centred = z - sum_over_processes(z.sum(dim=0)) / count
    covariance = sum_over_processes(centred.T @ centred) / count
    noise = 0.01 * covariance.diagonal().mean() + EPSILON
    return Spread(torch.linalg.cholesky(covariance + noise * torch.eye(len(covariance), device=z.device)), noise)


def disagreement(a: Tensor, b: Tensor, unit: Spread) -> Tensor:
    """How far two sets of latent actions ``[P, Z]`` that should be the same are from it: 0 where they are, 1 by chance.

    With the spread of all latent actions as the unit in every direction, and its noise added to both,
    ``E‖a - b‖² / (E‖a - E a‖² + E‖b - E b‖² + ‖E a - E b‖²)``: 1 minus Lin's concordance correlation (1989). Directions
    that are noise, or in which nothing varies, agree by chance. The moments are those of all processes together.

    Nothing is won by making latent actions smaller or larger, nor by saying one thing in several dimensions: either
    leaves it as it is. The gradient passes through the unit and the denominator, too: there is no pull that way;
    with these held fixed the value would be the same, but the gradient would shrink z at every step.
    """
    a, b = (torch.linalg.solve_triangular(unit.root, x.float().T, upper=False).T for x in (a, b))
    count = sum_over_processes(a.new_tensor(float(len(a))))
    mean_a, mean_b = sum_over_processes(torch.stack((a.sum(dim=0), b.sum(dim=0)))) / count
    sums = torch.stack(((a - b).square().sum(), (a - mean_a).square().sum() + (b - mean_b).square().sum()))
    apart, spread = sum_over_processes(sums) / count
    axes = torch.eye(len(unit.root), device=a.device)
    noise = 2 * unit.noise * torch.linalg.solve_triangular(unit.root, axes, upper=False).square().sum()
    return (apart + noise) / (spread + (mean_a - mean_b).square().sum() + noise)


@dataclass(frozen=True)
class TwoSteps:
    """Latent actions ``[B, Z]`` around three neighbouring states 0, 1, 2 of each clip.

    Attributes:
        first: from 0 to 1.
        second: from 1 to 2.
        both: from 0 to 2 at once.
        back: from 1 to 0, the clip run backwards.
    """

    first: Tensor
    second: Tensor
    both: Tensor
    back: Tensor


def two_steps(states: Tensor, z: Tensor, draw: Draw) -> TwoSteps:
    """Draw three neighbouring states of each clip, and infer what is not known yet: two transitions a clip.

    Raises:
        WildlamError: clips of fewer than three states.
    """
    batch, length = states.shape[:2]
    if length < 3:
        raise WildlamError(f"two steps need clips of 3 states, got {length}; give a larger data.frames")
    rows = torch.arange(batch, device=states.device)
    start = torch.randint(length - 2, (batch,), device=states.device)
    zero, one, two = (states[rows, start + i] for i in range(3))
    pairs = torch.stack((torch.cat((zero, one)), torch.cat((two, zero))), dim=1)
    both, back = draw(pairs)[:, 0].chunk(2)
    return TwoSteps(z[rows, start], z[rows, start + 1], both, back)
