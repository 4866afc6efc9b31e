"""LeRobotDataset v2.1 and v3.0 of arms whose end effector's pose is recorded, such as the port of DROID.

Read are ``observation.state.cartesian_position`` (6) and ``observation.state.gripper_position``; the data sets' own
``action`` (joint values, in DROID's port) is not. v3.0 keeps many episodes in a file, v2.1 one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wildlam.data.action_spaces import ARM
from wildlam.data.episodes import Episode, frames_at, splits_of
from wildlam.types import WildlamError

ARM_POSE, GRIPPER = "observation.state.cartesian_position", "observation.state.gripper_position"


def is_lerobot(path: Path) -> bool:
    """Whether a folder holds a data set of this format."""
    return (path / "meta" / "info.json").is_file()


def read_lerobot(path: Path, camera: str | None = None) -> list[Episode]:
    """Read all episodes.

    Args:
        path: the data set's folder.
        camera: key of the videos to take; the first by name that is not of a wrist if not given.

    Raises:
        WildlamError: something is missing or malformed, naming the file.
    """
    info = _json(path / "meta" / "info.json")
    try:
        version, features = info["codebase_version"], info["features"]
        cameras = sorted(key for key, feature in features.items() if feature["dtype"] == "video")
        templates = {key: info[key] for key in ("data_path", "video_path")}
    except (KeyError, TypeError, ValueError) as error:
        raise WildlamError(f"{path / 'meta' / 'info.json'}: {error!r} is missing or of another kind") from error
    if missing := {ARM_POSE, GRIPPER} - features.keys():
        raise WildlamError(f"{path}: records no {sorted(missing)[0]}; only arms whose pose is recorded can be read")
    chosen = camera or next((key for key in cameras if "wrist" not in key), None)
    if chosen is None or chosen not in cameras:
        raise WildlamError(f"{path}: has no video {chosen}; there are {', '.join(cameras) or 'none'}")
    if version not in ("v2.1", "v3.0"):
        raise WildlamError(f"{path}: format {version!r}; v2.1 and v3.0 can be read")
    size = int(info.get("chunks_size", 1000))
    parts = list(_v3(path, templates, chosen) if version == "v3.0" else _v2(path, size, templates, chosen))
    if not parts:
        raise WildlamError(f"{path}: holds no episode")
    names = [f"episode_{number:06d}" for number, *_ in parts]
    splits = splits_of(names)
    found = []
    for name, (_, table, film, begins) in zip(names, parts, strict=True):
        poses, times = _poses(table, path, name)
        found.append(Episode(name, splits[name], times, poses, ARM, frames_at(film, times + begins)))
    return found


def _v3(path: Path, templates: dict[str, str], camera: str) -> Iterator[tuple]:
    """Number, table, film and where in it each episode begins."""
    tables: dict[Path, pa.Table] = {}
    for file in sorted((path / "meta" / "episodes").rglob("*.parquet")):
        for row in _table(file).to_pylist():
            try:
                number = row["episode_index"]
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
            except (KeyError, TypeError) as error:
                raise WildlamError(f"{file}: an episode lacks {error}") from error
            if data not in tables:
                tables = {data: _table(data)}  # one at a time: they may be large
            yield number, tables[data].filter(pa.compute.field("episode_index") == number), film, begins


def _v2(path: Path, size: int, templates: dict[str, str], camera: str) -> Iterator[tuple]:
    file = path / "meta" / "episodes.jsonl"
    try:
        numbers = sorted(json.loads(line)["episode_index"] for line in file.read_text().splitlines() if line.strip())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WildlamError(f"{file}: cannot be read as lines of JSON with an episode_index ({error})") from error
    for number in numbers:
        where = {"episode_chunk": number // size, "episode_index": number, "video_key": camera}
        data, film = (_inside(path, templates[key], **where) for key in ("data_path", "video_path"))
        yield number, _table(data), film, 0.0


def _inside(root: Path, template: str, **where: Any) -> Path:
    """A file that the data set names, which must lie in its folder."""
    try:
        file = (root / template.format(**where)).resolve()
    except (KeyError, ValueError, IndexError) as error:
        raise WildlamError(f"{root / 'meta' / 'info.json'}: the path {template!r} cannot be filled in") from error
    if not file.is_relative_to(root.resolve()):
        raise WildlamError(f"{root / 'meta' / 'info.json'}: the path {template!r} leads out of the data set")
    return file


def _poses(table: pa.Table, path: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        arm = np.stack(table[ARM_POSE].to_pylist()).astype(np.float64)
        gripper = np.asarray(table[GRIPPER].to_pylist(), dtype=np.float64).reshape(len(arm), -1)
        times = np.asarray(table["timestamp"].to_pylist(), dtype=np.float64)
    except (KeyError, ValueError, TypeError) as error:
        raise WildlamError(f"{path}, {name}: its states cannot be read ({error})") from error
    if arm.shape != (len(times), 6) or gripper.shape[1] != 1 or len(times) < 2:
        raise WildlamError(f"{path}, {name}: states of shape {arm.shape} and {gripper.shape} for {len(times)} times")
    poses = np.column_stack([arm, gripper])
    if not np.isfinite(poses).all() or not (np.diff(times) > 0).all():
        raise WildlamError(f"{path}, {name}: its states must be finite, and its times rise")
    return poses, times


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
        return pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise WildlamError(f"{file}: cannot be read as Parquet ({error})") from error
