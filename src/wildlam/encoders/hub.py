"""Loading pretrained vision transformers of ``transformers``, which is imported only when one is built."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wildlam.types import WildlamError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def load_pretrained(auto_class: Any, model: str, dtype: torch.dtype, unused: str, **kwargs: Any) -> Any:
    """``auto_class.from_pretrained(model, ...)`` with every failure told as one WildlamError.

    Args:
        auto_class: a class of ``transformers`` with ``from_pretrained``.
        model: name on the Hugging Face hub, or a local folder with ``config.json`` and safetensors weights.
        dtype: of the weights.
        unused: name of a part that the caller does not use, whose weights may be missing.
        kwargs: further arguments of ``from_pretrained``.

    Raises:
        WildlamError: the model cannot be found, read or reached, or its file lacks weights that the model needs.
    """
    from safetensors import SafetensorError

    try:
        # safetensors only: a pickled file could run code.
        network, info = auto_class.from_pretrained(
            model, dtype=dtype, use_safetensors=True, output_loading_info=True, **kwargs
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise cannot_load(model, str(error).strip().splitlines()[0]) from error
    # from_pretrained leaves weights that the checkpoint lacks at random values.
    lacking = [str(key) for keys in ("missing_keys", "mismatched_keys") for key in info[keys]]
    if lacking := sorted(key for key in lacking if not key.startswith(unused)):
        raise cannot_load(model, f"it lacks {len(lacking)} weights of {type(network).__name__}, such as {lacking[0]}")
    return network


def load_config(model: str) -> Any:
    """The ``transformers`` config of ``model``; WildlamError if it cannot be had."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(model)
    except (OSError, ValueError, KeyError) as error:
        raise cannot_load(model, str(error).strip().splitlines()[0]) from error


def cannot_load(model: str, reason: str) -> WildlamError:
    """The error for a model that cannot be used, with the remedy."""
    if Path(model).is_dir():
        remedy = "give a folder that `hf download` or `save_pretrained` wrote, of a model of the right kind"
    elif _HUB_NAME.fullmatch(model):
        remedy = (
            f"where the hub can be reached run `hf download {model} --local-dir FOLDER`, then give FOLDER as the "
            "encoder's model"
        )
    else:
        remedy, reason = "give an existing folder or a name on the hub such as facebook/dinov2-base", "no such folder"
    return WildlamError(f"{model}: cannot be loaded ({reason}); {remedy}")


def normalise(frames_MCHW: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """``uint8 [M, 3, H, W]`` to pixels of the given mean and standard deviation (of the range 0..1) per channel."""
    shape = (3, 1, 1)
    mean_C11 = 255 * torch.tensor(mean, device=frames_MCHW.device).view(shape)
    std_C11 = 255 * torch.tensor(std, device=frames_MCHW.device).view(shape)
    return ((frames_MCHW.float() - mean_C11) / std_C11).to(dtype)


def standardise(tokens: Tensor) -> Tensor:
    """Layer norm over the width, without gain and bias, in float32: tokens ``[..., D]`` of mean 0 and deviation 1.

    Transformers' outputs differ in scale from model to model and from channel to channel; this is the normalisation
    that V-JEPA 2 itself gives its prediction targets (arXiv 2506.09985).
    """
    return F.layer_norm(tokens.float(), tokens.shape[-1:])
