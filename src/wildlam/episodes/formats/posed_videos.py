"""Videos with ``NAME.poses.csv`` files, as ``wildlam collect`` writes them."""

from __future__ import annotations

from pathlib import Path

from wildlam.episodes.action_spaces import SPACES
from wildlam.episodes.camera import read_camera
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats.base import Format
from wildlam.episodes.pairing import TOLERANCE, pair, read_film, report_pairs
from wildlam.episodes.poses import check_reach, has_poses, read_poses
from wildlam.errors import WildlamError, named, option, videos_given_by
from wildlam.video.decode import Backend
from wildlam.video.index import index


def read_posed_videos(path: Path, backend: Backend = "pyav", tolerance: float = TOLERANCE) -> list[Episode]:
    """Read a folder of videos with ``NAME.poses.csv`` files, and ``NAME.camera.json`` where there is one.

    Args:
        path: the folder.
        backend: decoder of the videos.
        tolerance: seconds that a pose may be away from every frame; see ``pair``.

    Raises:
        WildlamError: there are none, or one is malformed, naming the file.
    """
    with named(videos_given_by(option("data"))):
        manifest = index(path)
    found, paired = [], {}
    columns = (manifest.column(name).to_pylist() for name in ("path", "split", "duration", "fps"))
    for name, split, duration, fps, recording in zip(*columns, manifest.recordings().to_pylist(), strict=True):
        video = manifest.file(name)
        if isinstance(video, Path) and has_poses(video):
            space, rows = read_poses(video)
            check_reach(video, rows[:, 0], duration - 1 / fps)
            film = read_film(video)
            paired[name] = pairs = pair(rows[:, 0], film.times, str(video), tolerance)
            rows = rows[pairs.states]
            frames = film.frames(pairs.frames, backend)
            camera = read_camera(video)
            found.append(Episode(name, split, rows[:, 0], rows[:, 1:], space, frames, video, recording, camera))
    if not found:
        raise WildlamError(f"{path}: no poses; each video needs a NAME.poses.csv file, as `collect` writes them")
    report_pairs(path, paired)
    return found


FORMAT = Format(
    "video",
    order=3,  # last, as it says best what is missing in a folder of no format
    detects=lambda path: True,
    read=lambda path, tolerance, reading: read_posed_videos(path, tolerance=tolerance),
    spaces=tuple(SPACES.values()),
)
