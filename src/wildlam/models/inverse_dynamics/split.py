"""Several inverse dynamics models share z: a linear one, whose part means the same in every state, and a transformer,
which tells of the whole and of each place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wildlam.errors import WildlamError, option
from wildlam.models.cells import Cells, check_cells
from wildlam.models.inverse_dynamics.base import IdmShape, InverseDynamicsConfig, InverseDynamicsModel
from wildlam.models.inverse_dynamics.linear import Linear, LinearIdm
from wildlam.models.inverse_dynamics.transformer import Transformer, TransformerIdm


@dataclass(frozen=True, kw_only=True)
class Split(InverseDynamicsConfig):
    """The first dimensions of z by Linear, the next by a Transformer of the whole, the last by it of one place each.

    Where the camera stands still, a linear map tells most of what happens, and a change then means the same in every
    state; where it moves it tells next to nothing, and the transformer does; what moves by itself is told best where it
    is. None is chosen beforehand: in training often all but one are dropped (as inputs are in modality dropout), so
    that each learns to tell what it can.

    Args:
        linear: share of z's dimensions that are a linear map's.
        local: share that the transformer tells of one place each; see ``Transformer``.
        cells: rows and columns of places; likewise.
        surcharge: what a nat of the transformer's dimensions costs, in units of the bottleneck's own price. Limits
            without a price for each dimension (Sparse, Discrete, Unconstrained) take all alike.
        dropped: share of transitions that, in training, are predicted from one part of z alone, the others being zero:
            as often from any. Without it the linear one, which learns faster, tells part of what others could tell
            better.
    """

    linear: float = 0.375
    local: float = 0.375
    cells: int = 4
    surcharge: float = 1.0
    dropped: float = 0.5

    def __post_init__(self) -> None:
        check_cells(self.local, self.cells)
        if not 0 < self.linear < 1:
            raise ValueError(f"model.idm.linear must be a share between 0 and 1, got {self.linear}")
        if self.linear + self.local >= 1:
            raise ValueError(f"model.idm.linear and local must leave some of z: got {self.linear} and {self.local}")
        if not 0 <= self.surcharge < math.inf:
            raise ValueError(f"model.idm.surcharge must be a number of at least 0, got {self.surcharge}")
        if not 0 <= self.dropped <= 1:
            raise ValueError(f"model.idm.dropped must be a share from 0 to 1, got {self.dropped}")

    def build(self, shape: IdmShape) -> SplitIdm:
        """Make the module; see ``InverseDynamicsConfig.build``. All share every part of the output.

        Raises:
            WildlamError: z has one dimension alone.
        """
        first, transformer = self._shared(shape)
        linear = Linear().build(replace(shape, dim=first))
        other = replace(shape, dim=shape.dim - first)
        return SplitIdm(linear, transformer.build(other), self._sizes(shape), self.dropped, shape.parts)

    def parted(self, shape: IdmShape) -> Cells | None:
        """See ``InverseDynamicsConfig.parted``."""
        first, transformer = self._shared(shape)
        cells = transformer.parted(replace(shape, dim=shape.dim - first))
        return cells and replace(cells, everywhere=first + cells.everywhere)

    def prices(self, shape: IdmShape) -> Tensor:
        """See ``InverseDynamicsConfig.prices``."""
        first, _ = self._shared(shape)
        return torch.cat((torch.ones(first), torch.full((shape.dim - first,), self.surcharge)))

    def _shared(self, shape: IdmShape) -> tuple[int, Transformer]:
        """How many dimensions are the linear model's, and what tells the others."""
        if shape.dim < 2:
            raise WildlamError(
                f"Split parts z between two models; give a larger {option('model.bottleneck.dim')} than {shape.dim}"
            )
        first = min(max(round(self.linear * shape.dim), 1), shape.dim - 1)
        return first, Transformer(local=self.local / (1 - self.linear), cells=self.cells)

    def _sizes(self, shape: IdmShape) -> list[int]:
        """How many dimensions each part of z has."""
        first, _ = self._shared(shape)
        cells = self.parted(shape)
        everywhere = cells.everywhere if cells else shape.dim
        return [size for size in (first, everywhere - first, shape.dim - everywhere) if size]


class SplitIdm(InverseDynamicsModel):
    """Both read every transition; of each part of the output the first numbers are the linear model's.

    Attributes:
        part: the number of the part of z that each dimension belongs to, ``int64 [Z]``.

    Args:
        linear: the linear model.
        transformer: the transformer.
        sizes: how many dimensions each part of z has, of which in training one may be all that is told.
        dropped: share of transitions of which, in training, all but one are zero.
        parts: how many vectors the output consists of, such as a mean and a variance.
    """

    part: Tensor

    def __init__(
        self, linear: LinearIdm, transformer: TransformerIdm, sizes: list[int], dropped: float, parts: int
    ) -> None:
        super().__init__()
        self.linear, self.transformer, self.parts = linear, transformer, parts
        self.count, self.dropped = len(sizes), dropped
        part = torch.cat([torch.full((size,), i) for i, size in enumerate(sizes)])
        self.register_buffer("part", part, persistent=False)

    def forward(self, states_BTND: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.forward``."""
        read = (model(states_BTND).unflatten(-1, (self.parts, -1)) for model in (self.linear, self.transformer))
        return torch.cat(tuple(read), dim=-1).flatten(-2)

    def drop(self, z: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.drop``."""
        if not self.training or not self.dropped:
            return z
        # Below `dropped` the part that is told, above it all are.
        told = (torch.rand(z.shape[:-1], device=z.device) / self.dropped * self.count).floor()[..., None]
        return z.masked_fill((told < self.count) & (told != self.part), 0.0)
