"""Film a world and write the films in a format: ``wildlam collect``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from wildlam.episodes import formats
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.posed_videos import read_posed_videos
from wildlam.errors import WildlamError, option
from wildlam.fileio import read_json, write_atomically, writing
from wildlam.types import check_count, check_seed
from wildlam.worlds.simulators import SIMULATORS

RECORD = ".films.json"
"""File in the folder of the films that records how they are made."""
SHORTEST = 2.0
"""Shortest film in seconds: a clip of eight states at four a second."""
FORMATS = {name: one for name, one in formats.FORMATS.items() if one.spaces}
"""Formats that films can be written in."""


def collect(
    world: str, out: Path, form: str = "video", *, episodes: int, seconds: float, distractors: float, seed: int
) -> int:
    """Film a world; called again, it adds only the films that are missing.

    Args:
        world: a key of ``SIMULATORS``.
        out: folder of the films.
        form: a key of ``FORMATS``.
        episodes: films in all.
        seconds: length of each.
        distractors: share of the films with motion and light that no action causes.
        seed: seed of all films.

    Returns:
        How many films there are.

    Raises:
        WildlamError: the format is not for this world, the folder holds something else or more, or a simulator is
            missing.
    """
    how, simulator = FORMATS[form], SIMULATORS[world]
    try:
        check_count("episodes", episodes)
        check_seed(seed)
    except ValueError as error:
        raise WildlamError(str(error)) from error
    if simulator.space not in how.spaces:
        fit = " and ".join(name for name, one in SIMULATORS.items() if one.space in how.spaces)
        raise WildlamError(f"{option('form')} {form} is for {fit}, not for {world}")
    if not 0 <= distractors <= 1:
        raise WildlamError(f"{option('distractors')} is a share, 0 to 1, got {distractors:g}")
    # Films lie in a folder of their own until all is written: after an interruption, other files are written over.
    films = out if how.write is None else out / ".films"
    if seconds < SHORTEST:
        raise WildlamError(f"{option('seconds')} must be at least {SHORTEST:g}, the length of a clip, got {seconds:g}")
    if how.check:
        how.check()  # before the films
    made = {"world": world, "format": form, "seconds": seconds, "fps": how.fps}
    made |= {"distractors": distractors, "seed": seed}
    with writing(f"to {out}", f"give another {option('out')}"):
        if how.write is not None and (out / RECORD).is_file():
            _check(out, read_json(out / RECORD), made | {"episodes": episodes})
            shutil.rmtree(films, ignore_errors=True)
            return episodes
        _claim(out, films, made)
        if (there := sum(1 for _ in films.rglob("*.mp4"))) > episodes:
            raise WildlamError(
                f"{out} holds {there} films; ask for as many ({option('episodes')}), or give another {option('out')}"
            )
        paths = simulator.film(
            films, episodes=episodes, seconds=seconds, fps=how.fps, distractors=distractors, seed=seed
        )
        if how.write is not None:
            filmed = read_posed_videos(films)
            how.write(out, _in_metres(filmed, simulator.metre) if how.metres else filmed)
            write_atomically(out / RECORD, json.dumps(made | {"episodes": episodes}))
            shutil.rmtree(films)
    return len(paths)


def _in_metres(episodes: list[Episode], metre: float) -> list[Episode]:
    """Episodes with positions in metres, from those in a unit of which ``metre`` are one."""
    found = []
    for one in episodes:
        poses = one.poses.copy()
        poses[:, : one.space.position] /= metre
        found.append(replace(one, poses=poses))
    return found


def _claim(out: Path, films: Path, made: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but films of the same settings, and record these."""
    if (films / RECORD).is_file():
        _check(out, read_json(films / RECORD), made)
        return
    if out.exists() and any(out.iterdir()):
        raise WildlamError(f"{out} is not empty; give another {option('out')}, or move what is in it away")
    films.mkdir(parents=True, exist_ok=True)
    write_atomically(films / RECORD, json.dumps(made))


def _check(out: Path, known: dict[str, Any], made: dict[str, Any]) -> None:
    for key, value in made.items():
        if known.get(key) != value:
            raise WildlamError(
                f"{out} holds films with {key} {known.get(key)}, not {value}; give another {option('out')}"
            )
