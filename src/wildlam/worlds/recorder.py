"""Film a world: many short films with their true poses, by several workers, kept and completed when called again."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from tqdm import tqdm

from wildlam.episodes.action_spaces import PoseSpace
from wildlam.episodes.poses import poses_path, write_poses
from wildlam.errors import WildlamError
from wildlam.progress import Count, up_to
from wildlam.types import Split
from wildlam.video.mp4 import write_mp4

World = TypeVar("World")
Stage = TypeVar("Stage", bound=Hashable)
WORKERS = 2
ATTEMPTS = 3
"""Worlds opened, one after another, where they are lost, before giving up."""

log = logging.getLogger(__name__)


class WorldLost(WildlamError):
    """A simulator ended by itself; another one is as good."""


@dataclass(frozen=True)
class Take:
    """A film to be made.

    Attributes:
        path: path of the film; its poses or other truth are next to it.
        seed: seed of all that is random in it.
    """

    path: Path
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Format:
    """Properties of all films of a call: number of frames, rate, side, and action space.

    Next to a film lies what is true of it: its poses, unless a subclass has more to say.
    """

    frames: int
    fps: float
    size: int
    space: PoseSpace

    def truth_paths(self, film: Path) -> tuple[Path, ...]:
        """Where the truth of a film lies: files without which it is made again."""
        return (poses_path(film),)

    def write_truth(self, film: Path, truth: Any) -> None:
        """Write what is true of a film, as it was made, beside it: here its poses ``[frames, P]``."""
        write_poses(film, truth, self.fps, self.space)


def check_length(episodes: int, seconds: float) -> None:
    """Refuse no films, or films of no length.

    Raises:
        WildlamError: naming both.
    """
    if episodes < 1 or not 0 < seconds < math.inf:
        raise WildlamError(f"give at least one episode of some length, got {episodes} of {seconds:g} s")


def split_of(number: int) -> Split:
    """The split of a world's film ``number``: one of eight is held out, the second first, so that few have one."""
    return "held_out" if number % 8 == 1 else "train"


def film_all(
    takes: Mapping[Stage, Sequence[Take]],
    world: Callable[[Stage], AbstractContextManager[World]],
    film: Callable[[World, np.random.Generator, Count], tuple[list[np.ndarray], Any]],
    form: Format,
    *,
    title: str,
    progress: bool = True,
) -> list[Path]:
    """Make films, each whole or not at all; finished ones are kept.

    Args:
        takes: films to make, by stage; those of a stage are made one after another in one world.
        world: opens the world of a stage, when the first film needs it.
        film: gives the frames ``uint8 [H, W, 3]`` and what ``form`` writes next to them; counts each frame as it is
            filmed.
        form: format of all films; a file of another one is made again.
        title: shown with the progress bar.
        progress: show it.

    Returns:
        The paths of all films, stage by stage.
    """
    stop = threading.Event()
    total = form.frames * sum(map(len, takes.values()))
    with tqdm(total=total, desc=title, unit="frame", miniters=1, disable=not progress) as bar:

        def make(stage: Stage) -> None:
            wanted = [(take, up_to(bar, form.frames)) for take in takes[stage] if not _is_complete(take.path, form)]
            bar.update(form.frames * (len(takes[stage]) - len(wanted)))
            for attempt in range(ATTEMPTS):
                try:
                    with ExitStack() as stack:
                        opened = stack.enter_context(world(stage)) if wanted else None
                        while opened is not None and wanted and not stop.is_set():
                            take, count = wanted[0]
                            frames, truth = film(opened, np.random.default_rng(list(take.seed)), count)
                            form.write_truth(take.path, truth)
                            write_mp4(take.path, frames, form.fps)
                            count(form.frames)
                            del wanted[0]
                    return
                except WorldLost as error:
                    if attempt + 1 == ATTEMPTS:
                        raise
                    log.warning("%s; started again", error)

        # Simulators work outside Python, in processes of their own or in C, so that threads are enough.
        with ThreadPoolExecutor(WORKERS) as pool:
            jobs = [pool.submit(make, stage) for stage in takes]
            try:
                for job in as_completed(jobs):
                    job.result()
            except BaseException:
                stop.set()
                raise
    return [take.path for stage in takes for take in takes[stage]]


def _is_complete(path: Path, form: Format) -> bool:
    if not all(file.exists() for file in (path, *form.truth_paths(path))):
        return False
    try:
        with av.open(str(path)) as file:
            video = file.streams.video[0]
            rate = Fraction(form.fps).limit_denominator(1001)
            found = (video.frames, video.average_rate, video.width, video.height)
            return found == (form.frames, rate, form.size, form.size)
    except av.FFmpegError:
        return False  # not a film that can be opened: to be made again


SHARE = 0.15
"""Share of a world's films with a distraction, unless another is asked for."""


def distracted(film: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """A film with distractors, which no action causes: a drifting ball and changing light.

    Args:
        film: frames ``uint8 [S, S, 3]``.
        rng: decides colour, size, paths and periods.
    """
    size = film[0].shape[0]
    rows, columns = np.mgrid[:size, :size]
    colour, radius = rng.uniform(40, 255, 3), size * rng.uniform(0.06, 0.12)
    period, phase = rng.uniform(20, 60, 3), rng.uniform(0, 2 * np.pi, 3)
    painted = []
    for k, frame in enumerate(film):
        swing = np.sin(2 * np.pi * k / period + phase)
        away = np.hypot(rows - size * (0.5 + 0.45 * swing[0]), columns - size * (0.5 + 0.45 * swing[1]))
        shade = (1 - 0.5 * (away / radius) ** 2)[..., None]
        ball = np.where(away[..., None] < radius, colour * shade, frame)
        painted.append((ball * (0.75 + 0.25 * swing[2])).clip(0, 255).astype(np.uint8))
    return painted
