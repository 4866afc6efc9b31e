"""Find transitions by the action in them: ``wildlam search``.

A transition is asked for by an example. What is found are the transitions whose latent actions point the same way, in
other videos.
"""

from __future__ import annotations

import logging
import os
import statistics
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from torch import Tensor

from wildlam.config import config_from, read_config
from wildlam.errors import WildlamError, option
from wildlam.fileio import writing
from wildlam.pretrained import run_path
from wildlam.report.html import table
from wildlam.report.pages.search import Shown, write_search_page
from wildlam.runs.folder import Run
from wildlam.video.files import Location
from wildlam.video.manifest import Manifest
from wildlam.video.opening import VideoError
from wildlam.workflows.auxiliary import weights_fingerprint
from wildlam.workflows.configs import SearchConfig
from wildlam.workflows.groups import GROUP, groups_of
from wildlam.workflows.open_run import load_model
from wildlam.workflows.search_build import index_folder
from wildlam.workflows.search_filter import Filter, Hit, Transition
from wildlam.workflows.search_index import SearchIndex
from wildlam.workflows.trained import load
from wildlam.workflows.video_transitions import from_file

log = logging.getLogger(__name__)

CALM = 0.2
"""Rank of speed below which hits hardly move, by their median."""
UNLIKE = 0.8
"""Distance beyond which a hit is hardly like the example."""
FRAMES = 8
"""Pictures of a transition, from the state before to the one after."""
ASKED_SHOWN, HITS_SHOWN = 6, 60
"""Members of a group, and of what was found, on the page at most."""


@dataclass(frozen=True)
class Example:
    """What is looked for.

    Attributes:
        name: as it was given.
        z: its latent action, ``float32 [Z]``; of a group its directions, ``[K, Z]``.
        transitions: transitions of the index that it is or stands for.
    """

    name: str
    z: np.ndarray = field(repr=False)
    transitions: tuple[Transition, ...] = ()


@dataclass(frozen=True)
class SearchResult:
    """What was found. Printed, and in a notebook, a table.

    Attributes:
        example: what was looked for.
        hits: the transitions, the nearest first.
        page: the page that shows them.
    """

    example: Example
    hits: list[Hit]
    page: Path

    def __str__(self) -> str:
        head = f"{'distance':>8}  {'seconds':>13}  {'faster than':>11}  video"
        rows = [
            f"{hit.distance:8.3f}  {hit.start:6.2f}-{hit.end:<6.2f}  {hit.rank:11.0%}  {hit.video}" for hit in self.hits
        ]
        if not rows:
            return "nothing found; ask for more speeds, moments or sources"
        return "\n".join([head, *rows, *self.notes])

    @property
    def notes(self) -> list[str]:
        """What makes the hits worth less than they look."""
        notes = []
        if self.hits and statistics.median(hit.rank for hit in self.hits) < CALM:
            notes.append(
                f"most of these hardly move, where the direction of a latent action is mostly noise: try "
                f"{option('min_speed')} {CALM:g}"
            )
        if any(hit.distance > UNLIKE for hit in self.hits):
            notes.append(f"a distance of 1 is that of unrelated actions; beyond {UNLIKE:g} little is alike")
        return notes

    def _repr_html_(self) -> str:
        return table(
            {
                str(hit): {
                    "distance": hit.distance,
                    "start": hit.start,
                    "end": hit.end,
                    "faster than": f"{hit.rank:.0%}",
                }
                for hit in self.hits
            }
        )


def search(config: SearchConfig | str | Path | None = None, /, **keywords: Any) -> SearchResult:
    """Find the transitions of other videos whose latent actions are nearest to that of an example, and show them.

    Args:
        config: what to look for, or a path, that of ``run``.
        keywords: fields of ``SearchConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: there is no index or it is not of this run, the example is none, or the page cannot be written.
    """
    config = config_from(SearchConfig, config, keywords)
    index = open_index(config.run, config.index, config.data)
    if unknown := sorted(set(config.sources) - set(index.sources)):
        raise WildlamError(
            f"{option('sources')}: no source {', '.join(unknown)}; there are {', '.join(index.sources) or 'none'}"
        )
    example = find_example(index, config.like, config.run)
    hits = index.nearest(example.z, config.count, excluding(config, example), distinct_videos=config.distinct_videos)
    if config.save_group is not None:
        members = list(dict.fromkeys([*map(_plain, example.transitions), *map(_plain, hits)]))
        groups_of(config.run, index).save(config.save_group, members, index.vectors(members))
    page = config.out or index.folder / "search.html"
    with writing(f"to {page}", f"give another {option('out')}"):
        _write_page(page, index, example, hits)
    return SearchResult(example, hits, page)


def open_index(run: Path | str, folder: Path | None = None, videos: Location | None = None) -> SearchIndex:
    """Open the index of a run, if it is of the weights that the run has now.

    Args:
        run: the run folder.
        folder: that of the index; where ``build_search`` makes it if not given.
        videos: folder of its videos, by which that of ``"tiny"`` is found.

    Raises:
        WildlamError: there is none, or it is of other weights or videos.
    """
    opened = Run.open(run_path(run))
    config = read_config(opened.path / "config.yaml")
    # Before the model is loaded, which takes longer.
    index = SearchIndex.open(index_folder(opened.path, folder, "index", videos))
    if videos is not None and videos.is_dir() and not index.is_of(videos):
        raise WildlamError(
            f"{index.folder} is an index of {index.root}, not of {videos}; give another {option('index')}, or build it "
            "again"
        )
    weights = weights_fingerprint(load_model(opened, config, opened.encoder_spec))
    index = SearchIndex.open(index.folder, weights)
    if not index.settled:
        log.warning("%s: its building was interrupted or goes on; `wildlam search build` completes it", index.folder)
    return index


def excluding(config: SearchConfig, example: Example) -> Filter:
    """The filter of a search: besides what it says, not in the videos of the example, nor the members of a group."""
    own = config.filter
    if config.same_video or example.name.startswith(GROUP):
        return replace(own, without_moments=frozenset((one.video, one.start) for one in example.transitions))
    return replace(own, without=frozenset(one.video for one in example.transitions))


def find_example(index: SearchIndex, like: str, run: Path | str) -> Example:
    """What an example says, see ``SearchConfig.like``.

    A video that the index does not have is encoded by the run.

    Raises:
        WildlamError: it says nothing that there is.
    """
    if like.startswith(GROUP):
        group = groups_of(run, index).find(like.removeprefix(GROUP))
        return Example(like, group.directions, tuple(index.held(group.members)))
    name, _, moment = like.rpartition("@")
    seconds = _seconds(moment) if name else None
    if seconds is None:
        name = like
    if name.endswith(".npz"):
        return Example(like, _saved(Path(name), seconds, index.dim))
    if seconds is None:
        raise WildlamError(
            f"{option('like')} {like}: give VIDEO@SECONDS, such as walk.mp4@12.5, a file of latent actions (.npz), or "
            f"{GROUP}NAME"
        )
    inside = _inside(name, Path(index.root))
    if inside is None and Path(name).is_file():
        return Example(like, _encoded(Path(name), seconds, run))
    transition, z = index.find(inside or name, seconds)
    return Example(like, z, (transition,))


def _inside(name: str, root: Path) -> str | None:
    """The path of a video in the folder of an index, as the index has it; None if it is not in there."""
    path = Path(name)
    if not path.is_absolute() and (root / path).is_file():
        return path.as_posix()
    if path.is_file() and path.resolve().is_relative_to(root.resolve()):
        return path.resolve().relative_to(root.resolve()).as_posix()
    return None


def _seconds(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if np.isfinite(found) else None


def _saved(file: Path, seconds: float | None, dim: int) -> np.ndarray:
    """A latent action of a file."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name]) for name in ("z", "start", "end") if name in arrays}
    except FileNotFoundError as error:
        raise WildlamError(f"{file}: no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:  # whose words advise to unpickle it
        raise WildlamError(f"{file} is no file of latent actions; write it by `wildlam infer`") from error
    z = np.atleast_2d(found.get("z", np.empty((0, 0))))
    if z.ndim != 2 or z.shape[1] != dim or not len(z):
        raise WildlamError(
            f"{file}: expected latent actions z of width {dim}, got {list(z.shape)}; infer them by this run"
        )
    if len(z) == 1 and seconds is None:
        return z[0]
    if seconds is None or not {"start", "end"} <= found.keys():
        raise WildlamError(f"{file} holds {len(z)} latent actions; choose one by {file}@SECONDS")
    return z[_at(found["start"], found["end"], seconds, str(file))]


def _encoded(video: Path, seconds: float, run: Path | str) -> np.ndarray:
    """The latent action of a file that the index does not have."""
    found = from_file(load(run), video)
    if found is None:
        raise WildlamError(f"{video}: too short for a transition")
    return found.z[_at(found.start, found.end, seconds, str(video))]


def _at(start: np.ndarray, end: np.ndarray, seconds: float, name: str) -> int:
    there = np.flatnonzero((start <= seconds) & (seconds < end))
    if not len(there):
        raise WildlamError(
            f"{name}: no transition at {seconds:g} s; there are some from {start[0]:.2f} to {end[-1]:.2f} s"
        )
    return int(there[0])


def pictures(index: SearchIndex, transition: Transition, size: int | None = None, count: int = FRAMES) -> Tensor:
    """Pictures of a transition of an index, from the state before to the one after, ``uint8 [count, 3, size, size]``.

    Args:
        index: the index, whose videos must still be where they were.
        transition: the transition.
        size: side of the pictures; that of the encoder's if not given.
        count: how many.

    Raises:
        VideoError: the video cannot be decoded.
        WildlamError: the manifest of the videos is gone.
    """
    return _pictures(Manifest.read(index.manifest), transition, size or index.size, count)


def _pictures(manifest: Manifest, transition: Transition, size: int, count: int) -> Tensor:
    times = np.linspace(transition.start, transition.end, count).tolist()
    try:
        return manifest.frames(transition.video, times, size)
    except KeyError as error:
        raise WildlamError(
            f"{transition.video} is no longer in the manifest; `wildlam search build` looks again"
        ) from error


def _plain(one: Transition) -> Transition:
    return Transition(one.video, one.source, one.start, one.end, one.speed)


def _write_page(page: Path, index: SearchIndex, example: Example, hits: Sequence[Hit]) -> None:
    manifest = Manifest.read(index.manifest)

    def shown(one: Transition, caption: str) -> Shown:
        caption = f"{caption}{one.video}, {one.start:.2f} to {one.end:.2f} s"
        try:
            frames = _pictures(manifest, one, index.size, FRAMES)
        except (VideoError, WildlamError) as error:
            return Shown(f"{caption}: cannot be shown ({error})", None)
        return Shown(caption, frames, _link(page, manifest, one))

    asked = [shown(one, "") for one in example.transitions[:ASKED_SHOWN]]
    found = [
        shown(hit, f"{number}. distance {hit.distance:.3f}, faster than {hit.rank:.0%}: ")
        for number, hit in enumerate(hits[:HITS_SHOWN], 1)
    ]
    subtitle = f"{len(hits)} of {len(index):,} transitions of {index.root}"
    if len(hits) > HITS_SHOWN:
        subtitle += f"; the first {HITS_SHOWN} are shown"
    write_search_page(page, f"Like {example.name}", asked, found, subtitle)


def _link(page: Path, manifest: Manifest, one: Transition) -> str:
    """A link from the page to a film on this machine, at a moment; empty where it is no file of its own."""
    file = manifest.file(one.video)
    if not isinstance(file, Path):
        return ""
    return f"{quote(os.path.relpath(file, page.absolute().parent))}#t={one.start:.3f},{one.end:.3f}"
