"""Named groups of transitions, such as "turns left": found once, then searched for and drawn from by name."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from wildlam.errors import WildlamError, option
from wildlam.fileio import read_json, write_atomically, writing
from wildlam.workflows.search_index import SearchIndex, Transition

FOLDER = "groups"
"""Of groups, in the folder of an index."""
_NAME = re.compile(r"\w[\w .-]{0,99}")


@dataclass(frozen=True)
class Group:
    """A named group of transitions.

    Attributes:
        name: its name.
        z: the latent action that stands for it, ``float32 [Z]``: the mean direction of its members', as long as theirs
            are on average.
        members: its transitions.
    """

    name: str
    z: np.ndarray = field(repr=False)
    members: tuple[Transition, ...]


def save_group(index: SearchIndex, name: str, members: Sequence[Transition]) -> Group:
    """Keep transitions of an index as a group, in the place of one of this name.

    Raises:
        WildlamError: there are none, the name is none for a file, they point nowhere together, or the group cannot be
            written.
    """
    _check_name(name)
    if not members:
        raise WildlamError(f"a group {name!r} of no transitions; give some")
    z = index.vectors(members)
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    mean = (z / lengths).mean(axis=0)
    if not (length := float(np.linalg.norm(mean))):
        raise WildlamError(f"the latent actions of group {name!r} point nowhere together; give other transitions")
    group = Group(name, mean / length * lengths.mean(), tuple(members))
    plain = [{key: asdict(one)[key] for key in Transition.__dataclass_fields__} for one in members]  # of hits no more
    text = json.dumps({"weights": index.weights, "z": group.z.tolist(), "members": plain}, indent=1)
    with writing(f"the group {name!r} to {index.folder}", "make room, or check its rights"):
        (index.folder / FOLDER).mkdir(exist_ok=True)
        write_atomically(index.folder / FOLDER / f"{name}.json", text)
    return group


def load_group(index: SearchIndex, name: str) -> Group:
    """A group of an index.

    Raises:
        WildlamError: there is none of this name, it is damaged, or of other weights.
    """
    _check_name(name)
    file = index.folder / FOLDER / f"{name}.json"
    if not file.is_file():
        known = ", ".join(groups(index)) or "none"
        raise WildlamError(
            f"{index.folder} has no group {name!r} (there are: {known}); save one with {option('save_group')}"
        )
    found = read_json(file)
    try:
        z, members = np.array(found["z"], np.float32), tuple(Transition(**one) for one in found["members"])
        weights = found["weights"]
    except (KeyError, TypeError, ValueError) as error:
        raise WildlamError(f"{file} is no group ({type(error).__name__}: {error}); save it again") from error
    if weights != index.weights or z.shape != (index.dim,):
        raise WildlamError(f"{file} is a group of another model; save it again from this index")
    return Group(name, z, members)


def groups(index: SearchIndex) -> list[str]:
    """Names of the groups of an index, in order."""
    return sorted(file.stem for file in (index.folder / FOLDER).glob("*.json"))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise WildlamError(f"a group cannot be called {name!r}; letters, digits, spaces, dots, _ and - make a name")
