"""Train a controller for a run on clips with real actions, and load it: ``wildlam controller train``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildlam.config import RunConfig, config_from, dump_config, read_as
from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.vectors import ChoosesReading
from wildlam.errors import WildlamError, option
from wildlam.evaluation.clips import infer_latents, spread
from wildlam.evaluation.controller_rollout import controlled_rollout, errors_by_component
from wildlam.evaluation.intervals import FEWEST_RECORDINGS, TOO_FEW, Estimate, enough
from wildlam.evaluation.probes import fit_clips, standardiser
from wildlam.fileio import read_json, write_atomically
from wildlam.models import LatentActionModel
from wildlam.models.controller import Controller, ControllerConfig, ControllerEnsemble, ControllerNetwork, Drive
from wildlam.planning.dynamics import Controlled, Dynamics
from wildlam.report.pages.controller import write_controller_report
from wildlam.report.strips import Strip
from wildlam.runs import checkpoints
from wildlam.runs.command import records_call
from wildlam.runs.folder import Run
from wildlam.states.dataset import Clips
from wildlam.training import TrainingConfig
from wildlam.training.loop import check_accumulate
from wildlam.training.optimizers import OptimizerConfig
from wildlam.types import Encoder, check_seed, settle_paths
from wildlam.workflows import durations
from wildlam.workflows.auxiliary import claimed, fit_auxiliary, load_best, remaining_training, weights_fingerprint
from wildlam.workflows.baseline import (
    AT_ONCE,
    HELD_OUT_CLIPS,
    STATES,
    VALIDATION_EVERY,
    ActionBatch,
    LabelledCut,
    check_clips,
    cut_labelled,
    drawn_clips,
    made_up,
    read_space,
    write_space,
)
from wildlam.workflows.decoder import find_decoder, load_decoder
from wildlam.workflows.driven_run import DrivenRun, Scales
from wildlam.workflows.open_run import open_run
from wildlam.workflows.pseudo_labels import clips_like_labelled

FOLDER = "controller"
"""Name of the controller's folder in a run's."""

RESULTS = "results.json"

HALF = 64
"""Number of labelled clips from which half of a batch is labelled, where the other half has pseudo-labels."""

PAINTED = 3
"""Held-out clips that the report shows."""

FEW_CLIPS = 16
"""Number of held-out clips up to which their evaluation is not announced."""

STILL = 0.2
"""Size of change, over the true one, below which a controller hardly moves."""

UNTOLD = "cannot be told from these clips: add labelled recordings."
INCONCLUSIVE = f"{TOO_FEW} Whether the controller works {UNTOLD}"


@dataclass(frozen=True, kw_only=True)
class ControllingConfig(ChoosesReading):
    """Data, model and training of a controller, for a given run.

    Args:
        data: labelled data: LeRobot, DROID, RECON, or a folder of videos with NAME.poses.csv beside each.
        clips: labelled clips of 8 states to train on; all if not given. A quarter of them, or with `folds` as many as a
            fold has, is for validation.
        folds: controllers that are trained at once, each with another part of the clips for validation, of which the
            mean acts: all clips teach, and so many cost as many times as much. 1: a single one.
        unlabelled: videos of the same body without actions. They get pseudo-labels, by a linear map from their latent
            actions, and are trained on as well. It may help where labels are few: compare the validation losses.
        controller: inputs and size of the controller.
        training: steps, clips per step, precision, optimiser. AdamW alone at 1e-3 with betas (0.9, 0.999) and a weight
            decay of 0.04, as in the paper: with Muon, plans were worse at the same loss. Paper: 3000 steps of 256
            clips.
        seed: seed of the choice of clips, the initialisation and the order of the data.
    """

    data: Path
    clips: int | None = None
    folds: int = 1
    unlabelled: Path | None = None
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=400,
            eval_every=40,
            save_every=40,
            optimizer=OptimizerConfig(muon=False, adamw_lr=1e-3, beta2=0.999, weight_decay=0.04, warmup=0.1),
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        settle_paths(self, "data", "unlabelled")
        check_clips(self.clips)
        if not 1 <= self.folds <= VALIDATION_EVERY:  # of the fewest clips that can be given, one each
            raise ValueError(f"{option('folds')} must be 1 to {VALIDATION_EVERY}, got {self.folds}")
        check_seed(self.seed)
        _ = self.reading  # refuses choices that there are not


@records_call
def train_controller(
    path: Path | str, config: ControllingConfig | None = None, /, out: Path | str | None = None, **keywords: Any
) -> Path:
    """Train a controller for a run's model and evaluate it on held-out clips; an interrupted training is resumed.

    Args:
        path: the run folder.
        config: the controller's configuration.
        out: folder for it; ``path/controller`` if not given.
        keywords: fields of ``ControllingConfig``, in its place or to replace what it says.

    Returns:
        The controller's folder: a run folder of its own, with ``results.json``.

    Raises:
        WildlamError: it holds a controller of another configuration or run, or something is wrong with data or disk.
    """
    path, config = Path(path), config_from(ControllingConfig, config, keywords)
    _, of_run, encoder, model = _open(path)
    config = replace(
        config,
        data=config.data.absolute(),
        unlabelled=config.unlabelled and config.unlabelled.absolute(),
        training=config.training.settled(encoder.device),
    )
    check_accumulate(config.training.accumulate, config.training.batch_size)  # of each fold by itself
    run = claimed(Path(out or path / FOLDER), config, "controller")
    _check_driven(run, model, f"give another {option('out')}")
    cut = cut_labelled(config.data, encoder, of_run.data.fps, config.clips, config.tolerance, config.reading)
    _announce_parts(run, config, encoder, model, cut)
    labelled = cut.encoded(encoder, config.seed)
    given, z = labelled.given, infer_latents(model, labelled.given.states)
    folds = given.folds(VALIDATION_EVERY if config.folds == 1 else config.folds, HELD_OUT_CLIPS, config.seed)
    folds = folds[: config.folds]
    torch.manual_seed(config.seed)
    space = given.space
    model.requires_grad_(False)
    controller = _new(config, encoder, model, space)
    films = _films(config, of_run, encoder, len(folds[0][0]))
    makers = []
    for member, (train, _) in zip(_members(controller), folds, strict=True):
        member.fit_scales(given.actions[train], z[train])
        if config.controller.start == "linear":
            member.begin_with(fit_linear(given.actions[train], z[train]))
        makers.append(_batches(config, model, given.choose(train), z[train], films))

    def batches(start: int) -> Iterator[ActionBatch]:
        return (reduce(_joined, shares) for shares in zip(*(make(start) for make in makers), strict=True))

    def prepare(batch: ActionBatch) -> tuple[Tensor, ...]:
        return tuple(t.to(encoder.device) for t in (batch.actions, batch.states.float(), batch.latents))

    def evaluate(current: torch.nn.Module) -> dict[str, float]:
        judged = [apart for _, apart in folds]
        return _validation_losses(_members(current), given, z, judged, encoder.device)

    run.create(dump_config(config), config.seed, encoder.spec)
    write_space(run, space, weights_fingerprint(model))
    fit_auxiliary(
        run,
        config,
        controller,
        encoder,
        batches,
        prepare,
        evaluate=evaluate,
        score="loss",
        title="controller",
    )
    best = load_best(run, controller, encoder.spec, encoder.device)
    found = controlled_rollout(model, best, labelled.held_out)
    results = {
        "clips": len(labelled.held_out),
        "recordings": len(set(labelled.held_out.recordings)),
        "fps": labelled.held_out.fps,
        "choosing": {
            "clips": sum(len(apart) for _, apart in folds),
            "loss": checkpoints.best(run.checkpoints).score,
        },
    }
    train, _ = folds[0]
    known = given.actions[train]
    read, mean = fit_linear(z[train], known), known.mean(dim=(0, 1))
    results |= found.summary() | {"errors": errors_by_component(model, best, labelled.held_out, read, mean)}
    write_atomically(run.path / RESULTS, json.dumps(results, indent=2))
    write_controller_report(
        run.path / "report.html",
        f"Controller: {run.path.name}",
        controller_results(run.path).splitlines(),
        results,
        space,
        _strips(path, encoder, model, best, labelled.held_out),
        f"of {path}, by {len(given)} labelled clips of {config.data}",
    )
    return run.path


@torch.no_grad()
def _strips(
    path: Path, encoder: Encoder, model: LatentActionModel, controller: Controller, clips: LabelledClips
) -> list[Strip]:
    """Held-out clips as they were, and as rollouts under inferred and under real actions; none without a decoder."""
    if find_decoder(path, encoder.spec) is None:
        return []
    painter = load_decoder(path, encoder.spec, encoder.device)
    strips = []
    for i in spread(len(clips), PAINTED):
        one = clips.choose([i])
        states, actions = one.states.to(encoder.device).float(), one.actions.to(encoder.device)
        ways = {
            "states": states,
            "inferred": torch.cat([states[:, :1], model.rollout(states[:, :1], model.infer(states))], dim=1),
            "controller": torch.cat([states[:, :1], model.drive(states[:, :1], actions, controller.act)], dim=1),
        }
        episode, numbers = one.places[0]
        size = encoder.spec.image_size
        rows = {"film": episode.frames(numbers.tolist(), size).numpy()}
        for name, way in ways.items():
            painted = painter.decode(way.float())[0, :: encoder.spec.frames_per_state]
            rows[name] = (painted.clamp(0, 1) * 255).round().byte().cpu().numpy()
        strips.append(Strip(episode.name, rows, episode.times[numbers].tolist()))
    return strips


def _members(controller: torch.nn.Module) -> list[ControllerNetwork]:
    """The controllers that one consists of: itself, or several."""
    return list(getattr(controller, "members", [controller]))


def _validation_losses(
    members: list[ControllerNetwork], given: LabelledClips, z: Tensor, judged: list[list[int]], device: torch.device
) -> dict[str, float]:
    """Mean loss and its parts, of each controller over clips of its own, of which ``z`` holds the latent actions."""
    found: dict[str, float] = {}
    total = sum(map(len, judged))
    for member, apart in zip(members, judged, strict=True):
        for part in torch.tensor(apart).split(AT_ONCE):
            clips = given.choose(part.tolist())
            loss = member(clips.actions.to(device), clips.states.to(device).float(), z[part])
            for name, value in {"loss": loss.total, **loss.statistics()}.items():
                found[name] = found.get(name, 0.0) + float(value) * len(part) / total
    return found


def _new(config: ControllingConfig, encoder: Encoder, model: LatentActionModel, space: ActionSpace) -> Controller:
    """A controller to be trained, which learns through the model where it is unrolled."""
    return _built(config, encoder, model, space, model.drive if config.controller.prediction else None)


def _built(
    config: ControllingConfig, encoder: Encoder, model: LatentActionModel, space: ActionSpace, drive: Drive | None
) -> Controller:
    of = encoder.spec, len(space.action_names), model.bottleneck.dim, drive
    members = [config.controller.build(*of) for _ in range(config.folds)]
    return members[0] if config.folds == 1 else ControllerEnsemble(members)


def _announce_parts(
    run: Run, config: ControllingConfig, encoder: Encoder, model: LatentActionModel, cut: LabelledCut
) -> None:
    """Print how long it takes to encode labelled clips, to train and to evaluate; see also ``announce_encoding``."""
    spec, device = encoder.spec, encoder.device
    space, width = cut.train.space, model.bottleneck.dim

    def inputs(count: int) -> tuple[Tensor, ...]:
        count *= config.folds  # each has a batch of its own
        actions, z = (torch.randn(count, STATES - 1, n, device=device) for n in (len(space.action_names), width))
        return actions, made_up(count, spec, device), z

    def judge(count: int) -> None:
        clips = cut.held_out.with_states(made_up(count, spec, torch.device("cpu")))
        controlled_rollout(model, _new(config, encoder, model, space).to(device), clips)

    parts = remaining_training(run, config, lambda: _new(config, encoder, model, space), inputs, device)
    judged = min(len(cut.held_out.places), HELD_OUT_CLIPS)
    if judged > FEW_CLIPS:
        parts.append(durations.many("judge", f"{judged} held-out clips", judged, judge, AT_ONCE, device))
    durations.announce([*durations.labelled([cut.train, cut.held_out], encoder), *parts])


def load_controller(path: Path, encoder: Encoder, model: LatentActionModel) -> tuple[Controller, ActionSpace]:
    """Load the best checkpoint of a controller, and its action space.

    Args:
        path: the controller's folder, or that of the run that it is in.
        encoder: encoder of the run that it belongs to.
        model: model of that run.

    Raises:
        WildlamError: there is none, its training was interrupted, or it was trained for another model.
    """
    run = Run(_folder(path))
    others = [file.parent.name for file in sorted(path.glob("*/actions.json")) if "drives" in read_json(file)]
    if others:
        otherwise = f"{path} has {', '.join(others)}; give one of these folders as {option('controller')}"
    else:
        remedy = f"train one with `wildlam controller train`, or give one as {option('controller')}"
        otherwise = f"{path} has no controller; {remedy}"
    space = read_space(run, otherwise, drives=True)
    _check_driven(run, model, "give one of this run, or train one with `wildlam controller train`")
    if not (run.path / RESULTS).is_file():
        raise WildlamError(
            f"the training of {run.path} was interrupted: give the same `wildlam controller train` again, or another "
            f"{option('controller')}"
        )
    config = read_as(ControllingConfig, run.path / "config.yaml")
    controller = _built(config, encoder, model, space, drive=None)
    return load_best(run, controller, encoder.spec, encoder.device), space


def _folder(path: Path) -> Path:
    """The folder of a controller: the given one, or the one inside the given run."""
    return path / FOLDER if (path / FOLDER).is_dir() else path


def _check_driven(run: Run, model: LatentActionModel, remedy: str) -> None:
    """Refuse a controller of a model with other weights, whose latent actions mean other things."""
    file = run.path / "actions.json"
    if file.is_file() and read_json(file).get("drives") != weights_fingerprint(model):
        raise WildlamError(
            f"{run.path} holds a controller of another run, or of this one before more training; {remedy}"
        )


@dataclass
class ControlledRun(DrivenRun):
    """A run and a controller of its model.

    Attributes:
        controller: maps real actions to its latent ones.
    """

    controller: Controller

    given_by = "controller"
    learner = "the controller"

    @property
    def camera(self) -> str | None:
        """See ``DrivenRun``."""
        return read_as(ControllingConfig, self.place / "config.yaml").camera

    @property
    def rate(self) -> float | None:
        """See ``DrivenRun``."""
        return read_as(ControllingConfig, self.place / "config.yaml").rate

    @property
    def dynamics(self) -> Dynamics:
        """See ``DrivenRun``."""
        return Controlled(self.model, self.controller)

    @property
    def scales(self) -> Scales:
        """See ``DrivenRun``."""
        return self.controller

    @property
    def facts(self) -> dict[str, Any]:
        """See ``DrivenRun``."""
        return {"controller": str(self.place)}

    def __str__(self) -> str:
        return f"controller {self.place}"


def load_controlled(path: Path, controller: Path | None = None) -> ControlledRun:
    """Load a run's model and a controller of it.

    Args:
        path: the run folder.
        controller: its folder; that of the run if not given.

    Raises:
        WildlamError: there is none, or they do not fit together.
    """
    opened, config, encoder, model = _open(path)
    place = _folder(controller or opened.path)
    driver, space = load_controller(place, encoder, model)
    return ControlledRun(opened, config, encoder, model, place, space, driver)


def _open(path: Path) -> tuple[Run, RunConfig, Encoder, LatentActionModel]:
    opened = open_run(path)
    return opened.run, opened.config, opened.encoder, opened.model()


def controller_results(folder: Path) -> str:
    """The results of a controller as text."""
    found = read_json(folder / RESULTS)
    validation = found["choosing"]
    count = found.get("recordings")  # earlier versions did not count them
    of = f" of {count} recording{'s' * (count != 1)}" if count else ""

    is_enough = enough(count or FEWEST_RECORDINGS, found["clips"])
    if "over_copy" not in found:  # nor did they compare clip by clip
        one, copy = found["controller"], found["copy"]
        ends = {"mean": "mean", "low": "high", "high": "low"}
        found["over_copy"] = {end: one[end] / max(copy[other], 1e-12) for end, other in ends.items()}

    def figure(name: str) -> Estimate:
        of = Estimate(**found[name])
        return of if is_enough else Estimate(of.mean, of.mean, of.mean)

    return "\n".join(
        [
            f"Held-out rollouts of {STATES - 1} steps, {found['clips']} labelled clips{of}:",
            f"error under the inferred actions   {figure('idm')}",
            f"error under the controller's       {figure('controller')}",
            f"error of copying the first state   {figure('copy')}",
            f"controller's over inferred         {figure('over_idm')}",
            f"z error over that of the mean      {figure('z')}",
            f"size of change over the true one   {figure('movement')} (inferred: {figure('movement_idm')})",
            "",
            f"Validation loss, on {validation['clips']} labelled clips: {validation['loss']:.4g}; between trainings on",
            f"the same labels in as many {option('folds')}, such as with and without {option('unlabelled')}, choose",
            "the lower.",
            "",
            _conclusion(figure("z"), figure("over_copy"), figure("movement")) if is_enough else INCONCLUSIVE,
        ]
    )


def _conclusion(z: Estimate, over_copy: Estimate, movement: Estimate) -> str:
    """The results of a controller in words."""
    if z.low >= 1:
        return "The controller is no better than the mean latent action: give more labelled clips."
    if z.high >= 1:
        return f"Whether the controller is better than the mean latent action {UNTOLD}"
    if over_copy.low >= 1:
        return "Rollouts are no better than copying the first state: give more labelled clips."
    if over_copy.high >= 1:
        return f"Whether rollouts are better than copying the first state {UNTOLD}"
    if movement.high < STILL:
        return f"The controller hardly moves: check that it sees the state ({option('controller.past')} tokens)."
    if movement.low < STILL:
        return f"Whether the controller does more than hardly move {UNTOLD}"
    return "The controller works; wildlam plan shows how well plans with it do."


@dataclass(frozen=True)
class _UnlabelledFilms:
    """Clips of videos without labels, and how many clips of a batch are labelled."""

    clips: Clips
    labelled: int


def _films(config: ControllingConfig, of_run: RunConfig, encoder: Encoder, labelled: int) -> _UnlabelledFilms | None:
    """Clips of the videos without labels, if there are any.

    The more clips are ``labelled``, the larger their share of a batch: half with ``HALF``.
    """
    if config.unlabelled is None:
        return None
    of_batch = config.training.batch_size
    if of_batch < 2:
        raise WildlamError(
            f"{option('unlabelled')} shares a batch with labelled clips: training.batch_size must be at least 2"
        )
    few = min(max(round(of_batch * labelled / (labelled + HALF)), 1), of_batch - 1)
    return _UnlabelledFilms(clips_like_labelled(config.unlabelled, of_run, encoder, of_batch - few, config.seed), few)


def _batches(
    config: ControllingConfig,
    model: LatentActionModel,
    labelled: LabelledClips,
    z: Tensor,
    films: _UnlabelledFilms | None,
) -> Callable[[int], Iterator[ActionBatch]]:
    """Batches to train a controller on, from a step on: of labelled clips, and of unlabelled ones with pseudo-labels.

    Pseudo-labels are the linear map from z with the least squared error. They regress to the mean, so a controller
    trained on them makes more of a given action and moves more than one trained on few labels.
    """
    of_batch, steps = config.training.batch_size, config.training.steps
    if films is None:
        return partial(drawn_clips, labelled, of_batch, steps, config.seed, latents=z)
    pseudo_label = fit_linear(z, labelled.actions)

    @torch.no_grad()
    def batches(start: int) -> Iterator[ActionBatch]:
        known = drawn_clips(labelled, films.labelled, steps, config.seed, start, z)
        for batch, unlabelled in zip(known, films.clips.batches(start, steps), strict=True):
            (states,) = films.clips.states(unlabelled)
            latents = model.infer(states).float()
            of = unlabelled.names, unlabelled.sources, unlabelled.starts
            yield _joined(batch, ActionBatch(states, *of, actions=pseudo_label(latents), latents=latents))

    return batches


def _joined(one: ActionBatch, other: ActionBatch) -> ActionBatch:
    """The clips of one batch and then those of another."""
    return replace(
        one,
        states=torch.cat([one.states, other.states.to(one.states)]),
        actions=torch.cat([one.actions, other.actions.to(one.actions)]),
        latents=torch.cat([one.latents, other.latents.to(one.latents)]),
        names=one.names + other.names,
        sources=one.sources + other.sources,
        starts=one.starts + other.starts,
    )


def fit_linear(inputs: Tensor, targets: Tensor) -> Callable[[Tensor], Tensor]:
    """A linear map between latent and real actions of labelled clips, ``[C, T - 1, X]`` to ``[C, T - 1, Y]``."""
    scale = standardiser(inputs.cpu().double())
    predict = fit_clips(scale(inputs.cpu().double()), targets.cpu())
    return lambda given: predict(scale(given.cpu().double())).float().to(given.device)
