"""Decoder: frame-causal transformer from an encoder's states to pixels, for visualisation and metrics in pixels only.

The paper's (arXiv 2601.05230) is a frame-causal ViT-L with a linear layer from each token to its patch of
pixels. Our patches are twice as wide as their places, cross-faded with their neighbours, or pictures of coarse maps
would be chequered; and a token may first be widened into several, each of which paints a smaller patch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wildlam.models.attention import Mask, frame_causal_bias, rotations
from wildlam.models.perceptual import PerceptualMetric
from wildlam.models.transformer import SIZES, Block, SizeName
from wildlam.types import EncoderSpec, Loss


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes and loss of a decoder.

    Args:
        size: size of the transformer: nano, tiny, small, base, L (the paper's), H or g.
        image_size: side of the pictures in pixels, a multiple of twice the (widened) token map's.
        upsample: tokens, along each side, that each token is widened into; more paint finer, and take longer. By
            default 2 for maps of fewer than 8 tokens a side, or else 1.
        perceptual_weight: factor of the perceptual distance in the loss.
        perceptual_frames: random frames of each step whose perceptual distance is taken.
    """

    size: SizeName = "tiny"
    image_size: int = 64
    upsample: int | None = None
    perceptual_weight: float = 0.3
    perceptual_frames: int = 8

    def __post_init__(self) -> None:
        for name in ("image_size", "upsample", "perceptual_frames"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"decoder.{name} must be at least 1, got {value}")
        if not 0 <= self.perceptual_weight < math.inf:
            raise ValueError(f"decoder.perceptual_weight must not be negative, got {self.perceptual_weight}")

    def build(self, spec: EncoderSpec, perceptual: PerceptualMetric | None = None) -> Decoder:
        """Make a decoder, randomly initialised, of the states of the encoder that ``spec`` describes.

        Args:
            spec: specification of the encoder.
            perceptual: distance to train with, besides L1.

        Raises:
            ValueError: the pictures cannot be cut into equal patches.
        """
        return Decoder(self, spec, perceptual)


class Decoder(nn.Module):
    """Paints states ``[B, T, N, D]``; state t's pictures depend on states <= t alone.

    A state of several frames (V-JEPA 2: two) gives them all, so that T states of ``f`` frames make ``T * f`` pictures.
    """

    window: Tensor
    cover: Tensor

    def __init__(self, config: DecoderConfig, spec: EncoderSpec, perceptual: PerceptualMetric | None = None) -> None:
        super().__init__()
        size = SIZES[config.size]
        upsample = config.upsample or (2 if min(spec.grid) < 8 else 1)
        self.config, self.spec, self.perceptual = config, spec, perceptual
        self.head_dim, self.upsample = size.width // size.heads, upsample
        self.mask: Mask = frame_causal_bias
        self.grid = (spec.grid[0] * upsample, spec.grid[1] * upsample)
        if any(config.image_size % (2 * side) for side in self.grid):
            raise ValueError(
                f"decoder.image_size={config.image_size}: pictures do not divide into {self.grid[0]} x {self.grid[1]} "
                f"patches of an even size; give a multiple of {math.lcm(2 * self.grid[0], 2 * self.grid[1])}"
            )
        self.patch = (config.image_size // self.grid[0], config.image_size // self.grid[1])
        self.embed = nn.Linear(spec.width, upsample * upsample * size.width)
        # Rotary positions distinguish tokens by their distances; this gives the place of a token in the picture.
        self.embed_place = nn.Parameter(torch.zeros(self.grid[0] * self.grid[1], size.width))
        self.blocks = nn.ModuleList(Block(size.width, size.heads) for _ in range(size.depth))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, spec.frames_per_state * 3 * 4 * self.patch[0] * self.patch[1])
        nn.init.zeros_(self.head.weight)  # random patches would be noise to unlearn
        nn.init.zeros_(self.head.bias)
        self.register_buffer("window", _fade(self.patch[0])[:, None] * _fade(self.patch[1]), persistent=False)
        self.register_buffer("cover", self._join(self.window.expand(1, len(self.embed_place), 1, 1, -1, -1)), False)

    def forward(self, states: Tensor, video: Tensor) -> Loss:
        """Mean L1 error of the pictures of ``states`` plus their weighted perceptual distance from the truth.

        Args:
            states: ``[B, T, N, D]``.
            video: the frames that they encode, ``uint8 [B, T * frames_per_state, 3, H, W]``.
        """
        pictures, truth = self.decode(states), shrink(video, self.config.image_size)
        terms = {"l1": (pictures - truth).abs().mean()}
        total = terms["l1"]
        if self.perceptual is not None:
            pairs = pictures.flatten(0, 1), truth.flatten(0, 1)
            chosen = torch.randperm(len(pairs[0]))[: self.config.perceptual_frames].to(pictures.device)
            terms[self.perceptual.name] = self.perceptual(*(frames[chosen] for frames in pairs)).mean()
            total = total + self.config.perceptual_weight * terms[self.perceptual.name]
        return Loss(total, lambda: {name: term.detach() for name, term in terms.items()})

    def decode(self, states: Tensor) -> Tensor:
        """Paint states ``[B, T, N, D]`` as pictures, float ``[B, T * frames_per_state, 3, S, S]`` in 0..1.

        Raises:
            ValueError: the states are of another shape than the encoder's.
        """
        if states.dim() != 4 or tuple(states.shape[2:]) != (self.spec.tokens, self.spec.width):
            raise ValueError(f"expected states [B, T, {self.spec.tokens}, {self.spec.width}], got {list(states.shape)}")
        batch, frames = states.shape[:2]
        (height, width), u, tokens = self.spec.grid, self.upsample, self.grid[0] * self.grid[1]
        x = self.embed(states).view(batch, frames, height, width, u, u, -1).transpose(3, 4)
        x = (x.reshape(batch, frames, tokens, -1) + self.embed_place.to(x.dtype)).flatten(1, 2)
        cos_sin = rotations(torch.arange(frames, device=x.device), self.grid, self.head_dim, x.dtype)
        mask = self.mask(frames, tokens, x) if frames > 1 else None
        for block in self.blocks:
            x = block(x, cos_sin, mask)
        patches = self.head(self.norm(x)).float().unflatten(-1, (-1, 3, *self.window.shape))
        patches = patches.unflatten(1, (frames, tokens)).transpose(2, 3).flatten(0, 2) * self.window
        return (self._join(patches) / self.cover).sigmoid().unflatten(0, (batch, -1))

    def _join(self, patches_MNCHW: Tensor) -> Tensor:
        """Add up patches, each twice as wide as its place in the picture and centred there, to ``[M, C, S, S]``."""
        side, (height, width) = self.config.image_size, self.patch
        columns = patches_MNCHW.flatten(2).transpose(1, 2)
        return F.fold(columns, side, (2 * height, 2 * width), stride=self.patch, padding=(height // 2, width // 2))


def _fade(patch: int) -> Tensor:
    """Weights ``[2 * patch]`` of a patch's pixels, highest in its middle: those of two neighbours add up to 1."""
    return 1 - (torch.arange(2 * patch) + 0.5 - patch).abs() / patch


def to_uint8(pictures: Tensor) -> Tensor:
    """Pictures of 0..1 as ``uint8``, on the CPU."""
    return (pictures * 255).round().to(torch.uint8).cpu()


def shrink(video_BTCHW: Tensor, side: int) -> Tensor:
    """Video ``uint8 [B, F, 3, H, W]`` as float ``[B, F, 3, side, side]`` in 0..1, by averages over areas."""
    frames = video_BTCHW.flatten(0, 1).float() / 255
    return F.adaptive_avg_pool2d(frames, side).unflatten(0, video_BTCHW.shape[:2])
