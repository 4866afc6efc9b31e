"""LeRobotDataset v2.1 and v3.0 with recorded poses: of an arm's end effector, such as DROID's port, or on the ground.

Read are ``observation.state.cartesian_position`` (6) and ``observation.state.gripper_position`` or, if its names are x,
y and heading (degrees), ``observation.state``; the data sets' own ``action`` (joint values, in DROID's port) is not.
v3.0 keeps many episodes in a file, v2.1 one. A state's frame is the one at ``from_timestamp + timestamp``, counted as
LeRobot counts: in the file's own time, which need not begin at 0. A film may be shorter than its states.

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
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wildlam.episodes.action_spaces import ARM, PLANAR, ActionSpace
from wildlam.episodes.episode import Episode, splits_of
from wildlam.episodes.formats.base import Format
from wildlam.episodes.pairing import NEAR, TOLERANCE, Film, listed, pair, read_film, report_pairs
from wildlam.errors import WildlamError
from wildlam.types import Split
from wildlam.video.mp4 import write_mp4
from wildlam.video.splits import SPLIT_FOLDERS

log = logging.getLogger(__name__)

ARM_POSE, GRIPPER = "observation.state.cartesian_position", "observation.state.gripper_position"
STATE = "observation.state"
CAMERA = "observation.images.main"
Kind = TypeVar("Kind", str, int, dict)
KINDS = {str: "a text", int: "a whole number", dict: "an object"}


def is_lerobot(path: Path) -> bool:
    """Whether a folder holds a data set of this format."""
    return (path / "meta" / "info.json").is_file()


def read_lerobot(path: Path, camera: str | None = None, tolerance: float = TOLERANCE) -> list[Episode]:
    """Read all episodes.

    Args:
        path: the data set's folder.
        camera: key of the videos to take; the first by name that is not of a wrist if not given.
        tolerance: seconds that a state may be away from every frame; see ``pair``.

    Raises:
        WildlamError: something is missing or malformed, naming the file.
    """
    file = path / "meta" / "info.json"
    info = _json(file)
    version, features = _field(file, info, "codebase_version", str), _field(file, info, "features", dict)
    size = _field(file, {"chunks_size": 1000} | info, "chunks_size", int)
    if size < 1:
        raise WildlamError(f"{file}: chunks_size is {size}, at least 1 is expected")
    for key in features:
        _field(file, features, key, dict)
    cameras, pictures = (
        sorted(key for key, feature in features.items() if feature.get("dtype") == kind) for kind in ("video", "image")
    )
    if pictures and not cameras:
        raise WildlamError(
            f"{path}: holds pictures in its tables ({', '.join(pictures)}) and no videos; only videos can be read: "
            "let LeRobot write it anew with videos"
        )
    templates = {key: _field(file, info, key, str) for key in ("data_path", "video_path")}
    space: ActionSpace = ARM
    columns: tuple[str, ...] = (ARM_POSE, GRIPPER)
    if features.get(STATE, {}).get("names") in (list(PLANAR.pose_names), {"axes": list(PLANAR.pose_names)}):
        space, columns = PLANAR, (STATE,)
    if missing := set(columns) - features.keys():
        raise WildlamError(f"{path}: records no {sorted(missing)[0]}; only recorded poses can be read")
    chosen = camera or next((key for key in cameras if "wrist" not in key), None)
    if chosen is None or chosen not in cameras:
        raise WildlamError(f"{path}: has no video {chosen}; there are {', '.join(cameras) or 'none'}")
    if version not in ("v2.1", "v3.0"):
        raise WildlamError(f"{path}: format {version!r}; v2.1 and v3.0 can be read")
    parts = list(_v3(path, templates, chosen) if version == "v3.0" else _v2(path, size, templates, chosen))
    if not parts:
        raise WildlamError(f"{path}: holds no episode")
    splits = _stated_splits(file, info, [number for number, *_ in parts])
    drawn = splits_of(f"episode_{number:06d}" for number in splits)
    films: dict[Path, Film] = {}
    taken: dict[Path, list[Taken]] = {}
    found, paired = [], {}
    for number, table, file, begins, ends in parts:
        film = films[file] = films.get(file) or read_film(file)
        moments = film.times + film.start
        # Half a frame sooner, as rounding may put an episode's first frame before its beginning.
        period = float(np.median(np.diff(moments))) if len(moments) > 1 else 1.0
        first, last = np.searchsorted(moments, [begins - NEAR * period, ends - NEAR * period]).tolist()
        before_film = round(max(moments[0] - begins, 0.0) / period) if math.isfinite(ends) and len(moments) else 0
        place = Taken(f"episode_{number:06d}", first - before_film, last, len(table), [])
        taken.setdefault(file, []).append(place)
        if number not in splits:
            continue
        name = place.name
        poses, times = _poses(table, columns, len(space.pose_names), f"{path}, {name}")
        pairs = pair(times + begins, moments[first:last], f"{file}, {name}", tolerance)
        paired[name], poses, times = pairs, poses[pairs.states], times[pairs.states]
        place.ahead.extend((first + pairs.frames - pairs.states).tolist())
        frames = film.frames(first + pairs.frames)
        found.append(Episode(name, splits[number] or drawn[name], times, poses, space, frames, file))
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


def _field(file: Path, fields: dict[str, Any], name: str, kind: type[Kind]) -> Kind:
    """A field of a JSON object, of the kind that it must be of."""
    if not isinstance(value := fields.get(name), kind):
        told = f"is {str(value)[:100]!r}" if name in fields else "is missing"
        raise WildlamError(f"{file}: {name} {told}; expected {KINDS[kind]}")
    return value


def _v3(path: Path, templates: dict[str, str], camera: str) -> Iterator[tuple]:
    """Number, table and film of each episode, and where in the film it begins and ends."""
    tables: dict[Path, pa.Table] = {}
    for file in sorted((path / "meta" / "episodes").glob("*/*.parquet")):  # not rglob, which follows no linked folders
        for row in _table(file).to_pylist() if not file.name.startswith(".") else ():
            row = {name: _only(value) for name, value in row.items()}
            try:
                number = operator.index(row["episode_index"])
                data = _inside(
                    path,
                    templates["data_path"],
                    chunk_index=row["data/chunk_index"],
                    file_index=row["data/file_index"],
                )
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
                tables = {data: _table(data)}  # one at a time: they may be large
            try:
                of_episode = tables[data].filter(pa.compute.field("episode_index") == number)
            except pa.ArrowException as error:
                raise WildlamError(f"{data}: its episode_index cannot be compared with {number!r} ({error})") from error
            yield number, of_episode, film, begins, ends


def _v2(path: Path, size: int, templates: dict[str, str], camera: str) -> Iterator[tuple]:
    file = path / "meta" / "episodes.jsonl"
    try:
        numbers = sorted(
            operator.index(json.loads(line)["episode_index"]) for line in file.read_text().splitlines() if line.strip()
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WildlamError(f"{file}: cannot be read as lines of JSON with an episode_index ({error})") from error
    for number in numbers:
        where = {"episode_chunk": number // size, "episode_index": number, "video_key": camera}
        data, film = (_inside(path, templates[key], **where) for key in ("data_path", "video_path"))
        yield number, _table(data), film, 0.0, math.inf


def _inside(root: Path, template: str, **where: Any) -> Path:
    """A file that the data set names: the text must stay in its folder, wherever links then lead."""
    try:
        place = Path(template.format(**where))
    except (KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise WildlamError(f"{root / 'meta' / 'info.json'}: the path {template!r} cannot be filled in") from error
    if place.is_absolute() or ".." in place.parts:  # links are followed, see the head of this file
        raise WildlamError(f"{root / 'meta' / 'info.json'}: the path {template!r} leads out of the data set")
    return root / place


def _stated_splits(file: Path, info: dict[str, Any], numbers: Sequence[int]) -> dict[int, Split | None]:
    """What ``splits`` says of each episode, by its number (``{"train": "0:90", "test": "90:100"}``); None if nothing.

    Where parts to hold out are stated beside one to train on, what is in neither is left out; where a part to train on
    is stated alone, what is not in it is held out.
    """
    told: dict[Split, set[int]] = {"train": set(), "held_out": set()}
    for part, places in _field(file, {"splits": {}} | info, "splits", dict).items():
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
        told[split] |= found
    train, held_out = told["train"], told["held_out"]
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


def _only(value: Any) -> Any:
    """The number of a list of one, as which some tools write a number."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _poses(table: pa.Table, columns: Sequence[str], width: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        times = np.asarray([_only(time) for time in table["timestamp"].to_pylist()], dtype=np.float64)
        if times.ndim != 1:
            raise ValueError("timestamp holds several numbers a state")
        parts = [np.asarray(table[c].to_pylist(), dtype=np.float64).reshape(len(times), -1) for c in columns]
        poses = np.column_stack(parts)
    except (KeyError, ValueError, TypeError) as error:
        raise WildlamError(f"{where}: its states cannot be read ({error})") from error
    if poses.shape[1] != width or len(times) < 2:
        raise WildlamError(f"{where}: {len(times)} states of {poses.shape[1]} numbers; expected two or more of {width}")
    if not np.isfinite(poses).all() or not (np.diff(times) > 0).all():
        raise WildlamError(f"{where}: its states must be finite, and its times rise")
    return poses, times


def write_lerobot(path: Path, episodes: Sequence[Episode], size: int = 128) -> None:
    """Write episodes as a LeRobotDataset v3.0, those for training first: one table and one film.

    Args:
        path: the folder.
        episodes: what to write, of one kind and rate.
        size: side of the square pictures.

    Raises:
        WildlamError: they differ in kind or rate.
    """
    episodes = sorted(episodes, key=lambda episode: episode.split == "held_out")
    space, fps = episodes[0].space, round(episodes[0].rate, 6)
    if any(episode.space is not space or abs(episode.rate - fps) > 0.01 for episode in episodes):
        raise WildlamError("the episodes differ in kind of action or in rate; write them apart")
    columns = {STATE: space.pose_names} if space is PLANAR else {ARM_POSE: ARM.pose_names[:6], GRIPPER: ("gripper",)}
    lengths = [len(episode.times) for episode in episodes]
    ends = np.cumsum(lengths)
    ordered = [(i, episode, int(end) - length) for i, (episode, end, length) in
               enumerate(zip(episodes, ends, lengths, strict=True))]  # fmt: skip
    tables, stated = [], []
    for i, episode, begins in ordered:
        # The last frame's action leads nowhere.
        actions = np.concatenate([space.between(episode.poses), np.zeros((1, len(space.action_names)))])
        cut = np.cumsum([len(names) for names in columns.values()])[:-1]
        states = {c: part.astype(np.float32) for c, part in zip(columns, np.split(episode.poses, cut, 1), strict=True)}
        number = np.arange(lengths[i])
        tables.append(
            pa.table(
                {c: list(part if part.shape[1] > 1 else part[:, 0]) for c, part in states.items()}
                | {
                    "action": list(actions.astype(np.float32)),
                    "timestamp": (number / fps).astype(np.float32),
                    "frame_index": number,
                    "episode_index": np.full(len(number), i),
                    "index": begins + number,
                    "task_index": np.zeros(len(number), np.int64),
                }
            )
        )
        stated.append(
            {
                "episode_index": i,
                "tasks": ["explore"],
                "length": lengths[i],
                "dataset_from_index": begins,
                "dataset_to_index": begins + lengths[i],
                "data/chunk_index": 0,
                "data/file_index": 0,
                f"videos/{CAMERA}/chunk_index": 0,
                f"videos/{CAMERA}/file_index": 0,
                f"videos/{CAMERA}/from_timestamp": begins / fps,
                f"videos/{CAMERA}/to_timestamp": (begins + lengths[i]) / fps,
            }
        )
    place = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    first = place.format(chunk_index=0, file_index=0)
    whole, training = pa.concat_tables(tables), sum(episode.split == "train" for episode in episodes)
    numbers = {"timestamp": "float32"} | dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")
    info = {
        "codebase_version": "v3.0",
        "robot_type": "camera" if space is PLANAR else "fetch",
        "fps": fps,
        "total_episodes": len(episodes),
        "total_frames": int(ends[-1]),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_path": f"data/{place}.parquet",
        "video_path": f"videos/{{video_key}}/{place}.mp4",
        "splits": {"train": f"0:{training}", "test": f"{training}:{len(episodes)}"},
        "features": {c: {"dtype": "float32", "shape": [len(names)], "names": names} for c, names in columns.items()}
        | {"action": {"dtype": "float32", "shape": [len(space.action_names)], "names": space.action_names}}
        | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in numbers.items()}
        | {CAMERA: {"dtype": "video", "shape": [size, size, 3], "names": ["height", "width", "channels"]}},
    }
    for file, table in (
        (f"data/{first}", whole),
        (f"meta/episodes/{first}", pa.Table.from_pylist(stated)),
        ("meta/tasks", _tasks("explore")),
    ):
        target = path / f"{file}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, target)
    pictures = (
        frame.permute(1, 2, 0).numpy()
        for _, episode, _ in ordered
        for frame in episode.frames(range(len(episode.times)), size)
    )
    write_mp4(path / "videos" / CAMERA / f"{first}.mp4", pictures, fps)
    (path / "meta" / "stats.json").write_text(json.dumps(_statistics(whole, [*columns, "action"])))
    (path / "meta" / "info.json").write_text(json.dumps(info, indent=2))  # last: a folder without it is not read


def _tasks(task: str) -> pa.Table:
    """One task, as pandas writes it: LeRobot takes a task's text from the table's index."""
    column = {"field_name": "task", "name": "task", "pandas_type": "unicode", "numpy_type": "str", "metadata": None}
    told = {"index_columns": ["task"], "columns": [column], "column_indexes": []}
    table = pa.table({"task_index": [0], "task": [task]})
    return table.replace_schema_metadata({"pandas": json.dumps(told)})


def _statistics(table: pa.Table, columns: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    found = {}
    for name in columns:
        values = np.stack([np.atleast_1d(row) for row in table[name].to_pylist()])
        found[name] = {
            "min": values.min(axis=0).tolist(),
            "max": values.max(axis=0).tolist(),
            "mean": values.mean(axis=0).tolist(),
            "std": values.std(axis=0).tolist(),
            "count": [len(values)],
        }
    return found


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise WildlamError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise WildlamError(f"{file}: expected an object")
    return found


def _table(file: Path) -> pa.Table:
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise WildlamError(f"{file}: cannot be read as Parquet ({error})") from error
    place = table.schema.get_field_index("episode_index")  # compared with numbers, so no lists of one
    if place >= 0 and pa.types.is_nested(table.schema.types[place]):
        numbers = [_only(number) for number in table.column(place).to_pylist()]
        try:
            table = table.set_column(place, "episode_index", pa.array(numbers, pa.int64()))
        except pa.ArrowException as error:
            raise WildlamError(f"{file}: its episode_index must be whole numbers ({error})") from error
    return table


FORMAT = Format(
    "lerobot",
    order=0,
    detects=is_lerobot,
    read=lambda path, tolerance: read_lerobot(path, tolerance=tolerance),
    spaces=(PLANAR, ARM),
    write=write_lerobot,
)
