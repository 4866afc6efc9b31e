"""The contract of an inverse dynamics model: from pairs of states to what the bottleneck reads."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from wildlam.models.transformer import Size


@dataclass(frozen=True, kw_only=True)
class InverseDynamicsConfig:
    """An inverse dynamics model."""

    def build(
        self, state_width: int, grid: tuple[int, int], out_width: int, size: Size, place: bool = False
    ) -> InverseDynamicsModel:
        """Make the module, randomly initialised.

        Args:
            state_width: width D of the states' tokens.
            grid: height and width of their map, ``N = h * w``.
            out_width: what the bottleneck reads.
            size: width, depth and heads of its transformer, if it has one.
            place: give that transformer learnt embeddings of places.
        """
        raise TypeError("choose an inverse dynamics model: Transformer, Linear or Difference")


class InverseDynamicsModel(nn.Module):
    """Reads the transitions between neighbouring states."""

    @abstractmethod
    def forward(self, states_BTND: Tensor) -> Tensor:
        """Read all ``T - 1`` neighbouring pairs in one batch: ``[B, T, N, D]`` to ``[B, T - 1, out_width]``.

        Output t is a function of states t and t + 1 alone.
        """
