"""Episodes with known poses, for training controllers and evaluating plans. Every reader gives these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.camera import Camera
from wildlam.episodes.pairing import Frames
from wildlam.types import Split
from wildlam.video.splits import assign_splits

HELD_OUT = 0.1
"""Share of the episodes held out of data sets that do not say which are."""


@dataclass(frozen=True)
class Episode:
    """A film, or a part of one, whose pose at every frame is known.

    Attributes:
        name: unique among the episodes of a data set.
        split: training or held out.
        times: time of each frame in seconds, ``float64 [F]``; they may have gaps, and steps of uneven length.
        poses: pose at each frame, ``float64 [F, P]``.
        space: what a pose is, and what an action between two.
        frames: gives some frames by number, ``uint8 [n, 3, S, S]``, for a side S in pixels.
        file: file that holds the frames; None if none does. Its size and last change show whether they are the same.
        recording: what it is a film of: other cameras' films of it, and copies, have the same. By default it has its
            own, its name.
        camera: the camera at rest that filmed it, where that is recorded.
    """

    name: str
    split: Split
    times: np.ndarray
    poses: np.ndarray
    space: ActionSpace
    frames: Frames
    file: Path | None = None
    recording: str = ""
    camera: Camera | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "recording", self.recording or self.name)

    @property
    def file_name(self) -> str:
        """Its name as that of a file, without suffix."""
        return self.name.rsplit(".", 1)[0].replace("/", "_")

    @property
    def rate(self) -> float:
        """Frames per second where none is missing."""
        runs = [run for run in self._runs(1) if len(run) > 1]
        if not runs:  # no two steps are alike
            return float(1 / np.median(np.diff(self.times)))
        return float(sum(len(run) - 1 for run in runs) / sum(self.times[run[-1]] - self.times[run[0]] for run in runs))

    def sampled(self, fps: float) -> tuple[list[np.ndarray], float]:
        """Numbers of the frames at about ``fps`` by a whole stride, and the rate that this really is.

        DROID's 15 Hz at "4 fps" are every fourth frame, 3.75 fps. Where frames are missing, a new run begins, so that
        in each of the runs all steps last equally long, to half a frame.
        """
        rate = self.rate
        stride = max(1, round(rate / fps))
        return self._runs(stride), rate / stride

    def _runs(self, stride: int) -> list[np.ndarray]:
        chosen = np.arange(0, len(self.times), stride)
        period = np.median(np.diff(self.times))
        uneven = np.abs(np.diff(self.times[chosen]) - stride * period) > period / 2
        return np.split(chosen, np.flatnonzero(uneven) + 1)


def splits_of(names: Iterable[str]) -> dict[str, Split]:
    """Hold a tenth of a data set's episodes out, the same ones every time."""
    return assign_splits(names, HELD_OUT, {})
