"""What the frozen encoders share: the base of their configs, the choice of precision, input checks, fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from wildlam.types import Encoder, EncoderSpec

_SAMPLE = 65536  # elements of each weight that enter the fingerprint; smaller weights enter whole


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Settings every encoder has; each encoder's own config extends this one.

    Args:
        dtype: Precision of the weights, and of activations unless the device would only emulate it; ``auto`` is
            bfloat16 where the device has fast arithmetic for it, else float32. States are float32 either way. Part of
            the fingerprint, as states differ slightly.
    """

    dtype: Literal["auto", "bfloat16", "float32"] = "auto"

    def build(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Encoder:
        """Load the weights and return the frozen encoder.

        ``device`` defaults to the accelerator if there is one, else the CPU; ``dtype`` to the config's choice.

        Raises:
            WildlamError: the weights cannot be had.
        """
        raise TypeError(_choose())

    def hollow(self) -> Encoder:
        """The encoder on the CPU with weights of no meaning, whose fingerprint is empty: to count what it costs.

        Raises:
            WildlamError: its size cannot be had.
        """
        raise TypeError(_choose())

    def resolve(self, device: torch.device | str | None, dtype: torch.dtype | None) -> tuple[torch.device, torch.dtype]:
        """The device and dtype that ``build`` uses for the arguments it was given."""
        if device is None:
            device = torch.accelerator.current_accelerator() or "cpu"
        device = torch.device(device)
        if dtype is None:
            chosen = {"bfloat16": torch.bfloat16, "float32": torch.float32}
            dtype = fast_dtype(device) if self.dtype == "auto" else chosen[self.dtype]
        return device, dtype


def _choose() -> str:
    return f"choose an encoder: {', '.join(sorted(one.__name__ for one in EncoderConfig.__subclasses__()))}"


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware, else float32.

    Measured on two cores with AVX-512 bf16, bfloat16 against float32: Lite0 1.0 and 1.6 ms a frame, V-JEPA 2-L 7.1 to
    7.6 and 12 to 13.5 s a clip of 16 frames. CPUs without such instructions emulate bfloat16, far slower than float32;
    others that have them (Arm) stay with float32 until measured.
    """
    if device.type == "cpu":
        # Older releases of torch have no public way to ask; float32 is never wrong.
        found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        fast = bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    elif device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def arithmetic_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What activations are computed in: ``dtype``, but float32 where the device would only emulate bfloat16.

    Weights are rounded to ``dtype`` all the same, so states are those of a device with bfloat16 but for the rounding of
    activations. On two cores without it a frame of Lite0 took 323 ms emulated, and 14 ms so.
    """
    return torch.float32 if dtype == torch.bfloat16 and fast_dtype(device) == torch.float32 else dtype


def check_video(video_BTCHW: Tensor, spec: EncoderSpec) -> None:
    """Raise ValueError, naming what was expected and what was given, unless ``spec``'s encoder can take the video."""
    size, step = spec.image_size, spec.frames_per_state
    shape = tuple(video_BTCHW.shape)
    if video_BTCHW.dtype != torch.uint8:
        raise ValueError(f"{spec.name}: expected uint8 video, given {video_BTCHW.dtype}")
    if len(shape) != 5 or shape[2] != 3:
        raise ValueError(f"{spec.name}: expected video [B, F, 3, {size}, {size}], given {list(shape)}")
    if shape[3:] != (size, size):
        raise ValueError(f"{spec.name}: expected frames of {size} x {size} pixels, given {shape[3]} x {shape[4]}")
    if shape[1] == 0 or shape[1] % step:
        raise ValueError(f"{spec.name}: expected a positive multiple of {step} frames, given {shape[1]}")


def fingerprint(name: str, settings: dict[str, Any], weights: Iterable[tuple[str, Tensor]]) -> str:
    """Hash of an encoder's name, the settings that change its states, and its weights: 16 hexadecimal digits.

    Of a weight with more than 65,536 elements that many, evenly spaced, are hashed: any training moves nearly all
    elements, and hashing whole models of gigabytes would take longer than loading them.
    """
    digest = hashlib.blake2b(json.dumps([name, settings], sort_keys=True).encode(), digest_size=8)
    for key, weight in weights:
        flat = weight.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLE)].to("cpu", torch.float32).contiguous()
        digest.update(f"{key} {tuple(weight.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()
