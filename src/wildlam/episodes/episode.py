"""Episodes with known poses, for training controllers and evaluating plans. Every reader gives these."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from wildlam.episodes.action_spaces import ActionSpace, PoseSpace
from wildlam.episodes.camera import Camera
from wildlam.episodes.pairing import Frames, Stored
from wildlam.episodes.vectors import Commands
from wildlam.types import Split
from wildlam.video.files import AnyFile, Part


@dataclass(frozen=True)
class Episode:
    """A film, or a part of one, of which is known what was done.

    Attributes:
        name: unique among the episodes of a data set.
        split: training or held out.
        times: time of each frame in seconds, ``float64 [F]``; they may have gaps, and steps of uneven length.
        poses: pose at each frame, ``float64 [F, P]``; or what else is recorded of the body, if anything.
        space: what a pose is, and what an action between two; or what commands are, one at each frame.
        frames: gives some frames by number, ``uint8 [n, 3, S, S]``, for a side S in pixels.
        file: file that holds the frames; None if none does. Its size and last change show whether they are the same.
        recording: what it is a film of: other cameras' films of it, and copies, have the same. By default it has its
            own, its name.
        camera: the camera at rest that filmed it, where that is recorded.
        commands: recorded at each frame, ``float64 [F, C]``, where ``space`` is of commands.
        view: which of the pictures that ``file`` holds its frames are, and what else shows whether they are the same.
        pictures: gives some frames by number as they are stored, where they lie one by one; None for those of a film.
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
    commands: np.ndarray | None = None
    view: str = ""
    pictures: Stored | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "recording", self.recording or self.name)

    @property
    def file_name(self) -> str:
        """Its name as that of a file, without suffix."""
        return self.name.rsplit(".", 1)[0].replace("/", "_")

    @property
    def numbers(self) -> list[tuple[tuple[str, ...], np.ndarray]]:
        """What is recorded at each frame: names of the components, and ``float64 [F, N]``."""
        found = [(self.space.pose_names, self.poses)]
        if isinstance(self.space, Commands) and self.commands is not None:
            found.insert(0, (self.space.components, self.commands))
        return found

    @cached_property
    def rate(self) -> float:
        """Frames per second where none is missing."""
        runs = [run for run in self._runs(1) if len(run) > 1]
        if not runs:  # no two steps are alike
            return float(1 / np.median(np.diff(self.times)))
        return float(sum(len(run) - 1 for run in runs) / sum(self.times[run[-1]] - self.times[run[0]] for run in runs))

    def stride(self, fps: float) -> int:
        """How many frames make a step at about ``fps``.

        Half a frame too many or too few is the same in all episodes of a data set, whose times, if they are stored in
        32 bits, make rates of 50.000002 and 49.999999.
        """
        return max(1, round(round(self.rate / fps, 3)))

    def space_at(self, fps: float) -> ActionSpace:
        """What an action of a step at about ``fps`` is."""
        return self.space.over(self.stride(fps)) if isinstance(self.space, Commands) else self.space

    def actions(self, frames: np.ndarray) -> np.ndarray:
        """Actions ``float64 [T - 1, A]`` between some of its frames ``[T]``, by number, of a run of ``sampled``."""
        if isinstance(self.space, PoseSpace):
            return self.space.between(self.poses[frames])
        assert isinstance(self.space, Commands)
        assert self.commands is not None
        return np.stack([self.space.joined(self.commands[a:b]) for a, b in pairwise(frames.tolist())])

    def sampled(self, fps: float) -> tuple[list[np.ndarray], float]:
        """Numbers of the frames at about ``fps`` by a whole stride, and the rate that this really is.

        DROID's 15 Hz at "4 fps" are every fourth frame, 3.75 fps. Where frames are missing, a new run begins, so that
        in each of the runs all steps last equally long, to half a frame.
        """
        stride = self.stride(fps)
        return self._runs(stride), self.rate / stride

    def _runs(self, stride: int) -> list[np.ndarray]:
        chosen = np.arange(0, len(self.times), stride)
        period = np.median(np.diff(self.times))
        uneven = np.abs(np.diff(self.times[chosen]) - stride * period) > period / 2
        return np.split(chosen, np.flatnonzero(uneven) + 1)


def by_film(episodes: Iterable[Episode]) -> Callable[[AnyFile], Episode | None]:
    """What gives the episode that a video is of, if any: by its file and, of a part of a film, by the part's name."""
    known = {(one.file.resolve(), part): one for one in episodes if one.file for part in ("", one.name)}

    def find(video: AnyFile) -> Episode | None:
        film, part = (video.film, video.name) if isinstance(video, Part) else (video, "")
        return known.get((film.resolve(), part)) if isinstance(film, Path) else None

    return find
