"""Episodes written as a LeRobotDataset v3.0: one table and one film."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wildlam.episodes.action_spaces import ARM, PLANAR, PUSHER, ActionSpace, PoseSpace
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import check_kind
from wildlam.video.mp4 import write_mp4

ARM_POSE, GRIPPER = "observation.state.cartesian_position", "observation.state.gripper_position"
STATE = "observation.state"
ACTION = "action"
MAIN = "main"
CAMERA = f"observation.images.{MAIN}"
MOTORS = ("motor_0", "motor_1")
"""Names in public sets of PushT, of where the disc is and of where it is told to go."""
EXTRINSICS, LENS = "camera_extrinsics.{}", "camera_field_of_view.{}"
"""Columns of a camera at rest, by the last part of its key: the first as in DROID's port, the second in degrees."""
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
FIRST = FILE.format(chunk_index=0, file_index=0)
Columns = Mapping[str, Sequence[str]]
"""Columns of states, and the names of what each holds."""


def write_lerobot(
    path: Path,
    episodes: Sequence[Episode],
    size: int = 128,
    camera: str = CAMERA,
    more: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> None:
    """Write episodes as a LeRobotDataset v3.0, those for training first: one table and one film.

    Where the camera of every episode is known, columns of the table hold it. An episode's actions are its commands, if
    it has any, or else the motion from pose to pose.

    Args:
        path: the folder.
        episodes: what to write, of one kind and rate.
        size: side of the square pictures.
        camera: name of the films' column.
        more: other columns by name, of each episode, one number or boolean a frame.

    Raises:
        WildlamError: they differ in kind or rate.
    """
    order = sorted(range(len(episodes)), key=lambda i: episodes[i].split == "held_out")
    episodes, more = [episodes[i] for i in order], {c: [of[i] for i in order] for c, of in (more or {}).items()}
    space, fps = episodes[0].space, round(episodes[0].rate, 6)
    assert isinstance(space, PoseSpace)
    check_kind(episodes, "a LeRobotDataset holds episodes of one kind and rate", space, fps)
    columns: dict[str, Sequence[str]] = {ARM_POSE: ARM.pose_names[:6], GRIPPER: ("gripper",)}
    if space is not ARM:
        columns = {STATE: MOTORS if space is PUSHER else space.pose_names}
    actions = MOTORS if episodes[0].commands is not None else space.action_names
    if all(episode.camera for episode in episodes):
        columns[EXTRINSICS.format(MAIN)], columns[LENS.format(MAIN)] = ARM.pose_names[:6], ("degrees",)
    ends = np.cumsum([len(episode.times) for episode in episodes]).tolist()
    begins = [0, *ends[:-1]]
    whole = pa.concat_tables(
        _states(episode, i, begin, columns, fps, {c: of[i] for c, of in more.items()})
        for i, (episode, begin) in enumerate(zip(episodes, begins, strict=True))
    )
    records = [_record(i, begin, end, fps, camera) for i, (begin, end) in enumerate(zip(begins, ends, strict=True))]
    for file, table in (
        (f"data/{FIRST}", whole),
        (f"meta/episodes/{FIRST}", pa.Table.from_pylist(records)),
        ("meta/tasks", _tasks("explore")),
    ):
        target = path / f"{file}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, target)
    pictures = (
        frame.permute(1, 2, 0).numpy()
        for episode in episodes
        for frame in episode.frames(range(len(episode.times)), size)
    )
    write_mp4(path / "videos" / camera / f"{FIRST}.mp4", pictures, fps)
    (path / "meta" / "stats.json").write_text(json.dumps(_statistics(whole, [*columns, ACTION])))
    info = _info(episodes, whole, columns, actions, fps, size, camera)
    (path / "meta" / "info.json").write_text(json.dumps(info, indent=2))  # last: a folder without it is not read


def _states(
    episode: Episode, number: int, begin: int, columns: Columns, fps: float, more: Mapping[str, np.ndarray]
) -> pa.Table:
    """States and actions of an episode, whose first frame is the data set's number ``begin``."""
    frames = np.arange(len(episode.times))
    actions = episode.commands
    if actions is None:  # the last frame's leads nowhere
        actions = np.concatenate([episode.actions(frames), np.zeros((1, len(episode.space.action_names)))])
    cut = np.cumsum([len(names) for names in columns.values()])[:-1]
    recorded = episode.poses[:, : len(MOTORS)] if episode.space is PUSHER else episode.poses
    if episode.camera and LENS.format(MAIN) in columns:
        of_camera = [*episode.camera.extrinsics, episode.camera.field_of_view]
        recorded = np.column_stack([recorded, np.tile(of_camera, (len(frames), 1))])
    states = {c: part.astype(np.float32) for c, part in zip(columns, np.split(recorded, cut, 1), strict=True)}
    return pa.table(
        {c: list(part if part.shape[1] > 1 else part[:, 0]) for c, part in states.items()}
        | {
            ACTION: list(actions.astype(np.float32)),
            "timestamp": (frames / fps).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(len(frames), number),
            "index": begin + frames,
            "task_index": np.zeros(len(frames), np.int64),
        }
        | dict(more)
    )


def _record(number: int, begin: int, end: int, fps: float, camera: str) -> dict[str, Any]:
    """Where an episode lies in the table and in the film."""
    return {
        "episode_index": number,
        "tasks": ["explore"],
        "length": end - begin,
        "dataset_from_index": begin,
        "dataset_to_index": end,
        "data/chunk_index": 0,
        "data/file_index": 0,
        f"videos/{camera}/chunk_index": 0,
        f"videos/{camera}/file_index": 0,
        f"videos/{camera}/from_timestamp": begin / fps,
        f"videos/{camera}/to_timestamp": end / fps,
    }


def _info(
    episodes: Sequence[Episode],
    whole: pa.Table,
    columns: Columns,
    actions: Sequence[str],
    fps: float,
    size: int,
    camera: str,
) -> dict[str, Any]:
    """What ``meta/info.json`` holds."""
    robots: dict[ActionSpace, str] = {PLANAR: "camera", ARM: "fetch", PUSHER: "disc"}
    training = sum(episode.split == "train" for episode in episodes)
    named = {**columns, ACTION: actions}
    numbers = {c: str(whole.schema.field(c).type) for c in whole.column_names if c not in named}
    kinds = {"float": "float32", "double": "float64"}  # as NumPy has them
    return {
        "codebase_version": "v3.0",
        "robot_type": robots[episodes[0].space],
        "fps": fps,
        "total_episodes": len(episodes),
        "total_frames": len(whole),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_path": f"data/{FILE}.parquet",
        "video_path": f"videos/{{video_key}}/{FILE}.mp4",
        "splits": {"train": f"0:{training}", "test": f"{training}:{len(episodes)}"},
        "features": {
            c: {"dtype": "float32", "shape": [len(names)], "names": {"motors": names} if names is MOTORS else names}
            for c, names in named.items()
        }
        | {name: {"dtype": kinds.get(kind, kind), "shape": [1], "names": None} for name, kind in numbers.items()}
        | {camera: {"dtype": "video", "shape": [size, size, 3], "names": ["height", "width", "channels"]}},
    }


def _tasks(task: str) -> pa.Table:
    """One task, as pandas writes it: LeRobot takes a task's text from the table's index."""
    column = {"field_name": "task", "name": "task", "pandas_type": "unicode", "numpy_type": "str", "metadata": None}
    index = {"index_columns": ["task"], "columns": [column], "column_indexes": []}
    table = pa.table({"task_index": [0], "task": [task]})
    return table.replace_schema_metadata({"pandas": json.dumps(index)})


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
