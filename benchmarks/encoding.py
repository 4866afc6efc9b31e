"""Speed of the offline encoder, and of filling a store from videos against the parts of that work.

    python benchmarks/encoding.py --out build/encoding.json [--short]

Frames per second of Lite0 by precision and frames per call: the aim is set for two CPU cores, 4.1 ms a frame of 128
pixels, with the settings that ``build()`` chooses by itself. Then ``wildlam encode``'s work on a few videos, whole, and
its parts one after the other: decoding (a thread for each core), encoding, writing. 1 says that nothing is lost between
them, or that what is lost is won back by doing them at once.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from common import arguments, finish, row, seconds
from decoding import write_video

from wildlam.encoders import Lite0
from wildlam.states.encode import encode_videos
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import Encoder
from wildlam.video.decode import decode_grid
from wildlam.video.index import index

AIM = 1000 / 4.1  # frames/s
FPS = 4.0


def frames_per_second(encoder: Encoder, frames: int, rounds: int) -> float:
    """Median over ``rounds`` calls of ``encode`` on ``frames`` frames, after one call to warm up."""
    video = torch.randint(0, 256, (1, frames, 3, 128, 128), dtype=torch.uint8)
    return frames / statistics.median(seconds(lambda: encoder.encode(video).cpu(), rounds))


def filling(folder: Path, encoder: Encoder, videos: int) -> list[dict]:
    """Seconds of encoding videos into a store, whole and by parts."""
    for i in range(videos):
        write_video(folder / f"{i}.mp4", seed=i)
    manifest = index(folder, progress=False)

    def store(name: str) -> FeatureStore:
        return FeatureStore.create_or_resume(folder / name, encoder.spec, FPS, 8)

    encode_videos(list(manifest)[:1], folder, encoder, store("warm"), progress=False)
    began = time.perf_counter()
    report = encode_videos(manifest, folder, encoder, store("whole"), progress=False)
    whole = time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        decoded = list(pool.map(lambda v: list(decode_grid(manifest.file(v.path), FPS, 128)), manifest))
    decoding = time.perf_counter() - began
    began = time.perf_counter()
    states = [encoder.encode(torch.cat([frames for _, frames in chunks])[None])[0] for chunks in decoded]
    encoding = time.perf_counter() - began
    began, parts = time.perf_counter(), store("parts")
    for video, chunks, of_video in zip(manifest, decoded, states, strict=True):
        parts.append(StoredVideo.of(video), [(0, torch.cat([times for times, _ in chunks]), of_video)])
    parts.commit()
    writing = time.perf_counter() - began
    clips = report.states / 8
    return [
        row("filling a store: clips of 8 states", clips / whole, "clips/s"),
        row("filling a store: parts one after the other, over the whole", (decoding + encoding + writing) / whole, "x"),
        row("filling a store: decoding", decoding / clips * 1e3, "ms/clip"),
        row("filling a store: encoding", encoding / clips * 1e3, "ms/clip"),
        row("filling a store: writing", writing / clips * 1e3, "ms/clip"),
    ]


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
    with tempfile.TemporaryDirectory() as folder:
        rows += filling(Path(folder), default, 4 if args.short else 12)
    finish(rows, args.out)


if __name__ == "__main__":
    main()
