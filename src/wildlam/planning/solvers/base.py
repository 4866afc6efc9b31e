"""Parts of every solver: the distribution of candidates, and the result."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prior:
    """Normal distribution of the actions of a plan, independent from step to step, and their bounds.

    Attributes:
        mean: ``[H, A]`` or, an episode each, ``[B, H, A]``.
        std: likewise.
        low: least actions, ``[A]``, if bounded.
        high: largest actions.
        mixing: what makes components of a step vary together: a factor ``M`` ``[A, A]`` of their correlation ``M Mᵀ``;
            they are independent if not given.
    """

    mean: Tensor
    std: Tensor
    low: Tensor | None = None
    high: Tensor | None = None
    mixing: Tensor | None = None

    def clip(self, actions: Tensor) -> Tensor:
        """Actions within the bounds."""
        return actions if self.low is None and self.high is None else actions.clamp(self.low, self.high)

    def to(self, device: torch.device) -> Prior:
        """The same on a device."""
        moved = {name: t.to(device) for name, t in vars(self).items() if t is not None}
        return replace(self, **moved)

    def per_episode(self, batch: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation, ``[B, H, A]`` each."""
        mean, std = (p.expand(batch, *p.shape[-2:]) for p in (self.mean, self.std))
        return mean, std

    def around(self, mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
        """Candidates ``[B, S, H, A]`` within the bounds: ``[B, H, A]`` each and noise ``[B, S, H, A]`` of size 1."""
        noise = noise.to(mean)
        return self.clip(mean[:, None] + std[:, None] * (noise if self.mixing is None else noise @ self.mixing.T))


def mixing_of(actions: Tensor) -> Tensor:
    """A factor ``M`` ``[A, A]`` of the correlation ``M Mᵀ`` of actions ``[n, A]``; what never varies is by itself."""
    centred = actions.double() - actions.double().mean(dim=0)
    std = centred.square().mean(dim=0).sqrt()
    scaled = centred / std.where(std > 0, torch.inf)
    correlation = scaled.T @ scaled / len(scaled)
    correlation.diagonal().fill_(1)
    variance, directions = torch.linalg.eigh(correlation)
    return (directions * variance.clamp(min=0).sqrt()).to(actions)


@dataclass
class Plan:
    """A solver's result for each episode.

    Attributes:
        actions: ``[B, H, A]``.
        cost: cost of those actions, ``[B]``.
        history: lowest cost among the candidates of each iteration, ``[iterations, B]``.
    """

    actions: Tensor
    cost: Tensor
    history: Tensor


def white_noise(mean: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """Noise ``[B, S, H, A]`` for a mean ``[B, H, A]``, drawn on the CPU: the same on every device."""
    return torch.randn(len(mean), samples, *mean.shape[1:], generator=generator)


def next_candidates(
    prior: Prior, mean: Tensor, std: Tensor, samples: int, generator: torch.Generator | None, iteration: int
) -> Tensor:
    """Candidates ``[B, S, H, A]`` of an iteration, the mean among them in all but the first (0)."""
    candidates = prior.around(mean, std, white_noise(mean, samples, generator))
    if iteration:
        candidates[:, 0] = mean
    return candidates


def lowest(candidates: Tensor, costs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` cheapest of candidates ``[B, S, H, A]``, and their costs ``[B, count]``, the cheapest first."""
    few = costs.topk(min(count, costs.shape[1]), dim=1, largest=False)
    chosen = candidates.gather(1, few.indices[:, :, None, None].expand(-1, -1, *candidates.shape[2:]))
    return chosen, few.values
