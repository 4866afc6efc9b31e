"""Videos with poses in ``NAME.poses.csv``, as ``wildlam collect`` writes, or with commands in ``NAME.actions.csv``.

States may lie in ``NAME.states.csv``, as ``wildlam data --films`` writes them beside commands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from wildlam.episodes.action_spaces import SPACES, ActionSpace
from wildlam.episodes.camera import read_camera
from wildlam.episodes.commands_file import ENDINGS, STATES, commands_path, read_commands
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format
from wildlam.episodes.pairing import TOLERANCE, listed, nearest_to, pair, read_film, report_pairs
from wildlam.episodes.poses import check_reach, has_poses, read_poses
from wildlam.episodes.vectors import FIRST, ActionKind, Commands, Reading
from wildlam.errors import WildlamError, named, option, videos_given_by
from wildlam.video.decode import Backend
from wildlam.video.files import AnyFile
from wildlam.video.index import index

log = logging.getLogger(__name__)

BESIDE: dict[ActionKind, Callable[[AnyFile], object]] = {
    "poses": has_poses,
    "recorded": commands_path,
    "states": partial(commands_path, endings=STATES),
}
"""What may lie beside a video, the first choice first."""


def read_posed_videos(
    path: Path, backend: Backend = "pyav", tolerance: float = TOLERANCE, reading: Reading = FIRST
) -> list[Episode]:
    """Read a folder of videos with ``NAME.poses.csv`` files, and ``NAME.camera.json`` where there is one; or with
    ``NAME.actions.csv`` or ``.parquet`` files, if commands are wanted or no video has poses; or likewise with states.

    Args:
        path: the folder.
        backend: decoder of the videos.
        tolerance: seconds that a pose, or a command, may be away from every frame; see ``pair``.
        reading: which actions.

    Raises:
        WildlamError: there are none, or one is malformed, naming the file.
    """
    with named(videos_given_by(option("data"))):
        manifest = index(path)
    columns = (manifest.column(name).to_pylist() for name in ("path", "split", "duration", "fps"))
    rows = list(zip(*columns, manifest.recordings().to_pylist(), strict=True))
    files = {name: manifest.file(name) for name, *_ in rows}
    wanted = reading.actions or next(
        (kind for kind, has in BESIDE.items() if any(map(has, files.values()))), "recorded"
    )
    found, paired, ended = [], {}, []
    for name, split, duration, fps, recording in rows:
        video = files[name]
        space: ActionSpace
        if not isinstance(video, Path):
            continue
        if wanted == "poses" and has_poses(video):
            space, of_video = read_poses(video)
            check_reach(video, of_video[:, 0], duration - 1 / fps)
            times, poses, commands = of_video[:, 0], of_video[:, 1:], None
        elif wanted == "recorded" and (file := commands_path(video)):
            components, times, commands = read_commands(file, reading.finite)
            names, poses = _states(video, times, reading.finite)
            space = Commands.of(components, reading.block, names)
        elif wanted == "states" and (file := commands_path(video, STATES)):
            components, times, poses = read_commands(file, reading.finite)
            space, commands = reading.changes(components, str(file)), None
        else:
            continue
        if wanted != "poses" and duration - 1 / fps > times[-1] + np.diff(times).max():
            ended.append(f"{name} ({times[-1]:.1f} of {duration:.1f} s)")
        film = read_film(video)
        paired[name] = pairs = pair(times, film.times, str(video), tolerance)
        kept = pairs.states
        frames = film.frames(pairs.frames, backend)
        camera = read_camera(video)
        of_kept = None if commands is None else commands[kept]
        found.append(Episode(name, split, times[kept], poses[kept], space, frames, video, recording, camera, of_kept))
    if not found:
        if wanted != "poses":
            what = "commands" if wanted == "recorded" else "states"
            files_of = " or ".join(f"NAME{ending}" for ending in (ENDINGS if wanted == "recorded" else STATES))
            raise WildlamError(
                f"{path}: no {what} and no poses; each video needs a {files_of} file, or NAME.poses.csv, as "
                "`collect` writes them"
            )
        raise WildlamError(f"{path}: no poses; each video needs a NAME.poses.csv file, as `collect` writes them")
    bare = [name for name, *_ in rows if name not in paired]
    what = "commands" if wanted == "recorded" else "states"
    if wanted != "poses" and bare:
        log.warning("%s: %d videos have no %s beside them and are left out: %s", path, len(bare), what, listed(bare))
    if ended:
        log.warning("%s: %s end before their videos, whose rest is left out: %s", path, what, listed(ended))
    report_pairs(path, paired)
    return found


def _states(video: Path, times: np.ndarray, finite: bool) -> tuple[Sequence[str], np.ndarray]:
    """Names of a video's recorded states, and those nearest to some times ``float64 [S, P]``; none if it has none."""
    file = commands_path(video, STATES)
    if file is None:
        return (), np.empty((len(times), 0))
    names, moments, states = read_commands(file, finite)
    return names, states[nearest_to(times, moments)[0]]


FORMAT = Format(
    "video",
    order=4,  # last, as it says best what is missing in a folder of no format
    detects=lambda path: True,
    read=lambda path, tolerance, reading: read_posed_videos(path, tolerance=tolerance, reading=reading),
    kinds=("poses", "recorded", "states"),
    spaces=tuple(SPACES.values()),
)
