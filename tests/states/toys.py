"""A toy encoder, videos made on the spot, and what tests of stores fill and read."""

from dataclasses import replace
from itertools import count

import av
import numpy as np
import torch

from wildlam.states.encode import encode_videos
from wildlam.states.sequences import StoredVideo
from wildlam.states.store import FeatureStore
from wildlam.types import EncoderSpec
from wildlam.video.manifest import Video

FRAME = EncoderSpec("toy", 1, (2, 2), 3, 16, "frame", "aaaa000011112222")
CLIP = replace(FRAME, frames_per_state=2, context="clip", fingerprint="bbbb000011112222")


class ToyEncoder:
    """Mean colour of each quadrant; with tubelets, the mean of two frames plus the number of frames before them."""

    def __init__(self, spec):
        self.spec, self.calls, self.device = spec, 0, torch.device("cpu")

    def encode(self, video_BTCHW):
        self.calls += 1
        step = self.spec.frames_per_state
        quadrants = torch.nn.functional.adaptive_avg_pool2d(video_BTCHW.flatten(0, 1).float(), 2)
        states = quadrants.flatten(2).transpose(1, 2).unflatten(0, video_BTCHW.shape[:2])
        states = states.unflatten(1, (-1, step)).mean(2) / 255
        if self.spec.context == "clip":
            states = states + torch.arange(states.shape[1])[:, None, None]
        return states


def write_video(path, frames, seed):
    """A video of ``frames`` frames at 8 fps, 16 x 16 pixels, of a random colour each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            image = np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (16, 16, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())


def row(root, path, split="train"):
    stat = (root / path).stat()
    return Video(path, path.split("/")[0], 1.0, 8.0, 8, 16, 16, 0, stat.st_size, stat.st_mtime_ns, split)


def fill_without_end(folder, told):
    """Append and commit videos, each of nine states that are its number, which is sent when it is committed."""
    made = FeatureStore.create_or_resume(folder, FRAME, 4.0, 16)
    for i in count():
        made.append(stored(f"{i}.mp4"), [(0, torch.arange(9).double(), torch.full((9, 4, 3), i))])
        made.commit()
        told.send(i)


def fill(path, videos, spec=FRAME, frames=4, rows=None, **options):
    root, all_rows = videos
    made = FeatureStore.create_or_resume(path, spec, fps=4.0, frames=frames)
    encoder = ToyEncoder(spec)
    rows = all_rows if rows is None else rows
    report = encode_videos(rows, root, encoder, made, progress=False, workers=2, **options)
    return made, report, encoder


def random_states(n, spec=FRAME, seed=0):
    return torch.randn(n, spec.tokens, spec.width, generator=torch.Generator().manual_seed(seed))


def videos_of(store):
    """The committed videos by path."""
    return {video.path: video for video in store.sequences().of()}


def stored(path="v.mp4", split="train", source="s"):
    return StoredVideo(path, source, split, 1, 2)
