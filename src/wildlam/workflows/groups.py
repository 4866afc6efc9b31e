"""Named groups of transitions, such as "turns left": drawn on the playground's map or found by a search, used by both.

Each is a file, NAME.json, which says the weights of the model, the latent action z that stands for the group, the
directions that its members point in, and these by video and time. A search asks for the directions; the playground
makes a key of the member nearest to z.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from wildlam.errors import WildlamError, option
from wildlam.evaluation.groups import k_means
from wildlam.fileio import read_json, write_atomically, writing
from wildlam.pretrained import TINY, run_path
from wildlam.workflows.search_filter import Transition
from wildlam.workflows.search_index import SearchIndex

log = logging.getLogger(__name__)

FOLDER = "groups"
"""Of groups, in the folder of a run."""
GROUP = "group:"
"""Before the name of a group, where something else may be named, too."""
PART = 8
"""Members of a part of a group that has a direction of its own, at least: the mean of fewer is mostly noise."""
HALVINGS = 3
"""How often a group is halved, at most."""
_NAME = re.compile(r"\w[\w .-]{0,39}")


@dataclass(frozen=True, eq=False)
class Group:
    """A named group of transitions.

    Attributes:
        name: its name.
        z: the latent action that stands for it, ``float32 [Z]``: the mean direction of its members', as long as theirs
            are on average.
        directions: one, or those of parts that point apart, ``float32 [K, Z]``; see ``directions_of``.
        members: its transitions.
    """

    name: str
    z: np.ndarray = field(repr=False)
    directions: np.ndarray = field(repr=False)
    members: tuple[Transition, ...]


class Groups:
    """The groups of a folder that are of one model's weights, by name.

    Those that are damaged or of other weights are told of once, and left alone.

    Args:
        folder: their folder, which need not be there.
        weights: fingerprint of the model.
        dim: width Z of its latent actions.
    """

    def __init__(self, folder: Path, weights: str, dim: int) -> None:
        self.folder, self._weights, self._dim = folder, weights, dim
        self._known: dict[Path, tuple[int, Group | None]] = {}  # of the files' times of change

    def __iter__(self) -> Iterator[Group]:
        """All of them, in order of their names, as they are on disk now; a file is read again when it has changed."""
        known: dict[Path, tuple[int, Group | None]] = {}
        for file in sorted(self.folder.glob("*.json")):
            try:
                changed = file.stat().st_mtime_ns
            except FileNotFoundError:  # forgotten meanwhile
                continue
            known[file] = self._known.get(file, (-1, None))
            if known[file][0] != changed:
                known[file] = changed, self._read_or_tell(file)
        self._known = known
        return iter([group for _, group in known.values() if group is not None])

    def find(self, name: str) -> Group:
        """A group.

        Raises:
            WildlamError: there is none of this name, it is damaged, or of other weights.
        """
        file = self._file(check_name(name))
        if not file.is_file():
            known = ", ".join(group.name for group in self) or "none"
            raise WildlamError(
                f"{self.folder} has no group {name!r} (there are: {known}); save one with {option('save_group')}, or "
                "draw it on the map of `wildlam app`"
            )
        return self._read(file)

    def save(self, name: str, members: Sequence[Transition], z: np.ndarray) -> Group:
        """Keep transitions as a group, in the place of one of this name.

        Args:
            name: 1 to 40 letters, digits, spaces, dots, ``_`` and ``-``.
            members: the transitions.
            z: their latent actions, ``float32 [n, Z]``.

        Raises:
            WildlamError: there are none, the name is none for a file, they point nowhere together, or the group cannot
                be written.
        """
        name = check_name(name)
        if not members:
            raise WildlamError(f"a group {name!r} of no transitions; give some")
        lengths = np.linalg.norm(z, axis=1, keepdims=True)
        mean = (z / np.maximum(lengths, 1e-12)).mean(axis=0)
        length = float(np.linalg.norm(mean))
        if not 0 < length < np.inf:
            raise WildlamError(f"the latent actions of group {name!r} point nowhere together; give other transitions")
        mean = (mean / length * lengths.mean()).astype(np.float32)
        return self._write(Group(name, mean, directions_of(z), tuple(members)))

    def rename(self, name: str, to: str) -> Group:
        """Give a group another name.

        Raises:
            WildlamError: there is no such group, there is one of the other name, or that is none.
        """
        group, to = self.find(name), check_name(to)
        if to == group.name:
            return group
        self.check_free(to)
        renamed = self._write(replace(group, name=to))
        self.forget(name)
        return renamed

    def check_free(self, name: str) -> None:
        """Refuse the name of a group that is there.

        Raises:
            WildlamError: it is one, or is no name.
        """
        name = check_name(name)
        if any(group.name == name for group in self):
            raise WildlamError(f"there is a group {name!r} already; forget it first, or choose another name")

    def forget(self, name: str) -> None:
        """Remove a group, if it is there.

        Raises:
            WildlamError: it cannot be removed.
        """
        file = self._file(check_name(name))
        with writing(f"to {self.folder}", "check its rights"):
            file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _write(self, group: Group) -> Group:
        keys = Transition.__dataclass_fields__  # of what was found by a search no more than of others
        members = [{key: getattr(one, key) for key in keys} for one in group.members]
        z = {"z": group.z.tolist(), "directions": group.directions.tolist()}
        text = json.dumps({"weights": self._weights, **z, "members": members}, indent=1)
        with writing(f"the group {group.name!r} to {self.folder}", "make room, or check its rights"):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file(group.name), text)
        return group

    def _read_or_tell(self, file: Path) -> Group | None:
        try:
            return self._read(file)
        except WildlamError as error:
            log.warning("%s", error)
            return None

    def _read(self, file: Path) -> Group:
        """The group of a file.

        Raises:
            WildlamError: it is none, or of other weights.
        """
        found = read_json(file)
        try:
            weights, z = found["weights"], np.array(found["z"], np.float32)
            directions = np.array(found.get("directions", [z]), np.float32)  # one alone, in a file of before
            members = tuple(Transition(**one) for one in found["members"])
            if not all(isinstance(one.video, str) and one.start < one.end for one in members):
                raise ValueError("a member without a video or times")
        except (KeyError, TypeError, ValueError) as error:
            raise WildlamError(f"{file} is no group ({type(error).__name__}: {error}); save it again") from error
        if weights != self._weights or z.shape != (self._dim,) or directions.shape[1:] != z.shape:
            raise WildlamError(
                f"{file} is a group of another run, or of this one before more training; save it again, or delete it"
            )
        if not (np.isfinite(z).all() and np.isfinite(directions).all() and len(directions) and members):
            raise WildlamError(f"{file} is no group (no latent action, or no members); save it again")
        return Group(check_name(file.stem), z, directions, members)


def directions_of(z: np.ndarray, halvings: int = HALVINGS) -> np.ndarray:
    """Directions that latent actions point in together, ``float32 [K, Z]``: their mean one, or those of parts.

    A mean stands for neither of two parts that point away from each other, such as turns to both sides: nearest to it
    is what lies between them. So they are halved by k-means while the halves' means are at a right angle or more.

    Args:
        z: the latent actions, ``float32 [n, Z]``.
        halvings: how often, at most.
    """
    units = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    mean = units.mean(axis=0)
    if halvings and len(z) >= 2 * PART:
        labels = k_means(torch.from_numpy(units), 2, seed=0)
        halves = [units[labels == half] for half in (0, 1)]
        if min(map(len, halves)) >= PART and halves[0].mean(axis=0) @ halves[1].mean(axis=0) <= 0:
            return np.concatenate([directions_of(half, halvings - 1) for half in halves])
    return (mean / max(float(np.linalg.norm(mean)), 1e-12))[None].astype(np.float32)


def groups_of(run: Path | str, index: SearchIndex) -> Groups:
    """The groups that a search in an index of a run knows; see ``groups_folder``."""
    return Groups(groups_folder(run_path(run), index.folder), index.weights, index.dim)


def groups_folder(run: Path, index: Path) -> Path:
    """Folder of a run's groups: RUN/groups, wherever its index lies and whatever the videos of that are.

    Those of the packaged run, which is only read, lie in the folder of the index.
    """
    return (index if run == TINY else run) / FOLDER


def check_name(name: str) -> str:
    """A group's name, with single spaces.

    Raises:
        WildlamError: it is none for a file.
    """
    name = " ".join(name.split())
    if not _NAME.fullmatch(name):
        raise WildlamError(
            f"a group cannot be called {name[:60]!r}; a name has 1 to 40 letters, digits, spaces, dots, _ and -, and "
            "begins with a letter or digit"
        )
    return name
