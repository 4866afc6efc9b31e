"""Which videos are of one recording: the unit of a split, so that nothing held out has been seen in training.

Videos are of one recording where

* their paths differ only in a camera's name (``ep2/ext1.mp4`` and ``ep2/wrist.mp4``, ``ep2_left.mp4``,
  ``observation.images.top/ep2.mp4``) or only in their extension;
* their names differ only in what numbers the parts of a film (``film_part2.mp4``, ``film-Scene-002.mp4``, ``cd1``,
  ``film_1of3.mp4``, a GoPro's chapters, the seconds of Kinetics' clips, UCF-101's ``g01_c02``; ``film-001.mp4`` and
  ``film (1).mp4`` next to ``film.mp4``);
* they are copies: the same bytes, or the same film re-encoded (see `looks`).

A plain number is no part's: ``walk_001.mp4`` and ``walk_002.mp4`` are two recordings, as most sets count their episodes
like that. Parts that are named otherwise stay on one side in a folder called ``train`` or ``held_out``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import PurePosixPath

import numpy as np

from wildlam.video import looks
from wildlam.video.decode import VideoError, decode_at
from wildlam.video.files import AnyFile, Location, film_of, inside, opened
from wildlam.video.manifest import Video

_CAMERAS = frozenset(("wrist", "left", "right", "front", "rear", "back", "top", "side", "overhead", "ego", "exo"))
_AFTER_CAM = _CAMERAS | {"high", "low", "head"}
_COUNTED = re.compile(r"(?:cam|camera|ext|exterior|view|kinect|realsense|gopro|zed)(\d*)")
_BESIDE_CAMERAS = frozenset(("observation", "image", "images", "rgb", "color", "video", "videos"))
_PART = re.compile(
    r"(?<![^ _.\-])(?:(?:part|pt|cd|disc|disk)[ _.\-]?\d+|(?<=[ _.\-])scene[ _.\-]?\d+|\d+ ?of ?\d+)(?![^ _.\-])",
    re.IGNORECASE,
)
_ENDS = re.compile(r"(?<=.)(?:_\d{6}_\d{6}|(?<=_g\d\d)_c\d\d)$")  # Kinetics, UCF-101
_GOPRO = re.compile(r"(?:GOPR|G[PHXLS]\d\d)(\d{4})", re.IGNORECASE)
_BESIDE = re.compile(r"(.+?)(?:-\d{2,3}| \(\d+\))")
_SEPARATORS = re.compile(r"[ _.\-]+")
_SAME_LENGTH = 0.1  # seconds, or three frames, by which a copy's duration may differ
_MOST = 100_000  # videos of one length that each new one is compared with
_MOST_ALIKE = 200  # videos of one length and like beginnings that each new one is compared with, frame by frame
_PROBED = 1 << 20  # bytes at the beginning, middle and end that copies have in common
_MOMENTS = (0.5, 0.15, 0.3, 0.7, 0.85)  # shares of a time at which frames are compared, until some differ
_ABOUT = np.arange(-4, 5) * 0.04  # seconds beside a moment: another rate shows other frames, and begins later
_FINE = 16  # cells along each side of the frames compared then


def by_name(paths: Iterable[str], told: Mapping[str, str] | None = None) -> dict[str, str]:
    """The first path of each video's recording, as far as names show, or as it is ``told`` of some, by path."""
    paths = sorted(paths)
    keys = {path: (told or {}).get(path) or _key(path) for path in paths}
    there = set(keys.values())
    for path, key in keys.items():
        if (match := _BESIDE.fullmatch(key)) and match[1] in there:
            keys[path] = match[1]
    first: dict[str, str] = {}
    return {path: first.setdefault(keys[path], path) for path in paths}


def _key(path: str) -> str:
    """The path without what names a camera or a part."""
    *folders, name = path.split("/")
    stem = PurePosixPath(name).stem
    folders = [folder for folder in folders if _without_cameras(folder) or not folder]
    if gopro := _GOPRO.fullmatch(stem):
        return "/".join([*folders, f"GOPR{gopro[1]}"])
    film = _ENDS.sub("", stem)
    if _PART.search(film):
        film = _PART.sub("", film).strip(" _.-")
    kept = _without_cameras(film)
    # Of `part1.mp4` and `left.mp4` the folder is the recording.
    return "/".join([*folders, kept] if kept else folders)


def _without_cameras(name: str) -> str:
    """What is left of a name without a camera's; nothing if it is that of a camera alone."""
    words = _SEPARATORS.split(name)
    kept, number_follows, any_camera = [], False, False
    for word in words:
        counted = _COUNTED.fullmatch(word.lower())
        if number_follows and word.isdigit() and len(word) <= 2:
            number_follows = False
        elif counted or word.lower() in (_AFTER_CAM if any_camera else _CAMERAS):
            number_follows, any_camera = bool(counted and not counted[1]), True
        else:
            number_follows = False
            kept.append(word)
    if any_camera and all(word.lower() in _BESIDE_CAMERAS for word in kept):
        return ""
    return name if not any_camera else "_".join(word for word in kept if word)


def copies(base: Location, videos: Mapping[str, Video], changed: set[str], workers: int) -> dict[str, str]:
    """The first path of the film that each video is a copy of; only those that are copies or have some are in it.

    Args:
        base: folder that the paths are relative to.
        videos: all of them, by path.
        changed: those that are to be compared with all; what is known of the others stays.
        workers: threads that open files.

    Of more than `_MOST` videos of one length each is compared with its neighbours by length only, and of those whose
    first frames are alike with the `_MOST_ALIKE` nearest.
    """
    known = [
        (path, row.copy_of)
        for path, row in videos.items()
        if row.copy_of in videos and not {path, row.copy_of} & changed
    ]
    rows = sorted(videos.values(), key=lambda row: (row.duration, row.path))
    with ThreadPoolExecutor(workers) as pool:
        same = _same_bytes(base, rows, changed, pool)
        again = {path for path, _ in same}
        rows = [row for row in rows if row.path not in again]
        return _first_of(known + same + _same_films(base, rows, changed, pool))


def _first_of(pairs: list[tuple[str, str | None]]) -> dict[str, str]:
    """The first path of all that pairs join, for each path."""
    first: dict[str, str] = {}

    def root(path: str) -> str:
        while first.setdefault(path, path) != path:
            path = first[path]
        return path

    for one, other in pairs:
        assert other is not None
        ends = sorted((root(one), root(other)))
        first[ends[1]] = ends[0]
    return {path: root(path) for path in list(first)}


def _same_bytes(
    base: Location, rows: list[Video], changed: set[str], pool: ThreadPoolExecutor
) -> list[tuple[str, str | None]]:
    of_size: dict[int, list[Video]] = defaultdict(list)
    for row in rows:
        if film_of(row.path) == row.path:  # all parts of a film have its bytes
            of_size[row.size].append(row)
    doubtful = [row for some in of_size.values() if len(some) > 1 and changed & {r.path for r in some} for row in some]
    first: dict[tuple[int, bytes], str] = {}
    pairs: list[tuple[str, str | None]] = []
    for row, digest in zip(doubtful, pool.map(partial(_digest, base), doubtful), strict=True):
        if digest is not None:
            pairs.append((row.path, first.setdefault((row.size, digest), row.path)))
    return [pair for pair in pairs if pair[0] != pair[1]]


def _digest(base: Location, row: Video) -> bytes | None:
    """A hash of the beginning, middle and end of a file, all of it if it is small."""
    digest = blake2b(digest_size=16)
    try:
        with opened(inside(base, row.path, row.offset, row.size)) as source:
            file = open(source, "rb") if isinstance(source, str) else source  # noqa: SIM115 (closed below)
            with file:
                for place in (0, row.size // 2, max(row.size - _PROBED, 0)):
                    file.seek(place)
                    digest.update(file.read(_PROBED))
    except OSError:
        return None  # gone since it was listed: whoever reads it next says so
    return digest.digest()


def _same_films(
    base: Location, rows: list[Video], changed: set[str], pool: ThreadPoolExecutor
) -> list[tuple[str, str | None]]:
    """Pairs of videos that show the same film; ``rows`` are sorted by duration."""
    pairs = _alike(rows, changed)
    frames: dict[tuple[int, float], np.ndarray | None] = {}  # by row and time; None of what cannot be decoded

    def decode(place: tuple[int, float]) -> None:
        row, time = rows[place[0]], place[1]
        with suppress(VideoError):  # whoever reads it next says what is wrong
            frames[place] = _cells_about(inside(base, row.path, row.offset, row.size), time, row.plain)

    matches: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for moment in range(len(_MOMENTS)):
        times = {(i, j): _moment(moment, min(rows[i].duration, rows[j].duration)) for i, j in pairs}
        places = {(row, time) for pair, time in times.items() for row in pair} - frames.keys()
        frames |= dict.fromkeys(places)
        list(pool.map(decode, sorted(places)))
        for (i, j), time in times.items():
            if match := _matching(frames[i, time], frames[j, time]):
                matches[i, j].append(match)
        pairs = [pair for pair in pairs if len(matches[pair]) > moment]
    return [
        (rows[i].path, rows[j].path)
        for i, j in pairs
        if looks.same_film(*(np.stack(film) for film in zip(*matches[i, j], strict=True)))
    ]


def _moment(number: int, duration: float) -> float:
    """A time to compare films at, in seconds: at few places, as films are compared with several others."""
    return _MOMENTS[number] * 2.0 ** np.floor(np.log2(duration))


def _cells_about(file: AnyFile, time: float, plain: bool) -> np.ndarray:
    """The cells of the frames about a time, ``float32 [9, 256]``, each less its mean.

    Raises:
        VideoError: they cannot be decoded.
    """
    times = np.clip(time + _ABOUT, 0, None)
    cells = decode_at(file, times.tolist(), _FINE, plain=plain).float().mean(1).flatten(1).numpy()
    return cells - cells.mean(1, keepdims=True)


def _matching(one: np.ndarray | None, other: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The frames nearest to each other, of those about one moment of two films, the middle one of either film's."""
    if one is None or other is None:
        return None
    middle = len(_ABOUT) // 2
    pairs = [*((one[middle], frame) for frame in other), *((frame, other[middle]) for frame in one)]
    return next((pair for pair in pairs if looks.near(*pair)), None)


def _alike(rows: list[Video], changed: set[str]) -> list[tuple[int, int]]:
    """Pairs of rows whose durations and first frames agree, one of each changed."""
    if not rows:
        return []
    durations = np.array([row.duration for row in rows])
    cells = looks.cells_of([row.look or bytes(looks.SIDE**2) for row in rows])
    pairs = set()
    for i, row in enumerate(rows):
        if row.path not in changed:
            continue
        slack = max(_SAME_LENGTH, 3 / row.fps)
        begin, end = np.searchsorted(durations, (row.duration - slack, row.duration + slack))
        begin, end = max(begin, i - _MOST // 2), min(end + 1, i + _MOST // 2)
        alike = begin + np.flatnonzero(looks.near(cells[begin:end], cells[i]))
        if len(alike) > _MOST_ALIKE:  # black, or the same scene; copies are nearer than others
            alike = alike[np.argsort(np.abs(cells[alike] - cells[i]).max(1), kind="stable")[:_MOST_ALIKE]]
        for j in alike:
            if i != j:
                pairs.add((min(i, int(j)), max(i, int(j))))
    return sorted(pairs)


def joined(names: Mapping[str, str], copied: Mapping[str, str]) -> dict[str, str]:
    """The first path of the recording that each video is of, by names and copies together."""
    first = _first_of([*names.items(), *copied.items()])
    return {path: first[path] for path in names}
