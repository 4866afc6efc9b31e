"""Train a goal-conditioned policy of latent actions on videos without actions, and let it act: ``wildlam policy``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildlam.config import config_from, dump_config, read_as
from wildlam.episodes.clips import LabelledClips
from wildlam.errors import option
from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.intervals import Estimate, enough
from wildlam.fileio import read_json, write_atomically
from wildlam.models import LatentActionModel
from wildlam.models.policy import Policy, PolicyConfig
from wildlam.runs.command import records_call
from wildlam.training import TrainingConfig
from wildlam.training.optimizers import OptimizerConfig
from wildlam.types import Encoder, check_seed, settle_paths
from wildlam.workflows import durations
from wildlam.workflows.action_decoder import ActionDecoder, fit_action_decoder
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
from wildlam.workflows.motions import leading_of
from wildlam.workflows.open_run import inferred, open_run

FOLDER = "policy"
"""Name of the policy's folder in a run's."""

RESULTS = "results.json"

ALL = "any number"
"""Of steps to the goal: the mean over them."""
TRANSITIONS = 4096
"""Training transitions that latent actions are scaled by, about."""


@dataclass(frozen=True, kw_only=True)
class PolicyTrainingConfig:
    """Data, size and training of a policy, for a given run.

    Args:
        data: videos without actions; those of the run if not given.
        policy: its size.
        training: steps, clips per step, precision, optimiser.
        seed: seed of the initialisation, of the goals and of the order of the data.
    """

    data: Path | None = None
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=800,
            eval_every=100,
            save_every=100,
            optimizer=OptimizerConfig(muon=False, adamw_lr=1e-3, weight_decay=0.04),
        )
    )
    seed: int = 0

    def __post_init__(self) -> None:
        settle_paths(self, "data")
        check_seed(self.seed)


@records_call
def train_policy(
    path: Path | str, config: PolicyTrainingConfig | None = None, /, out: Path | str | None = None, **keywords: Any
) -> Path:
    """Train a policy of a run's latent actions and evaluate it on held-out clips; an interrupted training is resumed.

    It imitates what is inferred in the videos, towards what is seen some steps later in the same one.

    Args:
        path: the run folder.
        config: the policy's configuration; the defaults if not given.
        out: folder for it; ``path/policy`` if not given.
        keywords: fields of ``PolicyTrainingConfig``, in its place or to replace what it says.

    Returns:
        The policy's folder: a run folder of its own, with ``results.json``.

    Raises:
        WildlamError: it holds a policy of another configuration or run, or something is wrong with the videos or disk.
    """
    config = config_from(PolicyTrainingConfig, config, keywords)
    opened = open_run(Path(path))
    encoder, model = opened.encoder, opened.model()
    training = config.training.settled(encoder.device)
    config = replace(config, data=config.data and config.data.absolute(), training=training)
    run = claimed(Path(out or opened.run.path / FOLDER), config, "policy")
    check_weights(run, model, "policy", f"give another {option('out')}")
    torch.manual_seed(config.seed)
    policy = config.policy.build(encoder.spec, model.bottleneck.dim).to(encoder.device)
    clips = unlabelled_clips(config, opened)
    with torch.no_grad():
        some = [model.infer(states).float().flatten(0, 1) for states in first_states(clips, TRANSITIONS)]
    policy.fit_scales(torch.cat(some))
    held_out = inferred(clips, model, clips.held_out)
    run.create(dump_config(config), config.seed, encoder.spec)
    write_weights(run, model)
    states = opened.config.data.frames // encoder.spec.frames_per_state

    def inputs(count: int) -> tuple[Tensor, ...]:
        z = torch.randn(count, states - 1, model.bottleneck.dim, device=encoder.device)
        return torch.randn(count, states, *model.state_shape, device=encoder.device), z

    @torch.no_grad()
    def prepare(batch: Any) -> tuple[Tensor, Tensor]:
        (seen,) = clips.states(batch)
        return seen.float(), model.infer(seen).float()

    @torch.no_grad()
    def infer(count: int) -> None:
        model.infer(inputs(count)[0])

    def inferring() -> durations.Part:
        size = config.training.batch_size
        return durations.many("infer", f"{size} clips", size, infer, size, encoder.device)

    build = partial(config.policy.build, encoder.spec, model.bottleneck.dim)
    durations.announce(remaining_training(run, config, build, inputs, encoder.device, inferring))
    fit_auxiliary(
        run,
        config,
        policy,
        encoder,
        lambda start: clips.batches(start, config.training.steps),
        prepare,
        evaluate=lambda one: {"z_error": float(_errors(one, held_out)[ALL].mean())},
        score="z_error",
        title="policy",
    )
    best = load_best(run, policy, encoder.spec, encoder.device)
    found = held_out.per_clip(_errors(best, held_out))
    results = {"clips": len(held_out), "recordings": len(set(held_out.recordings)), "z error": found.summary()}
    write_atomically(run.path / RESULTS, json.dumps(results, indent=2))
    return run.path


@torch.no_grad()
def _errors(policy: torch.nn.Module, clips: InferredClips) -> dict[str, Tensor]:
    """Error of each clip's latent actions over their variance, ``[C]``, by the steps to the goal, and on average."""
    assert isinstance(policy, Policy)
    device, last = policy.latent_mean.device, clips.z.shape[1]
    found: dict[int, list[Tensor]] = {k: [] for k in range(1, last + 1)}
    for part in clips.batches():
        states, z = clips.states[part].to(device).float(), clips.z[part].to(device)
        for k, errors in found.items():
            begins, goals = states[:, : last + 1 - k], states[:, k:]
            steps = torch.full(begins.shape[:2], k, device=device)
            off = policy.errors(begins.flatten(0, 1), goals.flatten(0, 1), steps, z[:, : last + 1 - k])
            errors.append(off.view(begins.shape[:2]).mean(dim=1).cpu())
    by_steps = {k: torch.cat(errors) for k, errors in found.items()}
    named = {f"{k} step{'s' if k > 1 else ''}": errors for k, errors in by_steps.items()}
    return {ALL: torch.stack(list(by_steps.values())).mean(dim=0)} | named


def policy_results(folder: Path) -> str:
    """The results of a policy as text."""
    found = read_json(folder / RESULTS)
    is_enough = enough(found["recordings"], found["clips"])
    lines = [
        f"Held out, {found['clips']} clips of {found['recordings']} recordings: error of the latent action over that",
        "of the mean one, by how many steps later the goal is seen (1: nothing is told; 0: it is the inferred one):",
    ]
    for name, of in found["z error"].items():
        whole = Estimate(**of)
        lines.append(f"{name:<12} {whole if is_enough else Estimate(whole.mean, whole.mean, whole.mean)}")
    return "\n".join(lines)


def load_policy(path: Path, encoder: Encoder, model: LatentActionModel) -> Policy:
    """Load the best checkpoint of a policy, ready for use.

    Args:
        path: the policy's folder.
        encoder: encoder of the run that it belongs to.
        model: model of that run.

    Raises:
        WildlamError: there is none, its training was interrupted, or it was trained for another model.
    """
    run = finished(path, model, "policy", RESULTS)
    config = read_as(PolicyTrainingConfig, run.path / "config.yaml")
    policy = config.policy.build(encoder.spec, model.bottleneck.dim)
    return load_best(run, policy, encoder.spec, encoder.device)


@dataclass(frozen=True)
class ActingPolicy:
    """A policy whose latent actions a linear map from few labelled clips makes real ones.

    Attributes:
        policy: the policy.
        model: model of the latent actions.
        decoder: from latent actions to real ones.
    """

    policy: Policy
    model: LatentActionModel
    decoder: ActionDecoder

    def act(self, ends: Tensor, steps: int) -> Tensor:
        """What to do, ``float32 [C, A]``, on the CPU, between states ``[C, 2, N, D]`` that are so many steps apart."""
        states, goals = ends.to(self.policy.latent_mean.device).float().unbind(dim=1)
        return self._act(states, goals, steps)[1]

    def plan(self, states: Tensor, goals: Tensor, steps: int, horizon: int) -> Tensor:
        """What to do in ``horizon`` steps from states ``[B, N, D]`` on, as the model predicts these, ``[B, H, A]``."""
        seen, z, plan = states, [], []
        for step in range(horizon):
            latent, action = self._act(seen, goals, max(1, steps - step))
            z.append(latent)
            plan.append(action)
            seen = self.model.rollout(states[:, None], torch.stack(z, dim=1)[:, None])[:, 0, -1].float()
        return torch.stack(plan, dim=1)

    @torch.no_grad()
    def _act(self, states: Tensor, goals: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        z = self.policy.act(states, goals, torch.full((len(states),), steps, device=states.device))
        return z, self.decoder(z[:, None], states[:, None])[:, 0]


def acting_policy(policy: Policy, model: LatentActionModel, clips: LabelledClips) -> ActingPolicy:
    """Fit to labelled clips what makes a policy's latent actions real ones."""
    return ActingPolicy(policy, model, fit_action_decoder(model, clips, leading_of(clips.states)))
