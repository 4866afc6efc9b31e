"""Any vision transformer of ``transformers`` that reads single images, frame by frame: DINOv2, DINOv3, ViT."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wildlam.encoders.base import EncoderConfig, arithmetic_dtype, check_video, fingerprint
from wildlam.encoders.hub import cannot_load, load_config, load_pretrained, normalise, pixel_statistics, standardise
from wildlam.encoders.identity import computing_fields
from wildlam.errors import WildlamError
from wildlam.types import EncoderSpec

_CHUNK = 64  # frames that one call of the network takes, to bound memory
_POOLER = "pooler"  # a head on the class token, which is not used and often comes without weights
# What is not needed: this, the heads of classifiers and masked image models, and the token that masks patches.
_UNUSED = (
    f"{_POOLER}.",
    "classifier.",
    "cls_classifier.",
    "distillation_classifier.",
    "decoder.",
    "embeddings.mask_token",
)


@dataclass(frozen=True, kw_only=True)
class HFImage(EncoderConfig):
    """A per-frame vision transformer of the Hugging Face hub, frozen.

    Args:
        model: Name on the hub, or a local folder that ``save_pretrained`` or ``hf download`` wrote.
        image_size: Side of the square frames in pixels, a multiple of the model's patch.
    """

    model: str = "facebook/dinov2-base"
    image_size: int = 224

    def build(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> HFImageEncoder:
        """Load the model; see `EncoderConfig.build`."""
        from transformers import AutoModel

        device, dtype = self.resolve(device, dtype)
        settings = self._settings()
        network = load_pretrained(AutoModel, self.model, settings, dtype, _UNUSED)
        weights = sorted((k, v) for k, v in network.state_dict().items() if not k.startswith(_POOLER))
        computed = arithmetic_dtype(device, dtype)
        encoder = HFImageEncoder(network.to(computed), settings, self, device, computed)
        facts = {"image_size": self.image_size, "dtype": str(dtype), "mean": encoder.mean, "std": encoder.std}
        facts |= computing_fields(settings)
        encoder.spec = replace(encoder.spec, fingerprint=fingerprint("hf_image", facts, weights))
        return encoder

    def hollow(self) -> HFImageEncoder:
        """See `EncoderConfig.hollow`."""
        from transformers import AutoModel
        from transformers.initialization import no_init_weights

        settings = self._settings()
        _, dtype = self.resolve("cpu", torch.bfloat16 if self.dtype == "auto" else None)
        with no_init_weights():
            network = AutoModel.from_config(settings, dtype=dtype)
        return HFImageEncoder(network, settings, self, torch.device("cpu"), dtype)

    def _settings(self) -> Any:
        """The ``transformers`` configuration, of a vision transformer that takes frames of this size."""
        settings = load_config(self.model)
        patch, width = getattr(settings, "patch_size", None), getattr(settings, "hidden_size", None)
        if not isinstance(patch, int) or not isinstance(width, int):
            raise cannot_load(self.model, f"a model of type {settings.model_type}, not a vision transformer of images")
        if self.image_size < 1 or self.image_size % patch:
            raise WildlamError(f"{self.model}: image_size is {self.image_size}; choose a multiple of {patch}")
        return settings


class HFImageEncoder:
    """Frozen per-frame vision transformer (`Encoder`): one state a frame, the grid of patch tokens.

    Class and register tokens are dropped; positions are interpolated to the frame size as the model does it. States are
    layer-normed over the width, without gain and bias. Pixels are normalised as in ``preprocessor_config.json`` next to
    the weights, and as on ImageNet where there is none.

    Args:
        network: a model of ``transformers``.
        settings: its ``transformers`` configuration.
        config: see ``HFImage``.
        device: device that it computes on.
        dtype: precision of its weights and activations.

    Raises:
        WildlamError: it is no vision transformer of single images.
    """

    def __init__(self, network: Any, settings: Any, config: HFImage, device: torch.device, dtype: torch.dtype) -> None:
        if network.main_input_name != "pixel_values":
            raise cannot_load(config.model, f"{type(network).__name__} does not take single images")
        self.network = network.to(device).eval().requires_grad_(False)
        self.mean, self.std = pixel_statistics(config.model)
        self.device, self.dtype = device, dtype
        # ViT refuses other sizes than its own unless asked to; DINOv2 and v3 always interpolate and lack that option.
        knows = "interpolate_pos_encoding" in inspect.signature(self.network.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if knows else {}
        side, width = config.image_size // settings.patch_size, settings.hidden_size
        self.spec = EncoderSpec(
            name=settings.model_type,
            frames_per_state=1,
            grid=(side, side),
            width=width,
            image_size=config.image_size,
            context="frame",
            fingerprint="",
        )
        # Registers and the class token come first in all of these models; check that the sum comes out.
        prefix = 1 + getattr(settings, "num_register_tokens", 0)
        found = self._hidden(torch.zeros(1, 3, config.image_size, config.image_size, dtype=torch.uint8)).shape
        if found != (1, prefix + side * side, width):
            raise cannot_load(
                config.model,
                f"gives {list(found)} where {prefix} and {side} x {side} tokens of width {width} should be",
            )

    @torch.no_grad()
    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """Encode ``uint8 [B, F, 3, H, W]`` to float32 ``[B, F, N, D]``; ValueError if the video does not fit."""
        check_video(video_BTCHW, self.spec)
        frames = video_BTCHW.flatten(0, 1)
        tokens = [standardise(self._hidden(chunk)[:, -self.spec.tokens :]) for chunk in frames.split(_CHUNK)]
        return torch.cat(tokens).unflatten(0, video_BTCHW.shape[:2])

    @torch.no_grad()
    def _hidden(self, frames_MCHW: Tensor) -> Tensor:
        """All tokens of ``uint8 [M, 3, H, W]``: ``[M, prefix + N, D]``."""
        pixels = normalise(frames_MCHW.to(self.device), self.mean, self.std, self.dtype)
        return self.network(pixel_values=pixels, **self.options).last_hidden_state
