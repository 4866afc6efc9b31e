"""From a folder of videos to a trained and evaluated model: the steps behind ``wildlam encode | train | eval``."""

from __future__ import annotations

import datetime
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import torch.distributed as dist
from torch import Tensor

from wildlam.config import RunConfig, dump_config, read_config
from wildlam.data.clips import ClipSource, DataConfig, decode_windows, eval_windows, long_enough, prefetch
from wildlam.data.encode import encode_videos
from wildlam.data.manifest import Manifest, index, manifest_path
from wildlam.data.poses import ACTIONS, poses_path, true_actions
from wildlam.data.store import FeatureStore
from wildlam.data.store_source import StoreSource, eval_batches, longest_sequence
from wildlam.data.video import decode_at
from wildlam.evaluation.clips import InferredClips, infer_clips
from wildlam.evaluation.leakage import cut_at
from wildlam.evaluation.one_step import error_table, one_step
from wildlam.evaluation.rollout import SECONDS
from wildlam.evaluation.suite import Labelled, evaluate_all
from wildlam.models import LatentActionModel
from wildlam.models.bottlenecks import Deterministic
from wildlam.report.run_report import write_run_report
from wildlam.training import Run, checkpoints, fit
from wildlam.training.distributed import Processes, default_device, processes
from wildlam.training.run import write_atomically
from wildlam.types import BatchSource, Encoder, EncoderSpec, StateBatch, VideoBatch, WildlamError

log = logging.getLogger(__name__)

CLIPS_PER_SOURCE = 128
"""Held-out clips of each source that are evaluated."""

HELD_OUT_CLIPS = 2048
"""Held-out clips of all sources together, which lie in memory; each source gives one at least."""

LABELLED_CLIPS = 256
"""Training clips with true actions, of each source, from which the probes learn."""

SCENES = 32
"""Frames of held-out videos in which movers are placed to test locality."""

BASELINE = "deterministic"
"""Name of the folder, in a run's, of the model trained without latent actions."""

FEW_CLIPS = 10
"""Held-out clips under which a warning is given."""

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
    labelled: Callable[[], list[StateBatch]]
    """Gives training clips of videos whose true actions are known, for the probes."""

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
        config = _resolved(config, team)
        assert config.out is not None
        check_out(config, resume)
        run = Run(config.out)
        encoder = config.encoder.build(team.device)
        _check_lengths(config, encoder.spec, team)
        clips = load_clips(config, encoder, team)
        try:
            _fit(config, run, clips, team, resume, "latent actions")
            if config.baseline and not isinstance(config.model.bottleneck, Deterministic):
                nothing = Deterministic(dim=config.model.bottleneck.dim)
                bare = replace(config, model=replace(config.model, bottleneck=nothing), out=run.path / BASELINE)
                _fit(bare, Run(run.path / BASELINE), clips, team, resume, "deterministic baseline")
            if team.is_main:
                _evaluate(run, run.path, clips, started)
            team.barrier()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"go on with: wildlam train --resume {run.path}") from None
    return run.path


def check_out(config: RunConfig, resume: bool) -> None:
    """Refuse a run folder that is taken.

    Raises:
        WildlamError: it is the folder of the videos, or holds a run that this is not the resumption of.
    """
    out = config.out
    if out is None:
        return
    if out.resolve() == config.data.path.resolve():
        raise WildlamError(f"--out {out} is the folder of the videos; give another one")
    if not (out / "config.yaml").exists():
        return
    if not resume:
        raise WildlamError(
            f"{out} holds a run already; give another --out, or go on with it: wildlam train --resume {out}"
        )
    if replace(read_config(out / "config.yaml"), out=out) != _portable(config, default_device()):
        raise WildlamError(f"{out} holds a run of another configuration; give another --out")


def evaluate(path: Path, data: Path | None = None, bounds: Sequence[Path] = ()) -> Path:
    """Evaluate a trained run on held-out clips, of its own videos or of others, and write results and report.

    Args:
        path: the run folder.
        data: another folder of videos; its held-out clips are used.
        bounds: other runs on the same encoder to unroll beside it, such as one trained without a limit.

    Returns:
        The folder with ``results.json`` and ``report.html``: the run folder, or for other videos one of theirs in it.
    """
    started = time.monotonic()
    run = Run.open(path)
    config, folder = read_config(run.path / "config.yaml"), run.path
    if data is not None:
        config = replace(config, data=replace(config.data, path=data, cache=None))
        folder = run.path / f"on-{data.resolve().stem}"
    with processes() as team:
        encoder = config.encoder.build(team.device)
        check_encoder(run, encoder.spec)
        clips = load_clips(config, encoder, team)
        folder.mkdir(exist_ok=True)
        _evaluate(run, folder, clips, started, bounds)
    return folder


def load_clips(config: RunConfig, encoder: Encoder, team: Processes) -> Clips:
    """Index the videos and make their clips ready, encoding them first unless ``data.store`` is off or space short."""
    data, spec = config.data, encoder.spec
    states = data.frames // spec.frames_per_state
    stored = False
    if team.is_main:
        manifest = index_videos(data)
        stored = data.store and _fits(manifest, data, spec)
        if stored:
            encode(data, encoder, manifest)
    stored = bool(_from_main(stored, team))
    if not team.is_main:  # read what the main process wrote
        known = data.path if data.path.suffix == ".parquet" else manifest_path(data.path, data.cache)
        manifest = index_videos(replace(data, path=known))
    sources = len(set(manifest.split("held_out").table["source"].to_pylist()))
    per_source = min(CLIPS_PER_SOURCE, max(HELD_OUT_CLIPS // max(sources, 1), 1))
    share: dict[str, Any] = {"seed": config.seed, "rank": team.rank, "world_size": team.world_size}
    if stored:
        store = FeatureStore.open(store_path(data, spec), spec)
        videos = set(manifest.table["path"].to_pylist())  # the store may hold videos that have been removed since
        source: BatchSource = StoreSource(
            store, states=states, batch_size=config.training.batch_size, videos=videos, **share
        )
        length = min(_states_to_evaluate(states, data, spec), longest_sequence(store, "held_out", videos))
        held_out = list(eval_batches(store, "held_out", max(states, length), per_source, EVAL_BATCH, videos))

        def labelled() -> list[StateBatch]:
            known = _with_poses(manifest)
            return list(eval_batches(store, "train", states, LABELLED_CLIPS, EVAL_BATCH, known)) if known else []

        return Clips(manifest, encoder, source, 0, held_out, labelled)
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
    rows = manifest.split("held_out")
    longest = int(max(rows.table["duration"].to_pylist()) * data.fps) // spec.frames_per_state
    length = min(_states_to_evaluate(states, data, spec), longest)
    longer = replace(data, frames=max(states, length) * spec.frames_per_state)
    held_out = list(_encoded(rows, longer, encoder, per_source)) if team.is_main else []

    def encoded_labelled() -> list[StateBatch]:
        known = _with_poses(manifest)
        mask = pa.array([path in known for path in manifest.table["path"].to_pylist()])
        return list(_encoded(manifest.where(mask), data, encoder, LABELLED_CLIPS)) if known else []

    return Clips(manifest, encoder, source, data.workers, held_out, encoded_labelled)


def _states_to_evaluate(states: int, data: DataConfig, spec: EncoderSpec) -> int:
    """States of a clip to evaluate: as in training, or more if two seconds need them and states do not look back."""
    if spec.context == "clip":
        return states
    return max(states, 1 + round(SECONDS * data.fps / spec.frames_per_state))


def _with_poses(manifest: Manifest) -> set[str]:
    """Training videos whose true poses are known."""
    paths = manifest.split("train").table["path"].to_pylist()
    return {path for path in paths if poses_path(manifest.file(path)).exists()}


def load_model(run: Run, config: RunConfig, spec: EncoderSpec) -> LatentActionModel:
    """Load the best checkpoint of a run, in evaluation mode.

    Raises:
        WildlamError: there is none, it does not fit the configuration, or it holds weights that are not finite.
    """
    model = config.model.build(spec.width, spec.grid)
    checkpoint = checkpoints.best(run.checkpoints)
    weights = checkpoint.model_tensors()
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise WildlamError(
                f"{checkpoint.path}: weight {name!r} is not finite; delete that checkpoint, then --resume"
            )
    checkpoints.load_weights(model, weights, checkpoint.path)
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
            f"{spec.fingerprint}; restore the weights and the encoder's part of config.yaml as they were then"
        )


def _resolved(config: RunConfig, team: Processes) -> RunConfig:
    """Settle what is left to the machine and the moment, the same in all processes."""
    out = config.out
    if out is None:
        now = datetime.datetime.fromtimestamp(_from_main(int(time.time()), team))
        out = Path("runs") / f"{config.data.path.resolve().stem or 'videos'}-{now:%Y%m%d-%H%M%S}"
    return replace(_portable(config, team.device), out=out)


def _portable(config: RunConfig, device: torch.device) -> RunConfig:
    """Settle the encoder's precision and make paths absolute, so that the run can be used elsewhere and later."""
    _, dtype = config.encoder.resolve(device, None)
    encoder = replace(config.encoder, dtype="bfloat16" if dtype == torch.bfloat16 else "float32")
    cache = config.data.cache and config.data.cache.absolute()
    return replace(config, encoder=encoder, data=replace(config.data, path=config.data.path.absolute(), cache=cache))


def _check_lengths(config: RunConfig, spec: EncoderSpec, team: Processes) -> None:
    frames, step, batch = config.data.frames, spec.frames_per_state, config.training.batch_size
    if frames % step or frames < 2 * step:
        raise WildlamError(
            f"data.frames={frames}: {spec.name} makes a state of {step} frames and an action needs two states; "
            f"give a multiple of {step}, at least {2 * step}"
        )
    if batch % team.world_size:
        raise WildlamError(
            f"training.batch_size={batch} cannot be shared equally by {team.world_size} processes; give a multiple"
        )


def _from_main(number: int, team: Processes) -> int:
    """The main process's number, in every process."""
    shared = torch.tensor(int(number), device=team.device)
    if team.world_size > 1:
        dist.broadcast(shared, src=0)
    return int(shared)


def _fit(config: RunConfig, run: Run, clips: Clips, team: Processes, resume: bool, title: str) -> None:
    spec = clips.encoder.spec
    if team.is_main:
        run.create(dump_config(config), config.seed, spec)
    team.barrier()
    torch.manual_seed(config.seed)
    model = config.model.build(spec.width, spec.grid)
    every = max(len(clips.held_out) // EVAL_BATCHES_WHILE_TRAINING, 1)
    few = clips.held_out[::every]

    def held_out(current: torch.nn.Module) -> dict[str, float]:
        assert isinstance(current, LatentActionModel)
        errors = one_step(current, infer_clips(current, few))
        return {method: float(values.mean()) for method, values in errors.values.items()}

    fit(
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


def _evaluate(run: Run, folder: Path, clips: Clips, started: float, others: Sequence[Path] = ()) -> None:
    """Evaluate the best checkpoints, which are those that ``wildlam.load`` gives."""
    spec, device = clips.encoder.spec, clips.encoder.device
    config = read_config(run.path / "config.yaml")
    model = load_model(run, config, spec).to(device)
    bounds = {}
    for path in [*others, *([run.path / BASELINE] if (run.path / BASELINE / "config.yaml").is_file() else [])]:
        other = Run.open(path)
        check_encoder(other, spec)
        settings = read_config(other.path / "config.yaml")
        bounds[type(settings.model.bottleneck).__name__.lower()] = load_model(other, settings, spec).to(device)
    held_out = infer_clips(model, clips.held_out)
    if len(held_out) < FEW_CLIPS:
        log.warning("only %d held-out clip(s): figures are rough; hold out more with --data.held_out", len(held_out))
    found = evaluate_all(
        model,
        clips.encoder,
        held_out,
        bounds=bounds,
        after_cut=_after_cut(held_out, clips, config.data) if spec.context == "clip" else None,
        backgrounds=_backgrounds(held_out, clips),
        labelled=_labelled(model, held_out, clips),
    )
    summary = {
        "seconds": round(time.monotonic() - started, 1),
        "seed": run.facts["seed"],
        "videos": str(clips.manifest.root),
        "clips": len(held_out),
        **error_table(found.one_step),
        "evaluations": found.summary(),
    }
    write_atomically(folder / "results.json", json.dumps(summary, indent=2))
    write_atomically(folder / "evaluations.json", json.dumps(found.per_clip()))
    write_run_report(run, folder, model, clips.manifest, found, summary)


def _after_cut(held_out: InferredClips, clips: Clips, data: DataConfig) -> Callable[[list[int]], Tensor]:
    """What an encoder that looks back makes of the moment after a cut: it must see the cut, in pixels."""
    spec, cut, partners = clips.encoder.spec, cut_at(held_out), held_out.partners
    offsets = torch.arange(spec.frames_per_state, dtype=torch.float64) / data.fps

    def frames(clip: int, states: slice) -> Tensor:
        times = (held_out.times[clip, states, None] + offsets).flatten().tolist()
        return decode_at(clips.manifest.file(held_out.names[clip]), times, spec.image_size, data.backend)

    def after_cut(chosen: list[int]) -> Tensor:
        spliced = [torch.cat([frames(i, slice(0, cut)), frames(partners[i], slice(cut, cut + 1))]) for i in chosen]
        return clips.encoder.encode(torch.stack(spliced))[:, -1]

    return after_cut


def _backgrounds(held_out: InferredClips, clips: Clips) -> Tensor:
    """The first frames of clips spread over all held-out videos, ``uint8 [n, 3, S, S]``."""
    chosen = torch.linspace(0, len(held_out) - 1, min(SCENES, len(held_out))).round().int().tolist()
    size = clips.encoder.spec.image_size
    return torch.cat(
        [decode_at(clips.manifest.file(held_out.names[i]), [float(held_out.times[i, 0])], size) for i in chosen]
    )


def _labelled(model: LatentActionModel, held_out: InferredClips, clips: Clips) -> Labelled | None:
    """Clips with true actions, where a source has them in both splits."""
    batches = clips.labelled()
    actions, known = true_actions(held_out, clips.manifest.root)
    if not batches or not known.any():
        return None
    train = infer_clips(model, batches)
    return Labelled(
        train, true_actions(train, clips.manifest.root)[0], held_out.where(known), actions[known], list(ACTIONS)
    )


def _encoded(rows: Manifest, data: DataConfig, encoder: Encoder, per_source: int) -> Iterator[StateBatch]:
    """Fixed clips of some videos, decoded and encoded."""
    windows = eval_windows(rows, data.frames, data.fps, per_source)
    steps = torch.arange(data.frames // encoder.spec.frames_per_state) * encoder.spec.frames_per_state / data.fps
    for first in range(0, len(windows), EVAL_BATCH):
        part = windows[first : first + EVAL_BATCH]
        video = decode_windows(rows, part, data.frames, data.fps, encoder.spec.image_size, data.backend)
        times = torch.tensor(video.starts, dtype=torch.float64)[:, None] + steps
        states = encoder.encode(video.video).to("cpu", torch.bfloat16)
        yield StateBatch(states, video.names, video.sources, video.starts, times)


def _fits(manifest: Manifest, data: DataConfig, spec: EncoderSpec) -> bool:
    """Whether the states of all videos fit on the disk of the cache folder, with a tenth of it to spare."""
    path = store_path(data, spec)
    states = sum(manifest.table["duration"].to_pylist()) * data.fps / spec.frames_per_state
    stored = len(FeatureStore.open(path, spec)) if path.exists() else 0
    needed = (states - stored) * spec.tokens * spec.width * 2
    free = shutil.disk_usage(next(folder for folder in path.absolute().parents if folder.exists())).free
    if needed < 0.9 * free:
        return True
    log.warning(
        "the states would take %.1f GB of the %.1f GB free in %s: clips are decoded and encoded at every step instead",
        needed / 1e9, free / 1e9, data.cache_folder,
    )  # fmt: skip
    return False
