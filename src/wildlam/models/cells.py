"""Parts of a latent action that act in one place: a coarse map of cells, laid over the tokens of a state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cells:
    """Which dimensions of a latent action act where.

    The first ones act everywhere. Of the others each cell has as many, and they lie dimension by dimension, not cell by
    cell: so of the leading dimensions (``infer --dims``) all cells have their share.

    Attributes:
        grid: height and width of the map of tokens, ``N = h * w``.
        shape: rows and columns of cells, at most as many as of tokens.
        everywhere: how many dimensions act everywhere.
        each: how many each cell has.
    """

    grid: tuple[int, int]
    shape: tuple[int, int]
    everywhere: int
    each: int

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    def of_tokens(self, device: torch.device) -> Tensor:
        """The cell that each token lies in, ``int64 [N]``."""
        (height, width), (rows, columns) = self.grid, self.shape
        row = torch.arange(height, device=device) * rows // height
        column = torch.arange(width, device=device) * columns // width
        return (row[:, None] * columns + column).flatten()

    def mean(self, x: Tensor) -> Tensor:
        """Mean of the tokens ``[..., N, W]`` of each cell, ``[..., cells, W]``."""
        cell = self.of_tokens(x.device)
        member = (cell == torch.arange(self.count, device=x.device)[:, None]).to(x.dtype)
        return (member / member.sum(dim=1, keepdim=True)) @ x

    def parted(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """What acts everywhere ``[..., everywhere]``, and in each cell ``[..., cells, each]``."""
        everywhere, local = z.split([self.everywhere, self.each * self.count], dim=-1)
        return everywhere, local.unflatten(-1, (self.each, self.count)).transpose(-1, -2)


def cells_of(grid: tuple[int, int], side: int, local: int, dims: int) -> Cells | None:
    """Give cells an equal part of z each.

    Args:
        grid: height and width of the map of tokens.
        side: rows and columns of cells; fewer where there are fewer tokens, or dimensions to give.
        local: how many dimensions the cells may have; what they cannot share acts everywhere, and one does in any case.
        dims: all dimensions of z.
    """
    local = min(local, dims - 1)
    if local < 1:
        return None
    while min(side, grid[0]) * min(side, grid[1]) > local:
        side -= 1
    shape = (min(side, grid[0]), min(side, grid[1]))
    each = local // (shape[0] * shape[1])
    return Cells(grid, shape, dims - each * shape[0] * shape[1], each)


def check_cells(local: float, cells: int) -> None:
    """Refuse shares of z, and numbers of cells, that there cannot be.

    Raises:
        ValueError: they are out of range.
    """
    if not 0 <= local < 1:
        raise ValueError(f"model.idm.local must be a share from 0 to less than 1, got {local}")
    if cells < 1:
        raise ValueError(f"model.idm.cells must be at least 1, got {cells}")
