"""Loading pretrained vision transformers of ``transformers``, which is imported only when one is built."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from wildlam.encoders.identity import strange_weights, unknown_fields
from wildlam.errors import WildlamError

log = logging.getLogger(__name__)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def load_pretrained(
    auto_class: Any, model: str, settings: Any, dtype: torch.dtype, unused: tuple[str, ...], **kwargs: Any
) -> Any:
    """``auto_class.from_pretrained(model, ...)`` with every failure raised as one WildlamError.

    Args:
        auto_class: a class of ``transformers`` with ``from_pretrained``.
        model: name on the Hugging Face hub, or a local folder with ``config.json`` and safetensors weights.
        settings: its config, from ``load_config``.
        dtype: precision of the weights.
        unused: parts that the caller does not use, by the beginnings of their weights' names.
        kwargs: further arguments of ``from_pretrained``.

    Raises:
        WildlamError: the model cannot be found, read or reached, or its weights are not those of the model that its
            config describes (``identity.strange_weights``).
    """
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # its table of weights, of which one line is logged below
    try:
        # safetensors only, and no code of the repository's: either could do anything. Weights of other shapes are
        # reported then, each by its name.
        network, found = auto_class.from_pretrained(
            model,
            config=settings,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **kwargs,
        )
    except Exception as error:  # whatever transformers raises for files that it cannot use
        raise cannot_load(model, _reason(model, error)) from error
    finally:
        logging.set_verbosity(verbosity)
    if strange := strange_weights(network, found, unused):
        raise cannot_load(model, strange)
    return network


def load_config(model: str, harmless: Mapping[str, Any] | None = None) -> Any:
    """The ``transformers`` config of ``model``.

    Args:
        model: see ``load_pretrained``.
        harmless: see ``identity.unknown_fields``.

    Raises:
        WildlamError: it cannot be had, or has fields that the model's class does not know.
    """
    import transformers

    try:
        settings = transformers.AutoConfig.from_pretrained(model, trust_remote_code=False)
    except Exception as error:  # whatever transformers raises for files that it cannot use
        raise cannot_load(model, _reason(model, error)) from error
    if unknown := unknown_fields(settings, harmless or {}):
        fields = ", ".join(f"{name} = {value!r}" for name, value in sorted(unknown.items()))
        raise WildlamError(
            f"{model}: cannot be loaded (transformers {transformers.__version__} computes models of type "
            f"{settings.model_type} without {fields}); if the config.json of {model} is from a newer transformers, "
            "install that one; if such a field changes nothing, take it out of that file"
        )
    patch = getattr(settings, "patch_size", None)
    if isinstance(patch, list | tuple) and len(set(patch)) == 1:  # the sides of a square
        settings.patch_size = patch[0]
    return settings


def _reason(model: str, error: Exception) -> str:
    """What ``transformers`` could not do, in one line, and why where the hub is not to be asked."""
    from huggingface_hub import constants

    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, KeyError):
        lines = [f"it does not know {lines[0]}"]
    if isinstance(error, OSError) and constants.HF_HUB_OFFLINE and not Path(model).is_dir():
        return f"HF_HUB_OFFLINE is set, and not all of its files are in {constants.HF_HUB_CACHE}"
    return lines[0] if len(lines) == 1 or not lines[0].endswith(":") else f"{lines[0]} {lines[1].strip()}"


def cannot_load(model: str, reason: str) -> WildlamError:
    """The error for a model that cannot be used, with the remedy."""
    if Path(model).is_dir():
        remedy = "give a folder that `hf download` or `save_pretrained` wrote, of a model of the right kind"
    elif _HUB_NAME.fullmatch(model):
        remedy = (
            f"where the hub can be reached run `hf download {model} --local-dir FOLDER`, then give FOLDER as the "
            "encoder's model; the encoder lite0 needs no download"
        )
    else:
        remedy, reason = "give an existing folder or a name on the hub such as facebook/dinov2-base", "no such folder"
    return WildlamError(f"{model}: cannot be loaded ({reason}); {remedy}")


def pixel_statistics(model: str, kind: Literal["image", "video"] = "image") -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel, in the range 0..1, that the model's pixels should have.

    Read from the preprocessor's file next to the weights; ImageNet's where it is missing or incomplete. A single number
    applies to all channels.

    Args:
        model: see ``load_pretrained``.
        kind: what the model takes, as each has its own file.

    Raises:
        WildlamError: the file gives no usable numbers.
    """
    try:
        if kind == "image":
            from transformers.image_processing_base import ImageProcessingMixin

            said, _ = ImageProcessingMixin.get_image_processor_dict(model)
        else:
            from transformers.video_processing_utils import BaseVideoProcessor

            said, _ = BaseVideoProcessor.get_video_processor_dict(model)
    except OSError as error:
        if "JSON" in str(error):
            raise cannot_load(model, _reason(model, error)) from error
        said = {}  # the model comes without the file
        if kind == "image" and not Path(model).is_dir() and _unasked(model):
            log.warning(
                "%s: no preprocessor_config.json in the hub's cache; pixels are normalised as on ImageNet", model
            )
    if not isinstance(said, dict):
        raise cannot_load(model, "the configuration of its preprocessor is no JSON object")
    if said.get("do_normalize") is False:
        mean, std = [0.0] * 3, [1.0] * 3
    else:
        mean = _channels(model, "image_mean", said.get("image_mean", IMAGENET_MEAN))
        std = _channels(model, "image_std", said.get("image_std", IMAGENET_STD))
    if min(std) <= 0:
        raise _preprocessor(model, "image_std", std, "numbers above 0")
    # The statistics are those of pixels multiplied by this; here pixels are divided by 255.
    factor = 1 if said.get("do_rescale") is False else said.get("rescale_factor")
    if factor is None or factor == 1 / 255:
        return mean, std
    if not isinstance(factor, int | float) or not factor > 0:
        raise _preprocessor(model, "rescale_factor", factor, "a number above 0")
    return [one / (255 * factor) for one in mean], [one / (255 * factor) for one in std]


def _unasked(model: str) -> bool:
    """Whether the hub's cache neither has a preprocessor's file nor a record that there is none."""
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(model, "preprocessor_config.json") is None


def _channels(model: str, field: str, value: Any) -> list[float]:
    """Three numbers of a preprocessor's field, which may give one for all."""
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if len(numbers) not in (1, 3) or not all(type(one) in (int, float) and math.isfinite(one) for one in numbers):
        raise _preprocessor(model, field, value, "three numbers, or one, or do_normalize as false")
    return numbers * 3 if len(numbers) == 1 else numbers


def _preprocessor(model: str, field: str, value: Any, wanted: str) -> WildlamError:
    return WildlamError(
        f"{model}: {field} in the configuration of its preprocessor is {json.dumps(value)}; write {wanted} there, as "
        "the model was trained"
    )


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
