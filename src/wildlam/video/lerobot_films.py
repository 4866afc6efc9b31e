"""Which part of which film is which episode of a LeRobotDataset v2.1 or v3.0.

v3.0 keeps many episodes in a film: each is a video of its own here, so that no clip straddles two of them and some are
held out. Films of one episode by several cameras are one recording. Only the tables of ``meta/`` are read.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from wildlam.errors import WildlamError
from wildlam.video.files import Location, part_of

EPISODE = "episode_{:06d}"


def is_lerobot(path: Location) -> bool:
    """Whether a folder holds such a data set."""
    return (path / "meta" / "info.json").is_file()


def only(value: Any) -> Any:
    """The number of a list of one, as which some tools write a number."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


class Listed(NamedTuple):
    """An episode as one camera filmed it.

    Attributes:
        path: its path below the data set's folder: that of a film, or of a part of one.
        film: path of the film.
        episode: names the episode.
    """

    path: str
    film: str
    episode: str


def films_of(root: Location) -> list[Listed]:
    """All episodes by all cameras.

    Raises:
        WildlamError: the tables cannot be read, naming the file; or the pictures lie in no films.
    """
    file = root / "meta" / "info.json"
    try:
        info = json.loads(file.read_text())
        features, template, version = info["features"], info.get("video_path"), info["codebase_version"]
        cameras = sorted(key for key, feature in features.items() if feature["dtype"] == "video")
        pictures = sorted(key for key, feature in features.items() if feature["dtype"] == "image")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WildlamError(f"{file}: cannot be read as that of a LeRobotDataset ({error})") from error
    if not cameras or template is None:
        held = f": its pictures ({', '.join(pictures)}) lie in tables" if pictures else ""
        raise WildlamError(f"{root}: a LeRobotDataset without films{held}; rewrite it with videos by LeRobot")
    size = info.get("chunks_size", 1000)
    found: list[Listed] = []
    for number, camera, where, begins, ends in (_v3 if version == "v3.0" else _v2)(root, cameras, size):
        try:
            film = PurePosixPath(str(template).format(video_key=camera, **where))
        except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
            raise WildlamError(f"{file}: the path {template!r} cannot be filled in") from error
        if film.is_absolute() or ".." in film.parts:
            raise WildlamError(f"{file}: the path {template!r} leads out of the data set")
        episode = EPISODE.format(number)
        part = part_of(begins, ends, episode) if math.isfinite(ends) else ""  # a film of its own
        found.append(Listed(f"{film}{part}", str(film), episode))
    return found


Place = tuple[int, str, dict[str, Any], float, float]
"""Episode, camera, what fills in the film's path, and where in it the episode lies."""


def _v3(root: Location, cameras: list[str], size: int) -> Iterator[Place]:
    for file in sorted((root / "meta" / "episodes").glob("*/*.parquet"), key=str):
        if file.name.startswith("."):
            continue
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
