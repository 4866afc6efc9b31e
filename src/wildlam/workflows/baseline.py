"""Clips with real actions, and a world model trained on them alone: the baseline of planning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wildlam.config import config_from, read_as
from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.clips import Cut, LabelledClips, cut_clips
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.episodes.pairing import TOLERANCE
from wildlam.episodes.vectors import FIRST, ChoosesReading, Reading, facts_of, space_of
from wildlam.errors import WildlamError, option
from wildlam.fileio import read_json, write_atomically
from wildlam.models import ModelConfig
from wildlam.models.action_world_model import LabelledWorldModel
from wildlam.runs.command import records_call
from wildlam.runs.folder import Run
from wildlam.training import TrainingConfig
from wildlam.types import Encoder, EncoderSpec, Split, StateBatch, check_seed, settle_paths
from wildlam.workflows import durations
from wildlam.workflows.auxiliary import claimed, fit_auxiliary, load_best, remaining_training
from wildlam.workflows.open_run import open_run

BASELINE = "baseline"
"""Name of the folder of a labelled model in a run's."""

STATES = 8
"""States of a labelled clip (paper: 8 frames)."""

HELD_OUT_CLIPS = 256
VALIDATION_EVERY = 4
"""One labelled clip in so many, ``HELD_OUT_CLIPS`` at most, is set apart for checkpoint selection."""
AT_ONCE = 32
"""Clips evaluated together."""


@dataclass
class ActionBatch(StateBatch):
    """A batch with real ``actions`` ``[B, ..., A]`` and inferred ``latents`` ``[B, ..., Z]``."""

    actions: Tensor = field(default_factory=lambda: torch.empty(0))
    latents: Tensor = field(default_factory=lambda: torch.empty(0))


@dataclass
class Labelled:
    """Labelled clips for one encoder.

    Attributes:
        given: clips to learn from.
        held_out: held-out clips, for the evaluation.
        seed: chooses clips for validation.
    """

    given: LabelledClips
    held_out: LabelledClips
    seed: int

    def apart(self) -> tuple[LabelledClips, LabelledClips]:
        """Clips to train on, and some of the given ones that are set apart for checkpoint selection."""
        train, validation = self.given.folds(VALIDATION_EVERY, HELD_OUT_CLIPS, self.seed)[0]
        return self.given.choose(train), self.given.choose(validation)


@dataclass
class LabelledCut:
    """Where labelled clips lie, before any is encoded.

    Attributes:
        train: training clips.
        held_out: held-out clips.
        clips: how many of the training clips are used, for training and validation together.
    """

    train: Cut
    held_out: Cut
    clips: int

    def encoded(self, encoder: Encoder, seed: int) -> Labelled:
        """Encode them; ``seed`` chooses the clips that are used, and those for validation."""
        given = self.train.encoded(encoder).few(self.clips, seed)
        return Labelled(given, self.held_out.encoded(encoder).few(HELD_OUT_CLIPS, seed=0), seed)


def cut_labelled(
    path: Path,
    encoder: Encoder,
    fps: float,
    clips: int | None,
    tolerance: float = TOLERANCE,
    reading: Reading = FIRST,
) -> LabelledCut:
    """Read labelled clips of a folder; ``clips``: how many are used, all if not given; ``reading``: what of it.

    Raises:
        WildlamError: there are not as many, or something is wrong with the data.
    """
    episodes = read_episodes(path, tolerance, reading)

    def of(split: Split) -> Cut:
        return cut_clips(episodes, encoder, split, states=STATES, fps=fps, cache=cache_folder(path))

    cut, held_out = of("train"), of("held_out")
    if (clips or VALIDATION_EVERY) > len(cut.places):
        raise WildlamError(
            f"{path} holds {len(cut.places)} training clips of {STATES} states, {clips or VALIDATION_EVERY} are "
            + ("asked for" if clips else "needed at least")
        )
    return LabelledCut(cut, held_out, clips or len(cut.places))


def made_up(clips: int, spec: EncoderSpec, device: torch.device) -> Tensor:
    """Random states of labelled clips, for timing."""
    return torch.randn(clips, STATES, spec.tokens, spec.width, device=device)


def check_clips(clips: int | None) -> None:
    """Raise ValueError for too few clips for training and validation."""
    if clips is not None and clips < VALIDATION_EVERY:
        raise ValueError(f"{option('clips')} must be at least {VALIDATION_EVERY}, got {clips}")


@dataclass(frozen=True, kw_only=True)
class LabelledModelConfig(ChoosesReading):
    """Data, model and training of a world model of real actions alone, the baseline of planning.

    Args:
        data: labelled videos.
        clips: labelled clips of 8 states to train on, a quarter of them for validation; all if not given.
        model: size and output of the world model; its bottleneck is not used.
        training: steps, clips per step, precision, optimiser.
        seed: seed of the choice of clips, the initialisation and the order of the data.
    """

    data: Path
    clips: int | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        settle_paths(self, "data")
        check_clips(self.clips)
        check_seed(self.seed)
        _ = self.reading  # refuses choices that there are not


def train_labelled_model(encoder: Encoder, config: LabelledModelConfig, fps: float, out: Path) -> Path:
    """Train a world model on real actions alone; an interrupted training is resumed.

    Args:
        encoder: encoder of the states.
        config: its configuration.
        fps: states per second.
        out: folder for it, a run folder of its own.

    Returns:
        That folder.

    Raises:
        WildlamError: it holds a model of another configuration, or something is wrong with data or disk.
    """
    training = config.training.settled(encoder.device)
    config = replace(config, data=config.data.absolute(), training=training)
    run = claimed(out, config, "model")

    cut = cut_labelled(config.data, encoder, fps, config.clips, config.tolerance, config.reading)
    space = cut.train.space
    width = len(space.action_names)

    def inputs(count: int) -> tuple[Tensor, ...]:
        actions = torch.randn(count, STATES - 1, width, device=encoder.device)
        return made_up(count, encoder.spec, encoder.device), actions

    parts = remaining_training(
        run, config, lambda: LabelledWorldModel(config.model, encoder.spec, width), inputs, encoder.device
    )
    durations.announce([*durations.labelled([cut.train, cut.held_out], encoder), *parts])
    train, validation = cut.encoded(encoder, config.seed).apart()
    torch.manual_seed(config.seed)
    model = LabelledWorldModel(config.model, encoder.spec, width)
    model.fit_scales(train.actions)

    def prepare(batch: ActionBatch) -> tuple[Tensor, ...]:
        return batch.states.to(encoder.device).float(), batch.actions.to(encoder.device)

    def evaluate(current: torch.nn.Module) -> dict[str, float]:
        errors = []
        for part in torch.arange(len(validation)).split(AT_ONCE):
            clips = validation.choose(part.tolist())
            loss = current(clips.states.to(encoder.device).float(), clips.actions.to(encoder.device))
            errors.append(float(loss.total) * len(part))
        return {"l1": sum(errors) / len(validation)}

    fit_auxiliary(
        run,
        config,
        model,
        encoder,
        partial(drawn_clips, train, config.training.batch_size, config.training.steps, config.seed),
        prepare,
        evaluate=evaluate,
        score="l1",
        title="labelled model",
    )
    write_space(run, space)
    return run.path


@records_call
def train_baseline(
    path: Path | str, config: LabelledModelConfig | None = None, /, out: Path | str | None = None, **keywords: Any
) -> Path:
    """Train a world model of real actions as the baseline of a run, with its encoder, frame rate and size of model.

    Args:
        path: the run folder.
        config: data and training; its ``model`` is replaced by the run's.
        out: folder for it; ``path/baseline`` if not given.
        keywords: fields of ``LabelledModelConfig``, in its place or to replace what it says.

    Returns:
        The folder of the model.

    Raises:
        WildlamError: see ``train_labelled_model``.
    """
    opened = open_run(Path(path))
    config = replace(config_from(LabelledModelConfig, config, keywords), model=opened.config.model)
    folder = Path(out or opened.run.path / BASELINE)
    return train_labelled_model(opened.encoder, config, opened.config.data.fps, folder)


def load_labelled_model(path: Path, encoder: Encoder) -> tuple[LabelledWorldModel, ActionSpace]:
    """Load the best checkpoint of a world model of real actions, and its action space.

    Raises:
        WildlamError: there is none, or it was trained on another encoder's states.
    """
    run = Run.open(path)
    space = read_space(
        run,
        f"{path} is no world model of real actions, or its training was interrupted: give the same `wildlam "
        f"controller baseline` again, or other {option('baselines')}",
    )
    config = read_as(LabelledModelConfig, run.path / "config.yaml")
    model = LabelledWorldModel(config.model, encoder.spec, len(space.action_names))
    return load_best(run, model, encoder.spec, encoder.device), space


def write_space(run: Run, space: ActionSpace, drives: str | None = None) -> None:
    """Write the action space of a trained model to ``actions.json`` and, for a controller, which model it drives."""
    facts = facts_of(space) | ({"drives": drives} if drives else {})
    write_atomically(run.path / "actions.json", json.dumps(facts))


def read_space(run: Run, otherwise: str, drives: bool = False) -> ActionSpace:
    """The action space that ``write_space`` wrote for a labelled model or, if ``drives``, for a controller.

    Raises:
        WildlamError: ``actions.json`` is damaged; or it is missing or of the other kind, with ``otherwise`` as message.
    """
    file = run.path / "actions.json"
    facts = read_json(file) if file.is_file() else {}
    space = space_of(facts)
    if facts and space is None:
        raise WildlamError(f"{file}: does not say what its actions are; restore it")
    if space is None or ("drives" in facts) != drives:
        raise WildlamError(otherwise)
    return space


def drawn_clips(
    clips: LabelledClips, count: int, steps: int, seed: int, start: int, latents: Tensor | None = None
) -> Iterator[ActionBatch]:
    """Batches of ``count`` clips, drawn with replacement, from ``start`` on; a batch depends on seed and step alone."""
    for step in range(start, steps):
        i = np.random.default_rng([seed, step]).integers(0, len(clips), count)
        names = [clips.names[k] for k in i]
        batch = ActionBatch(clips.states[i], names, names, [0.0] * len(i), actions=clips.actions[i])
        yield batch if latents is None else replace(batch, latents=latents[torch.from_numpy(i)])
