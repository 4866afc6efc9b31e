"""Write pictures that lie one by one in labelled data as films, for all that reads films: ``wildlam data --films``."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from wildlam.episodes.commands_file import STATES, write_commands
from wildlam.episodes.episode import Episode
from wildlam.episodes.poses import write_poses
from wildlam.episodes.vectors import Changes, Commands
from wildlam.errors import WildlamError, option
from wildlam.fileio import locked, read_json, write_atomically, writing
from wildlam.video.mp4 import write_mp4

log = logging.getLogger(__name__)

RECORD = "films.json"
"""What the films of a folder are of."""
CRF = 10
"""Rate factor: pictures are often small, and each is coded a second time by whoever made it a JPEG."""
AT_ONCE = 64
"""Pictures that are in memory together."""
LONGEST = 150
"""Letters of a film's name."""


class Run(NamedTuple):
    """Frames of an episode of which none is missing between two, and their film."""

    episode: Episode
    frames: np.ndarray
    film: Path


def write_films(episodes: Sequence[Episode], out: Path, source: dict[str, Any], progress: bool = True) -> int:
    """Write a film of each episode, in a folder of its split, with files of what was done beside it.

    Beside ``NAME.mp4`` lie ``NAME.actions.csv`` and ``NAME.states.csv``, or ``NAME.poses.csv``, whatever the episodes
    hold. Where frames are missing a film ends, and ``NAME_part2.mp4`` begins. Films that are there are kept, so that an
    interrupted call can be repeated. A picture with an odd side loses its last row or column, which H.264 cannot have.

    Args:
        episodes: of one data set, with pictures that lie one by one.
        out: a new folder, or one of films of the same ``source``.
        source: what the films are of; values are texts, numbers or None.
        progress: show a bar.

    Returns:
        How many films there are.

    Raises:
        WildlamError: the episodes are of films already, the folder holds something else, a picture cannot be read, or
            the disk is full.
    """
    if in_films := [one.name for one in episodes if one.pictures is None]:
        raise WildlamError(
            f"the pictures of {in_films[0]} lie in a film, which is trained on as it is; leave {option('films')} out"
        )
    with writing(f"to {out}", f"free some space, or give another {option('films')}; finished films are kept"):
        out.mkdir(parents=True, exist_ok=True)
        with locked(out, "writing films", file=out / ".lock", refusal="wait until it is done"):
            _claim(out, source)
            runs = _runs(episodes, out)
            with tqdm(
                total=sum(len(run.frames) for run in runs), desc="writing films", unit="frame", disable=not progress
            ) as bar:
                for run in runs:
                    if run.film.is_file():
                        bar.update(len(run.frames))
                        continue
                    rate = Fraction(run.episode.rate).limit_denominator(1001)  # as films have it
                    _write_beside(run, float(rate))
                    write_mp4(run.film, _pictures(run, bar), rate, crf=CRF)  # last: whole, and with all of its files
    return len(runs)


def _claim(out: Path, source: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but films of the same source, and record that."""
    file = out / RECORD
    if not file.is_file():
        if any(not there.name.startswith(".") for there in out.iterdir()):
            raise WildlamError(f"{out} is not empty; give another {option('films')}, or move what is in it away")
        write_atomically(file, json.dumps(source, indent=2))
        return
    known = read_json(file)
    for key, value in source.items():
        if known.get(key) != value:
            raise WildlamError(
                f"{out} holds films with {key} {known.get(key)}, not {value}; give another {option('films')}"
            )


def _runs(episodes: Sequence[Episode], out: Path) -> list[Run]:
    """Films to write."""
    found, taken, alone = [], set[str](), 0
    for episode in episodes:
        runs, _ = episode.sampled(episode.rate)
        films = [run for run in runs if len(run) > 1]
        alone += len(runs) - len(films)
        name = safe_name(episode.name)
        parts = [""] if len(films) == 1 else [f"_part{number}" for number in range(1, len(films) + 1)]
        tries = (name, *(f"{name}_{k}" for k in range(2, len(taken) + 3)))
        name = next(one for one in tries if taken.isdisjoint(f"{one}{part}" for part in parts))
        taken.update(f"{name}{part}" for part in parts)
        found += [
            Run(episode, frames, out / episode.split / f"{name}{part}.mp4")
            for frames, part in zip(films, parts, strict=True)
        ]
    if alone:
        log.warning("%d frames stand alone between others that are missing, and are left out", alone)
    return found


def safe_name(name: str) -> str:
    """The name of an episode as that of a file anywhere: no folders, nothing hidden, nothing that shells know."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._-")[:LONGEST] or "episode"


def _write_beside(run: Run, fps: float) -> None:
    """What was done in a film."""
    episode, times = run.episode, np.arange(len(run.frames)) / fps
    poses = episode.poses[run.frames]
    if isinstance(episode.space, Commands):
        assert episode.commands is not None
        write_commands(run.film, episode.space.components, times, episode.commands[run.frames])
    if isinstance(episode.space, Commands | Changes):
        if episode.space.pose_names:
            write_commands(run.film, episode.space.pose_names, times, poses, STATES)
    else:
        write_poses(run.film, poses, fps, episode.space)  # type: ignore[arg-type]  # all others are of poses


def _pictures(run: Run, bar: tqdm) -> Iterator[np.ndarray]:
    assert run.episode.pictures is not None
    first: tuple[int, ...] = ()
    for begin in range(0, len(run.frames), AT_ONCE):
        for picture in run.episode.pictures(run.frames[begin : begin + AT_ONCE].tolist()):
            height, width = (side - side % 2 for side in picture.shape[:2])
            first = first or (height, width)
            if (height, width) != first:
                raise WildlamError(
                    f"{run.episode.name}: its pictures differ in size, {first[1]} x {first[0]} and {width} x {height}"
                )
            yield picture[:height, :width].contiguous().numpy()
            bar.update()
