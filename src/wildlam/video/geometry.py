"""How a stored picture stands on the screen: turned, mirrored and stretched as its file says, then cut to a square."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """From the picture that a file stores to the one on display.

    Attributes:
        quarter_turns: anticlockwise, 0 to 3.
        mirrored: whether left and right change places after that.
        aspect: width of a stored pixel over its height.
    """

    quarter_turns: int = 0
    mirrored: bool = False
    aspect: float = 1.0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height on display of a stored picture."""
        width = round(width * self.aspect)
        return (height, width) if self.quarter_turns % 2 else (width, height)


def geometry_of(frame: VideoFrame, aspect: float) -> Geometry:
    """What a frame's display matrix says: nine 32-bit numbers, see FFmpeg's libavutil/display.h.

    The matrix [a b u; c d v; x y w] sends the stored pixel (p, q) to (a p + c q + x, b p + d q + y), y downwards.
    A negative determinant mirrors. Angles are rounded to quarter turns.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Geometry(aspect=aspect)
    a, b, _, c, d = np.frombuffer(matrix, np.int32, count=5).tolist()
    mirrored = a * d - b * c < 0
    return Geometry(round(-math.atan2(b, -a if mirrored else a) / (math.pi / 2)) % 4, mirrored, aspect)


def aspect_of(stream: VideoStream) -> float:
    """Width of a stream's pixels over their height: its container's word, or else its codec's."""
    aspect = stream.sample_aspect_ratio
    return float(aspect) if aspect else 1.0


def square(image_HWC: Tensor, quarter_turns: int, size: int, mirrored: bool = False, aspect: float = 1.0) -> Tensor:
    """Put a ``uint8 [H, W, 3]`` image upright, resize its short side, cut the centre: ``[3, size, size]``.

    Args:
        image_HWC: the stored picture.
        quarter_turns: anticlockwise.
        size: side of the square, pixels.
        mirrored: whether left and right change places after that.
        aspect: width of a stored pixel over its height.
    """
    if quarter_turns or mirrored:
        image_HWC = image_HWC.rot90(quarter_turns)
        image_HWC = (image_HWC.flip(1) if mirrored else image_HWC).contiguous()
    height, width, _ = image_HWC.shape
    on_width, on_height = (width, height * aspect) if quarter_turns % 2 else (width * aspect, height)
    short = min(on_height, on_width)
    height, width = round(on_height * size / short), round(on_width * size / short)
    image = image_HWC.permute(2, 0, 1)[None]  # stays channels-last in memory, which torch resizes three times faster
    image = F.interpolate(image, size=(height, width), mode="bilinear", antialias=True)[0]
    top, left = (height - size) // 2, (width - size) // 2
    return image[:, top : top + size, left : left + size]
