"""Speed of the offline encoder: frames per second of Lite0 by precision and frames per call.

    python benchmarks/encoding.py --out build/encoding.json [--short]

The aim is set for two CPU cores: 4.1 ms a frame of 128 pixels, with the settings that ``build()`` chooses by itself.
"""

from __future__ import annotations

import statistics

import torch
from common import arguments, finish, row, seconds

from wildlam.encoders import Lite0
from wildlam.types import Encoder

AIM = 1000 / 4.1  # frames/s


def frames_per_second(encoder: Encoder, frames: int, rounds: int) -> float:
    """Median over ``rounds`` calls of ``encode`` on ``frames`` frames, after one call to warm up."""
    video = torch.randint(0, 256, (1, frames, 3, 128, 128), dtype=torch.uint8)
    return frames / statistics.median(seconds(lambda: encoder.encode(video).cpu(), rounds))


def main() -> None:
    args = arguments(__doc__ or "")
    rounds = 5 if args.short else 30
    rows = []
    default = Lite0().build()
    for dtype in (torch.bfloat16, torch.float32):
        encoder = Lite0().build(dtype=dtype)
        for frames in (8, 32, 64):
            aim = AIM if dtype == default.dtype and frames == 64 else None
            name = f"lite0 {str(dtype).removeprefix('torch.')}, {frames} frames a call, {encoder.device.type}"
            rows.append(row(name, frames_per_second(encoder, frames, rounds), "frames/s", aim))
    finish(rows, args.out)


if __name__ == "__main__":
    main()
