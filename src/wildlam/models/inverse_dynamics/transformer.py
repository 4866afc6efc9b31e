"""A transformer over pairs of states: may read a change in the light of the state in which it happens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wildlam.models.cells import Cells, cells_of, check_cells
from wildlam.models.inverse_dynamics.base import IdmShape, InverseDynamicsConfig
from wildlam.models.inverse_dynamics.pooling import PoolingTransformer


@dataclass(frozen=True, kw_only=True)
class Transformer(InverseDynamicsConfig):
    """A transformer over both states: predicts best, but its code may mean something else in every state.

    Args:
        local: share of z's dimensions that speak of one place each: every cell of a coarse map has as many, which are
            read there and act there, by the same networks everywhere. The others are then read from the mean of all
            places, as a query may choose one, and what moves there would be told of the whole.
        cells: rows and columns of that map; fewer where there are fewer tokens, or dimensions.
    """

    local: float = 0.0
    cells: int = 4

    def __post_init__(self) -> None:
        check_cells(self.local, self.cells)

    def build(self, shape: IdmShape) -> TransformerIdm:
        """Make the module; see ``InverseDynamicsConfig.build``."""
        return TransformerIdm(shape, self.parted(shape))

    def parted(self, shape: IdmShape) -> Cells | None:
        """See ``InverseDynamicsConfig.parted``."""
        return cells_of(shape.grid, self.cells, round(self.local * shape.dim), shape.dim)


class TransformerIdm(PoolingTransformer):
    """The two states meet token by token: token n of a pair is a linear map of ``(s_t[n], s_{t+1}[n] - s_t[n])``, so
    a pair costs N tokens instead of 2 N.

    Args:
        shape: what it reads and puts out.
        cells: which dimensions are read from the tokens of one place, if any.
    """

    def __init__(self, shape: IdmShape, cells: Cells | None) -> None:
        whole = shape.parts * (cells.everywhere if cells else shape.dim)
        super().__init__(2 * shape.state_width, shape.grid, whole, shape.size, shape.place, query=cells is None)
        self.parts, self.cells = shape.parts, cells
        self.head_local = nn.Linear(shape.size.width, shape.parts * cells.each) if cells else None

    def forward(self, states_BTND: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.forward``."""
        before, after = states_BTND[:, :-1], states_BTND[:, 1:]
        x = self.attend(torch.cat((before, after - before), dim=-1))
        out = self.answer(x).unflatten(-1, (self.parts, -1))
        if self.cells is not None and self.head_local is not None:
            local = self.head_local(self.cells.mean(x)).transpose(1, 2)  # dimension by dimension, not cell by cell
            out = torch.cat((out, local.unflatten(1, (self.parts, -1)).flatten(2)), dim=-1)
        return out.flatten(1).unflatten(0, before.shape[:2])
