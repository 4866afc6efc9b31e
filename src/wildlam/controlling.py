"""Train a controller for a run on clips with real actions, and load it: behind ``wildlam controller train``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wildlam.config import dump_config, read_as, read_config
from wildlam.data.action_spaces import ARM, PLANAR, ActionSpace
from wildlam.data.episodes import Episode
from wildlam.data.labelled import LabelledClips, labelled_clips
from wildlam.data.readers import read_episodes
from wildlam.evaluation.controlled import controlled_rollout
from wildlam.loading import check_encoder, load_model
from wildlam.models import LatentActionModel, ModelConfig
from wildlam.models.controller import Controller, ControllerConfig
from wildlam.models.labelled_world_model import LabelledWorldModel
from wildlam.training import Run, TrainingConfig, checkpoints, fit
from wildlam.training.distributed import Processes, default_device
from wildlam.training.optimizers import OptimizerConfig
from wildlam.training.run import read_json, write_atomically
from wildlam.types import Encoder, StateBatch, WildlamError

FOLDER = "controller"
"""Name of the controller's folder in a run's."""

STATES = 8
"""States of a labelled clip (paper: 8 frames)."""

ACTIONS = "actions.json"
"""What the actions are, beside the weights."""

HELD_OUT_CLIPS = 256
SPACES = {space.name: space for space in (PLANAR, ARM)}


@dataclass(frozen=True, kw_only=True)
class ControllingConfig:
    """Everything that decides a controller, besides the run that it drives.

    Args:
        data: labelled videos: a folder of them with NAME.poses.csv beside each.
        clips: labelled clips of 8 states to learn from; all if not given.
        controller: what it sees, and its size.
        training: steps, transitions per step, precision, optimiser. Paper: 3000 steps of 256 clips, AdamW at 1e-3 with
            a weight decay of 0.04; ours suits two cores.
        seed: of the choice of clips, of initialisation and of the order of the data.
    """

    data: Path
    clips: int | None = None
    controller: ControllerConfig = field(default_factory=ControllerConfig)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=1000,
            batch_size=256,
            eval_every=100,
            optimizer=OptimizerConfig(muon_lr=0.01, adamw_lr=1e-3, weight_decay=0.04, warmup=0.1),
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clips is not None and self.clips < 2:
            raise ValueError(f"clips must be at least 2, got {self.clips}")


@dataclass(frozen=True, kw_only=True)
class LabelledModelConfig:
    """Everything that decides a world model trained on real actions alone, the baseline of planning.

    Args:
        data: labelled videos.
        clips: labelled clips of 8 states to learn from; all if not given.
        model: size and output of the world model; its bottleneck is not used.
        training: steps, clips per step, precision, optimiser.
        seed: of the choice of clips, of initialisation and of the order of the data.
    """

    data: Path
    clips: int | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 0


@dataclass
class ActionBatch(StateBatch):
    """A batch with what was done: ``actions`` ``[B, ..., A]`` and inferred ``latents`` ``[B, ..., Z]``."""

    actions: Tensor = field(default_factory=lambda: torch.empty(0))
    latents: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass
class Labelled:
    """The labelled clips of both splits, for one encoder."""

    train: LabelledClips
    held_out: LabelledClips


def load_labelled(path: Path, encoder: Encoder, fps: float, clips: int | None, seed: int) -> Labelled:
    """Read and encode labelled clips of a folder: ``clips`` of them to learn from, held-out ones to judge by."""
    episodes = read_episodes(path)
    train = _clips(episodes, encoder, "train", fps, path)
    if clips is not None and clips > len(train):
        raise WildlamError(f"{path} holds {len(train)} training clips of {STATES} states, {clips} are asked for")
    held_out = _clips(episodes, encoder, "held_out", fps, path)
    return Labelled(train.few(clips, seed), held_out.few(HELD_OUT_CLIPS, seed=0))


def _clips(episodes: list[Episode], encoder: Encoder, split: str, fps: float, path: Path) -> LabelledClips:
    cache = (path if path.is_dir() else path.parent) / ".wildlam"
    return labelled_clips(episodes, encoder, split, states=STATES, fps=fps, cache=cache)  # type: ignore[arg-type]


def train_controller(path: Path, config: ControllingConfig, out: Path | None = None) -> Path:
    """Train a controller that drives a run's model; one that was interrupted goes on where it stopped.

    Args:
        path: the run folder.
        config: the controller's configuration.
        out: folder for it; ``path/controller`` if not given.

    Returns:
        The controller's folder: a run folder of its own.

    Raises:
        WildlamError: it holds a controller of another configuration, or something is wrong with data or disk.
    """
    opened = Run.open(path)
    run = Run(out or opened.path / FOLDER)
    if (run.path / "config.yaml").is_file() and read_as(ControllingConfig, run.path / "config.yaml") != config:
        raise WildlamError(f"{run.path} holds a controller of another configuration; give another --out, or move it")
    of_run = read_config(opened.path / "config.yaml")
    encoder = of_run.encoder.build(default_device())
    check_encoder(opened, encoder.spec)
    model = load_model(opened, of_run, encoder.spec).to(encoder.device)
    labelled = load_labelled(config.data, encoder, of_run.data.fps, config.clips, config.seed)
    z, held_out_z = (infer_latents(model, clips) for clips in (labelled.train, labelled.held_out))
    torch.manual_seed(config.seed)
    space = labelled.train.space
    controller = config.controller.build(encoder.spec, len(space.action_names), z.shape[-1])
    controller.fit_scales(labelled.train.actions, z)
    run.create(dump_config(config), config.seed, encoder.spec)
    write_atomically(run.path / ACTIONS, json.dumps({"space": space.name, "actions": space.action_names}))

    def prepare(batch: ActionBatch) -> tuple[Tensor, ...]:
        return tuple(t.to(encoder.device) for t in (batch.actions, batch.states.float(), batch.latents))

    def evaluate(current: torch.nn.Module) -> dict[str, float]:
        assert isinstance(current, Controller)
        states = labelled.held_out.states[:, :-1].flatten(0, 1).to(encoder.device).float()
        loss = current(labelled.held_out.actions.flatten(0, 1).to(encoder.device), states, held_out_z.flatten(0, 1))
        return {"z_error": float(loss.total)}

    fit(
        controller,
        lambda start: _transitions(labelled.train, z, config.training, config.seed, start),
        prepare,
        config.training,
        run,
        Processes(0, 1, encoder.device),
        seed=config.seed,
        evaluate=evaluate,
        score="z_error",
        resume=True,
        title="controller",
    )
    return run.path


def train_labelled_model(encoder: Encoder, config: LabelledModelConfig, fps: float, out: Path) -> Path:
    """Train a world model on real actions alone; one that was interrupted goes on where it stopped.

    Args:
        encoder: of the states.
        config: its configuration.
        fps: states per second.
        out: folder for it, a run folder of its own.
    """
    run = Run(out)
    if (run.path / "config.yaml").is_file() and read_as(LabelledModelConfig, run.path / "config.yaml") != config:
        raise WildlamError(f"{run.path} holds a model of another configuration; give another folder, or move it")
    labelled = load_labelled(config.data, encoder, fps, config.clips, config.seed)
    torch.manual_seed(config.seed)
    space = labelled.train.space
    model = LabelledWorldModel(config.model, encoder.spec, len(space.action_names))
    model.fit_scales(labelled.train.actions)
    run.create(dump_config(config), config.seed, encoder.spec)
    write_atomically(run.path / ACTIONS, json.dumps({"space": space.name, "actions": space.action_names}))

    def prepare(batch: ActionBatch) -> tuple[Tensor, ...]:
        return batch.states.to(encoder.device).float(), batch.actions.to(encoder.device)

    def evaluate(current: torch.nn.Module) -> dict[str, float]:
        errors = []
        for part in torch.arange(len(labelled.held_out)).split(32):
            clips = labelled.held_out.choose(part.tolist())
            loss = current(clips.states.to(encoder.device).float(), clips.actions.to(encoder.device))
            errors.append(float(loss.total) * len(part))
        return {"l1": sum(errors) / len(labelled.held_out)}

    fit(
        model,
        lambda start: _whole_clips(labelled.train, config.training, config.seed, start),
        prepare,
        config.training,
        run,
        Processes(0, 1, encoder.device),
        seed=config.seed,
        evaluate=evaluate,
        score="l1",
        resume=True,
        title="labelled model",
    )
    return run.path


def load_controller(path: Path, encoder: Encoder, model: LatentActionModel) -> tuple[Controller, ActionSpace]:
    """Load the best checkpoint of a controller, and what its actions are.

    Args:
        path: the controller's folder, or that of the run that it is in.
        encoder: of the run that it drives.
        model: of that run.

    Raises:
        WildlamError: there is none, or it does not fit.
    """
    run = Run.open(path / FOLDER if (path / FOLDER).is_dir() else path)
    if not (run.path / ACTIONS).is_file():
        raise WildlamError(f"{path} has no controller; train one: wildlam controller train {path} --data PATH")
    config = read_as(ControllingConfig, run.path / "config.yaml")
    check_encoder(run, encoder.spec)
    space = _space(run)
    controller = config.controller.build(encoder.spec, len(space.action_names), model.bottleneck.dim)
    checkpoint = checkpoints.best(run.checkpoints)
    checkpoints.load_weights(controller, checkpoint.model_tensors(), checkpoint.path)
    return controller.to(encoder.device).eval(), space


def evaluate_controller(path: Path, folder: Path) -> str:
    """Unroll held-out labelled clips under a controller, write ``results.json`` beside it and tell it as text."""
    opened, run = Run.open(path), Run.open(folder)
    of_run, config = read_config(opened.path / "config.yaml"), read_as(ControllingConfig, run.path / "config.yaml")
    encoder = of_run.encoder.build(default_device())
    model = load_model(opened, of_run, encoder.spec).to(encoder.device)
    controller, _ = load_controller(folder, encoder, model)
    clips = load_labelled(config.data, encoder, of_run.data.fps, config.clips, config.seed).held_out
    found = controlled_rollout(model, controller, clips)
    write_atomically(run.path / "results.json", json.dumps(found.summary(), indent=2))
    estimate = found.per_clip.estimate
    return "\n".join(
        [
            f"Held-out rollouts of {STATES - 1} steps, {len(clips)} labelled clips:",
            f"error under the inferred actions   {estimate('idm')}",
            f"error under the controller's       {estimate('controller')}",
            f"error of copying the first state   {estimate('copy')}",
            f"controller's over inferred         {estimate('controller', over='idm')}",
            f"z error over that of the mean      {estimate('z', over='z of the mean')}",
            f"size of change over the true one   {estimate('controller change', over='true change')} (inferred: "
            f"{estimate('idm change', over='true change')})",
        ]
    )


def load_labelled_model(path: Path, encoder: Encoder) -> tuple[LabelledWorldModel, ActionSpace]:
    """Load the best checkpoint of a world model of real actions, and what they are."""
    run = Run.open(path)
    if not (run.path / ACTIONS).is_file():
        raise WildlamError(f"{path} is no world model of real actions")
    config = read_as(LabelledModelConfig, run.path / "config.yaml")
    check_encoder(run, encoder.spec)
    space = _space(run)
    model = LabelledWorldModel(config.model, encoder.spec, len(space.action_names))
    checkpoint = checkpoints.best(run.checkpoints)
    checkpoints.load_weights(model, checkpoint.model_tensors(), checkpoint.path)
    return model.to(encoder.device).eval(), space


@torch.no_grad()
def infer_latents(model: LatentActionModel, clips: LabelledClips) -> Tensor:
    """Latent actions of labelled clips, ``float32 [C, T - 1, Z]`` on the model's device."""
    device = next(model.parameters()).device
    return torch.cat([model.infer(part.to(device).float()).float() for part in clips.states.split(32)])


def _space(run: Run) -> ActionSpace:
    return SPACES[read_json(run.path / ACTIONS)["space"]]


def _transitions(
    clips: LabelledClips, z: Tensor, config: TrainingConfig, seed: int, start: int
) -> Iterator[ActionBatch]:
    """Single transitions, drawn with replacement; a step's depend on the seed and on it alone."""
    for step in range(start, config.steps):
        rng = np.random.default_rng([seed, step])
        i = rng.integers(0, len(clips), config.batch_size)
        t = rng.integers(0, clips.actions.shape[1], config.batch_size)
        names = [clips.names[k] for k in i]
        latents = z[torch.from_numpy(i), torch.from_numpy(t)]
        yield ActionBatch(clips.states[i, t], names, names, t.tolist(), actions=clips.actions[i, t], latents=latents)


def _whole_clips(clips: LabelledClips, config: TrainingConfig, seed: int, start: int) -> Iterator[ActionBatch]:
    for step in range(start, config.steps):
        i = np.random.default_rng([seed, step]).integers(0, len(clips), config.batch_size)
        names = [clips.names[k] for k in i]
        yield ActionBatch(clips.states[i], names, names, [0.0] * len(i), actions=clips.actions[i])
