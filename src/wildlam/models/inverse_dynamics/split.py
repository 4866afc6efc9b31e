"""Two inverse dynamics models share z: a linear one, whose part means the same in every state, and a transformer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wildlam.errors import WildlamError, option
from wildlam.models.inverse_dynamics.base import IdmShape, InverseDynamicsConfig, InverseDynamicsModel
from wildlam.models.inverse_dynamics.linear import Linear, LinearIdm
from wildlam.models.inverse_dynamics.transformer import Transformer, TransformerIdm


@dataclass(frozen=True, kw_only=True)
class Split(InverseDynamicsConfig):
    """The first dimensions of z by Linear, the others by a Transformer.

    Where the camera stands still, a linear map tells most of what happens, and a change then means the same in every
    state; where it moves it tells next to nothing, and the other dimensions do. Neither is chosen beforehand: in
    training now the one, now the other is dropped (as inputs are in modality dropout), so that each learns to tell
    what it can.

    Args:
        linear: share of z's dimensions that are a linear map's.
        surcharge: what a nat of the transformer's dimensions costs, in units of the bottleneck's own price. Limits
            without a price for each dimension (Sparse, Discrete, Unconstrained) take both alike.
        dropped: share of transitions that, in training, are predicted from the dimensions of one model alone, the
            other's being zero: as often of either. Without it the linear one, which learns faster, tells part of what
            the other could tell better.
    """

    linear: float = 0.5
    surcharge: float = 1.0
    dropped: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.linear < 1:
            raise ValueError(f"model.idm.linear must be a share between 0 and 1, got {self.linear}")
        if not 0 <= self.surcharge < math.inf:
            raise ValueError(f"model.idm.surcharge must be a number of at least 0, got {self.surcharge}")
        if not 0 <= self.dropped <= 1:
            raise ValueError(f"model.idm.dropped must be a share from 0 to 1, got {self.dropped}")

    def build(self, shape: IdmShape) -> SplitIdm:
        """Make the module; see ``InverseDynamicsConfig.build``. Both share every part of the output.

        Raises:
            WildlamError: z has one dimension alone.
        """
        first = self._linear_dims(shape.dim)
        linear = Linear().build(replace(shape, dim=first))
        transformer = Transformer().build(replace(shape, dim=shape.dim - first))
        return SplitIdm(linear, transformer, first, self.dropped, shape.parts)

    def prices(self, dim: int) -> Tensor:
        """See ``InverseDynamicsConfig.prices``."""
        first = self._linear_dims(dim)
        return torch.cat((torch.ones(first), torch.full((dim - first,), self.surcharge)))

    def _linear_dims(self, dim: int) -> int:
        if dim < 2:
            raise WildlamError(
                f"Split parts z between two models; give a larger {option('model.bottleneck.dim')} than {dim}"
            )
        return min(max(round(self.linear * dim), 1), dim - 1)


class SplitIdm(InverseDynamicsModel):
    """Both read every transition; of each part of the output the first numbers are the linear model's.

    Args:
        linear: the linear model.
        transformer: the transformer.
        first: how many of z's dimensions are the linear model's.
        dropped: share of transitions of which, in training, one model's dimensions are zero.
        parts: how many vectors the output consists of, such as a mean and a variance.
    """

    def __init__(self, linear: LinearIdm, transformer: TransformerIdm, first: int, dropped: float, parts: int) -> None:
        super().__init__()
        self.linear, self.transformer, self.parts = linear, transformer, parts
        self.first, self.dropped = first, dropped

    def forward(self, states_BTND: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.forward``."""
        read = (model(states_BTND).unflatten(-1, (self.parts, -1)) for model in (self.linear, self.transformer))
        return torch.cat(tuple(read), dim=-1).flatten(-2)

    def drop(self, z: Tensor) -> Tensor:
        """See ``InverseDynamicsModel.drop``."""
        if not self.training or not self.dropped:
            return z
        chance = torch.rand(z.shape[:-1], device=z.device)[..., None]
        is_linear = torch.arange(z.shape[-1], device=z.device) < self.first
        return z.masked_fill(torch.where(is_linear, chance < self.dropped / 2, chance >= 1 - self.dropped / 2), 0.0)
