"""Inverse dynamics model: the latent action between two states, ``z_t = g(s_t, s_{t+1})``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wildlam.models.attention import rotations
from wildlam.models.transformer import Block, Mlp, Size


class InverseDynamicsModel(nn.Module):
    """Transformer over a pair of states, read out by a pooling query.

    The paper leaves the architecture open. Here the two states meet token by token: token n of a pair is a linear map
    of ``(s_t[n], s_{t+1}[n] - s_t[n])``, so a pair costs N tokens instead of 2 N; attention relates what moved between
    places. A learnt query then attends to the tokens, and its answer goes to the bottleneck.

    Args:
        state_width: width D of the states' tokens.
        grid: height and width of their map, ``N = h * w``.
        out_width: what the bottleneck reads.
        size: width, depth and heads of the transformer.
    """

    def __init__(self, state_width: int, grid: tuple[int, int], out_width: int, size: Size) -> None:
        super().__init__()
        self.grid, self.head_dim = grid, size.width // size.heads
        self.embed = nn.Linear(2 * state_width, size.width)
        self.blocks = nn.ModuleList(Block(size.width, size.heads) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width)
        self.query = nn.Parameter(torch.randn(1, 1, size.width) * size.width**-0.5)
        self.pool = nn.MultiheadAttention(size.width, size.heads, batch_first=True)
        self.pool_norm = nn.LayerNorm(size.width)
        self.pool_mlp = Mlp(size.width)
        self.head = nn.Linear(size.width, out_width)

    def forward(self, states_BTND: Tensor) -> Tensor:
        """Read all ``T - 1`` neighbouring pairs in one batch: ``[B, T, N, D]`` to ``[B, T - 1, out_width]``.

        Output t is a function of states t and t + 1 alone.
        """
        before, after = states_BTND[:, :-1], states_BTND[:, 1:]
        batch, pairs = before.shape[:2]
        x = self.embed(torch.cat((before, after - before), dim=-1)).flatten(0, 1)
        cos_sin = rotations(torch.zeros(1, device=x.device), self.grid, self.head_dim, x.dtype)
        for block in self.blocks:
            x = block(x, cos_sin)
        x = self.norm(x)
        pooled = self.pool(self.query.expand(len(x), -1, -1), x, x, need_weights=False)[0][:, 0]
        pooled = pooled + self.pool_mlp(self.pool_norm(pooled))
        return self.head(pooled).view(batch, pairs, -1)
