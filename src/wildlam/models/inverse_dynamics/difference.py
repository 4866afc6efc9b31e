"""The difference of two embedded states: the actions along a path add up, whatever a state is mapped to."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wildlam.models.inverse_dynamics.base import IdmShape, InverseDynamicsConfig
from wildlam.models.inverse_dynamics.pooling import PoolingTransformer


@dataclass(frozen=True, kw_only=True)
class Difference(InverseDynamicsConfig):
    """``φ(s_{t+1}) - φ(s_t)``, φ a transformer over one state: the actions of two steps add up, on learnt features."""

    def build(self, shape: IdmShape) -> DifferenceIdm:
        """Make the module; see ``InverseDynamicsConfig.build``."""
        return DifferenceIdm(shape.state_width, shape.grid, shape.out_width, shape.size, shape.place)


class DifferenceIdm(PoolingTransformer):
    """Every state is embedded once, for both of its transitions. The head's constant, which a difference cancels, is
    added to it: without one no noise could be learnt.
    """

    def forward(self, states_BTND: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.forward``."""
        embedded = self.read(states_BTND)
        return embedded[:, 1:] - embedded[:, :-1] + self.head.bias
