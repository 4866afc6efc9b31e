"""Index a folder of videos: find them, open each once, and split them into training and held-out ones."""

from __future__ import annotations

import logging
import math
import os
import re
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from wildlam.errors import WildlamError, option
from wildlam.fileio import locked
from wildlam.progress import Count, up_to
from wildlam.types import Split
from wildlam.video import recordings
from wildlam.video.cuts import find_cuts
from wildlam.video.decode import OnError, VideoError, VideoInfo, probe, probe_part
from wildlam.video.files import (
    AnyFile,
    Location,
    Part,
    film_of,
    inside,
    is_hidden,
    is_remote,
    location,
    reachable,
    tar_members,
)
from wildlam.video.lerobot_films import Listed, films_of, is_lerobot
from wildlam.video.manifest import SCHEMA, Manifest, Video, manifest_path
from wildlam.video.splits import (
    HELD_OUT,
    assign_splits,
    common_folder,
    drawn_split,
    from_each_source,
    source_of,
    splits_of,
)
from wildlam.video.timeline import known_plain

log = logging.getLogger(__name__)

EXTENSIONS = ("mp4", "webm", "mkv", "avi", "mov", "m4v", "mpg", "mpeg", "ts", "ogv", "flv", "wmv", "gif")

RECORDINGS = ("*.hdf5", "*.h5", "*.zarr", "*.zarr.zip", "*.tfrecord*", "traj_data.pkl")
"""Names of what holds pictures one by one, which are no films."""
_ENDINGS = tuple(f".{extension}" for extension in (*EXTENSIONS, "tar"))  # the shards' last
_LISTED = re.compile(rf"(.+\.(?:{'|'.join((*EXTENSIONS, 'tar'))}))(?:[\s,;]+\S*)?", re.IGNORECASE)
_FILMS = re.compile(r"(?:(?<=/)|^)videos/")
_OPENING = 0.05  # of the bytes of a film that is then searched for cuts, which takes far longer
_SAVE_EVERY = 5000  # videos, so that an interrupted indexing of a large folder goes on where it stopped


@dataclass(frozen=True, slots=True)
class Found:
    """A video's file, not yet opened; see `Video` for what the attributes mean."""

    path: str
    size: int
    mtime_ns: int
    offset: int | None = None


def index(
    root: Location | str,
    *,
    held_out: float = 0.1,
    on_error: OnError = "raise",
    max_skipped: float = 0.1,
    exclude: Sequence[str] = (),
    cuts: bool = False,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: bool = True,
    skipped: list[tuple[str, str]] | None = None,
) -> Manifest:
    """Make or refresh the manifest of a folder of videos; only new and changed files are opened.

    Args:
        root: a folder, searched at any depth for videos and tar shards of videos (hidden files and folders are
            left out); or a text or CSV file without header that lists a video or shard per line, optionally
            followed by a label; all of these may be URLs; or a manifest on a disk, which is then used as it is.
        held_out: share of the videos to hold out, in (0, 1). Another share than last time draws the splits anew.
            A folder named train, val, test or the like decides for the videos in it.
        on_error: ``"raise"`` or ``"skip"`` files that cannot be used; skipped ones are counted and named in a warning.
        max_skipped: largest share of the files that may be skipped.
        exclude: patterns (``*``, ``?``, ``[...]``) of paths below ``root``, or of file names, that are left out.
        cuts: look for cuts where no one has yet; without it, the manifest shows none, though they stay in the file.
        cache: folder for the manifest, instead of ``.wildlam`` in the folder of the videos.
        workers: threads that open files; by default the number of cores.
        progress: show a bar with the time left.
        skipped: takes the path, relative as in the manifest, and the reason of each file that is skipped.

    Raises:
        VideoError: a file cannot be used (with ``on_error="raise"``).
        WildlamError: there is nothing at ``root``, no video or only one, too many were skipped, or the manifest cannot
            be read or written.
    """
    root = location(root)
    if root.suffix.lower() == ".parquet" and is_remote(root):
        raise WildlamError(f"{root}: a manifest must lie on a disk; copy it there")
    if root.suffix.lower() == ".parquet" and root.is_file():
        given = Manifest.read(root)
        if exclude:
            wanted = [not _excluded(path, exclude) for path in given.column("path").to_pylist()]
            given = given.where(np.array(wanted, dtype=bool))
        if cuts and given.column("cuts").null_count:
            raise WildlamError(
                f"{root}: its videos have not been searched for cuts; `wildlam index FOLDER --cuts` does"
            )
        return given if cuts else given.uncut()
    with reachable(root):
        target = manifest_path(root, cache)
        base, listed, told = _videos_at(root, held_out)
    with locked(target, "indexing videos"):
        new, failures = _indexed(
            base, listed, told, target, held_out, on_error, max_skipped, exclude, cuts, workers or cores(), progress
        )
    if skipped is not None:
        top = str(base).rstrip("/") + "/"
        skipped += sorted((failure.path.removeprefix(top), failure.reason) for failure in failures)
    return new if cuts else new.uncut()


def _indexed(
    base: Location,
    listed: dict[str, tuple[int, int] | None],
    told: Mapping[str, Listed],
    target: Path,
    held_out: float,
    on_error: OnError,
    max_skipped: float,
    exclude: Sequence[str],
    cuts: bool,
    workers: int,
    progress: bool,
) -> tuple[Manifest, list[VideoError]]:
    """The manifest at ``target``, made or refreshed, and what was skipped; see `index`."""
    unfinished = target.with_name(f"unfinished-{target.name}")  # what an interrupted indexing got done
    last = unfinished if unfinished.exists() else target
    old = Manifest.read(last) if last.exists() else Manifest(base, SCHEMA.empty_table(), held_out)
    if _absolute(old.root) != _absolute(base):
        remedy = f"give {base} another {cache}" if (cache := option("data.cache")) else "remove it"
        raise WildlamError(f"{last}: the manifest of another folder, {old.root}; {remedy}")
    top = common_folder(listed)
    # An unfinished manifest's splits were drawn before it was known what belongs together.
    settled = old if last is target or not target.exists() else Manifest.read(target)
    kept = {}
    if settled.held_out == held_out and (last is target or target.exists()):
        kept = dict(zip(*(settled.column(name).to_pylist() for name in ("path", "split")), strict=True))
    kept |= {path: one.split for path, one in told.items()}

    videos, changed, seen, failures = _compared(base, listed, {video.path: video for video in old}, top, exclude, cuts)
    count_of_files = len(videos) + len(changed) + len(failures)
    if not count_of_files:
        raise WildlamError(f"{base}: {option('data.exclude') or 'exclude'} leaves no video of {len(listed)}")

    def manifest(splits: dict[str, Split]) -> Manifest:
        rows = [asdict(replace(videos[path], split=splits[path])) for path in sorted(videos)]
        return Manifest(base, pa.Table.from_pylist(rows, SCHEMA), held_out)

    if changed:
        _check_writable(target)  # now, and not after an hour of opening files
    due = _SAVE_EVERY
    for count, result in enumerate(_examined(base, changed, top, cuts, seen, workers, progress), 1):
        if isinstance(result, VideoError):
            failures.append(result)
        else:
            videos[result.path] = result
        if count == due or (failures and count == len(changed)):
            due += max(_SAVE_EVERY, count // 4)  # each time, all is written anew
            drawn = {path: kept.get(path) or drawn_split(path, held_out, top) for path in videos}
            manifest(drawn).write(unfinished)
    _judge(failures, count_of_files, on_error, max_skipped)

    copied = recordings.copies(base, videos, {file.path for file in changed} & videos.keys(), workers)
    firsts = _firsts(videos, copied, told)
    for path, row in videos.items():
        videos[path] = replace(row, copy_of=copied.get(path), recording=firsts[path])
    splits = assign_splits(videos, held_out, kept, top, firsts)
    new = manifest(from_each_source(splits, kept, top, firsts))
    if not target.exists() or last is unfinished or old.held_out != held_out or not new.table.equals(old.table):
        _check_writable(target)
        new.write(target)
    if unfinished.exists():  # asked first, as even a vain unlink fails on a read-only file system
        unfinished.unlink()
    return new, failures


class _Compared(NamedTuple):
    """Files on disk, compared with a manifest."""

    videos: dict[str, Video]
    """Rows of files that need not be opened, by path."""
    changed: list[Found]
    """Files to open."""
    seen: dict[str, list[float] | None]
    """Cuts of files that must be opened though they have not changed."""
    failures: list[VideoError]


def _compared(
    base: Location,
    listed: Mapping[str, tuple[int, int] | None],
    known: Mapping[str, Video],
    top: str,
    exclude: Sequence[str],
    cuts: bool,
) -> _Compared:
    found = _Compared({}, [], {}, [])
    for path, stamp in listed.items():
        if _excluded(path, exclude):
            continue
        try:
            files = _files(base, path, stamp)
        except VideoError as error:
            found.failures.append(error)
            continue
        for file in files:
            if _excluded(file.path, exclude):
                continue
            row = known.get(file.path)
            same = row is not None and Found(row.path, row.size, row.mtime_ns, row.offset) == file
            looked = row is not None and None not in (row.odd, row.look)  # or only an earlier version has
            if row is not None and same and looked and (row.cuts is not None or not cuts):
                found.videos[file.path] = replace(row, source=source_of(file.path, top))
            else:
                found.changed.append(file)
                if row is not None and same:
                    found.seen[file.path] = row.cuts
    return found


def _excluded(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) or fnmatchcase(path.rpartition("/")[2], pattern) for pattern in patterns)


def _firsts(videos: Mapping[str, Video], copied: dict[str, str], told: Mapping[str, Listed]) -> dict[str, str]:
    """The first path of each video's recording. Where all are of one, something of it is held out all the same."""
    names = recordings.by_name(videos, {path: one.episode for path, one in told.items()})
    together = recordings.joined(names, copied)
    if len(videos) < 2 or len(set(together.values())) > 1:
        return together
    if len(set(names.values())) > 1:
        log.warning("all %d videos are copies of one: training sees what is held out; add others", len(videos))
        return names
    log.warning("all %d videos are of one recording, going by their names, and so is what is held out", len(videos))
    return {path: path for path in videos}


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_videos(root: Path | str) -> list[str]:
    """Sorted relative paths of the video files and tar shards below ``root``, by extension.

    Hidden files and folders are left out. A linked folder is followed where it leads out of the tree, once; one that
    leads to a folder in the tree, or to one that the tree is in, would name the same videos twice or without end.
    """
    found: list[str] = []
    entered = [os.path.realpath(root)]
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [
            name
            for name in sorted(folders)
            if not name.startswith(".") and _leads_on(os.path.join(folder, name), entered)
        ]
        inside = Path(folder).relative_to(root)
        found += [
            (inside / name).as_posix() for name in files if not name.startswith(".") and name.lower().endswith(_ENDINGS)
        ]
    return sorted(found)


def list_videos(root: Path) -> dict[str, tuple[AnyFile, Split]]:
    """The videos below a folder, by their paths in a manifest, with their files and splits; none of them is opened.

    Episodes of LeRobotDatasets are videos of their own, and so are those in tar shards. A file that cannot be read is
    told of and left out. The splits are those that a folder's name, a data set or a path says; of a manifest that is
    there, they may be others.

    Raises:
        WildlamError: the tables of a LeRobotDataset cannot be read.
    """
    listed, told = _by_episode(root, dict.fromkeys(find_videos(root)), HELD_OUT)
    files: dict[str, AnyFile] = {}
    for path in listed:
        try:
            found = _files(root, path, None)
        except VideoError as error:
            log.warning("left out: %s", error)
        else:
            files |= {one.path: inside(root, one.path, one.offset, one.size) for one in found}
    splits = splits_of(files) | {path: one.split for path, one in told.items()}
    return {path: (file, splits[path]) for path, file in files.items()}


def _leads_on(folder: str, entered: list[str]) -> bool:
    """Whether to go on into a folder; where a link leads out of the trees ``entered`` so far, it joins them."""
    if not os.path.islink(folder):
        return True
    target = os.path.realpath(folder)
    if any(os.path.commonpath([target, tree]) in (target, tree) for tree in entered):
        return False
    entered.append(target)
    return True


def _found_remotely(root: Location) -> dict[str, tuple[int, int]]:
    """As `find_videos`, in an object store, with each file's size and time of change: one listing holds them all."""
    folder: Any = root
    top = folder.path.rstrip("/") + "/"
    found = {}
    for name, about in folder.fs.find(folder.path, detail=True).items():
        inside = name.removeprefix(top)
        if inside.lower().endswith(_ENDINGS) and not is_hidden(inside):
            found[inside] = _stamp(about)
    return dict(sorted(found.items()))


def _stamp(about: dict[str, Any]) -> tuple[int, int]:
    """A remote file's size, and when it changed last in nanoseconds, by what its file system calls that."""
    names = ("LastModified", "last_modified", "mtime", "updated", "created")
    when = next((about[name] for name in names if about.get(name)), 0)
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    seconds = when.timestamp() if isinstance(when, datetime) else float(when)
    return int(about["size"] or 0), round(seconds * 1e9)


def read_list(path: Location | str) -> list[str]:
    """Paths in a list of videos without header: one a line, with or without a label after it; labels are dropped.

    Paths may hold spaces, which is why the extension and not the first space ends them.

    Raises:
        WildlamError: the file is no text, or a line names no video.
    """
    try:
        lines = location(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise WildlamError(f"{path}: not a text file in UTF-8; a list of videos has one path a line") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _LISTED.fullmatch(line.strip().replace('"', ""))
        if match is None:
            raise WildlamError(
                f"{path}, line {number}: no video in {line.strip()[:100]!r}; a line is a path, and a label if you like "
                f"(extensions: {', '.join(EXTENSIONS)})"
            )
        found.append(match[1] if "://" in match[1] else PurePosixPath(match[1]).as_posix())
    return sorted(set(found))


def _videos_at(
    root: Location, held_out: float
) -> tuple[Location, dict[str, tuple[int, int] | None], dict[str, Listed]]:
    """The folder that paths are relative to, the videos' paths, with sizes and times of change where known, and what
    data sets say of some.
    """
    listed: dict[str, tuple[int, int] | None]
    if root.is_dir():
        base, listed = root, {**_found_remotely(root)} if is_remote(root) else dict.fromkeys(find_videos(root))
    elif not root.exists():
        raise WildlamError(f"{root}: no such folder, manifest or list of videos; check {option('data.path')}")
    elif root.suffix.lower() in (".csv", ".txt"):
        base, listed = root.parent, dict.fromkeys(read_list(root))
    elif recordings_below(root):
        base, listed = root.parent, {}
    else:
        raise WildlamError(
            f"{root}: a single file; {option('data.path')} takes a folder of videos, a manifest (.parquet) or a list "
            "(.csv, .txt)"
        )
    if not listed:
        if root.is_dir() and is_lerobot(root):
            films_of(root)  # says why there are none, if it can
        if found := recordings_below(root):
            raise WildlamError(
                f"{root}: no videos found, but {found}, whose pictures lie one by one; write each episode as a "
                f"film, to train on these: wildlam data {shlex.quote(str(root))} --films FOLDER"
            )
        raise WildlamError(
            f"{root}: no videos found (extensions: {', '.join(EXTENSIONS)}; hidden files are left out); check "
            f"{option('data.path')}"
        )
    if root.is_dir():
        _tell_without_films(root, listed)
    return base, *_by_episode(base, listed, held_out)


def recordings_below(root: Location) -> str:
    """Name of a file, or folder, in which pictures lie one by one; empty if there is none."""
    if not isinstance(root, Path):
        return ""
    if any(map(root.match, RECORDINGS)):
        return root.name
    return next((file.name for pattern in RECORDINGS for file in root.rglob(pattern)), "")


def _by_episode(
    base: Location, listed: dict[str, tuple[int, int] | None], held_out: float
) -> tuple[dict[str, tuple[int, int] | None], dict[str, Listed]]:
    """The videos, those of LeRobotDatasets episode by episode, and what these say of each."""
    folders = {path[: at.start()].rstrip("/") for path in listed if (at := _FILMS.search(path))}
    found, told = dict(listed), dict[str, Listed]()
    for folder in sorted(folders):
        if not is_lerobot(base / folder if folder else base):
            continue
        below = f"{folder}/" if folder else ""
        films = {path for path in listed if path.startswith(f"{below}videos/")}
        episodes = films_of(base / folder if folder else base, held_out)
        for film in films:
            del found[film]
        for episode in episodes:
            if (film := below + episode.film) in films:
                found[below + episode.path] = listed[film]
                told[below + episode.path] = episode._replace(episode=below + episode.episode)
        if missing := {below + episode.film for episode in episodes} - films:
            log.warning("%s: %d films that its tables name are not there: %s", base, len(missing), _few(missing))
        if unknown := films - {below + episode.film for episode in episodes}:
            log.warning("%s: %d films that no table names are left out: %s", base, len(unknown), _few(unknown))
    return dict(sorted(found.items())), told


def _tell_without_films(root: Location, listed: Iterable[str]) -> None:
    """Warn of LeRobotDatasets in a local folder, up to two levels below it, that have no films."""
    if not isinstance(root, Path):
        return
    sets = {file.parents[1].relative_to(root) for k in range(3) for file in root.glob(f"{'*/' * k}meta/info.json")}
    films = {str(folder): (folder / "videos").as_posix() + "/" for folder in sets}
    without = [name for name, below in films.items() if not any(path.startswith(below) for path in listed)]
    if without:
        log.warning(
            "%s: LeRobotDatasets without films are left out: %s; if their pictures lie in tables, `wildlam data SET "
            "--films FOLDER` writes them as films",
            root,
            _few(without),
        )


def _few(paths: Iterable[str]) -> str:
    """The first of some paths."""
    first = sorted(paths)
    return ", ".join(first[:5]) + (", ..." if len(first) > 5 else "")


def _absolute(base: Location) -> str:
    return str(base if is_remote(base) else base.resolve())


def _files(base: Location, path: str, stamp: tuple[int, int] | None) -> list[Found]:
    """A video's file, or the videos in a tar shard."""
    file = inside(base, film_of(path), None, 0)
    try:
        path.encode()
        if stamp is None and isinstance(file, Path):
            stat = file.stat()
            stamp = stat.st_size, stat.st_mtime_ns
        elif stamp is None:
            stamp = _stamp(file.fs.info(file.path))  # type: ignore[union-attr]
        if not path.lower().endswith(".tar"):
            return [Found(path, *stamp)]
        members = tar_members(file)  # type: ignore[arg-type]
    except UnicodeEncodeError as error:
        raise VideoError(path.encode(errors="replace").decode(), "its name is not UTF-8: rename it") from error
    except OSError as error:
        raise VideoError(file, error.strerror or str(error) or "unreadable") from error
    videos = [file for file in members if file.name.lower().endswith(_ENDINGS[:-1]) and not is_hidden(file.name)]
    if not videos:
        raise VideoError(file, "holds no video")
    return [Found(f"{path}/{video.name}", video.size, stamp[1], video.offset) for video in videos]


def _examined(
    base: Location,
    changed: list[Found],
    top: str,
    cuts: bool,
    seen: Mapping[str, list[float] | None],
    workers: int,
    progress: bool,
) -> Iterator[Video | VideoError]:
    films: dict[str, Future[VideoInfo]] = {}
    lock = Lock()

    def probed(file: AnyFile, count: Count) -> VideoInfo:
        """A part's film is read once."""
        if not isinstance(file, Part):
            return probe(file, count)
        with lock:
            mine = str(file.film) not in films
            known = films.setdefault(str(file.film), Future())
        if mine:
            try:
                known.set_result(probe(file.film, count))
            except BaseException as error:  # whatever it is, or those that wait would wait for ever
                known.set_exception(error)
        return probe_part(file, known.result())

    def examine(found: Found) -> Video | VideoError:
        file = inside(base, found.path, found.offset, found.size)
        count = up_to(bar, found.size)
        try:
            info = probed(file, lambda read: count(read * (_OPENING if cuts else 1)))
            # Of an odd film, an earlier version may have looked at other frames.
            shots = None if info.odd else seen.get(found.path)
            if cuts and isinstance(file, Part):
                shots = []  # one take
            elif cuts and shots is None:
                share = found.size * (1 - _OPENING) / info.duration
                shots = find_cuts(file, known_plain(info.odd), lambda seconds: count(seconds * share))
        except VideoError as error:
            return error
        finally:
            count(found.size)
        about = asdict(info) | {"breaks": list(info.breaks), "odd": list(info.odd)}
        return Video(source=source_of(found.path, top), split="train", cuts=shots, **about, **asdict(found))

    # Threads, not processes: FFmpeg works outside Python's lock, and they start at once.
    size = sum(found.size for found in changed)
    with (
        # With miniters, small steps show after the leaps of files whose headers say enough.
        tqdm(
            total=size, desc="indexing", unit="B", unit_scale=True, miniters=1, disable=not (progress and changed)
        ) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        yield from pool.map(examine, changed)


def _judge(failures: list[VideoError], files: int, on_error: OnError, max_skipped: float) -> None:
    if not failures:
        return
    named = "; ".join(str(failure) for failure in failures[:5]) + ("; ..." if len(failures) > 5 else "")
    many = f"{len(failures)} of {files} videos cannot be used"
    remedy = _ways_to_leave_out(len(failures), files, on_error, max_skipped)
    if on_error == "raise":
        if len(failures) == 1 and files > 1:
            raise VideoError(failures[0].path, f"{failures[0].reason}; repair or remove it{remedy}")
        raise WildlamError(f"{many}: {named}. Mend or remove them{remedy}")
    if len(failures) > max_skipped * files:
        raise WildlamError(
            f"{many}, more than the {max_skipped:.0%} that may be skipped: {named}. Mend or remove them{remedy}"
        )
    log.warning("skipped %d of %d videos: %s", len(failures), files, named)


def _ways_to_leave_out(failures: int, files: int, on_error: OnError, max_skipped: float) -> str:
    """How an error goes on: the options of the running command, if it has any, that leave out videos."""
    skip, most, exclude = (option(f"data.{name}") for name in ("on_error", "max_bad", "exclude"))
    if failures == files:
        return ""
    ways = [f"{exclude} PATTERN"] if exclude else []
    if skip and failures <= max_skipped * files:
        ways.insert(0, f"{skip}=skip")
    elif skip and most:
        more = f"{most}={math.ceil(failures / files * 100) / 100:g}"
        ways.insert(0, f"{skip}=skip and {more}" if on_error == "raise" else more)
    return f", or leave {'it' if failures == 1 else 'them'} out with {' or '.join(ways)}" if ways else ""


def _check_writable(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        cache = option("data.cache")
        remedy = f"name another folder with {cache}" if cache else f"give a copy that can be by {option('data.path')}"
        raise WildlamError(f"{target.parent}: cannot be written ({error.strerror}); {remedy}") from error
