"""Train a run from a folder of videos to its report: ``wildlam train``."""

from __future__ import annotations

import contextlib
import datetime
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import torch

from wildlam.config import RunConfig, config_from, dump_config, read_config, without_actions
from wildlam.distributed import Processes, default_device, is_main_process, job, processes, restarted
from wildlam.errors import WildlamError, option
from wildlam.evaluation.one_step import one_step
from wildlam.evaluation.spending import spending
from wildlam.fileio import ensure_writable, read_json, write_atomically
from wildlam.models import LatentActionModel
from wildlam.runs import checkpoints
from wildlam.runs.command import records_call
from wildlam.runs.folder import Run
from wildlam.states.dataset import Clips
from wildlam.training import fit
from wildlam.training.loop import check_accumulate
from wildlam.training.parallel import check_shard, compile_blocks, encoder_in_parts
from wildlam.types import Encoder, EncoderSpec
from wildlam.video.manifest import Manifest
from wildlam.workflows import durations
from wildlam.workflows.evaluate import BASELINE, EvaluateResult, evaluate_run
from wildlam.workflows.evaluation_parts import parts_of_evaluation
from wildlam.workflows.open_run import inferred, load_clips

log = logging.getLogger(__name__)

EVAL_BATCHES_WHILE_TRAINING = 6


class TrainResult(EvaluateResult):
    """A trained run and its results on held-out clips. In a notebook, the verdict and the table of errors."""


@records_call
def train(config: RunConfig | None = None, /, *, resume: bool = False, **keywords: Any) -> TrainResult:
    """Index, encode, train (with a deterministic baseline), evaluate and report.

    Args:
        config: the run's configuration.
        resume: resume the run in ``config.out``, whose configuration may differ in the place of the videos and in how
            processes share the work; always so for processes that ``torchrun`` restarts.
        keywords: fields of ``RunConfig``, in its place or to replace what it says, such as ``data={"path": "videos"}``.

    Raises:
        WildlamError: whatever is wrong with the data, the configuration or the disk.
    """
    folder = _train(config_from(RunConfig, config, keywords), resume)
    # Other processes may be on machines that have no such folder.
    return TrainResult(folder, read_json(folder / "results.json") if is_main_process() else {})


def _train(config: RunConfig, resume: bool) -> Path:
    started = time.monotonic()
    with processes() as team, contextlib.ExitStack() as held:
        config = _resolved(config, team)
        assert config.out is not None
        run = Run(config.out)
        resume = resume or restarted() or _begun_by_this_job(run)
        _check_shares(config, team)
        check_out(config, resume)
        if team.from_main(team.is_main and resume and is_finished(config)):
            if team.is_main:
                path = quote(str(run.path))
                log.info(
                    "%s is finished: trained for %d steps, evaluated, its report is %s; `wildlam eval %s` evaluates it "
                    "again", run.path, config.training.steps, run.path / "report.html", path,
                )  # fmt: skip
            return run.path
        if team.is_main:
            held.enter_context(run.training())
        encoder = config.encoder.build(team.device)
        _check_lengths(config, encoder.spec)
        clips = load_clips(config, encoder, team, partial(_announce_parts, config, encoder, team, resume))
        if team.is_main and (run.path / "config.yaml").is_file():
            if checkpoints.last(run.checkpoints) is None:
                log.warning("%s holds no checkpoint: training starts over", run.path)
            if read_config(run.path / "config.yaml") != config:  # what a resumption may change
                write_atomically(run.path / "config.yaml", dump_config(config))
        if config.training.shard_encoder and (config.training.shard == 1 or not clips.online) and team.is_main:
            log.warning("training.shard_encoder changes nothing: %s", _why_whole(config))
        shard = config.training.shard if config.training.shard_encoder and clips.online else 1
        if config.training.compile and clips.online and team.device.type == "cuda":
            compile_blocks(encoder.network)  # 4 % of a ViT-L step on an H200
        try:
            with encoder_in_parts(encoder, team, shard) if shard > 1 else contextlib.nullcontext():
                fit_run(config, run, clips, team, resume, "latent actions")
                if bare := without_actions(config):
                    bare = replace(bare, out=run.path / BASELINE)
                    fit_run(bare, Run(run.path / BASELINE), clips, team, resume, "deterministic baseline")
            if team.is_main:
                evaluate_run(run, run.path, clips, started)
            team.barrier()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"resume with: wildlam train --resume {quote(str(run.path))}") from None
    return run.path


def is_finished(config: RunConfig) -> bool:
    """Whether the run in ``config.out`` is of this configuration, trained to its end, then evaluated and reported.

    Files say by their times what was made last: a run may have been evaluated while it was not yet trained to its end.
    """
    assert config.out is not None
    run = Run(config.out)
    if not (run.path / "config.yaml").is_file() or read_config(run.path / "config.yaml") != config:
        return False
    made_by = [run, *([Run(run.path / BASELINE)] if without_actions(config) else [])]
    last = [checkpoints.last(one.checkpoints) for one in made_by]
    ended = [checkpoint.path for checkpoint in last if checkpoint and checkpoint.step == config.training.steps]
    files = [run.path / name for name in ("results.json", "report.html")]
    if len(ended) < len(last) or not all(file.is_file() for file in files):
        return False
    times = [max(path.stat().st_mtime_ns for path in ended), *(file.stat().st_mtime_ns for file in files)]
    return times == sorted(times)


def check_out(config: RunConfig, resume: bool) -> None:
    """Refuse a run folder that is taken.

    Raises:
        WildlamError: it is the folder of the videos, or holds a run that this is not the resumption of.
    """
    out = config.out
    if out is None:
        return
    if out.resolve() == config.data.path.resolve():
        raise WildlamError(f"{option('out')} {out} is the folder of the videos; give another one")
    if not (out / "config.yaml").exists():
        ensure_writable(out)
        return
    if not resume:
        raise WildlamError(
            f"{out} holds a run already; give another {option('out')}, or resume it: wildlam train --resume "
            f"{quote(str(out))}"
        )
    known, given = read_config(out / "config.yaml"), _portable(config, default_device())
    data = replace(known.data, path=given.data.path)
    training = replace(known.training, shard=given.training.shard, accumulate=given.training.accumulate)
    if replace(known, data=data, training=training, out=out) != given:
        raise WildlamError(f"{out} holds a run of another configuration; give another {option('out')}")


def _announce_parts(
    config: RunConfig, encoder: Encoder, team: Processes, resume: bool, rows: Manifest, frames: float | None
) -> None:
    """Print what is left to do; all processes measure at once, as they will work."""
    assert config.out is not None
    left = {}
    settings = {"train": config, "baseline": without_actions(config)}
    for (name, of), out in zip(settings.items(), (config.out, config.out / BASELINE), strict=True):
        last = checkpoints.last(Run(out).checkpoints) if resume else None
        steps = config.training.steps - (last.step if last else 0)
        if of and steps > 0:
            left[name] = of, steps
    announce_parts(config, encoder, rows, frames, left, team)


def announce_parts(
    config: RunConfig,
    encoder: Encoder,
    rows: Manifest,
    frames: float | None,
    trainings: Mapping[str, tuple[RunConfig, int]],
    team: Processes | None = None,
    runs: int = 1,
) -> None:
    """Print how long it takes on this machine to encode, train and evaluate.

    Args:
        config: says how clips are cut and shared.
        encoder: encoder of the clips.
        rows: the videos.
        frames: number of frames to encode before; None if clips are encoded at each step.
        trainings: configuration and steps, by what they are called.
        team: all processes that measure at once.
        runs: number of runs that are evaluated.
    """
    trainings = {name: (of, steps) for name, (of, steps) in trainings.items() if steps > durations.FEW_STEPS}
    if not trainings and (frames or 0) <= durations.FEW_FRAMES:
        return
    count = team.world_size if team else 1
    clips = config.training.batch_size // count
    parts, online = [], None
    if frames is None:
        online = durations.drawing(config, encoder, rows, clips)
    elif frames > durations.FEW_FRAMES:
        parts.append(durations.encoding(config, encoder, rows, frames / count))
    for name, (of, steps) in trainings.items():
        parts.append(durations.training(of, encoder, clips, steps, online, name))
    if team is None or team.is_main:
        bare = without_actions(config)
        with durations.aside(encoder.device):
            model, *other = (of.model.build(encoder.spec.width, encoder.spec.grid) for of in (config, bare) if of)
        bounds = dict(zip(["deterministic"], other, strict=False))
        parts += parts_of_evaluation(config, encoder, rows, model, bounds, runs)
        durations.announce(parts)


def _begun_by_this_job(run: Run) -> bool:
    """Whether ``torchrun`` starts these processes again without saying so, as where another machine has come back."""
    return job() is not None and (run.path / "run.json").is_file() and run.facts.get("job") == job()


def _why_whole(config: RunConfig) -> str:
    if config.training.shard == 1:
        return "training.shard is 1, of which each process holds a whole model"
    return "states are encoded once, before training (data.store)"


def _resolved(config: RunConfig, team: Processes) -> RunConfig:
    """Settle what is left to the machine and the moment, the same in all processes."""
    out = config.out
    if out is None:
        now = datetime.datetime.fromtimestamp(team.from_main(int(time.time())))
        out = Path("runs") / f"{config.data.path.resolve().stem or 'videos'}-{now:%Y%m%d-%H%M%S}"
    return replace(_portable(config, team.device), out=out)


def _portable(config: RunConfig, device: torch.device) -> RunConfig:
    """Settle both precisions and make paths absolute, so that the run can be used elsewhere and later."""
    _, dtype = config.encoder.resolve(device, None)
    encoder = replace(config.encoder, dtype="bfloat16" if dtype == torch.bfloat16 else "float32")
    cache = config.data.cache and config.data.cache.absolute()
    data = replace(config.data, path=config.data.path.absolute(), cache=cache)
    return replace(config, encoder=encoder, data=data, training=config.training.settled(device))


def _check_shares(config: RunConfig, team: Processes) -> None:
    """Refuse what cannot be shared, before anything is encoded."""
    training, count = config.training, team.world_size
    if training.batch_size % count:
        raise WildlamError(
            f"training.batch_size={training.batch_size} cannot be shared equally by {count} processes; give a multiple"
        )
    check_shard(training.shard, count)
    check_accumulate(training.accumulate, training.batch_size // count)


def _check_lengths(config: RunConfig, spec: EncoderSpec) -> None:
    frames, step = config.data.frames, spec.frames_per_state
    if frames % step or frames < 2 * step:
        raise WildlamError(
            f"data.frames={frames}: {spec.name} makes a state of {step} frames and an action needs two states; "
            f"give a multiple of {step}, at least {2 * step}"
        )
    consistency = config.model.consistency
    if frames < consistency.least_states * step:
        raise WildlamError(
            f"data.frames={frames} makes {frames // step} states, {type(consistency).__name__} needs "
            f"{consistency.least_states}; give at least {consistency.least_states * step}"
        )


def fit_run(config: RunConfig, run: Run, clips: Clips, team: Processes, resume: bool, title: str) -> None:
    """Train the model of a configuration, alone and without evaluating it, and leave its checkpoints in a run folder.

    Args:
        config: the run's configuration, resolved.
        run: the folder, which is made if need be.
        clips: clips of its videos, as ``load_clips`` gives them for this configuration.
        team: the processes that share the work.
        resume: go on from the last checkpoint, if there is one.
        title: what the bar of progress says.
    """
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
        some = inferred(clips, current, few)
        found = one_step(current, some).values
        if current.bottleneck.widths:  # only the world model can tell how many dimensions it needs
            found = found | spending(current, some).values
        return {name: float(values.mean()) for name, values in found.items()}

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
