"""Multi-head attention over the tokens of a video: 3-axis rotary positions, frame-causal mask, key/value cache.

The tokens of a clip are laid out frame by frame, row by row: token ``(t, y, x)`` of a grid of ``h x w`` stands at
``(t * h + y) * w + x``. *Frame-causal* means that a token of frame t sees every token of frames <= t and none
of later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

Mask = Callable[[int, int, Tensor], Tensor | BlockMask]
"""Makes, for so many frames of so many tokens, and of the device of a tensor, what `attend` takes as a mask."""


def rotary_angles(frames: Tensor, grid: tuple[int, int], head_dim: int) -> Tensor:
    """Angles ``[len(frames) * h * w, head_dim // 2]`` of 3-axis rotary positions (V-JEPA 2; Su et al., 2021).

    A head's dimensions are split evenly between time, height and width (an even number each); what is left over stays
    unrotated. ``frames`` holds the frame indices; only their differences matter to attention.
    """
    height, width = grid
    pairs = head_dim // 3 // 2
    order, rows, columns = (torch.arange(count, device=frames.device).float() for count in (pairs, height, width))
    frequencies = 10000.0 ** (-order / max(pairs, 1))
    positions = torch.cartesian_prod(frames.float(), rows, columns)
    angles = (positions[:, :, None] * frequencies).flatten(1)
    return F.pad(angles, (0, head_dim // 2 - 3 * pairs))


def rotations(frames: Tensor, grid: tuple[int, int], head_dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of `rotary_angles`, as `rotate` takes them."""
    angles = rotary_angles(frames, grid, head_dim)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the pairs ``(x[..., i], x[..., i + head_dim / 2])`` of ``[..., L, head_dim]`` by ``(cos, sin)``."""
    cos, sin = angles
    first, second = x.chunk(2, dim=-1)
    return torch.cat((torch.addcmul(first * cos, second, -sin), torch.addcmul(second * cos, first, sin)), dim=-1)


def frame_causal_bias(frames: int, tokens: int, like: Tensor) -> Tensor:
    """What to add to attention scores, ``[frames * tokens, frames * tokens]``: 0 where a query (row) may see a key
    (column), -inf where not; of the device and dtype of ``like``.
    """
    frame = torch.arange(frames, device=like.device).repeat_interleave(tokens)
    hidden = frame[:, None] < frame[None, :]
    return torch.zeros(hidden.shape, device=like.device, dtype=like.dtype).masked_fill_(hidden, float("-inf"))


def frame_causal_blocks(frames: int, tokens: int, like: Tensor) -> BlockMask:
    """What `frame_causal_bias` says, for flex attention, which passes over hidden blocks: half of all operations."""
    return _frame_causal_blocks(frames, tokens, like.device)


@cache
def _frame_causal_blocks(frames: int, tokens: int, device: torch.device) -> BlockMask:
    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return query // tokens >= key // tokens

    length = frames * tokens
    return create_block_mask(visible, None, None, length, length, device=device)


@cache
def _compiled_flex_attention() -> Callable[..., Tensor]:
    return torch.compile(flex_attention)  # uncompiled, it writes all scores out


EXPLICIT_UP_TO = 1024
"""Keys up to which CPU attention writes its scores out: the backward pass of PyTorch's fused CPU kernel is slow for
short sequences; for long ones it spares memory."""


@contextmanager
def always_fused() -> Iterator[None]:
    """Within it, attention on a CPU is one kernel, as on accelerators, however few the keys: to count its cost."""
    global EXPLICIT_UP_TO
    before, EXPLICIT_UP_TO = EXPLICIT_UP_TO, 0
    try:
        yield
    finally:
        EXPLICIT_UP_TO = before


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | BlockMask | None = None) -> Tensor:
    """Scaled dot-product attention, ``[B, heads, L, head_dim]`` to the same.

    What a query may see is given by ``mask``: a bias ``[L, K]`` that adds to the scores, or blocks for flex attention.
    """
    if isinstance(mask, BlockMask):
        flex: Any = flex_attention if query.device.type == "cpu" else _compiled_flex_attention()
        return flex(query.to(value.dtype), key.to(value.dtype), value, block_mask=mask)
    bias = mask
    if query.device.type != "cpu" or key.shape[2] > EXPLICIT_UP_TO:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    batch, heads, _, head_dim = query.shape
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    scale = head_dim**-0.5
    # Without a bias, beta = 0 leaves the first argument out.
    start, beta = (query.new_zeros(()), 0) if bias is None else (bias, 1)
    scores = torch.baddbmm(start, query, key.mT, beta=beta, alpha=scale)
    return torch.bmm(scores.softmax(dim=-1), value).unflatten(0, (batch, heads))


class KeyValueCache:
    """Keys and values of one attention layer during a rollout of S candidates per context.

    Until ``branch`` is called, keys and values belong to the context and are kept once per context, ``[B, heads, C,
    head_dim]``. From then on they belong to the candidates, ``[B * S, heads, L, head_dim]``. Nothing of the context is
    ever copied S times.
    """

    def __init__(self) -> None:
        self.shared: tuple[Tensor, Tensor] | None = None
        self.capacity = 0
        self.length = 0
        self.buffers: tuple[Tensor, Tensor] | None = None

    def branch(self, capacity: int) -> None:
        """End the context; up to ``capacity`` tokens of each candidate follow."""
        self.capacity = capacity

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add tokens ``[B * S, heads, L, head_dim]`` of the candidates; return all of their own so far."""
        if torch.is_grad_enabled():  # whose backward pass needs what a buffer would be written over
            before = self.buffers or (key[:, :, :0], value[:, :, :0])
            self.buffers = (torch.cat((before[0], key), dim=2), torch.cat((before[1], value), dim=2))
            return self.buffers
        if self.buffers is None:
            shape = (key.shape[0], key.shape[1], self.capacity, key.shape[3])
            self.buffers = (key.new_empty(shape), value.new_empty(shape))
        end = self.length + key.shape[2]
        for buffer, new in zip(self.buffers, (key, value), strict=True):
            buffer[:, :, self.length : end] = new
        self.length = end
        return self.buffers[0][:, :, :end], self.buffers[1][:, :, :end]


def attend_shared(query: Tensor, own: tuple[Tensor, Tensor], shared: tuple[Tensor, Tensor]) -> Tensor:
    """Attention of S candidates' queries over their own keys and the keys they share.

    The queries of all candidates of one context meet the shared keys in one matrix product, so that these are read once
    and never expanded; one softmax runs over both sets of scores.

    Args:
        query: ``[B * S, heads, L, head_dim]``.
        own: keys and values ``[B * S, heads, K, head_dim]``.
        shared: keys and values ``[B, heads, C, head_dim]``.

    Returns:
        ``[B * S, heads, L, head_dim]``.
    """
    rows, heads, length, head_dim = query.shape
    contexts, _, context_length, _ = shared[0].shape
    query = query * head_dim**-0.5
    grouped = query.view(contexts, -1, heads, length, head_dim).transpose(1, 2).reshape(contexts, heads, -1, head_dim)
    shared_scores = (grouped @ shared[0].mT).view(contexts, heads, -1, length, context_length)
    shared_scores = shared_scores.transpose(1, 2).reshape(rows, heads, length, context_length)
    weights = torch.cat((shared_scores, query @ own[0].mT), dim=-1).softmax(dim=-1)
    to_shared, to_own = weights.split((context_length, own[0].shape[2]), dim=-1)
    grouped = to_shared.view(contexts, -1, heads, length, context_length).transpose(1, 2).flatten(2, 3)
    from_shared = (grouped @ shared[1]).view(contexts, heads, -1, length, head_dim).transpose(1, 2)
    return from_shared.reshape(rows, heads, length, head_dim) + to_own @ own[1]


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor],
        mask: Tensor | BlockMask | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Attend within ``x`` ``[B, L, width]``, as ``mask`` allows, and to what ``cache`` holds.

        With a cache that has branched, ``x`` holds one new frame per candidate, whose tokens see each other and
        everything cached.
        """
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = rotate(qkv[0], angles), rotate(qkv[1], angles), qkv[2]
        if cache is not None and not cache.capacity:
            cache.shared = (key, value)
        if cache is None or not cache.capacity:
            y = attend(query, key, value, mask)
        elif cache.shared is None:
            y = attend(query, *cache.append(key, value))
        else:
            y = attend_shared(query, cache.append(key, value), cache.shared)
        return self.out(y.transpose(1, 2).flatten(2))
