"""Which videos are for training and which held out: by folders' names, by earlier splits, else by their paths' hash.

Recordings, not clips nor files, are split (see `recordings`), by a hash of the relative path of the first file of each:
adding files moves none of those already there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import PurePosixPath

from wildlam.errors import WildlamError
from wildlam.types import Split
from wildlam.video.files import names_tar

SPLIT_FOLDERS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "test", "held_out", "held-out", "heldout"), "held_out"),
}
"""What the name of a folder, or of a part of a data set, says about the split."""
HELD_OUT = 0.1
"""Share of the episodes held out of data sets that do not say which are."""
_SOURCES = 20  # sources of each of which something is held out


def assign_splits(
    paths: Iterable[str],
    held_out: float,
    kept: dict[str, Split],
    top: str = "",
    firsts: Mapping[str, str] | None = None,
) -> dict[str, Split]:
    """Split videos by their relative paths; ``kept`` holds splits assigned earlier, which stay.

    A folder named train, val, test or the like (below ``top``, that all lie in, if they are no relative paths) decides
    for its videos; for others the hash of the path does. Should one split come out empty, the recording nearest to the
    border moves over to it.

    ``firsts`` names the first video of the recording that each is of; by default each is one of its own. The path of
    the first decides for all of them. Where some have been trained on, or are to be, by an earlier split or a folder's
    name, the others are as well.

    Raises:
        WildlamError: there are fewer than two videos.
    """
    paths = list(paths)
    if len(paths) < 2:
        raise WildlamError(
            f"{paths[0] if paths else 'no video'}: a second video is needed, as one is held out; add one, or cut this "
            "one in two, e.g. ffmpeg -i in.mp4 -t 60 -c copy a.mp4 and ffmpeg -ss 60 -i in.mp4 -c copy b.mp4"
        )
    members = _members(paths, firsts)
    splits: dict[str, Split] = {}
    for first, several in members.items():
        settled = {kept.get(path) or _named_split(path, top) for path in several} - {None}
        if settled:
            splits[first] = "train" if "train" in settled else "held_out"
        else:
            splits[first] = drawn_split(first, held_out, top)
    # Recordings that a folder's name has put where they are move last.
    if "held_out" not in splits.values():
        splits[min(splits, key=lambda path: (_named_split(path, top) is not None, _hash(path)))] = "held_out"
    if "train" not in splits.values():
        splits[min(splits, key=lambda path: (_named_split(path, top) is not None, -_hash(path)))] = "train"
    return {path: splits[first] for first, several in members.items() for path in several}


def splits_of(names: Iterable[str], held_out: float = HELD_OUT) -> dict[str, Split]:
    """Hold a tenth of a data set's episodes out, or more, the same ones every time, whoever reads it.

    What is held out of a smaller share is so of a larger one, too. Of one episode nothing is held out.
    """
    names = list(names)
    if len(names) < 2:
        return dict.fromkeys(names, "train")
    return assign_splits(names, max(held_out, HELD_OUT), {})


def from_each_source(
    splits: dict[str, Split], kept: dict[str, Split], top: str, firsts: Mapping[str, str]
) -> dict[str, Split]:
    """Hold out at least one recording of each source, and two of ten, where no earlier split nor folder's name decides.

    More than `_SOURCES` sources are folders of episodes or classes rather than sets, and count as one.
    """
    of_source: dict[str, list[list[str]]] = defaultdict(list)
    for first, several in sorted(_members(splits, firsts).items()):
        of_source[source_of(first, top)].append(several)
    if len(of_source) > _SOURCES:
        of_source = {"": [several for found in of_source.values() for several in found]}
    splits = dict(splits)
    for found in of_source.values():
        if any(_named_split(path, top) for several in found for path in several):
            continue
        held = sum(splits[several[0]] == "held_out" for several in found)
        free = [several for several in found if splits[several[0]] == "train" and not kept.keys() & set(several)]
        wanted = max(min(len(found) // 2, 2 if len(found) >= 10 else 1) - held, 0)
        for several in sorted(free, key=lambda several: _hash(several[0]))[:wanted]:
            splits |= dict.fromkeys(several, "held_out")
    return splits


def drawn_split(path: str, held_out: float, top: str) -> Split:
    """The split of one video: by a folder's name below ``top``, else by the hash of its path."""
    return _named_split(path, top) or ("held_out" if _hash(path) < held_out else "train")


def source_of(path: str, top: str) -> str:
    """Name of the set a video belongs to: the first folder below ``top`` that names no split, ``"."`` if none."""
    return next((folder for folder in _folders(path, top) if folder.lower() not in SPLIT_FOLDERS), ".")


def common_folder(paths: Iterable[str]) -> str:
    """The folder that holds all files of a list that are given by absolute paths or URLs; it ends with a slash."""
    folders = [path.rpartition("/")[0] + "/" for path in paths if path.startswith("/") or "://" in path]
    common = os.path.commonprefix(folders)  # noqa: RUF071 (cut back to whole folders; URLs are no paths)
    return common[: common.rfind("/") + 1]


def _named_split(path: str, top: str) -> Split | None:
    names = map(str.lower, _folders(path, top))
    return next((SPLIT_FOLDERS[name] for name in names if name in SPLIT_FOLDERS), None)


def _members(paths: Iterable[str], firsts: Mapping[str, str] | None) -> dict[str, list[str]]:
    """The videos of each recording, by the first of them."""
    members: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        members[firsts[path] if firsts else path].append(path)
    return members


def _folders(path: str, top: str) -> tuple[str, ...]:
    """The folders below ``top`` that a video lies in."""
    below = path.removeprefix(top).rpartition("://")[2].lstrip("/")
    return tuple(part for part in PurePosixPath(below).parts[:-1] if not names_tar(part))


def _hash(path: str) -> float:
    """A number in [0, 1) that depends on the path alone."""
    return int.from_bytes(blake2b(path.encode(), digest_size=8).digest()) / 2**64
