"""A transformer over the tokens of one map, read out as a whole: the body of inverse dynamics models."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wildlam.models.attention import rotations
from wildlam.models.inverse_dynamics.base import InverseDynamicsModel
from wildlam.models.transformer import Block, Mlp, Size, place_embeddings


class PoolingTransformer(InverseDynamicsModel):
    """Attention relates what the tokens say; a learnt query then attends to them, or their mean is taken.

    Args:
        token_width: width of the tokens.
        grid: height and width of their map, ``N = h * w``.
        out_width: width of the output.
        size: width, depth and heads of the transformer.
        place: add learnt embeddings of places to the tokens, before the blocks and again before a query reads them.
            Without them attention knows places relative to each other alone, and the query none.
        query: read them by a query, which may choose one of them; else by their mean, to which each adds little.
    """

    def __init__(
        self,
        token_width: int,
        grid: tuple[int, int],
        out_width: int,
        size: Size,
        place: bool = False,
        query: bool = True,
    ) -> None:
        super().__init__()
        self.grid, self.head_dim = grid, size.width // size.heads
        self.embed = nn.Linear(token_width, size.width)
        self.blocks = nn.ModuleList(Block(size.width, size.heads) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width)
        self.query = nn.Parameter(torch.randn(1, 1, size.width) * size.width**-0.5) if query else None
        self.pool = nn.MultiheadAttention(size.width, size.heads, batch_first=True) if query else None
        self.pool_norm = nn.LayerNorm(size.width)
        self.pool_mlp = Mlp(size.width)
        self.head = nn.Linear(size.width, out_width)
        self.embed_place = place_embeddings(grid, size.width) if place else None
        self.embed_place_pooled = place_embeddings(grid, size.width) if place and query else None

    def read(self, tokens: Tensor) -> Tensor:
        """Read maps ``[..., N, token_width]``, each by itself, to ``[..., out_width]``."""
        return self.answer(self.attend(tokens)).view(*tokens.shape[:-2], -1)

    def attend(self, tokens: Tensor) -> Tensor:
        """What the tokens of maps ``[..., N, token_width]`` come to, one map after the other: ``[M, N, width]``."""
        x = self.embed(tokens).flatten(0, -3)
        if self.embed_place is not None:
            x = x + self.embed_place.to(x.dtype)
        cos_sin = rotations(torch.zeros(1, device=x.device), self.grid, self.head_dim, x.dtype)
        for block in self.blocks:
            x = block(x, cos_sin)
        x = self.norm(x)
        return x if self.embed_place_pooled is None else x + self.embed_place_pooled.to(x.dtype)

    def answer(self, x: Tensor) -> Tensor:
        """What is read of ``[M, N, width]``, ``[M, out_width]``."""
        if self.pool is None or self.query is None:
            pooled = x.mean(dim=1)
        else:
            pooled = self.pool(self.query.expand(len(x), -1, -1), x, x, need_weights=False)[0][:, 0]
        pooled = pooled + self.pool_mlp(self.pool_norm(pooled))
        return self.head(pooled)
