"""V-JEPA 2, made frame-causal, or one frame at a time.

V-JEPA 2 (Assran et al. 2025, arXiv 2506.09985) was trained with attention in both directions of time. World models need
states that do not know the future, so a token of latent frame ``t`` is made to attend to the tokens of frames ``<= t``
only. Latent actions learnt on such states are described in arXiv 2601.05230.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wildlam.encoders.base import EncoderConfig, arithmetic_dtype, check_video, fingerprint
from wildlam.encoders.hub import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    cannot_load,
    load_config,
    load_pretrained,
    normalise,
    pixel_statistics,
    standardise,
)
from wildlam.encoders.identity import computing_fields
from wildlam.types import EncoderSpec

ATTENTION = "wildlam_frame_causal"
"""Name of the frame-causal attention in the registry of ``transformers``."""
_UNUSED = ("predictor.", "pooler.", "classifier.")  # all but the encoder: predictor, attentive pooler, classifier
# Fields of the released config files that no code reads, and the only value of the others with which that is so.
_HARMLESS = {"image_size": None, "hidden_dropout_prob": None, "wide_SiLU": None, "use_SiLU": False}
# Fields that mark V-JEPA 2.1 (arXiv 2603.14482), in the ports of it to transformers that name their type vjepa2,
# and what they are for V-JEPA 2. Its positions, norms and embeddings differ; transformers 5.23 does not compute it.
_OTHER_VERSION = {
    "use_rope_interleave": False,
    "interpolate_rope": False,
    "use_modality_embeddings": False,
    "modality_embedding": False,
    "use_image_patch_embedder": False,
    "img_temporal_dim_size": None,
    "hierarchical_layers": None,
    "num_distillation_outputs": 1,
    "n_output_distillation": 1,
    "teacher_embed_dim": None,
    "use_context_projection": False,
    "return_all_tokens": False,
}
_CHUNK = 64  # frames that one call of the network takes in per-frame mode, to bound memory


@dataclass(frozen=True, kw_only=True)
class VJEPA2(EncoderConfig):
    """V-JEPA 2 of the Hugging Face hub, frozen and frame-causal.

    Args:
        model: Name on the hub, or a local folder that ``save_pretrained`` or ``hf download`` wrote.
        mode: ``causal`` encodes a clip, a state for every two frames that knows the frames before; ``per_frame``
            encodes each frame by itself, doubled to fill the two frames that the network takes.
    """

    model: str = "facebook/vjepa2-vitl-fpc64-256"
    mode: Literal["causal", "per_frame"] = "causal"

    def build(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> VJEPA2Encoder:
        """Load the model; see `EncoderConfig.build`."""
        device, dtype = self.resolve(device, dtype)
        settings = self._settings()
        from transformers import VJEPA2Model

        how = {"attn_implementation": _registered()}
        network = load_pretrained(VJEPA2Model, self.model, settings, dtype, _UNUSED, **how).encoder
        weights = sorted(network.state_dict().items())
        facts = {"mode": self.mode, "dtype": str(dtype)} | computing_fields(settings)
        mean, std = pixel_statistics(self.model, "video")
        if (tuple(mean), tuple(std)) != (IMAGENET_MEAN, IMAGENET_STD):  # of all released models
            facts |= {"mean": mean, "std": std}
        weights_fingerprint = fingerprint("vjepa2", facts, weights)
        computed = arithmetic_dtype(device, dtype)
        encoder = VJEPA2Encoder(network.to(computed), settings, self.mode, device, computed, weights_fingerprint)
        encoder.mean, encoder.std = mean, std
        return encoder

    def hollow(self) -> VJEPA2Encoder:
        """See `EncoderConfig.hollow`; the default model's size is known without the hub."""
        from transformers import VJEPA2Config, VJEPA2Model
        from transformers.initialization import no_init_weights

        settings = VJEPA2Config() if self.model == VJEPA2.model else self._settings()
        _, dtype = self.resolve("cpu", torch.bfloat16 if self.dtype == "auto" else None)
        with no_init_weights():
            network = VJEPA2Model._from_config(settings, attn_implementation=_registered(), dtype=dtype).encoder
        return VJEPA2Encoder(network, settings, self.mode, torch.device("cpu"), dtype, "")

    def _settings(self) -> Any:
        """The ``transformers`` configuration, of a V-JEPA 2 and no other version of it."""
        settings = load_config(self.model, _HARMLESS | dict.fromkeys(_OTHER_VERSION))
        if settings.model_type != "vjepa2":
            raise cannot_load(self.model, f"a model of type {settings.model_type}, not vjepa2")
        other = [name for name, off in _OTHER_VERSION.items() if getattr(settings, name, off) != off]
        if other:
            raise cannot_load(
                self.model,
                f"its config has {', '.join(other)}: a V-JEPA 2.1, which computes otherwise than V-JEPA 2 and is not "
                "supported",
            )
        return settings


class VJEPA2Encoder:
    """Frozen, frame-causal V-JEPA 2 (`Encoder`). Its states are layer-normed over the width, without gain and bias.

    Only the encoder is kept, not the predictor. Pixels are normalised as in the video preprocessor's file next to
    the weights, and as on ImageNet where there is none. The frames are square, of the checkpoint's own size.

    Args:
        network: the encoder of a ``VJEPA2Model`` with the attention that ``ATTENTION`` names.
        settings: its ``transformers`` configuration.
        mode: see ``VJEPA2``.
        device: device that it computes on.
        dtype: precision of its weights and activations.
        fingerprint: see ``EncoderSpec``.
    """

    def __init__(
        self,
        network: nn.Module,
        settings: Any,
        mode: Literal["causal", "per_frame"],
        device: torch.device,
        dtype: torch.dtype,
        fingerprint: str,
    ) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.device, self.dtype, self.mode = device, dtype, mode
        self.mean, self.std = list(IMAGENET_MEAN), list(IMAGENET_STD)
        self.tubelet = settings.tubelet_size
        side = settings.crop_size // settings.patch_size
        self.spec = EncoderSpec(
            name="vjepa2",
            frames_per_state=self.tubelet if mode == "causal" else 1,
            grid=(side, side),
            width=settings.hidden_size,
            image_size=settings.crop_size,
            context="clip" if mode == "causal" else "frame",
            fingerprint=fingerprint,
        )

    @torch.no_grad()
    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """Encode ``uint8 [B, F, 3, H, W]`` to float32 ``[B, T, N, D]``, ``T = F / frames_per_state``.

        Raises:
            ValueError: the video does not fit ``spec``.
        """
        check_video(video_BTCHW, self.spec)
        if self.mode == "causal":
            states = self._encode_clips(video_BTCHW)
        else:
            frames = video_BTCHW.flatten(0, 1)[:, None]
            clips = [chunk.expand(-1, self.tubelet, -1, -1, -1) for chunk in frames.split(_CHUNK)]
            states = torch.cat([self._encode_clips(clip) for clip in clips])
        return states.reshape(len(video_BTCHW), -1, self.spec.tokens, self.spec.width)

    def _encode_clips(self, video_BTCHW: Tensor) -> Tensor:
        """``uint8 [B, F, 3, H, W]`` to float32 ``[B, T·N, D]``."""
        frames = normalise(video_BTCHW.to(self.device).flatten(0, 1), self.mean, self.std, self.dtype)
        return standardise(self.network(frames.unflatten(0, video_BTCHW.shape[:2])).last_hidden_state)


def _registered() -> str:
    """Make ``transformers`` know the frame-causal attention; its name."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, frame_causal_attention)
    return ATTENTION


def frame_causal_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Block-causal attention in the form that the registry of ``transformers`` asks for.

    The block mask is applied by slicing: the queries of a frame meet the keys of the frames up to it, one call a frame.
    Later frames are never read, so they cannot leak, the masked half is never computed, and no device needs a kernel
    that knows masks. One layer of V-JEPA 2-L on 16 frames (16 heads, 2,048 tokens, two cores, milliseconds): 225 in
    bfloat16 and 383 in float32, against 371 and 482 with the mask given to ``scaled_dot_product_attention``.

    Args:
        module: the attention layer; its ``grid_size`` is the side of a frame's square of tokens.
        query: ``[B, heads, T·N, d]`` with rotary positions applied, as are the keys.
        key: as ``query``.
        value: as ``query``.
        attention_mask: must be None.
        kwargs: ``scaling`` of the scores; the rest is about training and not used.

    Returns:
        The mixed values ``[B, T·N, heads, d]`` and None in place of the weights.
    """
    if attention_mask is not None:
        raise ValueError("frame-causal attention takes no further mask")
    tokens = module.grid_size**2  # type: ignore[operator]
    out = torch.cat(
        [
            F.scaled_dot_product_attention(
                query[:, :, stop - tokens : stop], key[:, :, :stop], value[:, :, :stop], scale=kwargs["scaling"]
            )
            for stop in range(tokens, query.shape[2] + 1, tokens)
        ],
        dim=2,
    )
    return out.transpose(1, 2).contiguous(), None
