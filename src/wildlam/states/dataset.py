"""From a folder of videos to clips of states."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from tqdm import tqdm

from wildlam.distributed import Processes
from wildlam.episodes.poses import has_poses
from wildlam.errors import option
from wildlam.fileio import locked
from wildlam.states.encode import encode_videos, refresh
from wildlam.states.integrity import drop_copies
from wildlam.states.loader import StoreSource, eval_batches, longest_sequence
from wildlam.states.store import FeatureStore
from wildlam.types import BatchSource, Encoder, EncoderSpec, StateBatch, VideoBatch
from wildlam.video.config import DataConfig
from wildlam.video.index import index
from wildlam.video.loader import ClipSource, decode_windows, prefetch
from wildlam.video.manifest import Manifest, manifest_path
from wildlam.video.oddities import summary
from wildlam.video.sampling import SLOW, Draws, eval_windows, long_enough

log = logging.getLogger(__name__)

CLIPS_PER_SOURCE = 128
"""Held-out clips of each source that are evaluated."""

HELD_OUT_CLIPS = 2048
"""Held-out clips of all sources together, which lie in memory; each source gives one at least."""

LABELLED_CLIPS = 256
"""Training clips with true actions, of each source, from which the probes learn."""

EVAL_BATCH = 16


@dataclass
class Clips:
    """Training batches and held-out clips of one run, whether states come from a store or are encoded at every step."""

    manifest: Manifest
    encoder: Encoder
    source: BatchSource
    workers: int
    held_out: list[StateBatch]
    labelled: Callable[[], list[StateBatch]]
    """Gives training clips of videos whose true actions are known, for the probes."""

    @property
    def online(self) -> bool:
        """Whether clips are encoded at every step."""
        return isinstance(self.source, ClipSource)

    def batches(self, start: int, stop: int) -> Iterator[VideoBatch | StateBatch]:
        """This process's batches of steps ``start`` to ``stop - 1``, prepared ahead."""
        return prefetch(self.source, start, stop, self.workers)

    def states(self, batch: VideoBatch | StateBatch) -> tuple[Tensor]:
        """States ``[B, T, N, D]`` of a batch, float32, on the device."""
        if isinstance(batch, VideoBatch):
            return (self.encoder.encode(batch.video),)
        return (batch.states.to(self.encoder.device).float(),)


def index_videos(data: DataConfig, skipped: list[tuple[str, str]] | None = None) -> Manifest:
    """Write or refresh the manifest of a run's videos; those too short for a clip raise or are left out.

    ``skipped`` takes the path and the reason of each that is left out.
    """
    options: dict[str, Any] = {"held_out": data.held_out, "on_error": data.on_error, "cuts": data.cuts}
    options |= {"max_skipped": data.max_bad, "exclude": data.exclude, "cache": data.cache}
    manifest = index(data.path, skipped=skipped, **options)
    for line in summary(manifest):
        log.info(line)
    kept = long_enough(manifest, data.frames, data.fps, data.on_error)
    if skipped is not None:
        short = set(manifest.column("path").to_pylist()) - set(kept.column("path").to_pylist())
        skipped += [(path, "too short for a clip") for path in sorted(short)]
    return kept


def store_path(data: DataConfig, spec: EncoderSpec) -> Path:
    """Where the states of a run's videos lie: a folder of its own for each encoder, rate and length of window."""
    window = f"-{data.frames}frames" if spec.context == "clip" else ""
    return data.cache_folder / f"states-{spec.name}-{spec.fingerprint}-{data.fps:g}fps{window}.lance"


def encode(data: DataConfig, encoder: Encoder, manifest: Manifest, team: Processes) -> FeatureStore:
    """Encode all videos of a manifest that the store does not hold yet, each process its share of them.

    Another run that encodes into the same store is waited for; what it has encoded is not encoded again.
    """
    path = store_path(data, encoder.spec)

    def opened() -> FeatureStore:
        return FeatureStore.create_or_resume(path, encoder.spec, data.fps, data.frames)

    # The main process locks for all: they are done before it lets go.
    with locked(path, "encoding videos") if team.is_main else contextlib.nullcontext():
        if team.is_main:
            refresh(manifest, opened())
            if twice := drop_copies(opened()):
                log.warning("%s: %d states were there twice, of %d videos; removed", path, twice.total(), len(twice))
        team.barrier()
        store = opened()
        options: dict[str, Any] = {"backend": data.backend, "on_error": data.on_error, "progress": team.is_main}
        options |= {"max_skipped": data.max_bad}
        report = encode_videos(manifest.share(team.rank, team.world_size), manifest.root, encoder, store, **options)
        team.barrier()
    store = FeatureStore.open(store.path, encoder.spec)
    done = (report.encoded, report.kept, len(store), store.path)
    log.info("%d videos encoded, %d kept, %d states in %s", *done)
    return store


def clips_of(
    data: DataConfig,
    encoder: Encoder,
    team: Processes,
    *,
    batch_size: int,
    seed: int,
    seconds: float,
    before: Callable[[Manifest, float | None], None] | None = None,
) -> Clips:
    """Index the videos and make their clips ready, encoding them first unless ``data.store`` is off or space short.

    Args:
        data: the videos, and how clips are cut from them.
        encoder: encoder of the clips.
        team: the processes that share the work.
        batch_size: clips of a step, over all processes.
        seed: seed of the order of the clips.
        seconds: length of held-out clips at least, where states do not look back.
        before: called when the videos are known and nothing is encoded, with the number of frames that are to be, or
            None if clips are encoded at every step.
    """
    spec = encoder.spec
    states = data.frames // spec.frames_per_state
    manifest = shared_index(data, team)
    # A mixture that does not fit is refused now, not after hours of encoding.
    Draws(manifest.split("train"), data.frames, data.fps, data.mixture)
    stored = bool(team.from_main(team.is_main and data.store and fits(manifest, data, spec)))
    if before:
        before(manifest, frames_to_encode(manifest, data, spec) if stored else None)
    per_source = _evaluated_of_source(manifest.split("held_out"))
    share: dict[str, Any] = {"seed": seed, "rank": team.rank, "world_size": team.world_size}
    if stored:
        store = encode(data, encoder, manifest, team)
        store.cut_at(manifest.cuts())
        videos = manifest.column("path")  # the store may hold videos that have been removed since
        source: BatchSource = StoreSource(
            store,
            states=states,
            batch_size=batch_size,
            videos=videos,
            mixture=data.mixture,
            **share,
        )
        length = min(_states_to_evaluate(states, seconds * data.fps, spec), longest_sequence(store, "held_out", videos))
        held_out = list(eval_batches(store, "held_out", max(states, length), per_source, EVAL_BATCH, videos))

        def labelled() -> list[StateBatch]:
            known = _with_poses(manifest)
            return list(eval_batches(store, "train", states, LABELLED_CLIPS, EVAL_BATCH, known)) if len(known) else []

        return Clips(manifest, encoder, source, 0, held_out, labelled)
    source = ClipSource(
        manifest.split("train"),
        frames=data.frames,
        fps=data.fps,
        size=spec.image_size,
        batch=batch_size,
        backend=data.backend,
        on_error=data.on_error,
        mixture=data.mixture,
        **share,
    )
    rows = manifest.split("held_out")
    longer = replace(data, frames=_longest_evaluated(rows, data, spec, seconds) * spec.frames_per_state)
    held_out = list(_encoded(rows, longer, encoder, per_source, "held-out")) if team.is_main else []

    def encoded_labelled() -> list[StateBatch]:
        known = _with_poses(manifest)
        if not len(known):
            return []
        return list(_encoded(_known_by(manifest, known), data, encoder, LABELLED_CLIPS, "labelled"))

    return Clips(manifest, encoder, source, data.workers, held_out, encoded_labelled)


def shared_index(data: DataConfig, team: Processes, skipped: list[tuple[str, str]] | None = None) -> Manifest:
    """The manifest of a run's videos, which the main process writes and the others read; see ``index_videos``."""
    if team.is_main:
        manifest = index_videos(data, skipped)
        _warn_of_repetitions(manifest, data)
    team.barrier()
    if not team.is_main:
        known = data.path if data.path.suffix == ".parquet" else manifest_path(data.path, data.cache)
        manifest = index_videos(replace(data, path=known))
    return manifest


def _warn_of_repetitions(manifest: Manifest, data: DataConfig) -> None:
    """Warn, before anything is encoded, where a rate above the videos' own makes frames be seen twice."""
    rates, seconds = manifest.column("fps").to_numpy(), manifest.column("duration").to_numpy()
    slow = rates < SLOW * data.fps
    if slow.any():
        frames = seconds.sum() * data.fps
        repeated = ((data.fps - rates) * seconds)[slow].sum()
        log.warning(
            "%d of %d videos have fewer than the %g frames/s asked for (%s): frames will be seen twice, "
            "%s of %s; %s %.4g would repeat none", slow.sum(), len(manifest), data.fps, option("data.fps"),
            f"{repeated:,.0f}", f"{frames:,.0f}", option("data.fps"), rates.min(),
        )  # fmt: skip


def held_out_size(manifest: Manifest, data: DataConfig, spec: EncoderSpec, seconds: float) -> tuple[int, int]:
    """How many held-out clips are evaluated, and of how many states, as far as the videos' durations show."""
    rows = manifest.split("held_out")
    states = _longest_evaluated(rows, data, spec, seconds)
    return len(eval_windows(rows, states * spec.frames_per_state, data.fps, _evaluated_of_source(rows))), states


def labelled_size(manifest: Manifest, data: DataConfig) -> int:
    """How many training clips the probes learn from, as far as the videos' durations show."""
    known = _known_by(manifest, _with_poses(manifest))
    return len(eval_windows(known, data.frames, data.fps, LABELLED_CLIPS)) if len(known) else 0


def _known_by(manifest: Manifest, paths: pa.Array) -> Manifest:
    return manifest.where(pc.is_in(manifest.column("path"), value_set=paths).to_numpy())


def _evaluated_of_source(rows: Manifest) -> int:
    """The most clips that are evaluated of each source of held-out videos."""
    return min(CLIPS_PER_SOURCE, max(HELD_OUT_CLIPS // max(len(rows.sources()[0]), 1), 1))


def _longest_evaluated(rows: Manifest, data: DataConfig, spec: EncoderSpec, seconds: float) -> int:
    """States of a clip to evaluate, if the longest held-out video has as many."""
    states = data.frames // spec.frames_per_state
    longest = int(rows.column("duration").to_numpy().max() * data.fps) // spec.frames_per_state
    return max(states, min(_states_to_evaluate(states, seconds * data.fps, spec), longest))


def _states_to_evaluate(states: int, frames: float, spec: EncoderSpec) -> int:
    """States of a clip to evaluate: as in training, or as many as ``frames`` need where states do not look back."""
    if spec.context == "clip":
        return states
    return max(states, 1 + round(frames / spec.frames_per_state))


def _with_poses(manifest: Manifest) -> pa.Array:
    """Training videos whose true poses are known."""
    train = manifest.split("train") if isinstance(manifest.root, Path) else ()
    known = (video.path for video in train if has_poses(manifest.file(video.path, video.offset, video.size)))
    return pa.array(known, pa.string())


def _encoded(rows: Manifest, data: DataConfig, encoder: Encoder, per_source: int, what: str) -> Iterator[StateBatch]:
    """Fixed clips of some videos, decoded and encoded; a bar says ``what`` they are."""
    windows = eval_windows(rows, data.frames, data.fps, per_source)
    steps = torch.arange(data.frames // encoder.spec.frames_per_state) * encoder.spec.frames_per_state / data.fps
    at_once = 1 if encoder.device.type == "cpu" else EVAL_BATCH  # a CPU is no faster with more, and the bar moves on
    with tqdm(total=len(windows), desc=f"encoding {what} clips", unit="clip") as bar:
        for first in range(0, len(windows), EVAL_BATCH):
            batch, states = windows[first : first + EVAL_BATCH], []
            video = decode_windows(rows, batch, data.frames, data.fps, encoder.spec.image_size, data.backend)
            for clips in video.video.split(at_once):
                states.append(encoder.encode(clips).to("cpu", torch.bfloat16))
                bar.update(len(clips))
            times = torch.tensor(video.starts, dtype=torch.float64)[:, None] + steps
            yield StateBatch(torch.cat(states), video.names, video.sources, video.starts, times)


def frames_to_encode(manifest: Manifest, data: DataConfig, spec: EncoderSpec) -> float:
    """About how many frames of the videos the store does not hold yet."""
    path = store_path(data, spec)
    stored = len(FeatureStore.open(path, spec)) if path.exists() else 0
    return max(float(manifest.column("duration").to_numpy().sum()) * data.fps - stored * spec.frames_per_state, 0.0)


def fits(manifest: Manifest, data: DataConfig, spec: EncoderSpec) -> bool:
    """Whether the states of all videos fit on the disk of the cache folder, with a tenth of it to spare."""
    path = store_path(data, spec)
    needed = frames_to_encode(manifest, data, spec) / spec.frames_per_state * spec.tokens * spec.width * 2
    free = shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.exists())).free
    if needed < 0.9 * free:
        return True
    log.warning(
        "the states would take %.1f GB of the %.1f GB free in %s: clips are decoded and encoded at every step instead",
        needed / 1e9, free / 1e9, data.cache_folder,
    )  # fmt: skip
    return False
