"""Episodes with known poses: what controllers learn from and plans are judged by. Every reader gives these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.pairing import TOLERANCE, Frames, pair, read_film, tell
from wildlam.episodes.poses import check_reach, has_poses, read_poses
from wildlam.errors import WildlamError, named, videos_given_by
from wildlam.types import Split
from wildlam.video.decode import Backend
from wildlam.video.index import index
from wildlam.video.splits import assign_splits

HELD_OUT = 0.1
"""Share of the episodes held out of data sets that do not say which are."""


@dataclass(frozen=True)
class Episode:
    """One recording whose pose at every frame is known.

    Attributes:
        name: unique among the episodes of a data set.
        split: training or held out.
        times: time of each frame in seconds, ``float64 [F]``; they may have gaps, and steps of uneven length.
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


def read_posed_videos(path: Path, backend: Backend = "pyav", tolerance: float = TOLERANCE) -> list[Episode]:
    """Read a folder of videos with ``NAME.poses.csv`` beside them.

    Args:
        path: the folder.
        backend: that decodes.
        tolerance: seconds that a pose may be away from every frame; see ``pair``.

    Raises:
        WildlamError: there are none, or one is malformed, naming the file.
    """
    with named(videos_given_by("--data")):
        manifest = index(path)
    found, paired = [], {}
    columns = (manifest.column(name).to_pylist() for name in ("path", "split", "duration", "fps"))
    for name, split, duration, fps in zip(*columns, strict=True):
        video = manifest.file(name)
        if isinstance(video, Path) and has_poses(video):
            space, rows = read_poses(video)
            check_reach(video, rows[:, 0], duration - 1 / fps)
            film = read_film(video)
            paired[name] = pairs = pair(rows[:, 0], film.times, str(video), tolerance)
            rows = rows[pairs.states]
            frames = film.frames(pairs.frames, backend)
            found.append(Episode(name, split, rows[:, 0], rows[:, 1:], space, frames, video))
    if not found:
        raise WildlamError(f"{path}: no poses; beside each video there must be NAME.poses.csv, as `collect` writes it")
    tell(path, paired)
    return found


def splits_of(names: Iterable[str]) -> dict[str, Split]:
    """Hold a tenth of a data set's episodes out, the same ones every time."""
    return assign_splits(names, HELD_OUT, {})
