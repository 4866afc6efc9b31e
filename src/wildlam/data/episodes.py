"""Episodes with known poses: what controllers learn from and plans are judged by. Every reader gives these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from wildlam.data.action_spaces import ActionSpace
from wildlam.data.indexing import assign_splits, index
from wildlam.data.poses import check_reach, has_poses, read_poses
from wildlam.data.video import Backend, decode_at
from wildlam.types import Split, WildlamError, keys_told_as

HELD_OUT = 0.1
"""Share of the episodes held out of data sets that do not say which are."""

Frames = Callable[[Sequence[int], int], Tensor]
"""From numbers of frames and a side S in pixels to ``uint8 [n, 3, S, S]``."""


@dataclass(frozen=True)
class Episode:
    """One recording whose pose at every frame is known.

    Attributes:
        name: unique among the episodes of a data set.
        split: training or held out.
        times: time of each frame in seconds, ``float64 [F]``.
        poses: pose at each frame, ``float64 [F, P]``.
        space: what a pose is, and what an action between two.
        frames: gives some frames by number, ``uint8 [n, 3, S, S]``, for a side S in pixels.
        file: that holds the frames; None if none does. Its size and last change tell whether they are the same still.
    """

    name: str
    split: Split
    times: np.ndarray
    poses: np.ndarray
    space: ActionSpace
    frames: Frames
    file: Path | None = None

    @property
    def file_name(self) -> str:
        """Its name as that of a file, without suffix."""
        return self.name.rsplit(".", 1)[0].replace("/", "_")

    @property
    def rate(self) -> float:
        """Frames per second."""
        return float((len(self.times) - 1) / (self.times[-1] - self.times[0]))

    def sampled(self, fps: float) -> tuple[np.ndarray, float]:
        """Numbers of the frames at about ``fps`` by a whole stride, and the rate that this really is.

        DROID's 15 Hz at "4 fps" are every fourth frame, 3.75 fps.
        """
        stride = max(1, round(self.rate / fps))
        return np.arange(0, len(self.times), stride), self.rate / stride


def read_posed_videos(path: Path, backend: Backend = "pyav") -> list[Episode]:
    """Read a folder of videos with ``NAME.poses.csv`` beside them.

    Raises:
        WildlamError: there are none, or one is malformed, naming the file.
    """
    with keys_told_as("--data"):
        manifest = index(path)
    found = []
    columns = (manifest.column(name).to_pylist() for name in ("path", "split", "duration", "fps"))
    for name, split, duration, fps in zip(*columns, strict=True):
        video = manifest.file(name)
        if isinstance(video, Path) and has_poses(video):
            space, rows = read_poses(video)
            check_reach(video, rows[:, 0], duration - 1 / fps)
            frames = frames_at(video, rows[:, 0], backend)
            found.append(Episode(name, split, rows[:, 0], rows[:, 1:], space, frames, video))
    if not found:
        raise WildlamError(f"{path}: no poses; beside each video there must be NAME.poses.csv, as `collect` writes it")
    return found


def frames_at(video: Path, times: np.ndarray, backend: Backend = "pyav") -> Frames:
    """Frames of a film by number, shown from the moments ``times`` ``[F]`` on, in seconds."""
    # Within each frame's time on display: poses and containers round timestamps, each in its own way.
    within = times + 0.25 * np.median(np.diff(times))
    return lambda chosen, size: decode_at(video, within[list(chosen)].tolist(), size, backend)


def splits_of(names: Iterable[str]) -> dict[str, Split]:
    """Hold a tenth of a data set's episodes out, the same ones every time."""
    return assign_splits(names, HELD_OUT, {})
