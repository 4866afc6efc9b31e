"""A format of labelled videos: how it is recognised, read and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wildlam.episodes.action_spaces import PoseSpace
from wildlam.episodes.episode import Episode
from wildlam.episodes.vectors import ActionKind, Changes, Reading
from wildlam.errors import WildlamError, option
from wildlam.fileio import check_fetched

RATE_TOLERANCE = 0.01
"""Frames per second by which an episode's rate may differ from that of a format."""


def check_kind(episodes: Sequence[Episode], what: str, space: PoseSpace, rate: float) -> None:
    """Refuse to write episodes of another kind of pose, or of another number of frames a second.

    Raises:
        WildlamError: naming the first such episode, after ``what`` the format holds.
    """
    for episode in episodes:
        if episode.space != space or abs(episode.rate - rate) > RATE_TOLERANCE:
            raise WildlamError(f"{what}; {episode.name} has {episode.rate:g} {episode.space.name} poses a second")


def choose_camera(cameras: Sequence[str], wanted: str | None, where: str) -> str:
    """One of the cameras of a data set: by its name, or the last part of that; the first that is not at a wrist or on a
    hand if none is wanted.

    Raises:
        WildlamError: there is none, saying what there is, after ``where`` they are.
    """
    if wanted is None and cameras:
        return next((name for name in cameras if not any(word in name for word in ("wrist", "hand"))), cameras[0])
    if found := [name for name in cameras if wanted in (name, name.rsplit(".", 1)[-1])]:
        return found[0]
    there = f"there are {', '.join(cameras)}" if cameras else "there are no videos and no pictures"
    raise WildlamError(f"{where}: {f'has no camera {wanted}; ' if wanted else ''}{there}")


def check_finite(episode: Episode, path: Path) -> None:
    """Refuse an episode with numbers that are not finite.

    Raises:
        WildlamError: naming the first, after the data set's folder.
    """
    for names, values in episode.numbers:
        if len(bad := np.argwhere(~np.isfinite(values))):
            frame, component = bad[0].tolist()
            more = f", and so are {len(bad) - 1} more" if len(bad) > 1 else ""
            raise WildlamError(
                f"{path}, {episode.name}: numbers must be finite; {names[component]} of frame {frame} is "
                f"{values[frame, component]}{more}; mend or remove the episode (`wildlam data` counts all such numbers)"
            )


def check_orientations(episode: Episode, path: Path) -> None:
    """Refuse an episode with numbers that are no orientation though they should be one.

    Raises:
        WildlamError: naming the first, after the data set's folder.
    """
    if not isinstance(episode.space, Changes):
        return
    if len(bad := np.argwhere(~episode.space.sound(episode.poses))):
        frame, which = bad[0].tolist()
        raise WildlamError(
            f"{path}, {episode.name}: {episode.space.orientations[which]} of frame {frame} is no orientation"
            f"{f', nor are {len(bad) - 1} more' if len(bad) > 1 else ''}; mend or remove the episode, or say by "
            f"{option('rotations')} which components are one"
        )


@dataclass(frozen=True)
class Format:
    """A layout of labelled videos on disk; the ``FORMAT`` of each file in this folder is one.

    Attributes:
        name: name as users write it, ``collect --format NAME``.
        order: place among the formats when a folder's is looked for, as a folder may look like several.
        detects: whether a folder is of this format.
        read: reads all episodes below a folder; with the seconds that a state may be away from every frame, and what
            is read of it.
        spaces: kinds of action that can be written in it; none if it is only read.
        fps: frames per second of what is written.
        write: writes episodes to a folder; None for films with poses, which need no writing.
        check: raises a WildlamError where what writing takes is not installed.
        metres: whether positions must be in metres.
        kinds: what actions can be.
        cameras: whether one of several cameras can be chosen.
        rated: whether the user may say how many frames there are a second, as the data do not, or not all of them.
        names_of_cameras: names those that a folder's films are of.
    """

    name: str
    order: int
    detects: Callable[[Path], bool]
    read: Callable[[Path, float, Reading], list[Episode]]
    spaces: tuple[PoseSpace, ...] = ()
    fps: float = 8.0
    write: Callable[..., None] | None = None
    check: Callable[[], Any] | None = None
    metres: bool = False
    kinds: tuple[ActionKind, ...] = ("poses",)
    cameras: bool = False
    rated: bool = False
    names_of_cameras: Callable[[Path], list[str]] | None = None


def read_object(file: Path) -> dict[str, Any]:
    """Read what a data set says of itself: a JSON file that holds an object.

    Raises:
        WildlamError: it is missing, damaged or holds something else, naming it.
    """
    check_fetched(file)
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise WildlamError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise WildlamError(f"{file}: is no JSON object")
    return found
