"""Train a goal-conditioned policy on videos without actions, and let it act: ``wildlam policy``.

Of latent actions, which few labelled clips then make real ones; or of real actions at once, by pseudo-labels of the
videos, which the same clips tell (``pseudo_labels``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from wildlam.config import config_from, dump_config, read_as
from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.vectors import ChoosesReading
from wildlam.errors import option
from wildlam.evaluation.clips import InferredClips, infer_latents
from wildlam.evaluation.intervals import Estimate, enough
from wildlam.fileio import read_json, write_atomically
from wildlam.models import LatentActionModel
from wildlam.models.policy import Policy, PolicyConfig
from wildlam.planning.dynamics import Dynamics
from wildlam.runs.command import records_call
from wildlam.states.dataset import Clips
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
from wildlam.workflows.baseline import check_clips, read_space, write_space
from wildlam.workflows.latent_run import few_labelled
from wildlam.workflows.motions import STATES_FOR_COMPONENTS, leading_of
from wildlam.workflows.open_run import OpenRun, inferred, open_run
from wildlam.workflows.pseudo_labels import Films, Labeller, check_films_like_labelled, fit_labeller

FOLDER = "policy"
"""Name of the policy's folder in a run's."""

RESULTS = "results.json"

ALL = "any number"
"""Of steps to the goal: the mean over them."""
TRANSITIONS = 4096
"""Training transitions that latent actions are scaled by, about."""


@dataclass(frozen=True, kw_only=True)
class PolicyTrainingConfig(ChoosesReading):
    """Data, size and training of a policy, for a given run.

    Args:
        data: videos without actions; those of the run if not given.
        labelled: labelled videos. With them the policy learns real actions, by what some labelled clips tell of the
            videos (pseudo-labels), and not latent ones.
        clips: labelled clips of 8 states that tell it; all if not given.
        policy: its size.
        training: steps, clips per step, precision, optimiser.
        seed: seed of the initialisation, of the goals and of the order of the data.
    """

    data: Path | None = None
    labelled: Path | None = None
    clips: int | None = None
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
        settle_paths(self, "data", "labelled")
        check_clips(self.clips)
        check_seed(self.seed)
        _ = self.reading  # refuses choices that there are not
        if self.clips is not None and self.labelled is None:
            raise ValueError(f"{option('clips')} are of labelled videos; give {option('labelled')}, too")


@records_call
def train_policy(
    path: Path | str, config: PolicyTrainingConfig | None = None, /, out: Path | str | None = None, **keywords: Any
) -> Path:
    """Train a policy of a run's latent actions, or of real ones, and evaluate it on held-out clips; an interrupted
    training is resumed.

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
    data, labelled = (path and path.absolute() for path in (config.data, config.labelled))
    config = replace(config, data=data, labelled=labelled, training=training)
    run = claimed(Path(out or opened.run.path / FOLDER), config, "policy")
    check_weights(run, model, "policy", f"give another {option('out')}")
    few = _few_labels(config, opened)
    width = model.bottleneck.dim if few is None else len(few.space.action_names)
    torch.manual_seed(config.seed)
    policy = config.policy.build(encoder.spec, width).to(encoder.device)
    clips = unlabelled_clips(config, opened)
    labeller = None if few is None else _labeller(model, few, clips)
    told = None if labeller is None else _telling(labeller)

    def imitated(states: Tensor) -> Tensor:
        return model.infer(states) if told is None else told(states, infer_latents(model, states))

    with torch.no_grad():
        some = [imitated(states).float().flatten(0, 1) for states in first_states(clips, TRANSITIONS)]
    policy.fit_scales(torch.cat(some))
    held_out = inferred(clips, model, clips.held_out)
    if told is not None:
        held_out = replace(held_out, z=torch.cat([told(held_out.states[i], held_out.z[i]) for i in held_out.batches()]))
    run.create(dump_config(config), config.seed, encoder.spec)
    write_weights(run, model)
    if few is not None:
        write_space(run, few.space)
    states = opened.config.data.frames // encoder.spec.frames_per_state

    def inputs(count: int) -> tuple[Tensor, ...]:
        z = torch.randn(count, states - 1, width, device=encoder.device)
        return torch.randn(count, states, *model.state_shape, device=encoder.device), z

    @torch.no_grad()
    def prepare(batch: Any) -> tuple[Tensor, Tensor]:
        (seen,) = clips.states(batch)
        return seen.float(), imitated(seen).float().to(seen.device)

    @torch.no_grad()
    def infer(count: int) -> None:
        model.infer(inputs(count)[0])

    def inferring() -> durations.Part:
        size = config.training.batch_size
        return durations.many("infer", f"{size} clips", size, infer, size, encoder.device)

    build = partial(config.policy.build, encoder.spec, width)
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
    if few is not None and labeller is not None:
        r_squared = dict(zip(few.space.action_names, labeller.explained.tolist(), strict=True))
        results["pseudo-labels"] = {"clips": len(few), "r squared": r_squared}
    write_atomically(run.path / RESULTS, json.dumps(results, indent=2))
    return run.path


def _few_labels(config: PolicyTrainingConfig, opened: OpenRun) -> LabelledClips | None:
    """The labelled clips that tell real actions, if there are any."""
    if config.labelled is None:
        return None
    check_films_like_labelled(opened.encoder, "labelled")
    of = config.labelled, opened.encoder, opened.config.data.fps, config.tolerance, config.reading
    return few_labelled(config, *of)


def _labeller(model: LatentActionModel, few: LabelledClips, clips: Clips) -> Labeller:
    """Learn to tell the single steps of videos by labelled clips."""
    some = [states.cpu().bfloat16() for states in first_states(clips, STATES_FOR_COMPONENTS)]
    return fit_labeller(model, few, leading_of(torch.cat(some)), horizon=1)


def _telling(labeller: Labeller) -> Callable[[Tensor, Tensor], Tensor]:
    """What tells the actions ``[B, T - 1, A]`` between states ``[B, T, N, D]`` by z ``[B, T - 1, Z]``, on the CPU."""
    see, tell = labeller.labelled.see, labeller.taught_by()

    def told(states: Tensor, z: Tensor) -> Tensor:
        films = Films(see, see(states.cpu()), z.double().cpu(), torch.arange(len(z)))
        return tell(labeller.look(films)).done.float()

    return told


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
    told = found.get("pseudo-labels")
    lines = [
        f"Held out, {found['clips']} clips of {found['recordings']} recordings: error of the "
        f"{'latent action' if told is None else 'pseudo-label'} over that",
        "of the mean one, by how many steps later the goal is seen (1: nothing is told; 0: it is the inferred one):",
    ]
    if told is not None:
        explained = ", ".join(f"{name} {value:.2f}" for name, value in told["r squared"].items())
        lines[:0] = [f"{told['clips']} labelled clips tell the actions; R² where they did not teach: {explained}."]
    for name, of in found["z error"].items():
        whole = Estimate(**of)
        lines.append(f"{name:<12} {whole if is_enough else Estimate(whole.mean, whole.mean, whole.mean)}")
    return "\n".join(lines)


def load_policy(path: Path, encoder: Encoder, model: LatentActionModel) -> tuple[Policy, ActionSpace | None]:
    """Load the best checkpoint of a policy, ready for use, and what its actions are; None if they are latent.

    Args:
        path: the policy's folder.
        encoder: encoder of the run that it belongs to.
        model: model of that run.

    Raises:
        WildlamError: there is none, its training was interrupted, or it was trained for another model.
    """
    run = finished(path, model, "policy", RESULTS)
    config = read_as(PolicyTrainingConfig, run.path / "config.yaml")
    space = None
    if config.labelled is not None:
        space = read_space(run, f"{path} does not say what its actions are; train it again")
    policy = config.policy.build(encoder.spec, model.bottleneck.dim if space is None else len(space.action_names))
    return load_best(run, policy, encoder.spec, encoder.device), space


class ActingPolicy(Protocol):
    """A policy that does real things."""

    def act(self, ends: Tensor, steps: int) -> Tensor:
        """What to do, ``float32 [C, A]``, on the CPU, between states ``[C, 2, N, D]`` that are so many steps apart."""
        ...

    def plan(self, states: Tensor, goals: Tensor, steps: int, horizon: int) -> Tensor:
        """What to do in ``horizon`` steps from states ``[B, N, D]`` on, as the model predicts these, ``[B, H, A]``."""
        ...


@dataclass(frozen=True)
class RealPolicy:
    """A policy of real actions (`ActingPolicy`).

    Attributes:
        policy: the policy.
        dynamics: predicts what comes of them.
    """

    policy: Policy
    dynamics: Dynamics

    def act(self, ends: Tensor, steps: int) -> Tensor:
        """See ``ActingPolicy``."""
        states, goals = ends.to(self.policy.latent_mean.device).float().unbind(dim=1)
        return self._act(states, goals, steps).cpu()

    @torch.no_grad()
    def plan(self, states: Tensor, goals: Tensor, steps: int, horizon: int) -> Tensor:
        """See ``ActingPolicy``."""
        seen, plan = states, [self._act(states, goals, max(1, steps))]
        for step in range(1, horizon):
            actions = torch.stack(plan, dim=1)
            seen = self.dynamics.rollout(states[:, None], actions[:, :0], actions[:, None])[:, 0, -1].float()
            plan.append(self._act(seen, goals, max(1, steps - step)))
        return torch.stack(plan, dim=1)

    @torch.no_grad()
    def _act(self, states: Tensor, goals: Tensor, steps: int) -> Tensor:
        return self.policy.act(states, goals, torch.full((len(states),), steps, device=states.device))


@dataclass(frozen=True)
class DecodedPolicy:
    """A policy whose latent actions a linear map from few labelled clips makes real ones (`ActingPolicy`).

    Attributes:
        policy: the policy.
        model: model of the latent actions.
        decoder: from latent actions to real ones.
    """

    policy: Policy
    model: LatentActionModel
    decoder: ActionDecoder

    def act(self, ends: Tensor, steps: int) -> Tensor:
        """See ``ActingPolicy``."""
        states, goals = ends.to(self.policy.latent_mean.device).float().unbind(dim=1)
        return self._act(states, goals, steps)[1]

    def plan(self, states: Tensor, goals: Tensor, steps: int, horizon: int) -> Tensor:
        """See ``ActingPolicy``."""
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


def decoded_policy(policy: Policy, model: LatentActionModel, clips: LabelledClips) -> DecodedPolicy:
    """Fit to labelled clips what makes a policy's latent actions real ones."""
    return DecodedPolicy(policy, model, fit_action_decoder(model, clips, leading_of(clips.states)))
