"""Videos with poses in ``NAME.poses.csv``, as ``wildlam collect`` writes, or with commands in ``NAME.actions.csv``."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from wildlam.episodes.action_spaces import SPACES, ActionSpace
from wildlam.episodes.camera import read_camera
from wildlam.episodes.commands_file import ENDINGS, commands_path, read_commands
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format
from wildlam.episodes.pairing import TOLERANCE, listed, pair, read_film, report_pairs
from wildlam.episodes.poses import check_reach, has_poses, read_poses
from wildlam.episodes.vectors import FIRST, Commands, Reading
from wildlam.errors import WildlamError, named, option, videos_given_by
from wildlam.video.decode import Backend
from wildlam.video.index import index

log = logging.getLogger(__name__)


def read_posed_videos(
    path: Path, backend: Backend = "pyav", tolerance: float = TOLERANCE, reading: Reading = FIRST
) -> list[Episode]:
    """Read a folder of videos with ``NAME.poses.csv`` files, and ``NAME.camera.json`` where there is one; or with
    ``NAME.actions.csv`` or ``.parquet`` files, if commands are wanted or no video has poses.

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
    wanted = reading.actions or ("poses" if any(map(has_poses, files.values())) else "recorded")
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
            components, times, commands = read_commands(file)
            space, poses = Commands.of(components, reading.block), np.empty((len(times), 0))
            if duration - 1 / fps > times[-1] + np.diff(times).max():
                ended.append(f"{name} ({times[-1]:.1f} of {duration:.1f} s)")
        else:
            continue
        film = read_film(video)
        paired[name] = pairs = pair(times, film.times, str(video), tolerance)
        kept = pairs.states
        frames = film.frames(pairs.frames, backend)
        camera = read_camera(video)
        of_kept = None if commands is None else commands[kept]
        found.append(Episode(name, split, times[kept], poses[kept], space, frames, video, recording, camera, of_kept))
    if not found:
        if wanted == "recorded":
            files_of = " or ".join(f"NAME{ending}" for ending in ENDINGS)
            raise WildlamError(
                f"{path}: no commands and no poses; each video needs a {files_of} file, or NAME.poses.csv, as "
                "`collect` writes them"
            )
        raise WildlamError(f"{path}: no poses; each video needs a NAME.poses.csv file, as `collect` writes them")
    bare = [name for name, *_ in rows if name not in paired]
    if wanted == "recorded" and bare:
        log.warning("%s: %d videos have no commands beside them and are left out: %s", path, len(bare), listed(bare))
    if ended:
        log.warning("%s: commands end before their videos, whose rest is left out: %s", path, listed(ended))
    report_pairs(path, paired)
    return found


FORMAT = Format(
    "video",
    order=4,  # last, as it says best what is missing in a folder of no format
    detects=lambda path: True,
    read=lambda path, tolerance, reading: read_posed_videos(path, tolerance=tolerance, reading=reading),
    kinds=("poses", "recorded"),
    spaces=tuple(SPACES.values()),
)
