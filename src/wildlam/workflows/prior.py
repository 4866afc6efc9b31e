"""Train a prior of a run's latent actions on videos without actions, and load it: ``wildlam prior train``."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildlam.config import config_from, dump_config, read_as
from wildlam.distributed import Processes
from wildlam.errors import WildlamError, option
from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.components import leading_directions
from wildlam.evaluation.intervals import Estimate, enough
from wildlam.evaluation.latent_prior import DRAWS, HORIZON, Search, prior_quality
from wildlam.fileio import read_json, write_atomically
from wildlam.models import LatentActionModel
from wildlam.models.priors import Codes, Gaussian, LatentPrior, PriorConfig
from wildlam.planning.cost import GoalCost, LikelyCost
from wildlam.planning.dynamics import FromPrior
from wildlam.planning.solvers.base import Prior
from wildlam.planning.solvers.cem import cem
from wildlam.runs import checkpoints
from wildlam.runs.command import records_call
from wildlam.runs.folder import Run
from wildlam.states.dataset import Clips
from wildlam.training import TrainingConfig
from wildlam.training.optimizers import OptimizerConfig
from wildlam.types import Encoder, check_seed, settle_paths
from wildlam.workflows import durations
from wildlam.workflows.auxiliary import (
    check_weights,
    claimed,
    finished,
    first_states,
    fit_auxiliary,
    load_best,
    remaining_training,
    unlabelled_clips,
    write_weights,
)
from wildlam.workflows.open_run import inferred, open_run

log = logging.getLogger(__name__)

FOLDER = "prior"
"""Name of the prior's folder in a run's."""

RESULTS = "results.json"

STATES_FOR_COMPONENTS = 512
"""Training states that principal components are computed from, at most."""
TRANSITIONS = 4096
"""Training transitions that give what needs no training, about."""


PRICE = 0.001
"""Price of a nat of what the prior finds unlikely, as a share of the distance from start to goal."""

SAMPLES, ITERATIONS = 64, 6
"""Candidates and iterations of the plans by which a prior is judged."""


@dataclass(frozen=True, kw_only=True)
class PriorTrainingConfig:
    """Data, form and training of a prior, for a given run.

    Args:
        data: videos without actions; those of the run if not given.
        prior: its form: Gaussian, Flow, Neighbours or Codes.
        training: steps, clips per step, precision, optimiser.
        seed: seed of the initialisation and of the order of the data.
    """

    data: Path | None = None
    prior: PriorConfig = field(default_factory=Gaussian)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=400,
            eval_every=40,
            save_every=40,
            optimizer=OptimizerConfig(muon=False, adamw_lr=1e-3, weight_decay=0.1),
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        settle_paths(self, "data")
        check_seed(self.seed)
        if type(self.prior) is PriorConfig:
            raise ValueError(f"prior: choose {' or '.join(cls.__name__ for cls in PriorConfig.__subclasses__())}")


@records_call
def train_prior(
    path: Path | str, config: PriorTrainingConfig | None = None, /, out: Path | str | None = None, **keywords: Any
) -> Path:
    """Train a prior of a run's latent actions and evaluate it on held-out clips; an interrupted training is resumed.

    Args:
        path: the run folder.
        config: the prior's configuration; the defaults if not given.
        out: folder for it; ``path/prior`` if not given.
        keywords: fields of ``PriorTrainingConfig``, in its place or to replace what it says.

    Returns:
        The prior's folder: a run folder of its own, with ``results.json``.

    Raises:
        WildlamError: it holds a prior of another configuration or run, or something is wrong with the videos or disk.
    """
    config = config_from(PriorTrainingConfig, config, keywords)
    opened = open_run(Path(path))
    encoder, model = opened.encoder, opened.model()
    training = config.training.settled(encoder.device)
    config = replace(config, data=config.data and config.data.absolute(), training=training)
    run = claimed(Path(out or opened.run.path / FOLDER), config, "prior")
    check_weights(run, model, "prior", f"give another {option('out')}")
    torch.manual_seed(config.seed)
    prior = config.prior.build(model.state_shape, model.bottleneck)
    blind = (config.prior if isinstance(config.prior, Codes) else Gaussian()).build(model.state_shape, model.bottleneck)
    clips = unlabelled_clips(config, opened)
    _fit_at_once([prior, blind], model, clips)
    held_out = inferred(clips, model, clips.held_out)
    run.create(dump_config(config), config.seed, encoder.spec)
    write_weights(run, model)

    states = opened.config.data.frames // encoder.spec.frames_per_state
    _train(run, config, prior, model, clips, held_out, states)
    best = load_best(run, prior, encoder.spec, encoder.device)
    quality = prior_quality(model, best, blind, held_out, _searches(model, best, config.seed), config.seed)
    results = {"clips": len(held_out), "recordings": len(set(held_out.recordings)), **quality.summary()}
    write_atomically(run.path / RESULTS, json.dumps(results, indent=2))
    return run.path


def _train(
    run: Run,
    config: PriorTrainingConfig,
    prior: LatentPrior,
    model: LatentActionModel,
    clips: Clips,
    held_out: InferredClips,
    states: int,
) -> None:
    """Train what there is to train, on clips of ``states`` states, and leave a checkpoint."""
    encoder = clips.encoder
    if not list(prior.parameters()):
        with run.training(), closing(checkpoints.Writer(run.checkpoints, 1, Processes(0, 1, encoder.device))) as saver:
            saver.save(0, None, prior.state_dict(), {})
            saver.wait()
        return

    def inputs(count: int) -> tuple[Tensor, ...]:
        z = torch.randn(count, states - 1, prior.dim, device=encoder.device)
        return torch.randn(count, states, *model.state_shape, device=encoder.device), z

    @torch.no_grad()
    def infer(count: int) -> None:
        model.infer(inputs(count)[0])

    def inferring() -> durations.Part:
        size = config.training.batch_size
        return durations.many("infer", f"{size} clips", size, infer, size, encoder.device)

    build = partial(copy.deepcopy, prior)
    durations.announce(remaining_training(run, config, build, inputs, encoder.device, inferring))

    @torch.no_grad()
    def prepare(batch: Any) -> tuple[Tensor, Tensor]:
        (seen,) = clips.states(batch)
        return seen, model.infer(seen).float()

    fit_auxiliary(
        run,
        config,
        prior,
        encoder,
        lambda start: clips.batches(start, config.training.steps),
        prepare,
        evaluate=partial(_held_out_nats, held_out, encoder.device),
        score="nats",
        title="prior",
    )


def _searches(model: LatentActionModel, prior: LatentPrior, seed: int) -> dict[str, Search]:
    """Planners whose costs are judged, by the price of what the prior finds unlikely."""

    def search(start: Tensor, goal: Tensor, price: float) -> Tensor:
        dynamics, none = FromPrior(model, prior), start.new_empty(len(start), 0, 0)
        plain = GoalCost(dynamics, start[:, None], none, goal, bf16=False)
        priced = LikelyCost(dynamics, start[:, None], none, goal, bf16=False, price=price)
        zero = torch.zeros(HORIZON, prior.base, device=start.device)
        generator = torch.Generator().manual_seed(seed)
        about = Prior(zero, torch.ones_like(zero))
        plan = cem(priced, about, batch=len(start), samples=SAMPLES, iterations=ITERATIONS, generator=generator)
        return plain(plan.actions[:, None])[:, 0]

    return {"free": partial(search, price=0.0), "priced": partial(search, price=PRICE)}


@torch.no_grad()
def _fit_at_once(priors: Sequence[LatentPrior], model: LatentActionModel, clips: Clips) -> None:
    """Set what of priors needs no training, by the first batches of it."""
    some = torch.cat([states.cpu() for states in first_states(clips, STATES_FOR_COMPONENTS)])
    flat = some.flatten(0, 1)[:STATES_FOR_COMPONENTS].flatten(1)
    for prior in priors:
        prior.to(clips.encoder.device)
        prior.see_by(*leading_directions(flat, min(prior.components, len(flat) - 1)))
    read: list[list[Tensor]] = [[] for _ in priors]
    z = []
    for states in first_states(clips, TRANSITIONS):
        for prior, of_prior in zip(priors, read, strict=True):
            of_prior.append(prior.read(states[:, :-1]).flatten(0, 1))
        z.append(model.infer(states).float().flatten(0, 1))
    for prior, of_prior in zip(priors, read, strict=True):
        prior.fit(torch.cat(of_prior), torch.cat(z))


def _held_out_nats(clips: InferredClips, device: torch.device, prior: torch.nn.Module) -> dict[str, float]:
    """Mean negative log-likelihood of held-out latent actions."""
    found = []
    for part in clips.batches():
        loss = prior(clips.states[part].to(device).float(), clips.z[part].to(device))
        found.append(float(loss.total) * (part.stop - part.start))
    return {"nats": sum(found) / len(clips)}


def load_prior(path: Path, encoder: Encoder, model: LatentActionModel) -> LatentPrior:
    """Load the best checkpoint of a prior, ready for use.

    Args:
        path: the prior's folder.
        encoder: encoder of the run that it belongs to.
        model: model of that run.

    Raises:
        WildlamError: there is none, its training was interrupted, or it was trained for another model.
    """
    run = finished(path, model, "prior", RESULTS)
    config = read_as(PriorTrainingConfig, run.path / "config.yaml")
    prior = config.prior.build(model.state_shape, model.bottleneck)
    return load_best(run, prior, encoder.spec, encoder.device)


def load_own_prior(run: Path, encoder: Encoder, model: LatentActionModel) -> LatentPrior | None:
    """The prior in a run's folder; None if it has none that is finished and of these weights."""
    try:
        return load_prior(run / FOLDER, encoder, model)
    except WildlamError as error:
        if (run / FOLDER).is_dir():
            log.warning("the prior is left out: %s", error)
        return None


def find_prior(path: Path) -> Path:
    """The folder of a prior: the given one, or the one inside the given run."""
    return path / FOLDER if (path / FOLDER).is_dir() else path


def prior_results(folder: Path) -> str:
    """The results of a prior as text."""
    found = read_json(folder / RESULTS)
    is_enough = enough(found["recordings"], found["clips"])

    def figure(*keys: str) -> str:
        of = found
        for key in keys:
            of = of[key]
        whole = Estimate(**of)
        return str(whole if is_enough else Estimate(whole.mean, whole.mean, whole.mean))

    lines = [
        f"Held out, {found['clips']} clips of {found['recordings']} recordings; blind: a prior that sees no state:",
        f"log-likelihood, nats         {figure('likelihood', 'prior')} (blind: {figure('likelihood', 'blind')})",
    ]
    for draws in DRAWS:
        of, other = (figure("coverage", f"{name} {draws}") for name in ("prior", "blind"))
        lines.append(f"error of the best of {draws:<2}      {of} (blind: {other})")
    lines += [
        f"error of the inferred z      {figure('coverage', 'inferred')} (copy: {figure('coverage', 'copy')})",
    ]
    for name, what in (("alone", "samples told from z"), ("pairs", "the same, with states")):
        if name in found["samples"]:
            lines.append(f"{what:<28} {figure('samples', name, 'accuracy')} (0.5: not at all, 1: always)")
    ratios = (figure("exploitation", "over inferred", name) for name in ("priced", "free"))
    lines.append("a plan's distance over z's    {} (without a price: {})".format(*ratios))
    return "\n".join(lines)
