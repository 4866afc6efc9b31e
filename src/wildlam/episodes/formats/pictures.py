"""Pictures that lie one by one in a data set, as bytes of JPEG or PNG."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.video.decode import square


def decode_picture(data: bytes, name: str, size: int) -> Tensor:
    """A picture as a square, ``uint8 [3, S, S]``.

    Raises:
        WildlamError: it cannot be decoded, naming it.
    """
    try:
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise WildlamError(f"{name}: not a picture that can be decoded") from error
    return square(torch.from_numpy(image.copy()), 0, size)
