"""From a folder of videos to a trained and evaluated model: the steps behind ``wildlam encode | train | eval``."""

from __future__ import annotations

import datetime
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildlam.config import RunConfig, dump_config, read_config
from wildlam.data.clips import ClipSource, DataConfig, decode_windows, eval_windows, long_enough, prefetch
from wildlam.data.encode import encode_videos
from wildlam.data.manifest import Manifest, index
from wildlam.data.store import FeatureStore
from wildlam.data.store_source import StoreSource, eval_batches
from wildlam.evaluation.one_step import OneStep, one_step
from wildlam.models import LatentActionModel
from wildlam.models.bottlenecks import Deterministic
from wildlam.report.run_report import write_run_report
from wildlam.training import Run, checkpoints, fit
from wildlam.training.distributed import Processes, processes
from wildlam.training.run import write_atomically
from wildlam.types import BatchSource, Encoder, EncoderSpec, StateBatch, VideoBatch, WildlamError

log = logging.getLogger(__name__)

CLIPS_PER_SOURCE = 128
"""Held-out clips of each source that are evaluated."""

EVAL_BATCH = 16
EVAL_BATCHES_WHILE_TRAINING = 6


@dataclass
class Clips:
    """Training batches and held-out clips of one run, whether states come from a store or are encoded at every step."""

    manifest: Manifest
    encoder: Encoder
    source: BatchSource
    workers: int
    held_out: list[StateBatch]

    def batches(self, start: int, stop: int) -> Iterator[VideoBatch | StateBatch]:
        """This process's batches of steps ``start`` to ``stop - 1``, prepared ahead."""
        return prefetch(self.source, start, stop, self.workers)

    def states(self, batch: VideoBatch | StateBatch) -> tuple[Tensor]:
        """States ``[B, T, N, D]`` of a batch, float32, on the device."""
        if isinstance(batch, VideoBatch):
            return (self.encoder.encode(batch.video),)
        return (batch.states.to(self.encoder.device).float(),)


def index_videos(data: DataConfig) -> Manifest:
    """Write or refresh the manifest of a run's videos; those too short for a clip raise or are left out."""
    manifest = index(data.path, held_out=data.held_out, on_error=data.on_error, cache=data.cache)
    return long_enough(manifest, data.frames, data.fps, data.on_error)


def store_path(data: DataConfig, spec: EncoderSpec) -> Path:
    """Where the states of a run's videos lie: a folder of its own for each encoder, rate and length of window."""
    window = f"-{data.frames}frames" if spec.context == "clip" else ""
    return data.cache_folder / f"states-{spec.name}-{spec.fingerprint}-{data.fps:g}fps{window}.lance"


def encode(data: DataConfig, encoder: Encoder, manifest: Manifest) -> FeatureStore:
    """Encode all videos of a manifest that the store does not hold yet."""
    store = FeatureStore.create_or_resume(store_path(data, encoder.spec), encoder.spec, data.fps, data.frames)
    report = encode_videos(manifest, manifest.root, encoder, store, backend=data.backend, on_error=data.on_error)
    log.info("%d videos encoded, %d kept, %d states in %s", report.encoded, report.kept, len(store), store.path)
    return store


def train(config: RunConfig, *, resume: bool = False) -> Path:
    """Index, encode, train (a deterministic model for comparison, too), evaluate and report.

    Args:
        config: the run's configuration.
        resume: go on where the run in ``config.out`` stopped.

    Returns:
        The run folder.

    Raises:
        WildlamError: whatever is wrong with the data, the configuration or the disk.
    """
    started = time.monotonic()
    with processes() as team:
        out = config.out or _default_out(config.data.path)
        if (out / "config.yaml").exists():
            if not resume:
                raise WildlamError(
                    f"{out} holds a run already; give another --out, or go on with it: wildlam train --resume {out}"
                )
            if read_config(out / "config.yaml") != replace(config, out=out):
                raise WildlamError(f"{out} holds a run of another configuration; give another --out")
        encoder = config.encoder.build(team.device)
        spec = encoder.spec
        if config.data.frames % spec.frames_per_state or config.data.frames < 2 * spec.frames_per_state:
            raise WildlamError(
                f"data.frames={config.data.frames}: {spec.name} makes a state of {spec.frames_per_state} frames and an action "
                f"needs two states; give a multiple of {spec.frames_per_state}, at least {2 * spec.frames_per_state}"
            )
        clips = load_clips(config, encoder, team)
        run = Run(out)
        if team.is_main:
            run.create(dump_config(replace(config, out=out)), config.seed, spec)
        team.barrier()
        model = _fit(config, run, clips, team, resume, "latent actions")
        baseline = None
        if config.baseline and not isinstance(config.model.bottleneck, Deterministic):
            bare = replace(
                config, model=replace(config.model, bottleneck=Deterministic(dim=config.model.bottleneck.dim))
            )
            sub = Run(out / "deterministic")
            if team.is_main:
                sub.create(dump_config(replace(bare, out=sub.path)), config.seed, spec)
            team.barrier()
            baseline = _fit(bare, sub, clips, team, resume, "deterministic baseline")
        if team.is_main:
            _evaluate(run, model, baseline, clips, started)
        team.barrier()
    return out


def evaluate(path: Path, data: Path | None = None) -> dict[str, Any]:
    """Evaluate a trained run on held-out clips, of its own videos or of others, and write results and report.

    Args:
        path: the run folder.
        data: another folder of videos; all of its held-out clips are used.

    Returns:
        What ``results.json`` holds.
    """
    started = time.monotonic()
    run = Run.open(path)
    config = read_config(run.path / "config.yaml")
    if data is not None:
        config = replace(config, data=replace(config.data, path=data, cache=None))
    with processes() as team:
        encoder = config.encoder.build(team.device)
        check_encoder(run, encoder.spec)
        clips = load_clips(config, encoder, team)
        model = load_model(run, config, encoder.spec).to(team.device)
        sub = run.path / "deterministic"
        baseline = None
        if (sub / "checkpoints").is_dir():
            baseline_run = Run.open(sub)
            baseline = load_model(baseline_run, read_config(sub / "config.yaml"), encoder.spec).to(team.device)
        return _evaluate(run, model, baseline, clips, started)


def load_clips(config: RunConfig, encoder: Encoder, team: Processes) -> Clips:
    """Index the videos and make their clips ready, encoding them first unless ``data.store`` is off or space is short."""
    data, spec = config.data, encoder.spec
    states = data.frames // spec.frames_per_state
    stored = data.store
    if team.is_main:
        manifest = index_videos(data)
        stored = stored and _fits(manifest, data, spec)
        if stored:
            encode(data, encoder, manifest)
    team.barrier()
    if not team.is_main:
        manifest = index_videos(data)
        stored = store_path(data, spec).exists()
    share: dict[str, Any] = {"seed": config.seed, "rank": team.rank, "world_size": team.world_size}
    if stored:
        store = FeatureStore.open(store_path(data, spec), spec)
        videos = set(manifest.table["path"].to_pylist())  # the store may hold videos that have been removed since
        source: BatchSource = StoreSource(
            store, states=states, batch_size=config.training.batch_size, videos=videos, **share
        )
        held_out = list(eval_batches(store, "held_out", states, CLIPS_PER_SOURCE, EVAL_BATCH, videos))
        return Clips(manifest, encoder, source, 0, held_out)
    source = ClipSource(
        manifest.split("train"),
        frames=data.frames,
        fps=data.fps,
        size=spec.image_size,
        batch=config.training.batch_size,
        backend=data.backend,
        on_error=data.on_error,
        **share,
    )
    held_out = list(_encode_held_out(manifest, data, encoder)) if team.is_main else []
    return Clips(manifest, encoder, source, data.workers, held_out)


def load_model(run: Run, config: RunConfig, spec: EncoderSpec) -> LatentActionModel:
    """Load the best checkpoint of a run, in evaluation mode.

    Raises:
        WildlamError: there is none, or it does not fit the configuration.
    """
    model = config.model.build(spec.width, spec.grid)
    checkpoint = checkpoints.best(run.checkpoints)
    checkpoints.load_weights(model, checkpoint.model_tensors(), checkpoint.path)
    return model.eval()


def check_encoder(run: Run, spec: EncoderSpec) -> None:
    """Refuse an encoder whose states are not those that the run was trained on.

    Raises:
        WildlamError: naming both.
    """
    trained = run.encoder_spec
    if trained.fingerprint != spec.fingerprint:
        raise WildlamError(
            f"{run.path} was trained on states of {trained.name} {trained.fingerprint}, this encoder is {spec.name} "
            f"{spec.fingerprint}; give the same weights and encoder.dtype as when it was trained"
        )


def _fit(config: RunConfig, run: Run, clips: Clips, team: Processes, resume: bool, title: str) -> LatentActionModel:
    spec = clips.encoder.spec
    torch.manual_seed(config.seed)
    model = config.model.build(spec.width, spec.grid)
    every = max(len(clips.held_out) // EVAL_BATCHES_WHILE_TRAINING, 1)
    few = clips.held_out[::every]

    def held_out(current: torch.nn.Module) -> dict[str, float]:
        assert isinstance(current, LatentActionModel)
        return one_step(current, lambda: few).mean()

    trained = fit(
        model,
        lambda start: clips.batches(start, config.training.steps),
        clips.states,
        config.training,
        run,
        team,
        seed=config.seed,
        evaluate=held_out,
        score="idm",
        resume=resume,
        title=title,
    )
    assert isinstance(trained, LatentActionModel)
    return trained


def _evaluate(
    run: Run, model: LatentActionModel, baseline: LatentActionModel | None, clips: Clips, started: float
) -> dict[str, Any]:
    result: OneStep = one_step(model, lambda: clips.held_out, baseline)
    summary = {
        "seconds": round(time.monotonic() - started, 1),
        "seed": run.facts["seed"],
        "clips": len(result.names),
        **result.table(),
    }
    write_atomically(run.path / "results.json", json.dumps(summary, indent=2))
    write_run_report(run, model, clips.manifest, clips.held_out, result, summary)
    return summary


def _encode_held_out(manifest: Manifest, data: DataConfig, encoder: Encoder) -> Iterable[StateBatch]:
    rows = manifest.split("held_out")
    windows = eval_windows(rows, data.frames, data.fps, CLIPS_PER_SOURCE)
    steps = torch.arange(data.frames // encoder.spec.frames_per_state) * encoder.spec.frames_per_state / data.fps
    for first in range(0, len(windows), EVAL_BATCH):
        part = windows[first : first + EVAL_BATCH]
        video = decode_windows(rows, part, data.frames, data.fps, encoder.spec.image_size, data.backend)
        times = torch.tensor(video.starts, dtype=torch.float64)[:, None] + steps
        states = encoder.encode(video.video).to("cpu", torch.bfloat16)
        yield StateBatch(states, video.names, video.sources, video.starts, times)


def _fits(manifest: Manifest, data: DataConfig, spec: EncoderSpec) -> bool:
    """Whether the states of all videos fit on the disk of the cache folder, with a tenth of it to spare."""
    seconds = sum(manifest.table["duration"].to_pylist())
    needed = seconds * data.fps / spec.frames_per_state * spec.tokens * spec.width * 2
    free = shutil.disk_usage(data.cache_folder).free
    if needed < 0.9 * free:
        return True
    log.warning(
        "the states would take %.1f GB of the %.1f GB free in %s: clips are decoded and encoded at every step instead",
        needed / 1e9, free / 1e9, data.cache_folder,
    )  # fmt: skip
    return False


def _default_out(data: Path) -> Path:
    # One folder for all processes of a torchrun, which start within the same minute or are told a name by --out.
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{data.resolve().stem or 'videos'}-{os.environ.get('TORCHELASTIC_RUN_ID') or stamp}"
