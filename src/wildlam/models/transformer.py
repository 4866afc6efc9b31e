"""Pre-norm transformer blocks, plain or conditioned frame by frame through AdaLN-zero (Peebles & Xie, 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from wildlam.models.attention import Attention, KeyValueCache


@dataclass(frozen=True)
class Size:
    """Width of the tokens, number of blocks and of attention heads."""

    width: int
    depth: int
    heads: int


SizeName = Literal["nano", "tiny", "small", "base", "L", "H", "g"]

SIZES: dict[SizeName, Size] = {
    "nano": Size(128, 3, 4),
    "tiny": Size(256, 4, 4),
    "small": Size(384, 6, 6),
    "base": Size(768, 12, 12),
    "L": Size(1024, 24, 16),
    "H": Size(1280, 32, 16),
    "g": Size(1408, 40, 22),
}
"""Named sizes. L, H and g are those of V-JEPA 2's encoders (but that theirs of g has MLPs of 48/11 times its width, and
ours of 4 times, as all have); L is the paper's world model."""


def place_embeddings(grid: tuple[int, int], width: int) -> nn.Parameter:
    """Make learnt embeddings ``[N, width]`` of the places of a map of height and width ``grid``, small at first."""
    return nn.Parameter(torch.randn(grid[0] * grid[1], width) * 0.02)


class Mlp(nn.Module):
    """Two linear layers, four times wider between them. The exact GELU is faster than its tanh form on CPU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[..., width]`` to the same shape."""
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """Pre-norm transformer block: ``[B, L, width]`` to the same shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | BlockMask | None = None) -> Tensor:
        """Let every token see every other, or those that ``mask`` allows."""
        x = x + self.attention(self.norm1(x), angles, mask)
        return x + self.mlp(self.norm2(x))


class Modulation(nn.Module):
    """From conditions ``[B, T, C, width]`` to ``parts`` vectors each, zero at first (the "zero" of AdaLN-zero)."""

    def __init__(self, condition_width: int, width: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.linear = nn.Linear(condition_width, parts * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition: Tensor, places: Tensor | None = None) -> tuple[Tensor, ...]:
        """Give ``parts`` tensors ``[B, T, C, width]``; of ``places`` ``[N]``, which say whose condition each token is
        under, ``[B, T, N, width]``.
        """
        made = self.linear(condition)
        return (made if places is None else made[:, :, places]).chunk(self.parts, dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalise the tokens ``[B, T, N, width]``, then scale and shift them, by frame or one by one."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)


class ConditionedBlock(nn.Module):
    """Transformer block whose normalisations are shifted, scaled and gated by conditions of each frame or token."""

    def __init__(self, width: int, heads: int, condition_width: int) -> None:
        super().__init__()
        self.modulation = Modulation(condition_width, width, 6)
        self.attention = Attention(width, heads)
        self.mlp = Mlp(width)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        angles: tuple[Tensor, Tensor],
        mask: Tensor | BlockMask | None = None,
        cache: KeyValueCache | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Map ``[B, T, N, width]`` to the same shape under conditions ``[B, T, C, condition_width]``.

        They are one for all tokens of a frame, one for each, or those of their ``places`` ``[N]``.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition, places)
        y = self.attention(modulate(x, shift1, scale1).flatten(1, 2), angles, mask, cache)
        x = torch.addcmul(x, gate1, y.view_as(x))
        return torch.addcmul(x, gate2, self.mlp(modulate(x, shift2, scale2)))
