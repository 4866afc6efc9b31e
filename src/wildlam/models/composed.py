"""Clips composed of two: a part is another clip's, so that two things happen at once, each in its place."""

from __future__ import annotations

import torch
from torch import Tensor


def composed(states_BTND: Tensor, grid: tuple[int, int], share: float) -> Tensor:
    """Put a rectangle of tokens of another clip of the batch, at the same places, into a share of clips.

    It is the same rectangle in all states of a clip, so what happens in it goes on. As CutMix (Yun et al., 2019), but
    of clips' states instead of pictures, and without labels to mix.

    Args:
        states_BTND: states of a batch, ``[B, T, N, D]``, in random order.
        grid: height and width of their map, ``N = h * w``.
        share: chance of a clip to be composed.
    """
    batch, device = len(states_BTND), states_BTND.device
    inside = torch.rand(batch, device=device).lt(share)[:, None, None]
    for axis, length in enumerate(grid):
        size = torch.randint(1, length + 1, (batch, 1), device=device)
        first = (torch.rand(batch, 1, device=device) * (length - size + 1)).long()
        index = torch.arange(length, device=device)
        within = (index >= first) & (index < first + size)
        inside = inside & (within[:, :, None] if axis == 0 else within[:, None])
    return torch.where(inside.flatten(1)[:, None, :, None], states_BTND.roll(1, dims=0), states_BTND)
