"""Principal components of many vectors."""

from __future__ import annotations

import torch
from torch import Tensor

FAINTEST = 1e-5
"""Least variance that a component is divided by, as a share of the largest: below it is rounding."""


def principal_directions(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variances and principal directions of vectors, largest variance first.

    Args:
        x: vectors ``[n, D]``.

    Returns:
        The mean ``[D]``, the variance along each direction ``[D]``, and the directions ``[D, D]``, a row each.
    """
    mean = x.mean(dim=0)
    variance, directions = torch.linalg.eigh((x - mean).T @ (x - mean) / max(len(x) - 1, 1))
    return mean, variance.flip(0).clamp(min=0), directions.T.flip(0)


def leading_directions(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and leading directions of vectors that are wider than they are many, found by their Gram matrix.

    Args:
        x: vectors ``[n, D]``.
        count: directions to give, at most n.

    Returns:
        The mean ``[D]`` and the directions ``[D, count]``, a column each, largest variance last.
    """
    mean = x.mean(dim=0)
    variance, left = torch.linalg.eigh((x - mean) @ (x - mean).T)
    first = slice(-count, None)
    return mean, (x - mean).T @ (left[:, first] / variance[first].clamp(min=FAINTEST * float(variance[-1])).sqrt())
