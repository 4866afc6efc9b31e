"""LeRobotDataset v2.0, v2.1 and v3.0 of any robot: recorded poses, commands, or changes of states.

Poses are ``observation.state.cartesian_position`` (6) and ``observation.state.gripper_position``, as in DROID's port,
or ``observation.state`` if its names are x, y and heading (degrees). Commands are ``action``, whatever it holds:
joints, velocities, where to go. States are ``observation.state``, or all numbers whose names begin so. Names of
components may be a list, nested lists, an object, or missing.

Where ``camera_extrinsics.CAMERA`` and ``camera_field_of_view.CAMERA`` are columns, the episode has that camera.
Pictures are those of films, or lie in the tables. v3.0 keeps many episodes in a file, v2.0 and v2.1 one. A state's
frame is the one at ``from_timestamp + timestamp``, counted as LeRobot counts: in the file's own time, which need not
begin at 0. A film may be shorter than its states.

Files may be symbolic links, to anywhere: the Hub's cache links every file to its ``blobs/``, and users link ``videos/``
to another disk. Whoever laid the folder out made the link, and could have put the file itself there. What is refused
is text of the data set that leads out of its folder, an absolute path or one with ``..`` in ``info.json`` or a table:
that text comes from whoever published the data, not from who owns the disk.
"""

from __future__ import annotations

import json
import logging
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from wildlam.episodes.action_spaces import ARM, PLANAR, PUSHER, ActionSpace
from wildlam.episodes.camera import Camera
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format, choose_camera, read_object
from wildlam.episodes.formats.lerobot_write import ACTION, ARM_POSE, EXTRINSICS, GRIPPER, LENS, STATE, write_lerobot
from wildlam.episodes.formats.pictures import decode_picture, squares
from wildlam.episodes.orientations import is_told
from wildlam.episodes.pairing import NEAR, TOLERANCE, Film, listed, pair, read_film, report_pairs
from wildlam.episodes.vectors import FIRST, ActionKind, Commands, Reading
from wildlam.errors import WildlamError, option
from wildlam.fileio import check_fetched
from wildlam.video.lerobot_films import EPISODE, field_of, is_lerobot, only, stated_splits, version_of
from wildlam.video.splits import splits_of

log = logging.getLogger(__name__)


def read_lerobot(path: Path, reading: Reading = FIRST, tolerance: float = TOLERANCE) -> list[Episode]:
    """Read all episodes.

    Args:
        path: the data set's folder.
        reading: which actions and which camera; the first by name that is not of a wrist if not said.
        tolerance: seconds that a state may be away from every frame; see ``pair``.

    Raises:
        WildlamError: something is missing or malformed, naming the file.
    """
    file = path / "meta" / "info.json"
    info = read_object(file)
    version, features = version_of(file, info), field_of(file, info, "features", dict)
    size = field_of(file, {"chunks_size": 1000} | info, "chunks_size", int)
    if size < 1:
        raise WildlamError(f"{file}: chunks_size is {size}, at least 1 is expected")
    for key in features:
        field_of(file, features, key, dict)
    cameras = _cameras(features)
    chosen = choose_camera(sorted(cameras), reading.camera, str(path))
    in_tables = cameras[chosen] == "image"
    templates = {key: field_of(file, info, key, str) for key in ("data_path", *(() if in_tables else ("video_path",)))}
    recorded = _recorded(path, features, reading)
    space = recorded.space
    parts = list(_v3(path, templates, chosen) if version == "v3.0" else _v2(path, size, templates, chosen))
    if not parts:
        raise WildlamError(f"{path}: holds no episode")
    splits = stated_splits(file, info, [number for number, *_ in parts])
    drawn = splits_of(EPISODE.format(number) for number in splits)
    films: dict[Path, Film] = {}
    taken: dict[Path, list[Taken]] = {}
    found, paired, other = [], {}, []
    for number, table, file, begins, ends, stated in parts:
        if stated not in (None, len(table)):
            other.append(f"{EPISODE.format(number)} ({len(table)} of {stated})")
        if in_tables:
            if number in splits:
                name = EPISODE.format(number)
                where = f"{path}, {name}"
                times, poses, commands = recorded.of(table, where)
                pictures = partial(_pictures, file, number, chosen)
                frames = squares(pictures)
                seen_by = _camera(table, chosen, where)
                split = splits[number] or drawn[name]
                found.append(
                    Episode(
                        name,
                        split,
                        times,
                        poses,
                        space,
                        frames,
                        file,
                        camera=seen_by,
                        commands=commands,
                        view=chosen,
                        pictures=pictures,
                    )
                )
            continue
        film = films[file] = films.get(file) or read_film(file)
        moments = film.times + film.start
        # Half a frame sooner, as rounding may put an episode's first frame before its beginning.
        period = float(np.median(np.diff(moments))) if len(moments) > 1 else 1.0
        first, last = np.searchsorted(moments, [begins - NEAR * period, ends - NEAR * period]).tolist()
        before_film = round(max(moments[0] - begins, 0.0) / period) if math.isfinite(ends) and len(moments) else 0
        place = Taken(EPISODE.format(number), first - before_film, last, len(table), [])
        taken.setdefault(file, []).append(place)
        if number not in splits:
            continue
        name = place.name
        times, poses, commands = recorded.of(table, f"{path}, {name}")
        pairs = pair(times + begins, moments[first:last], f"{file}, {name}", tolerance)
        paired[name], poses, times = pairs, poses[pairs.states], times[pairs.states]
        commands = None if commands is None else commands[pairs.states]
        place.ahead.extend((first + pairs.frames - pairs.states).tolist())
        frames = film.frames(first + pairs.frames)
        seen_by = _camera(table, chosen, f"{path}, {name}")
        split = splits[number] or drawn[name]
        found.append(Episode(name, split, times, poses, space, frames, file, camera=seen_by, commands=commands))
    if other:
        log.warning("%s: tables hold other numbers of frames than meta says: %s", path, listed(other))
    report_pairs(path, paired)
    for file, places in taken.items():
        if off := _miscounted(places, len(films[file].times)):
            log.warning("%s: counted one by one, states have other frames than by time: %s", file, listed(off))
    return found


class Taken(NamedTuple):
    """What an episode has of a film.

    Attributes:
        name: name of the episode.
        first: number of the first frame that is said to be its own, below 0 if that is before the film begins.
        last: number of the first frame behind it that no longer is its own.
        states: how many it has.
        ahead: for each state that has a frame, the number of that frame less the number of the state.
    """

    name: str
    first: int
    last: int
    states: int
    ahead: list[int]


def _miscounted(places: list[Taken], frames: int) -> list[str]:
    """Episodes whose frames, counted one by one, are others than by time, and by how many.

    LeRobot writes the episodes of a film one behind the other, and one frame a state. So an episode begins where the
    one before it ends and, in a film that holds as many frames as there are states, the k-th frame is the k-th state's.
    Times may lead elsewhere, where something was deleted or where they are wrong: that is reported.
    """
    whole = sum(one.states for one in places) == frames
    off, ended, before = [], 0, 0
    for one in sorted(places, key=lambda one: one.first):
        by = abs(one.first - ended)
        if whole:
            by = max([by, *(abs(ahead - before) for ahead in one.ahead)])
        if by:
            off.append(f"{one.name} (by {by})")
        ended, before = ended + one.last - one.first, before + one.states
    return off


def _v3(path: Path, templates: dict[str, str], camera: str) -> Iterator[tuple]:
    """Number, table and film of each episode (its table, if the pictures lie there), where in that it lies, and how
    many frames it is said to have.
    """
    tables: dict[Path, pa.Table] = {}
    for file in sorted((path / "meta" / "episodes").glob("*/*.parquet")):  # not rglob, which follows no linked folders
        for row in _table(file).to_pylist() if not file.name.startswith(".") else ():
            row = {name: only(value) for name, value in row.items()}
            try:
                number = operator.index(row["episode_index"])
                data = _inside(
                    path,
                    templates["data_path"],
                    chunk_index=row["data/chunk_index"],
                    file_index=row["data/file_index"],
                )
                film, begins, ends = data, 0.0, math.inf
                if "video_path" in templates:
                    film = _inside(
                        path,
                        templates["video_path"],
                        video_key=camera,
                        chunk_index=row[f"videos/{camera}/chunk_index"],
                        file_index=row[f"videos/{camera}/file_index"],
                    )
                    begins = float(row[f"videos/{camera}/from_timestamp"])
                    ends = float(row.get(f"videos/{camera}/to_timestamp", math.inf))
            except KeyError as error:
                raise WildlamError(f"{file}: an episode lacks {error}") from error
            except (TypeError, ValueError) as error:
                raise WildlamError(f"{file}: {str(row)[:200]} is no episode ({error})") from error
            if data not in tables:
                tables = {data: _table(data, numbers=True)}  # one at a time: they may be large
            if "episode_index" not in tables[data].column_names:
                raise WildlamError(f"{data}: has no column episode_index")
            try:
                of_episode = tables[data].filter(pa.compute.field("episode_index") == number)
            except pa.ArrowException as error:
                raise WildlamError(f"{data}: its episode_index cannot be compared with {number!r} ({error})") from error
            yield number, of_episode, film, begins, ends, row.get("length")


def _v2(path: Path, size: int, templates: dict[str, str], camera: str) -> Iterator[tuple]:
    file = path / "meta" / "episodes.jsonl"
    check_fetched(file)
    try:
        rows = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        lengths = {operator.index(row["episode_index"]): row.get("length") for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WildlamError(f"{file}: cannot be read as lines of JSON with an episode_index ({error})") from error
    for number, length in sorted(lengths.items()):
        where = {"episode_chunk": number // size, "episode_index": number, "video_key": camera}
        data, *films = (_inside(path, template, **where) for template in templates.values())
        yield number, _table(data, numbers=True), next(iter(films), data), 0.0, math.inf, length


def _inside(root: Path, template: str, **where: Any) -> Path:
    """A file that the data set names: the text must stay in its folder, wherever links then lead."""
    try:
        place = Path(template.format(**where))
    except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise WildlamError(f"{root / 'meta' / 'info.json'}: the path {template!r} cannot be filled in") from error
    if place.is_absolute() or ".." in place.parts:  # links are followed, see the head of this file
        raise WildlamError(f"{root / 'meta' / 'info.json'}: the path {template!r} leads out of the data set")
    return root / place


def _times(table: pa.Table, where: str) -> np.ndarray:
    try:
        times = np.asarray([only(time) for time in table["timestamp"].to_pylist()], dtype=np.float64)
        if times.ndim != 1:
            raise ValueError("timestamp holds several numbers a state")
    except KeyError as error:
        raise WildlamError(f"{where}: its table has no column timestamp") from error
    except (ValueError, TypeError) as error:
        raise WildlamError(f"{where}: its states cannot be read ({error})") from error
    if len(times) < 2:
        raise WildlamError(f"{where}: {len(times)} states; expected two or more")
    if not np.isfinite(times).all() or not (np.diff(times) > 0).all():
        raise WildlamError(f"{where}: its times must be finite and rise")
    return times


def _numbers(table: pa.Table, columns: Sequence[str], width: int, where: str) -> np.ndarray:
    """What columns hold at each state, ``float64 [F, width]``."""
    if missing := [c for c in columns if c not in table.column_names]:
        raise WildlamError(f"{where}: its table has no column {', '.join(missing)}, which meta/info.json names")
    parts = [_column(table[c].to_pylist(), f"{where}: {c}") for c in columns]
    found = np.column_stack(parts) if parts else np.empty((len(table), 0))
    if found.shape[1] != width:
        raise WildlamError(
            f"{where}: {', '.join(columns)} has {found.shape[1]} numbers a frame, in meta/info.json it has {width}; "
            "correct that, or remove the episode"
        )
    return found


def _column(rows: Sequence[Any], where: str) -> np.ndarray:
    """What a column holds at each state, ``float64 [F, C]``."""
    try:
        return np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    except (ValueError, TypeError) as error:
        widths = [len(row) if isinstance(row, list) else None for row in rows]
        usual = max(set(widths), key=widths.count)
        other = next((k for k, width in enumerate(widths) if width != usual), None)
        said = str(error) if other is None else f"that of frame {other} is {str(rows[other])[:60]}"
        raise WildlamError(
            f"{where} must be as many numbers in each frame; {said}; mend or remove the episode"
        ) from error


@dataclass(frozen=True)
class Recorded:
    """What is read of the states of an episode.

    Attributes:
        space: kind of action.
        poses: columns of the poses, or of the states of the body.
        commands: columns of the commands; none if there are none.
    """

    space: ActionSpace
    poses: tuple[str, ...]
    commands: tuple[str, ...] = ()

    def of(self, table: pa.Table, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Times, poses and commands of an episode."""
        times, poses = _times(table, where), _numbers(table, self.poses, len(self.space.pose_names), where)
        if not isinstance(self.space, Commands):
            return times, poses, None
        return times, poses, _numbers(table, self.commands, len(self.space.components), where)


def _recorded(path: Path, features: dict[str, Any], reading: Reading) -> Recorded:
    """What the data hold of what is wanted."""
    states = [STATE] if STATE in features else sorted(key for key in features if key.startswith(f"{STATE}."))
    states = [key for key in states if _is_numeric(features[key])]
    ground = features.get(STATE, {}).get("names") in (list(PLANAR.pose_names), {"axes": list(PLANAR.pose_names)})
    kinds: dict[ActionKind, bool] = {
        "poses": ground or {ARM_POSE, GRIPPER} <= features.keys(),
        "recorded": _is_numeric(features.get(ACTION, {})),
        "states": bool(states),
    }
    there = [kind for kind, is_there in kinds.items() if is_there]
    wanted = reading.actions or (there[0] if there else "recorded")
    if wanted not in there:
        what = "poses of an arm or on the ground" if wanted == "poses" else ACTION if wanted == "recorded" else STATE
        also = f"; {option('actions')} can be {' or '.join(there)}" if there else ""
        raise WildlamError(f"{path}: records no {what}{also}")
    if wanted == "poses":
        return Recorded(PLANAR, (STATE,)) if ground else Recorded(ARM, (ARM_POSE, GRIPPER))
    of_states = _names_of_states(path, features, states)
    if wanted == "states":
        return Recorded(reading.changes(of_states, str(path)), tuple(states))
    components = names_of(features[ACTION], f"{path}: {ACTION}")
    return Recorded(Commands.of(components, reading.block, of_states), tuple(states), (ACTION,))


def _names_of_states(path: Path, features: dict[str, Any], states: Sequence[str]) -> list[str]:
    """Names of the components of states; behind that of their feature, where others have the same ones (``x`` of a
    place and of a quaternion), or where it tells what they are.
    """
    names = {key: names_of(features[key], f"{path}: {key}") for key in states}
    count = Counter(name for of_feature in names.values() for name in of_feature)
    found = []
    for key, of_feature in names.items():
        feature = key.removeprefix(f"{STATE}.")
        if max(count[name] for name in of_feature) > 1 or (is_told(feature) and not of_feature[0].startswith(feature)):
            of_feature = [f"{feature} {name}" for name in of_feature]
        found += of_feature
    return found


def _is_numeric(feature: dict[str, Any]) -> bool:
    return str(feature.get("dtype", "")).startswith(("float", "int", "uint", "bool"))


def names_of(feature: dict[str, Any], where: str) -> list[str]:
    """Names of the components of a feature: of a list, nested lists or an object, or numbers where they are missing.

    Equal names in several lists of an object, such as those of two arms, are told apart by its keys: "left waist".

    Raises:
        WildlamError: its shape is none.
    """
    shape = feature.get("shape")
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise WildlamError(f"{where} has the shape {shape!r}; expected whole numbers")
    count = math.prod(shape)
    found = list(_texts(feature.get("names")))
    if len(set(found)) < len(found):
        found = list(_texts(feature.get("names"), apart=True))
    last = where.rsplit(" ", 1)[-1].rsplit(".", 1)[-1]
    return found if len(found) == len(set(found)) == count else [f"{last} {k}" for k in range(count)]


def _texts(names: Any, apart: bool = False) -> Iterator[str]:
    if isinstance(names, dict):  # {"motors": [...]}, or {"x": 0, "y": 1}
        if all(isinstance(place, int) for place in names.values()):
            names = sorted(names, key=lambda name: names[name])
        elif apart:
            names = [f"{key} {name}" for key, part in names.items() for name in _texts(part, apart)]
        else:
            names = list(names.values())
    if isinstance(names, list | tuple):
        for part in names:
            yield from _texts(part, apart)
    elif isinstance(names, str):
        yield names


def _cameras(features: dict[str, Any]) -> dict[str, str]:
    """Keys of the cameras, by name, and whether each one's pictures are a video or images."""
    kinds = {key: feature.get("dtype") for key, feature in sorted(features.items()) if isinstance(feature, dict)}
    return {key: kind for key, kind in kinds.items() if kind in ("video", "image")}


def _pictures(file: Path, number: int, key: str, chosen: Sequence[int]) -> list[Tensor]:
    """Some pictures of an episode, of its table."""
    try:
        if key not in pq.read_schema(file).names:
            raise WildlamError(f"{file}: has no column {key}, which meta/info.json names")
        table = pq.read_table(file, columns=["episode_index", key], filters=[("episode_index", "==", number)])
        found = table[key].take(list(chosen)).to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise WildlamError(f"{file}: its {key} cannot be read ({error})") from error
    parts = []
    for k, picture in zip(chosen, found, strict=True):
        data = picture.get("bytes") if isinstance(picture, dict) else picture
        if not isinstance(data, bytes):
            raise WildlamError(f"{file}: {key} of frame {k} of episode {number} holds no bytes of a picture")
        parts.append(decode_picture(data, f"{file}: {key} of frame {k} of episode {number}"))
    return parts


def _camera(table: pa.Table, key: str, where: str) -> Camera | None:
    """The camera of an episode's first state, where columns beside the videos' key tell all of it."""
    columns = [column.format(key.rsplit(".", 1)[-1]) for column in (EXTRINSICS, LENS)]
    if not set(columns) <= set(table.column_names) or not len(table):
        return None
    extrinsics, angle = (only(table[column][0].as_py()) for column in columns)
    try:
        return Camera.of(extrinsics, angle)
    except ValueError as error:
        raise WildlamError(f"{where}: {error}") from error


def _is_large(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _table(file: Path, numbers: bool = False) -> pa.Table:
    """A table; of ``numbers`` alone, without pictures and texts, which may be large."""
    check_fetched(file)
    try:
        schema = pq.read_schema(file)
        wanted = [field.name for field in schema if not (numbers and _is_large(field.type))]
        table = pq.read_table(file, columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise WildlamError(f"{file}: cannot be read as Parquet ({error})") from error
    place = table.schema.get_field_index("episode_index")  # compared with numbers, so no lists of one
    if place >= 0 and pa.types.is_nested(table.schema.types[place]):
        indices = [only(number) for number in table.column(place).to_pylist()]
        try:
            table = table.set_column(place, "episode_index", pa.array(indices, pa.int64()))
        except pa.ArrowException as error:
            raise WildlamError(f"{file}: its episode_index must be whole numbers ({error})") from error
    return table


FORMAT = Format(
    "lerobot",
    order=0,
    detects=is_lerobot,
    read=lambda path, tolerance, reading: read_lerobot(path, reading, tolerance),
    kinds=("poses", "recorded", "states"),
    cameras=True,
    names_of_cameras=lambda path: list(_cameras(read_object(path / "meta" / "info.json")["features"])),
    spaces=(PLANAR, ARM, PUSHER),
    write=write_lerobot,
)
