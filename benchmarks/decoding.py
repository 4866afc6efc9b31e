"""How fast clips come out of video files: ``prefetch`` with two workers against a plain loop over PyAV.

    python benchmarks/decoding.py --out build/decoding.json [--short]

Both decode the same clips in the same run. The plain loop opens a file, decodes from its start, and converts and
resizes the frames it needs. Prints a table and writes its rows as JSON.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from common import arguments, finish, row

from wildlam.video.decode import decode_grid
from wildlam.video.index import index
from wildlam.video.loader import ClipSource, prefetch

FRAMES, FPS, SIZE, BATCH = 8, 4.0, 128, 8


def write_video(path: Path, seed: int, seconds: int = 10, side: int = 256, rate: int = 30) -> None:
    """A textured picture that drifts, with x264's own settings: a keyframe every 250 frames, B-frames."""
    rng = np.random.default_rng(seed)
    texture = np.kron(rng.integers(0, 255, (side // 8, side // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = 250
        for i in range(seconds * rate):
            image = np.roll(texture, (i, 2 * i), (0, 1)) + rng.integers(0, 8, (side, side, 1), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def plain_clip(path: Path, times: list[float]) -> torch.Tensor:
    images: list[torch.Tensor] = []
    with av.open(str(path)) as container:
        shown = None
        for frame in container.decode(video=0):
            while len(images) < len(times) and shown is not None and times[len(images)] + 1e-6 < frame.time:
                image = torch.from_numpy(shown.to_ndarray(format="rgb24")).permute(2, 0, 1)[None]
                images.append(F.interpolate(image, size=(SIZE, SIZE), mode="bilinear", antialias=True)[0])
            if len(images) == len(times):
                break
            shown = frame
    return torch.stack(images)


def measure(folder: Path, steps: int) -> list[dict]:
    source = ClipSource(index(folder, progress=False), frames=FRAMES, fps=FPS, size=SIZE, batch=BATCH)
    batches, began, ready = [], time.perf_counter(), 0.0
    for batch in prefetch(source, 0, steps, workers=2):
        ready = ready or time.perf_counter()  # the first batch waits for the processes to start, once a run
        batches.append(batch)
    fast = BATCH * (steps - 1) / (time.perf_counter() - ready)

    began_plain = time.perf_counter()
    for batch in batches[1:]:
        for clip, name, start in zip(batch.video, batch.names, batch.starts, strict=True):
            plain = plain_clip(folder / name, [start + k / FPS for k in range(FRAMES)])
            assert torch.equal(plain, clip), "the plain loop and the library must give the same clips"
    slow = BATCH * (steps - 1) / (time.perf_counter() - began_plain)

    began_grid, count = time.perf_counter(), 0
    for path in sorted(folder.glob("*.mp4")):
        count += sum(len(times) for times, _ in decode_grid(path, FPS, SIZE))
    grid = time.perf_counter() - began_grid
    return [
        row("decoding, prefetch with 2 workers", fast, "clips/s"),
        row("decoding, plain PyAV loop", slow, "clips/s"),
        row("decoding, prefetch over plain loop", fast / slow, "ratio", aim=2.0),
        row("decoding, start of 2 workers", ready - began, "s"),
        row("decoding, whole videos in one pass", count / grid, "sampled frames/s"),
    ]


def main() -> None:
    args = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        for i in range(3 if args.short else 8):
            write_video(Path(folder) / f"{i}.mp4", seed=i)
        finish(measure(Path(folder), steps=12 if args.short else 60), args.out)


if __name__ == "__main__":
    main()
