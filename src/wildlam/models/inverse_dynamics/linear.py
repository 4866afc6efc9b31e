"""A linear map of the difference of two states: a change means the same in every state."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from wildlam.models.inverse_dynamics.base import IdmShape, InverseDynamicsConfig, InverseDynamicsModel


@dataclass(frozen=True, kw_only=True)
class Linear(InverseDynamicsConfig):
    """``W (s_{t+1} - s_t)`` over all tokens: the actions of two steps add up. For cameras that stand still."""

    def build(self, shape: IdmShape) -> LinearIdm:
        """Make the module; see ``InverseDynamicsConfig.build``. It has no size, and knows places in any case."""
        return LinearIdm(shape.grid[0] * shape.grid[1] * shape.state_width, shape.out_width)


class LinearIdm(InverseDynamicsModel):
    """A linear map of all tokens' differences, plus a constant, without which no noise could be learnt.

    Args:
        width: numbers of a state, ``N * D``.
        out_width: what the bottleneck reads.
    """

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, out_width)

    def forward(self, states_BTND: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.forward``."""
        return self.head((states_BTND[:, 1:] - states_BTND[:, :-1]).flatten(2))
