"""Film a world and write what was filmed in a format: the step behind ``wildlam collect``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wildlam.episodes.episode import Episode, read_posed_videos
from wildlam.episodes.formats.droid import write_droid
from wildlam.episodes.formats.hdf5 import h5py
from wildlam.episodes.formats.lerobot import write_lerobot
from wildlam.episodes.formats.recon import write_recon
from wildlam.errors import WildlamError
from wildlam.fileio import read_json, write_atomically, writing
from wildlam.types import check_seed

RECORD = ".films.json"
"""How films are made, in their folder; where they were written in another format, in that folder."""
SHORTEST = 2.0
"""Seconds of the shortest film: those of a clip of eight states, four a second."""


@dataclass(frozen=True)
class Written:
    """A format that films are written in.

    Attributes:
        worlds: those that it is for.
        fps: rate of the films.
        write: writes episodes to a folder; None for the films as they are.
        hdf5: whether that takes h5py.
    """

    worlds: tuple[str, ...]
    fps: float
    write: Callable[[Path, Sequence[Episode]], None] | None = None
    hdf5: bool = False


def _write_recon(path: Path, episodes: Sequence[Episode]) -> None:
    """RECON's positions are in metres."""
    from wildlam.worlds.doom import METRE

    write_recon(path, [replace(one, poses=one.poses / (METRE, METRE, 1.0)) for one in episodes])


FORMATS = {
    "video": Written(("nav", "arm"), 8.0),
    "lerobot": Written(("nav", "arm"), 8.0, write_lerobot),
    "recon": Written(("nav",), 4.0, _write_recon, hdf5=True),
    "droid": Written(("arm",), 15.0, write_droid, hdf5=True),
}


def collect(
    world: str, out: Path, form: str = "video", *, episodes: int, seconds: float, distractors: float, seed: int
) -> int:
    """Film a world; called again, it goes on where it stopped, or finds that all is there.

    Args:
        world: nav or arm.
        out: folder for what is written.
        form: a key of ``FORMATS``.
        episodes: films in all.
        seconds: length of each.
        distractors: share of the films with what no action causes.
        seed: of all films.

    Returns:
        How many films there are.

    Raises:
        WildlamError: the format is not for this world, the folder holds something else or more, or a simulator is
            missing.
    """
    how = FORMATS[form]
    if episodes < 1:
        raise WildlamError(f"--episodes must be at least 1, got {episodes}")
    check_seed(seed)
    if world not in how.worlds:
        raise WildlamError(f"--format {form} is for {' and '.join(how.worlds)}, not for {world}")
    if not 0 <= distractors <= 1:
        raise WildlamError(f"--distractors is a share, 0 to 1, got {distractors:g}")
    # Films lie in a folder of their own until all is written: after an interruption, other files are written over.
    films = out if how.write is None else out / ".films"
    if seconds < SHORTEST:
        raise WildlamError(f"--seconds must be at least {SHORTEST:g}, the length of a clip, got {seconds:g}")
    if how.hdf5:
        h5py()  # before the films
    made = {"world": world, "format": form, "seconds": seconds, "fps": how.fps}
    made |= {"distractors": distractors, "seed": seed}
    with writing(f"to {out}", "give another --output"):
        if how.write is not None and (out / RECORD).is_file():
            _check(out, read_json(out / RECORD), made | {"episodes": episodes})
            shutil.rmtree(films, ignore_errors=True)
            return episodes
        _claim(out, films, made)
        if (there := sum(1 for _ in films.rglob("*.mp4"))) > episodes:
            raise WildlamError(f"{out} holds {there} films; ask for as many (--episodes), or give another --output")
        if world == "nav":
            from wildlam.worlds.walkers import collect_nav as film
        else:
            from wildlam.worlds.arm import collect_arm as film
        paths = film(films, episodes=episodes, seconds=seconds, fps=how.fps, distractors=distractors, seed=seed)
        if how.write is not None:
            how.write(out, read_posed_videos(films))
            write_atomically(out / RECORD, json.dumps(made | {"episodes": episodes}))
            shutil.rmtree(films)
    return len(paths)


def _claim(out: Path, films: Path, made: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but films made so, and remember how they are made."""
    if (films / RECORD).is_file():
        _check(out, read_json(films / RECORD), made)
        return
    if out.exists() and any(out.iterdir()):
        raise WildlamError(f"{out} is not empty; give another --output, or move what is in it away")
    films.mkdir(parents=True, exist_ok=True)
    write_atomically(films / RECORD, json.dumps(made))


def _check(out: Path, known: dict[str, Any], made: dict[str, Any]) -> None:
    for key, value in made.items():
        if known.get(key) != value:
            raise WildlamError(f"{out} holds films with {key} {known.get(key)}, not {value}; give another --output")
