"""Recorded commands of some videos, in files next to them: ``walk.actions.csv`` or ``walk.actions.parquet``.

A column ``time``, in seconds since the film's first frame, and one for each component of a command, named as the user
likes. Commands may be recorded more or less often than frames. Recorded states of the body lie likewise in
``walk.states.csv`` or ``walk.states.parquet``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from wildlam.errors import WildlamError
from wildlam.fileio import check_fetched
from wildlam.video.files import AnyFile

ENDINGS = (".actions.csv", ".actions.parquet")
STATES = (".states.csv", ".states.parquet")
TIME = "time"


def commands_path(video: AnyFile, endings: Sequence[str] = ENDINGS) -> Path | None:
    """The file of a video's commands, or of its states by their ``endings``, if it has one; only local files have."""
    if not isinstance(video, Path):
        return None
    return next((file for ending in endings if (file := video.with_suffix(ending)).is_file()), None)


def commands_file(video: Path, endings: Sequence[str] = ENDINGS) -> Path:
    """Where ``write_commands`` writes those of a video."""
    return video.with_suffix(endings[0])


def write_commands(
    video: Path, components: Sequence[str], times: np.ndarray, commands: np.ndarray, endings: Sequence[str] = ENDINGS
) -> None:
    """Write commands ``[S, C]``, whose components have names, at moments ``[S]`` in seconds, next to their video; or
    states, by their ``endings``. They are read as the same numbers.
    """
    file = commands_file(video, endings)
    file.parent.mkdir(parents=True, exist_ok=True)
    names = [f"{name} 0" if name == TIME else name for name in components]
    pa.csv.write_csv(pa.table([times, *commands.T], [TIME, *names]), file)


def read_commands(file: Path, finite: bool = True) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The names of the components, the times ``float64 [S]``, and the ``finite`` commands ``float64 [S, C]``.

    Raises:
        WildlamError: the file is malformed, naming it and what is wrong.
    """
    check_fetched(file)
    try:
        table = pa.csv.read_csv(file) if file.suffix == ".csv" else pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise WildlamError(f"{file}: cannot be read as a table ({error})") from error
    names = [name.strip() for name in table.column_names]
    if names.count(TIME) != 1 or len(set(names)) != len(names) or len(names) < 2:
        raise WildlamError(f"{file}: expected a column {TIME} and one a component, each once; got {', '.join(names)}")
    columns = {}
    for name, column in zip(names, table.columns, strict=True):
        try:
            columns[name] = np.asarray(column.to_pylist(), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise WildlamError(f"{file}: the column {name} must be of numbers ({error})") from error
        bad = np.flatnonzero(~np.isfinite(columns[name])) if columns[name].ndim == 1 else [0]
        if len(bad) and (finite or name == TIME or columns[name].ndim != 1):
            raise WildlamError(
                f"{file}: the column {name} must be of finite numbers, one a row, without gaps; row {bad[0] + 1} is "
                "not: mend the file, or delete it to leave its video out"
            )
    times = columns.pop(TIME)
    falls = np.flatnonzero(np.diff(times) <= 0)
    if len(times) < 2 or len(falls):
        where = f"; row {falls[0] + 2} does not" if len(falls) else ""
        raise WildlamError(f"{file}: two rows or more are needed, whose {TIME} rises from row to row{where}")
    return tuple(columns), times, np.column_stack(list(columns.values()))
