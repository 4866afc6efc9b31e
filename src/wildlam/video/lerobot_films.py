"""Which part of which film is which episode of a LeRobotDataset v2.1 or v3.0.

v3.0 keeps many episodes in a film: each is a video of its own here, so that no clip straddles two of them and some are
held out. Films of one episode by several cameras are one recording. Only the tables of ``meta/`` are read.
"""

from __future__ import annotations

import json
import logging
import math
import operator
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from wildlam.errors import WildlamError
from wildlam.fileio import check_fetched
from wildlam.types import Split
from wildlam.video.files import Location, part_of
from wildlam.video.splits import HELD_OUT, SPLIT_FOLDERS, splits_of

log = logging.getLogger(__name__)

EPISODE = "episode_{:06d}"
VERSIONS = ("v2.0", "v2.1", "v3.0")
Kind = TypeVar("Kind", str, int, dict)
KINDS = {str: "a text", int: "a whole number", dict: "an object"}


def is_lerobot(path: Location) -> bool:
    """Whether a folder holds such a data set."""
    return (path / "meta" / "info.json").is_file()


def only(value: Any) -> Any:
    """The number of a list of one, as which some tools write a number."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def field_of(file: Location, fields: dict[str, Any], name: str, kind: type[Kind]) -> Kind:
    """A field of a JSON object, of the kind that it must be of.

    Raises:
        WildlamError: it is of another, naming the file.
    """
    if not isinstance(value := fields.get(name), kind):
        problem = f"is {str(value)[:100]!r}" if name in fields else "is missing"
        raise WildlamError(f"{file}: {name} {problem}; expected {KINDS[kind]}")
    return value


def version_of(file: Location, info: dict[str, Any]) -> str:
    """The version of a data set's layout; v2.0 differs from v2.1 in its statistics alone, which are not read.

    Raises:
        WildlamError: it cannot be read.
    """
    version = field_of(file, info, "codebase_version", str)
    if version not in VERSIONS:
        raise WildlamError(
            f"{file}: format {version[:20]!r}; {', '.join(VERSIONS)} can be read: convert it by LeRobot's own scripts"
        )
    return version


def stated_splits(file: Location, info: dict[str, Any], numbers: Sequence[int]) -> dict[int, Split | None]:
    """What ``splits`` says of each episode, by its number (``{"train": "0:90", "test": "90:100"}``); None if nothing.

    Where both held-out and training parts are stated, what is in neither is left out; where a part to train on
    is stated alone, what is not in it is held out.

    Raises:
        WildlamError: a split is malformed, or holds no episode.
    """
    stated: dict[Split, set[int]] = {"train": set(), "held_out": set()}
    for part, places in field_of(file, {"splits": {}} | info, "splits", dict).items():
        if (split := SPLIT_FOLDERS.get(part.lower())) is None:
            continue
        if not (match := re.fullmatch(r"(\d+):(\d+)", str(places))):
            raise WildlamError(f"{file}: the split {part!r} is {str(places)[:100]!r}; expected FIRST:LAST")
        first, last = int(match[1]), int(match[2])
        found = {number for number in numbers if first <= number < last}
        if not found and first != last:  # "90:90" says that there is none
            raise WildlamError(
                f"{file}: the split {part!r} is {places!r} and holds none of the episodes: they are numbered "
                f"{min(numbers)} to {max(numbers)}, {len(numbers)} of them; correct it"
            )
        stated[split] |= found
    train, held_out = stated["train"], stated["held_out"]
    if both := train & held_out:
        log.warning("%s: to be trained on and held out, so held out: %s", file, _episodes(both))
    unstated = set(numbers) - train - held_out if train else set()
    if unstated:
        kept = "left out" if held_out else "held out"
        log.warning("%s: in no split that it states, so %s: %s", file, kept, _episodes(unstated))
    if not held_out:
        if not unstated:
            return dict.fromkeys(numbers)
        held_out, unstated = unstated, set()
    return {number: "held_out" if number in held_out else "train" for number in numbers if number not in unstated}


def _episodes(numbers: set[int]) -> str:
    first = ", ".join(map(str, sorted(numbers)[:10]))
    return f"episodes {first}" + (f", ... ({len(numbers)} of them)" if len(numbers) > 10 else "")


class Listed(NamedTuple):
    """An episode as one camera filmed it.

    Attributes:
        path: its path below the data set's folder: that of a film, or of a part of one.
        film: path of the film.
        episode: names the episode.
        split: what the set says of it or, if nothing, as it is drawn for labelled episodes.
    """

    path: str
    film: str
    episode: str
    split: Split


def films_of(root: Location, held_out: float = HELD_OUT) -> list[Listed]:
    """All episodes by all cameras; of sets that state no splits, a share is held out, a tenth at least.

    Raises:
        WildlamError: the tables cannot be read, naming the file; or the pictures lie in no films.
    """
    file = root / "meta" / "info.json"
    try:
        info = json.loads(file.read_text())
        version = version_of(file, info)
        features, template = info["features"], info.get("video_path")
        cameras = sorted(key for key, feature in features.items() if feature["dtype"] == "video")
        pictures = sorted(key for key, feature in features.items() if feature["dtype"] == "image")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WildlamError(f"{file}: cannot be read as that of a LeRobotDataset ({error})") from error
    if not cameras or template is None:
        if not pictures:
            raise WildlamError(f"{root}: a LeRobotDataset without films and pictures")
        raise WildlamError(
            f"{root}: a LeRobotDataset whose pictures ({', '.join(pictures)}) lie in tables; write each episode as a "
            f"film, to train on these: wildlam data {shlex.quote(str(root))} --films FOLDER"
        )
    size = info.get("chunks_size", 1000)
    places = list((_v3 if version == "v3.0" else _v2)(root, cameras, size))
    numbers = sorted({number for number, *_ in places})
    splits = stated_splits(file, info, numbers)
    names = [EPISODE.format(number) for number in splits]
    drawn = splits_of(names, held_out)
    found: list[Listed] = []
    for number, camera, where, begins, ends in places:
        if number not in splits:
            continue
        try:
            film = PurePosixPath(str(template).format(video_key=camera, **where))
        except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise WildlamError(f"{file}: the path {template!r} cannot be filled in") from error
        if film.is_absolute() or ".." in film.parts:
            raise WildlamError(f"{file}: the path {template!r} leads out of the data set")
        episode = EPISODE.format(number)
        part = part_of(begins, ends, episode) if math.isfinite(ends) else ""  # a film of its own
        found.append(Listed(f"{film}{part}", str(film), episode, splits[number] or drawn[episode]))
    return found


Place = tuple[int, str, dict[str, Any], float, float]
"""Episode, camera, what fills in the film's path, and where in it the episode lies."""


def _v3(root: Location, cameras: list[str], size: int) -> Iterator[Place]:
    for file in sorted((root / "meta" / "episodes").glob("*/*.parquet"), key=str):
        if file.name.startswith("."):
            continue
        if isinstance(file, Path):
            check_fetched(file)
        try:
            with file.open("rb") as stream:
                table = pq.ParquetFile(stream)
                wanted = [name for name in table.schema_arrow.names if name.startswith(("episode_index", "videos/"))]
                rows = table.read(columns=wanted).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise WildlamError(f"{file}: cannot be read as Parquet ({error})") from error
        for row in rows:
            row = {name: only(value) for name, value in row.items()}
            for camera in cameras:
                try:
                    number = operator.index(row["episode_index"])
                    where = {name: row[f"videos/{camera}/{name}"] for name in ("chunk_index", "file_index")}
                    begins, ends = (float(row[f"videos/{camera}/{end}_timestamp"]) for end in ("from", "to"))
                except KeyError as error:
                    raise WildlamError(f"{file}: an episode lacks {error}") from error
                except (TypeError, ValueError) as error:
                    raise WildlamError(f"{file}: {str(row)[:200]} is no episode ({error})") from error
                yield number, camera, where, begins, ends


def _v2(root: Location, cameras: list[str], size: int) -> Iterator[Place]:
    file = root / "meta" / "episodes.jsonl"
    try:
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        numbers = sorted(operator.index(line["episode_index"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WildlamError(f"{file}: cannot be read as lines of JSON with an episode_index ({error})") from error
    for number in numbers:
        for camera in cameras:
            where = {"episode_chunk": number // size, "episode_index": number}
            yield number, camera, where, 0.0, math.inf
