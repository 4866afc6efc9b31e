"""What every solver shares: the distribution that candidates are drawn from, and what is found."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prior:
    """Independent normal distribution of the actions of a plan, and their bounds.

    Attributes:
        mean: ``[H, A]`` or, an episode each, ``[B, H, A]``.
        std: likewise.
        low: least actions, ``[A]``, if bounded.
        high: largest actions.
    """

    mean: Tensor
    std: Tensor
    low: Tensor | None = None
    high: Tensor | None = None

    def clip(self, actions: Tensor) -> Tensor:
        """Actions within the bounds."""
        return actions if self.low is None and self.high is None else actions.clamp(self.low, self.high)


@dataclass
class Plan:
    """What a solver found for each episode.

    Attributes:
        actions: ``[B, H, A]``.
        cost: of those actions, ``[B]``.
        history: lowest cost among the candidates of each iteration, ``[iterations, B]``.
    """

    actions: Tensor
    cost: Tensor
    history: Tensor
