"""Write H.264 files that other tools seek in without surprises: exact timestamps, whole files or none."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float | Fraction, crf: int = 18) -> None:
    """Write ``uint8 [H, W, 3]`` RGB frames, all of one even-sided shape, as H.264 at exactly ``fps`` frames per second.

    Frame ``k`` is shown at ``k / fps`` seconds. The file appears under ``path`` complete or not at all: it grows under
    a temporary name in the same folder and is renamed at the end. A process killed half-way leaves only that
    ``*.part`` file, which the next attempt overwrites.

    ``crf`` is x264's constant rate factor: 18 looks lossless, and 6 more halve the size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(part), "w", format="mp4") as file:
        # A keyframe every 16 frames keeps seeking cheap; with threads or B-frames, x264 does not give the same pixels
        # in every run.
        options = {"crf": str(crf), "preset": "veryfast", "g": "16", "bf": "0", "threads": "1"}
        stream = file.add_stream("libx264", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        stream.time_base = 1 / rate
        for k, image in enumerate(frames):
            if k == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = k
            frame.time_base = 1 / rate
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    os.replace(part, path)
