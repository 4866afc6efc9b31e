"""Infer the latent action of every transition of a folder of videos into a search index: ``wildlam search build``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from tqdm import tqdm

from wildlam.config import config_from
from wildlam.distributed import Processes
from wildlam.errors import WildlamError, named, option, videos_given_by, videos_of
from wildlam.fileio import locked
from wildlam.models import LatentActionModel
from wildlam.pretrained import TINY, run_path
from wildlam.report.html import table
from wildlam.states import dataset
from wildlam.states.store import FeatureStore
from wildlam.types import settle_paths
from wildlam.video.decode import OnError
from wildlam.video.files import Location, is_remote
from wildlam.video.given import VideoFile
from wildlam.video.manifest import Manifest, Video, cache_folder, manifest_path
from wildlam.workflows import durations
from wildlam.workflows.auxiliary import weights_fingerprint
from wildlam.workflows.open_run import OpenRun, open_run
from wildlam.workflows.search_index import SearchIndex
from wildlam.workflows.trained import Trained
from wildlam.workflows.video_transitions import VideoTransitions, at_once_of, from_file, joined, transitions

FOLDER = "search"
"""Of the index, in the folder of a run."""
TINY_FOLDER = f"{FOLDER}-tiny"
"""Of that of the packaged run, in ``.wildlam`` in the folder of the videos."""
_LEAVES_OUT = ("on_error", "max_bad", "exclude")
"""What the configuration says of videos that are not to be used, as that of a training does."""
COMMIT_ROWS, COMMIT_SECONDS = 1 << 17, 60.0
"""An index grows by about so many rows at a time, or by those of so many seconds."""


@dataclass(frozen=True, kw_only=True)
class SearchBuildConfig:
    """What to make searchable.

    Args:
        run: the run folder, or the text ``"tiny"`` for the model that comes with the package.
        data: folder of videos; those of the run if not given.
        out: folder of the index; RUN/search if not given, and of ``"tiny"`` ``.wildlam/search-tiny`` in that of the
            videos.
        on_error: raise on a video that cannot be used, or skip it; as the run was trained if not given.
        max_bad: share of the videos that on_error=skip may leave out, from 0 to 1; likewise.
        exclude: patterns of paths below the folder, or of file names, that are left out; likewise.
    """

    run: Path
    data: Location | None = None
    out: Path | None = None
    on_error: OnError | None = None
    max_bad: float | None = None
    exclude: list[str] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.run, str):
            object.__setattr__(self, "run", run_path(self.run))
        settle_paths(self, "run", "data", "out")


@dataclass(frozen=True)
class SearchBuildResult:
    """An index, and what was done to it. Printed, and in a notebook, in figures.

    Attributes:
        index: the index.
        added: videos whose transitions are new in it.
        removed: videos that were taken out, as they are gone or have changed.
        rows: transitions in it.
        new_rows: those of the new videos.
        seconds: how long it took to infer, write and index these; not to encode their states.
        skipped: path and reason of each video that could not be used.
    """

    index: SearchIndex
    added: int
    removed: int
    rows: int
    new_rows: int
    seconds: float
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        rate = f" at {self.new_rows / self.seconds:,.0f} a second" if self.new_rows else ""
        left_out = f", {len(self.skipped):,} left out" if self.skipped else ""
        lines = [
            f"index      {self.index.folder}",
            f"rows       {self.rows:,} transitions, {self.new_rows:,} of them new{rate}",
            f"videos     {self.added:,} new, {self.removed:,} taken out{left_out}",
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        counts = {"transitions": f"{self.rows:,}", "new": f"{self.new_rows:,}", "new videos": f"{self.added:,}"}
        return table({str(self.index.folder): counts})


def index_folder(run: Path, given: Path | None, keyword: str, videos: Location | None = None) -> Path:
    """Folder of a run's index: the one that is given by a keyword, else RUN/search.

    That of the packaged run, which is only read, lies with what else is derived from the videos.

    Raises:
        WildlamError: it is the packaged run, and neither the folder nor the videos are given.
    """
    if given is None and run == TINY:
        if videos is None:
            raise WildlamError(
                f"the packaged run has no videos, and is only read: give a folder of videos as {option('data')}, or "
                f"that of the index as {option(keyword)}"
            )
        return cache_folder(videos) / TINY_FOLDER
    return given or run / FOLDER


def build_search(config: SearchBuildConfig | str | Path | None = None, /, **keywords: Any) -> SearchBuildResult:
    """Make the transitions of a folder of videos searchable by their latent actions.

    States come from the run's feature store, where videos are encoded first that are not there yet. Called again, it
    adds what is new, and takes out what is gone or has changed; so is a call that was interrupted resumed.

    Args:
        config: what to do, or a path, that of ``run``.
        keywords: fields of ``SearchBuildConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: something is wrong with the run or the videos, the index is of other weights or of another folder,
            or it cannot be written.
    """
    config = config_from(SearchBuildConfig, config, keywords)
    folder = index_folder(config.run, config.out, "out", config.data)
    opened = open_run(config.run)
    model = opened.model()
    chosen = {name: value for name in _LEAVES_OUT if (value := getattr(config, name)) is not None}
    try:
        data = replace(opened.config.data, **chosen)
    except ValueError as error:
        raise WildlamError(str(error)) from error
    if config.data is not None:
        data = replace(data, path=config.data.absolute(), cache=None, mixture={})
    names = videos_of(opened.run.path) if config.data is None else videos_given_by(option("data"))
    names |= {f"data.{name}": option(name) for name in _LEAVES_OUT}
    skipped: list[tuple[str, str]] = []
    refusal = f"let it end, or give another {option('out')}"
    with named(names), locked(folder, "building a search index", file=folder / ".lock", refusal=refusal):
        team = Processes(0, 1, opened.encoder.device)
        manifest = dataset.shared_index(data, team, skipped)
        known = data.path if data.path.suffix == ".parquet" else manifest_path(data.path, data.cache)
        index = SearchIndex.create(
            folder,
            weights=weights_fingerprint(model),
            dim=model.bottleneck.dim,
            root=str(manifest.root if is_remote(manifest.root) else manifest.root.absolute()),
            manifest=Path(known).absolute(),
            size=opened.encoder.spec.image_size,
        )
        opened = replace(opened, config=replace(opened.config, data=data))
        return replace(_built(index, opened, model, manifest, team), skipped=skipped)


def _built(
    index: SearchIndex, opened: OpenRun, model: LatentActionModel, manifest: Manifest, team: Processes
) -> SearchBuildResult:
    """Bring an index up to date with the videos of a manifest."""
    columns = (manifest.column(name).to_pylist() for name in ("path", "size", "mtime_ns"))
    wanted = {path: (size, changed) for path, size, changed in zip(*columns, strict=True)}
    there = index.videos()
    stale = [path for path, state in there.items() if wanted.get(path) != state]
    index.delete(stale)
    new = manifest.where(np.array([path not in there or there[path] != wanted[path] for path in wanted], dtype=bool))
    before, added, began = len(index), 0, time.monotonic()
    if len(new):
        found = _from_store(opened, model, manifest, new, team) or _from_files(opened, model, new)
        began = time.monotonic()  # when all is encoded
        rate = opened.config.data.fps / opened.encoder.spec.frames_per_state
        added = _append(index, new, found, rate)
    if added or stale or not index.settled:
        index.settle()
    rows = len(index)
    return SearchBuildResult(index, added, len(stale), rows, rows - before, time.monotonic() - began)


def _append(index: SearchIndex, new: Manifest, found: Iterator[tuple[str, VideoTransitions]], rate: float) -> int:
    """Add the transitions of videos as they are found, about ``rate`` a second, whole videos at a time.

    Returns:
        How many videos.
    """
    added = 0
    of = {video.path: video for video in new}
    pending: list[pa.Table] = []
    since = time.monotonic()

    def flush() -> None:
        if pending:
            index.append(pa.concat_tables(pending))
            pending.clear()

    expected = round(sum(video.duration for video in of.values()) * rate)
    with tqdm(total=expected, desc="inferring", unit=" transitions", miniters=1) as bar:
        try:
            for name, transitions in found:
                pending.append(_table(of[name], transitions))
                bar.update(len(transitions))
                added += 1
                if sum(map(len, pending)) >= COMMIT_ROWS or time.monotonic() - since > COMMIT_SECONDS:
                    flush()
                    since = time.monotonic()
        finally:  # what was inferred before an interrupt is kept
            flush()
    return added


def _table(video: Video, found: VideoTransitions) -> pa.Table:
    count = len(found)
    flat = pa.array(found.z.reshape(-1))
    return pa.table(
        {
            "video": [video.path] * count,
            "source": [video.source] * count,
            "start": found.start,
            "end": found.end,
            "speed": found.speed,
            "size": np.full(count, video.size),
            "mtime_ns": np.full(count, video.mtime_ns),
            "z": pa.FixedSizeListArray.from_arrays(flat, found.z.shape[1]),
        }
    )


def _from_store(
    opened: OpenRun, model: LatentActionModel, manifest: Manifest, new: Manifest, team: Processes
) -> Iterator[tuple[str, VideoTransitions]] | None:
    """The transitions of some videos of a manifest, by video, from states that are stored; None without a store."""
    config, encoder = opened.config, opened.encoder
    data, spec = config.data, encoder.spec
    if not (data.store and dataset.fits(manifest, data, spec)):
        return None
    frames = dataset.frames_to_encode(manifest, data, spec)
    durations.announce_encoding(config, encoder, manifest, frames)
    store = dataset.encode(data, encoder, manifest, team)
    store.cut_at(manifest.cuts())
    return _stored(store, model, encoder.device, new.column("path").to_pylist())


def _stored(
    store: FeatureStore, model: LatentActionModel, device: torch.device, paths: list[str]
) -> Iterator[tuple[str, VideoTransitions]]:
    sequences, at_once = store.sequences(), at_once_of(*model.state_shape)
    names = sequences.videos["path"].to_pylist()
    of = {name: number for number, name in enumerate(names)}
    order = np.argsort(sequences.video, kind="stable")
    edges = np.searchsorted(sequences.video[order], np.arange(len(names) + 1))
    for path in paths:
        if (number := of.get(path)) is None:
            continue  # it could not be decoded, which the encoding has said
        mine = order[edges[number] : edges[number + 1]]
        first = [np.arange(sequences.first[i], sequences.first[i] + sequences.length[i] - 1) for i in mine]
        rows = np.concatenate([*first, np.empty(0, np.int64)]).astype(np.int64)
        parts = []
        for some in np.split(rows, range(at_once, len(rows), at_once)):
            states = store.read(some[:, None] + np.arange(2)).to(device).float()
            parts.append(transitions(model, states, sequences.times[some], sequences.times[some + 1]))
        if len(rows):
            yield path, joined(parts)


def _from_files(opened: OpenRun, model: LatentActionModel, new: Manifest) -> Iterator[tuple[str, VideoTransitions]]:
    """As ``_from_store``, of videos that are decoded and encoded now."""
    trained = Trained(model, opened.encoder, opened.config, opened.run.path)
    cuts: Mapping[str, list[float]] = new.cuts()
    for video in new:
        file = new.file(video.path, video.offset, video.size)
        found = from_file(trained, VideoFile(file))
        if found is None:
            continue
        edges = np.array(cuts.get(video.path, []))
        whole = np.searchsorted(edges, found.start, side="right") == np.searchsorted(edges, found.end, side="right")
        if whole.any():
            parts = (found.z, found.start, found.end, found.speed)
            yield video.path, VideoTransitions(*(part[whole] for part in parts))
