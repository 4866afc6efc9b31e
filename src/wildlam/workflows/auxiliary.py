"""Auxiliary models (decoders, controllers, ...), trained on the states of a run's encoder, each in its own folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from wildlam.config import differences, dump_config, read_as
from wildlam.distributed import Processes
from wildlam.encoders.base import fingerprint
from wildlam.errors import WildlamError, named, option, videos_given_by, videos_of
from wildlam.fileio import read_json, write_atomically
from wildlam.models import LatentActionModel
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.states.dataset import Clips
from wildlam.training import TrainingConfig, fit
from wildlam.types import Encoder, EncoderSpec
from wildlam.workflows import durations
from wildlam.workflows.durations import Part
from wildlam.workflows.open_run import OpenRun, check_encoder, load_clips

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Model = TypeVar("Model", bound=nn.Module)


MODEL = "model.json"
"""File in an auxiliary model's folder that says which weights of a run it is for."""


class AuxiliaryConfig(Protocol):
    """What configurations of auxiliary models have in common."""

    @property
    def training(self) -> TrainingConfig:
        """Steps, batch, precision, optimiser."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the initialisation and of the order of the data."""
        ...


class UnlabelledConfig(AuxiliaryConfig, Protocol):
    """What those have in common that are trained on videos without actions."""

    @property
    def data(self) -> Path | None:
        """The videos; those of the run if not given."""
        ...


def weights_fingerprint(model: LatentActionModel) -> str:
    """Hash of a model's weights, the same for weights that were rounded to bfloat16."""
    return fingerprint("latent actions", {}, sorted((k, v.bfloat16()) for k, v in model.state_dict().items()))


def write_weights(run: Run, model: LatentActionModel) -> None:
    """Say in an auxiliary model's folder which weights of a run it is for."""
    write_atomically(run.path / MODEL, json.dumps({"weights": weights_fingerprint(model)}))


def check_weights(run: Run, model: LatentActionModel, kind: str, remedy: str) -> None:
    """Refuse what was trained with other weights of a model, whose latent actions mean other things.

    Raises:
        WildlamError: it was; ``remedy`` says what to do.
    """
    file = run.path / MODEL
    if file.is_file() and read_json(file).get("weights") != weights_fingerprint(model):
        raise WildlamError(f"{run.path} holds a {kind} of another run, or of this one before more training; {remedy}")


def finished(path: Path, model: LatentActionModel, kind: str, results: str) -> Run:
    """The folder of what `wildlam KIND train` trained to the end, for these weights.

    Args:
        path: the folder.
        model: model of the run that it belongs to.
        kind: what it is, which the command and the option are named by, such as "prior".
        results: name of the file that is written last.

    Raises:
        WildlamError: there is none, its training was interrupted, or it was trained for another model.
    """
    run, train = Run(path), f"`wildlam {kind} train`"
    if not (run.path / MODEL).is_file():
        raise WildlamError(f"{path} has no {kind}; train one with {train}, or give one as {option(kind)}")
    check_weights(run, model, kind, f"give one of this run, or train one with {train}")
    if not (run.path / results).is_file():
        raise WildlamError(
            f"the training of {path} was interrupted: give the same {train} again, or another {option(kind)}"
        )
    return run


def unlabelled_clips(config: UnlabelledConfig, opened: OpenRun) -> Clips:
    """Clips of the videos; before anything is encoded it is said how long that and the training take."""
    of_run, encoder = opened.config, opened.encoder
    data = of_run.data if config.data is None else replace(of_run.data, path=config.data, cache=None, mixture={})
    like = replace(of_run, data=data, training=replace(of_run.training, batch_size=config.training.batch_size))
    like = replace(like, seed=config.seed)
    with named(videos_of(opened.run.path) if config.data is None else videos_given_by(option("data"))):
        return load_clips(
            like, encoder, Processes(0, 1, encoder.device), partial(durations.announce_encoding, like, encoder)
        )


def first_states(clips: Clips, count: int) -> Iterator[Tensor]:
    """States ``[B, T, N, D]`` of the first training batches, about ``count`` in all."""
    total = 0
    for batch in clips.batches(0, count):  # a batch holds one state at least
        (states,) = clips.states(batch)
        yield states
        total += len(states) * states.shape[1]
        if total >= count:
            return


def claimed(folder: Path, config: DataclassInstance, kind: str) -> Run:
    """The run folder for a model of this configuration, which is empty or holds its unfinished training.

    What a folder without a checkpoint holds of another configuration is removed.

    Raises:
        WildlamError: it holds a model of another configuration, or something else.
    """
    run, file = Run(folder), folder / "config.yaml"
    try:
        known = read_as(type(config), file) if file.is_file() else config
    except WildlamError as error:
        raise WildlamError(
            f"{folder} holds no {kind}, or one whose {file.name} is damaged; give another {option('out')}"
        ) from error
    if known != config:
        if checkpoints.last(run.checkpoints) is not None:
            key, old, new = next(differences(file.read_text(), dump_config(config)))
            raise WildlamError(
                f"{folder} holds a {kind} with {key} {old}, not {new}; give the same, or another {option('out')} where "
                "there is one, or move it away"
            )
        with run.training():  # another process may be about to write its first checkpoint
            for name in ("config.yaml", "run.json"):
                (folder / name).unlink(missing_ok=True)
    return run


def remaining_training(
    run: Run,
    config: AuxiliaryConfig,
    build: Callable[[], nn.Module],
    inputs: Callable[[int], tuple[Tensor, ...]],
    device: torch.device,
    online: Callable[[], Part] | None = None,
) -> list[Part]:
    """The time that the remaining steps of a training take, if they are more than a few.

    Args:
        run: the claimed folder.
        config: configuration of the model.
        build: makes a new model.
        inputs: makes random inputs for a number of clips; see ``durations.fit_seconds``.
        device: device to train on.
        online: measures what is encoded at each step, if anything is.
    """
    last = checkpoints.last(run.checkpoints)
    steps = config.training.steps - (last.step if last else 0)
    if steps <= durations.FEW_STEPS:
        return []
    per_step = durations.fit_seconds(build, inputs, config.training, config.training.batch_size, device)
    per_step += (online().seconds or 0.0) if online else 0.0
    return [Part("train", f"{steps:,} steps", steps * per_step)]


def fit_auxiliary(
    run: Run,
    config: AuxiliaryConfig,
    model: nn.Module,
    encoder: Encoder,
    batches: Callable[[int], Iterable[Any]],
    prepare: Callable[[Any], tuple[Tensor, ...]],
    *,
    evaluate: Callable[[nn.Module], dict[str, float]],
    score: str,
    title: str,
) -> None:
    """Train a model in a claimed folder, resuming from its last checkpoint; see ``training.fit``.

    Raises:
        WildlamError: ``torchrun`` started several processes, which would all write the same folder; or another process
            trains into it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise WildlamError(f"the {title} is trained by one process: start it without torchrun, on one GPU")
    processes = Processes(0, 1, encoder.device)
    try:
        with run.training():
            run.create(dump_config(config), config.seed, encoder.spec)  # type: ignore[arg-type]
            fit(
                model,
                batches,
                prepare,
                config.training,
                run,
                processes,
                seed=config.seed,
                evaluate=evaluate,
                score=score,
                resume=True,
                title=title,
            )
    except KeyboardInterrupt:
        saved = checkpoints.last(run.checkpoints)
        since = f"resumes from step {saved.step}" if saved else "starts over: nothing was saved yet"
        raise KeyboardInterrupt(f"the same command {since}") from None


def load_best(run: Run, model: Model, spec: EncoderSpec, device: torch.device) -> Model:
    """Put the weights of a folder's best checkpoint into ``model``, ready for use.

    Raises:
        WildlamError: there is no checkpoint, it does not fit, or it was trained on states of another encoder.
    """
    check_encoder(run, spec)
    checkpoint = checkpoints.best(run.checkpoints)
    checkpoints.load_weights(model, checkpoint.model_tensors(), checkpoint.path)
    return model.to(device).eval().requires_grad_(False)
