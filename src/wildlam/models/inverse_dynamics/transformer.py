"""A transformer over pairs of states: may read a change in the light of the state in which it happens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.models.inverse_dynamics.base import IdmShape, InverseDynamicsConfig
from wildlam.models.inverse_dynamics.pooling import PoolingTransformer


@dataclass(frozen=True, kw_only=True)
class Transformer(InverseDynamicsConfig):
    """A transformer over both states: predicts best, but its code may mean something else in every state."""

    def build(self, shape: IdmShape) -> TransformerIdm:
        """Make the module; see ``InverseDynamicsConfig.build``."""
        return TransformerIdm(2 * shape.state_width, shape.grid, shape.out_width, shape.size, shape.place)


class TransformerIdm(PoolingTransformer):
    """The two states meet token by token: token n of a pair is a linear map of ``(s_t[n], s_{t+1}[n] - s_t[n])``, so
    a pair costs N tokens instead of 2 N.
    """

    def forward(self, states_BTND: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.forward``."""
        before, after = states_BTND[:, :-1], states_BTND[:, 1:]
        return self.read(torch.cat((before, after - before), dim=-1))
