"""What all pages share: the run, its decoder and controllers, its videos, and the latent actions inferred in them."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shlex
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from wildlam.app.jobs import Job, Jobs, in_a_line
from wildlam.app.keys import Driver
from wildlam.app.library import Item, Library
from wildlam.app.searched import Mapped, RunIndex, Searched
from wildlam.errors import WildlamError
from wildlam.fileio import read_json, write_atomically
from wildlam.models.decoder import Decoder
from wildlam.pretrained import FILMS, FIRST_FILM, TINY
from wildlam.video.index import index as index_videos
from wildlam.video.lerobot_films import is_lerobot
from wildlam.workflows.auxiliary import weights_fingerprint
from wildlam.workflows.controller import load_controller
from wildlam.workflows.groups import GROUP, Group, Groups, groups_folder
from wildlam.workflows.search_build import index_folder
from wildlam.workflows.search_filter import Transition
from wildlam.workflows.trained import Trained, load
from wildlam.workflows.transitions import Transitions, gather, projected

log = logging.getLogger(__name__)

NAMES = "app.json"
"""File in the run's folder that names of keys are kept in."""
FILMS_KEPT = 24
"""Films that were made and can still be played."""
LEFT_OUT_TOLD = 3
"""Videos that are left out of which it is told why."""
_NAMED = re.compile(r"[tc]\d+")  # of a transition, or of a code


@dataclass
class Loaded:
    """What takes seconds to load."""

    trained: Trained
    drivers: list[Driver]
    groups: Groups
    index: RunIndex


@dataclass
class Playground:
    """The playground's state.

    Attributes:
        run: the run folder.
        library: videos.
        runs: folder whose runs the page Runs shows.
        most: about how many transitions are mapped.
        index: folder of the index that is searched, which need not be there.
        decoder_of_run: the run's decoder, or wildlam-tiny's; None where neither paints its states.
        borrowed: whether it is wildlam-tiny's.
        no_decoder: why it has none; empty if it has one.
        jobs: long work.
        names: names that keys were given.
        transitions: those of the videos, once they are inferred.
        mapped: likewise, by video and time.
        actions: what was really done over them, see ``Transitions.actions``.
        gathering: the job that infers them.
    """

    run: Path
    library: Library
    runs: Path
    most: int
    index: Path
    decoder_of_run: Decoder | None
    borrowed: bool
    no_decoder: str
    jobs: Jobs = field(default_factory=Jobs)
    names: dict[str, str] = field(default_factory=dict)
    transitions: Transitions | None = None
    mapped: Mapped | None = None
    gathering: Job | None = None
    actions: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)
    _keys: list[str] = field(default_factory=list)
    _numbers: WeakKeyDictionary[Group, np.ndarray] = field(default_factory=WeakKeyDictionary)
    _points: dict[bool, dict[str, Any]] = field(default_factory=dict)
    _colours: dict[str, Any] = field(default_factory=dict)
    _loaded: Loaded | None = None
    _failed: str = ""
    _films: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def loaded(self) -> Loaded:
        """The run.

        Raises:
            WildlamError: it is still being loaded, or cannot be.
        """
        if self._failed:
            raise WildlamError(self._failed)
        if self._loaded is None:
            raise WildlamError("the model is still being loaded; a moment, please")
        return self._loaded

    @property
    def trained(self) -> Trained:
        """The model and its encoder; see ``loaded``."""
        return self.loaded.trained

    @property
    def decoder(self) -> Decoder:
        """The decoder.

        Raises:
            WildlamError: the run has none.
        """
        if self.decoder_of_run is None:
            raise WildlamError(f"{self.no_decoder}; train one: wildlam decoder train {shlex.quote(self.called)}")
        return self.decoder_of_run

    def start(self) -> None:
        """Load the run, then infer the latent actions of its videos, both in the background."""
        self.jobs.submit("loading the model", self._load, needed=True)
        if self.library.videos:
            title = "inferring latent actions of the videos"
            self.gathering = self.jobs.submit(title, self._gather, needed=True)

    def close(self) -> None:
        """Remove what was brought, and stop."""
        self.jobs.close()
        self.library.close()

    def told(self) -> dict[str, Any]:
        """What every page begins with, for JSON."""
        about: dict[str, Any] = {
            "ready": self._loaded is not None,
            "error": self._failed,
            "run": "wildlam-tiny" if self.run == TINY else self.run.name,
            "path": shlex.quote(self.called),
            "no_decoder": self.no_decoder,
            "borrowed": self.borrowed,
            "sources": self.library.sources,
            "videos": len(self.library.videos),
            "first": first.key if (first := self._first()) else None,
            "none": "" if self.library.videos else self._why_no_videos(),
            "gathering": self.gathering.told() if self.gathering else None,
            "transitions": len(self.transitions) if self.transitions else 0,
            "umap": importlib.util.find_spec("umap") is not None,
            "groups": [
                {"name": one.name, "size": len(one.members), "mapped": len(self.numbers_of(one))}
                for one in (self._loaded.groups if self._loaded else ())
            ],
        }
        if self._loaded is not None:
            of = self._loaded
            about |= {
                "model": repr(of.trained.model),
                "fps": of.trained.config.data.fps / of.trained.encoder.spec.frames_per_state,
                "indexed": of.index.open() is not None,
                "controllers": [
                    {"name": one.name, "title": one.title, "actions": list(one.space.action_names)}
                    for one in of.drivers
                ],
            }
        return about

    @property
    def called(self) -> str:
        """The run as a command takes it."""
        return "tiny" if self.run == TINY else str(self.run)

    def _first(self) -> Item | None:
        """The film to begin a drive or a plan with, of a source that a controller is named after; None without any."""
        videos, drivers = self.library.videos, self._loaded.drivers if self._loaded else []
        known = [one for one in videos if any(one.source and one.source in driver.name for driver in drivers)]
        return min(known, key=lambda one: (one.name != FIRST_FILM, one.split != "held_out"), default=None)

    def keep_film(self, film: bytes) -> str:
        """Keep a film to be played; return its name."""
        key = token_urlsafe(12)
        with self._lock:
            self._films[key] = film
            while len(self._films) > FILMS_KEPT:
                self._films.popitem(last=False)
        return key

    def film(self, key: str) -> bytes:
        """A film that was made.

        Raises:
            WildlamError: there is none.
        """
        film = self._films.get(key)
        if film is None:
            raise WildlamError("that film is gone; make it again")
        return film

    def driver(self, name: str) -> Driver:
        """A controller by its name.

        Raises:
            WildlamError: the run has none of that name.
        """
        for one in self.loaded.drivers:
            if one.name == name:
                return one
        raise WildlamError(
            f"this run has no controller {name!r}; train one: wildlam controller train {shlex.quote(self.called)} "
            "--data LABELLED"
        )

    def known(self) -> Transitions:
        """The transitions of the videos.

        Raises:
            WildlamError: they are not there yet, or cannot be.
        """
        if self.transitions is not None:
            return self.transitions
        if self.gathering is None:
            raise WildlamError(self._why_no_videos())
        raise WildlamError(self.gathering.error or "latent actions are still being inferred; a moment, please")

    def transition(self, one: Transition) -> dict[str, Any]:
        """A transition of a video that is shown, for JSON: its video's key and name, and its times."""
        item = self.library.named(one.video)
        assert item is not None
        return {"video": item.key, "name": item.name, "start": one.start, "end": one.end}

    def searched(self) -> Searched:
        """Where transitions are searched: in the run's index, or in those that are mapped.

        Raises:
            WildlamError: neither is there yet, or can be.
        """
        if (index := self.loaded.index.open()) is not None:
            return index
        self.known()
        assert self.mapped is not None
        return self.mapped

    def searched_in_words(self, searched: Searched) -> str:
        """What is searched, and how all of it would be."""
        count = f"{len(searched):,} transitions"
        if not isinstance(searched, Mapped):
            return f"All {count} of the run's index are searched."
        assert self.transitions is not None
        videos, there = len(self.transitions.videos), len(self.library.videos)
        line = f"{count} are searched, those of {'all' if videos == there else f'{videos:,} of {there:,}'} videos"
        if why := self.loaded.index.why_not:
            return f"{line} ({why})."
        if videos == there:
            return f"{line}."
        if self.library.copied:
            return f"{line}. For all: start with a larger --most."
        words = ["wildlam", "search", "build", self.called]
        if self.library.root != videos_of(self.run, None):
            words += ["--data.path", str(self.library.root)]
        if self.index != index_folder(self.run, None, "index", self.library.root):
            words += ["--out", str(self.index)]
        return f"{line}. For all: {shlex.join(words)}"

    @property
    def groups(self) -> Groups:
        """Groups of transitions; see ``loaded``."""
        return self.loaded.groups

    def numbers_of(self, group: Group) -> np.ndarray:
        """Numbers of those of a group's transitions that are mapped, ``int64 [n]``."""
        if self.mapped is None:
            return np.empty(0, np.int64)
        if group not in self._numbers:
            self._numbers[group] = self.mapped.numbers(group.members)
        return self._numbers[group]

    def group_named(self, name: str) -> Group:
        """A group by its name.

        Raises:
            WildlamError: there is none.
        """
        if (found := next((one for one in self.groups if one.name == name), None)) is None:
            raise WildlamError("no such group; it was forgotten")
        return found

    def rename(self, key: str, name: str) -> None:
        """Give a key of a drive, or a group, a name.

        Raises:
            WildlamError: the name is empty or too long, or none for a group; there is no such key.
        """
        if key.startswith(GROUP):
            self.groups.rename(key.removeprefix(GROUP), name)
            return
        name = " ".join(name.split())
        if not 0 < len(name) <= 40:
            raise WildlamError("a name has 1 to 40 letters")
        if not _NAMED.fullmatch(key):
            raise WildlamError("this key has a name of its own")
        self.names[key] = name
        self._keep()

    def group(self, name: str, numbers: list[int]) -> Group:
        """Name a group of transitions.

        Raises:
            WildlamError: it is empty, there are no such transitions, or there is a group of this name.
        """
        known, mapped = self.known(), self.mapped
        assert mapped is not None
        chosen = np.unique(np.array(numbers, dtype=np.int64))
        if not len(chosen) or chosen[0] < 0 or chosen[-1] >= len(known):
            raise WildlamError("a group is of one transition at least; draw a line around some")
        self.groups.check_free(name)
        return self.groups.save(name, [mapped.all[n] for n in chosen], known.z[chosen].numpy())

    def action_of(self, group: Group) -> Tensor:
        """The latent action ``[Z]`` that stands for a group: that of the transition nearest to its own, if any of it is
        mapped.
        """
        z, numbers = torch.from_numpy(group.z), self.numbers_of(group)
        return self.known().z[self.known().nearest(z, 1, numbers)[0]] if len(numbers) else z

    def _load(self, job: Job) -> None:
        try:
            trained = load(self.run)
            drivers = []
            spaces = sorted(self.run.glob("*/actions.json"))
            for folder in (file.parent for file in spaces if "drives" in read_json(file)):
                try:
                    controller, space = load_controller(folder, trained.encoder, trained.model)
                except WildlamError as error:  # interrupted, or of another model
                    log.warning("wildlam app: %s", error)
                    continue
                drivers.append(Driver(folder.name, controller, space))
            weights = weights_fingerprint(trained.model)
            groups = Groups(groups_folder(self.run, self.index), weights, trained.model.bottleneck.dim)
            index = RunIndex(self.index, weights, self.library)
            self._loaded = Loaded(trained, drivers, groups, index)
        except Exception as error:
            self._failed = in_a_line(error)
            raise

    def _gather(self, job: Job) -> dict[str, Any]:
        videos = [(item.file, item.source) for item in self.library.videos if item.file is not None]
        items, index = {str(item.file): item for item in self.library.videos}, self.loaded.index
        known = gather(
            self.trained,
            videos,
            self.most,
            count=lambda share: job.count(0.95 * share),  # then labels
            known=lambda file: index.transitions_of(items[str(file)].name),
        )
        for name, why in known.left_out.items():
            self.library.left_out[items[name].name] = why.removeprefix(f"{name}: ")
        if self.library.left_out:
            log.warning("wildlam app: %s", in_short(self.library.left_out))
        self._keys = [items[name].key for name in known.videos]
        folders = {source: self.folder_of(source) for source in dict.fromkeys(known.sources)}
        for folder in folders.values():
            with suppress(WildlamError):  # who reads the actions says so, or does without
                index_videos(folder, progress=False)  # or bars would move the address out of the terminal
        self.actions = known.actions(folders, self.trained.config.data.fps)
        self.mapped = Mapped(known, [items[name].name for name in known.videos])
        self.transitions = known
        self._recall()
        return {"transitions": len(known), "left_out": len(known.left_out)}

    def labels(self, driver: Driver) -> np.ndarray:
        """What was really done over each transition, ``float32 [M, A]`` as a controller takes it; NaN where unknown."""
        names = driver.space.action_names
        nothing = np.full((len(self.known()), len(names)), np.nan, np.float32)
        return self.actions.get(names, nothing)

    def suits(self, driver: Driver, source: str | None) -> bool:
        """Whether a controller's actions are those of a source's videos: by their poses, else by its name."""
        if source is None:
            return False
        if self.transitions is None or source not in self.transitions.sources:
            return source in driver.name
        return bool(np.isfinite(self.labels(driver)[self.transitions.of_source(source)]).any())

    def points(self, umap: bool) -> dict[str, Any]:
        """All transitions as points of a plane, and what colours them, for JSON; computed once."""
        known = self.known()
        if umap not in self._points:
            points = projected(known, umap).round(4)
            self._points[umap] = {"x": points[:, 0].tolist(), "y": points[:, 1].tolist()}
        if not self._colours:
            actions: dict[str, list[float | None]] = {}
            for names, values in self.actions.items():
                alike = [name for name in names if name in actions]  # of two kinds with a name in common, one is shown
                columns = zip(names, values.T, strict=True)
                actions |= {name: _for_json(column) for name, column in columns if name not in alike}
            self._colours = {
                "video": known.video.tolist(),
                "videos": self._keys,
                "sources": known.sources,
                "start": known.start.round(3).tolist(),
                "end": known.end.round(3).tolist(),
                "change": known.change.round(4).tolist(),
                "actions": actions,
            }
        return self._points[umap] | self._colours

    def folder_of(self, source: str) -> Path:
        """Folder of the videos of a source."""
        root = self.library.root
        assert root is not None
        return root if source == "." or is_lerobot(root) else root / source

    def _why_no_videos(self) -> str:
        where = f" in {self.library.root}" if self.library.root else ""
        return f"There are no videos{where}. Start with: wildlam app {shlex.quote(self.called)} --videos FOLDER"

    @property
    def _file(self) -> Path | None:
        """Where names of keys are kept: nowhere, for the model that comes with the package."""
        return None if self.run == TINY else self.run / NAMES

    def _keep(self) -> None:
        if self._file is None or self.transitions is None:
            return
        kept = {"transitions": _identity(self.transitions), "names": self.names}
        try:
            write_atomically(self._file, json.dumps(kept))
        except OSError as error:
            log.warning("wildlam app: names are not kept: %s: %s", self._file, error.strerror)

    def _recall(self) -> None:
        """Names of before, if they are of the same transitions."""
        if self._file is None or not self._file.is_file() or self.transitions is None:
            return
        try:
            kept = read_json(self._file)
            if kept["transitions"] == _identity(self.transitions):
                self.names = {str(key): str(name) for key, name in kept["names"].items()}
        except (WildlamError, KeyError, AttributeError) as error:
            log.warning("wildlam app: %s is damaged and left alone: %s", self._file, error)


def in_short(left_out: dict[str, str]) -> str:
    """How many videos are left out, and why, in a line."""
    some = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:LEFT_OUT_TOLD])
    more = f"; and {len(left_out) - LEFT_OUT_TOLD:,} more" if len(left_out) > LEFT_OUT_TOLD else ""
    return f"{len(left_out):,} video{'s are' if len(left_out) > 1 else ' is'} left out ({some}{more})"


def _for_json(values: np.ndarray) -> list[float | None]:
    return [round(float(value), 4) if np.isfinite(value) else None for value in values]


def _identity(known: Transitions) -> list[Any]:
    return [len(known), round(float(known.z.double().sum()), 3)]


def videos_of(run: Path, given: Path | None) -> Path | None:
    """Folder of the videos to show: the one that is given, else the run's own, if it is there.

    Raises:
        WildlamError: the given one is no folder.
    """
    if given is not None:
        if not given.is_dir():
            raise WildlamError(f"{given}: no such folder of videos")
        return given
    if run == TINY:
        return FILMS
    from wildlam.config import read_config

    path = Path(str(read_config(run / "config.yaml").data.path))
    return path if path.is_dir() else None


def use_half_of_the_cores() -> None:
    """A step of a drive is short: on all cores, beside a browser, threads wait for each other longer than they work."""
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
