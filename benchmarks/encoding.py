"""Speed of the offline encoder: frames per second of Lite0 by precision and frames per call.

    python benchmarks/encoding.py --out build/encoding.json [--short]

The aim is set for two CPU cores: 4.1 ms a frame of 128 pixels, with the settings that ``build()`` chooses by itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from wildlam.encoders import Lite0

AIM = 1000 / 4.1  # frames/s


def frames_per_second(encoder: object, frames: int, rounds: int) -> float:
    """Median over ``rounds`` calls of ``encode`` on ``frames`` frames, after one call to warm up."""
    video = torch.randint(0, 256, (1, frames, 3, 128, 128), dtype=torch.uint8)
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        encoder.encode(video).cpu()  # type: ignore[attr-defined]
        seconds.append(time.perf_counter() - began)
    return frames / statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--short", action="store_true", help="fewer rounds")
    args = parser.parse_args()
    rounds = 5 if args.short else 30

    rows: list[dict] = []
    default = Lite0().build()
    for dtype in (torch.bfloat16, torch.float32):
        encoder = Lite0().build(dtype=dtype)
        for frames in (8, 32, 64):
            value = frames_per_second(encoder, frames, rounds)
            aim = AIM if dtype == default.dtype and frames == 64 else None
            name = f"lite0 {str(dtype).removeprefix('torch.')}, {frames} frames a call, {encoder.device.type}"
            rows.append({"name": name, "value": value, "unit": "frames/s", "aim": aim, "met": aim and value >= aim})

    for row in rows:
        verdict = "" if row["aim"] is None else f"  aim {row['aim']:.0f}: {'met' if row['met'] else 'missed'}"
        print(f"{row['name']:<44} {row['value']:8.0f} {row['unit']}{verdict}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
