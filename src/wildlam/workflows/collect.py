"""Film a world and write the films in a format: ``wildlam collect``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from wildlam.episodes import formats
from wildlam.episodes.action_spaces import MOVER
from wildlam.episodes.commands_file import commands_path
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.posed_videos import read_posed_videos
from wildlam.episodes.vectors import Reading
from wildlam.errors import WildlamError, in_words, option
from wildlam.fileio import read_json, write_atomically, writing
from wildlam.types import check_count, check_seed
from wildlam.worlds.movers import KINDS, MOVERS, check_kinds, collect_movers, sources
from wildlam.worlds.recorder import SHARE
from wildlam.worlds.simulators import SIMULATORS, chosen_cameras

RECORD = ".films.json"
"""File in the folder of the films that records how they are made."""
BEFORE = {"cameras": "fixed"}
"""What holds for folders whose record does not say so, as it was written when there was nothing to choose."""
SHORTEST = 2.0
"""Shortest film in seconds: a clip of eight states at four a second."""
WORLDS = (*SIMULATORS, "movers")
"""All that can be filmed: the simulators, and a world without actions."""
FORMATS = {name: one for name, one in formats.FORMATS.items() if one.spaces}
"""Formats that films can be written in."""


def collect(
    world: str,
    out: Path,
    form: str = "video",
    *,
    episodes: int,
    seconds: float,
    seed: int,
    distractors: float | None = None,
    cameras: str | None = None,
    kind: str | None = None,
    movers: Sequence[int] | None = None,
    backgrounds: Sequence[str] | None = None,
) -> int:
    """Film a world; called again, it adds only the films that are missing.

    Args:
        world: one of ``WORLDS``.
        out: folder of the films.
        form: a key of ``FORMATS``.
        episodes: films in all.
        seconds: length of each.
        seed: seed of all films.
        distractors: share of a simulator's films with motion and light that no action causes; 0.15 by default.
        cameras: of the arm, ``fixed`` (default) or ``many``: another camera for each episode, which lies beside it.
        kind: what moves, of ``worlds.movers.KINDS``; cut-outs by default.
        movers: how many movers may be in a film; 0 to 4 by default.
        backgrounds: what is behind movers, of ``worlds.movers.BACKGROUNDS``; all of the kind by default.

    Returns:
        How many films there are.

    Raises:
        WildlamError: the format or an option is not for this world, the folder holds something else or more, or a
            simulator is missing.
    """
    how = FORMATS[form]
    try:
        check_count("episodes", episodes)
        check_seed(seed)
    except ValueError as error:
        raise WildlamError(str(error)) from error
    if (MOVER if world == "movers" else SIMULATORS[world].space) not in how.spaces:
        fit = in_words(name for name, one in SIMULATORS.items() if one.space in how.spaces)
        raise WildlamError(f"{option('form')} {form} is for {fit}, not for {world}")
    film, own = _film_of(world, distractors, cameras, kind, movers, backgrounds)
    # Films lie in a folder of their own until all is written: after an interruption, other files are written over.
    films = out if how.write is None else out / ".films"
    if seconds < SHORTEST:
        raise WildlamError(f"{option('seconds')} must be at least {SHORTEST:g}, the length of a clip, got {seconds:g}")
    if how.check:
        how.check()  # before the films
    fps = how.fps if world == "movers" else SIMULATORS[world].rate or how.fps
    made = {"world": world, "format": form, "seconds": seconds, "fps": fps, "seed": seed} | own
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
        paths = film(films, episodes=episodes, seconds=seconds, fps=fps, seed=seed)
        if how.write is not None:
            filmed, simulator = _filmed(films), SIMULATORS[world]
            if form == "lerobot":
                how.write(out, filmed, **simulator.as_lerobot(filmed))
            else:
                how.write(out, _in_metres(filmed, simulator.metre) if how.metres else filmed)
            write_atomically(out / RECORD, json.dumps(made | {"episodes": episodes}))
            shutil.rmtree(films)
    return len(paths)


def _film_of(
    world: str,
    distractors: float | None,
    cameras: str | None,
    kind: str | None,
    movers: Sequence[int] | None,
    backgrounds: Sequence[str] | None,
) -> tuple[Callable[..., list[Path]], dict[str, Any]]:
    """What films a world with its own options, and what is to be remembered of these."""
    seen = chosen_cameras(world, cameras)
    if world == "movers":
        if distractors is not None:
            raise WildlamError(f"{option('distractors')} is for {in_words(SIMULATORS)}, not for movers")
        kind, movers = kind or KINDS[0], movers or MOVERS
        backgrounds = check_kinds(kind, movers, backgrounds)
        film = partial(collect_movers, kind=kind, movers=movers, backgrounds=backgrounds)
        made = {"kind": kind, "movers": ",".join(map(str, movers)), "background": ",".join(backgrounds)}
        return film, made | ({"pictures": ",".join(sources())} if kind == "cutouts" else {})
    for name, value in (("kind", kind), ("movers", movers), ("backgrounds", backgrounds)):
        if value is not None:
            raise WildlamError(f"{option(name)} is for movers, not for {world}")
    distractors = SHARE if distractors is None else distractors
    if not 0 <= distractors <= 1:
        raise WildlamError(f"{option('distractors')} is a share, 0 to 1, got {distractors:g}")
    own = {"distractors": distractors} | seen
    return partial(SIMULATORS[world].film, **own), own


def _filmed(films: Path) -> list[Episode]:
    """Episodes of films, with poses and, where they were recorded, commands."""
    found = read_posed_videos(films)
    if not any(one.file and commands_path(one.file) for one in found):
        return found
    told = {one.name: one.commands for one in read_posed_videos(films, reading=Reading(actions="recorded"))}
    return [replace(one, commands=told[one.name]) for one in found]


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
        if (there := known.get(key, BEFORE.get(key))) != value:
            raise WildlamError(f"{out} holds films with {key} {there}, not {value}; give another {option('out')}")
