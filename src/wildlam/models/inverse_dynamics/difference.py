"""The difference of two embedded states: the actions along a path add up, whatever a state is mapped to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wildlam.models.inverse_dynamics.base import InverseDynamicsConfig
from wildlam.models.inverse_dynamics.pooling import PoolingTransformer
from wildlam.models.transformer import Size


@dataclass(frozen=True, kw_only=True)
class Difference(InverseDynamicsConfig):
    """``φ(s_{t+1}) - φ(s_t)``, φ a transformer over one state: the actions of two steps add up, on learnt features."""

    def build(
        self,
        state_width: int,
        grid: tuple[int, int],
        out_width: int,
        size: Size,
        place: bool = False,
        parts: int = 1,
    ) -> DifferenceIdm:
        """Make the module; see ``InverseDynamicsConfig.build``."""
        return DifferenceIdm(state_width, grid, out_width, size, place)


class DifferenceIdm(PoolingTransformer):
    """Every state is embedded once, for both of its transitions. The head's constant, which a difference cancels, is
    added to it: without one no noise could be learnt.
    """

    def forward(self, states_BTND: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.forward``."""
        embedded = self.read(states_BTND)
        return embedded[:, 1:] - embedded[:, :-1] + self.head.bias
