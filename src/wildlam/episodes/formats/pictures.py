"""Pictures that lie one by one in a data set, as bytes of JPEG or PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from wildlam.episodes.pairing import Frames, Stored
from wildlam.errors import WildlamError
from wildlam.fileio import POINTER, POINTER_BEGINS
from wildlam.video.decode import square


def decode_picture(data: bytes, name: str) -> Tensor:
    """A picture, ``uint8 [H, W, 3]``.

    Raises:
        WildlamError: it cannot be decoded, naming it.
    """
    try:
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        why = POINTER if data.startswith(POINTER_BEGINS) else "not a picture that can be decoded"
        raise WildlamError(f"{name}: {why}") from error
    return torch.from_numpy(image.copy())


def squares(stored: Stored) -> Frames:
    """Frames of pictures as they are stored."""

    def frames(chosen: Sequence[int], size: int) -> Tensor:
        return torch.stack([square(one, 0, size) for one in stored(chosen)])

    return frames
