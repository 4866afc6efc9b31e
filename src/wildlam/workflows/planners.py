"""Plans in clips whose true actions are known, by a world model or by the simulator, and how far they are off."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from wildlam.episodes.action_spaces import PLANAR, SPACES, ActionSpace
from wildlam.episodes.clips import LabelledClips, encode_frames
from wildlam.episodes.vectors import Changes, Commands, few
from wildlam.errors import option
from wildlam.evaluation.intervals import PerClip
from wildlam.models import LatentActionModel
from wildlam.planning.cost import CountingCost, GoalCost, GuidedCost, LikelyCost, counted
from wildlam.planning.dynamics import Dynamics, FromPrior, Latent
from wildlam.planning.protocols.droid import displacement_error
from wildlam.planning.protocols.protocol import PlanningProtocol
from wildlam.planning.trajectory_errors import trajectory_errors
from wildlam.types import Encoder
from wildlam.workflows.goal_regression import GoalRegression

AT_ONCE = 8  # episodes planned together
CONSTANT = 1e-9
"""Deviation up to which a component of an action does not vary."""
PICTURES = 256
"""Pictures of a simulator encoded together."""


@dataclass
class Planned:
    """Plans of one model in held-out clips.

    Attributes:
        actions: ``[C, H, A]``.
        per_clip: errors of each plan, see ``judged``; its ``cost`` and, in the same model, the ``true cost`` of what
            was really done.
    """

    actions: Tensor
    per_clip: PerClip


@dataclass(frozen=True)
class Guide:
    """What guides a planner: a guess of the whole motion, and the price of leaving it; see ``GuidedCost``."""

    regression: GoalRegression
    price: float

    def cost(self, cost: GoalCost, guess: Tensor, share: float = 1.0) -> GuidedCost:
        """The cost of a planner without one, guided; its plans do that ``share`` of the ``guess``."""
        std = self.regression.std.to(guess)
        std = std.where(std > CONSTANT, torch.inf)  # what never varies cannot be left
        return GuidedCost(**vars(cost), guess=share * guess, std=share * std, price=self.price)

    def on_the_way(self, away: int, cost: GoalCost, acted: int, horizon: int) -> GuidedCost:
        """That of plans of so many steps, after some of the ``away`` that the goal was away at first."""
        left = max(1, away - acted)
        guess = self.regression.told(torch.stack([cost.context[:, -1], cost.goal], dim=1).cpu(), left)
        return self.cost(cost, guess.to(cost.goal), min(1.0, horizon / left))


def plan_clips(
    dynamics: Dynamics,
    clips: LabelledClips,
    how: PlanningProtocol,
    seed: int = 0,
    bf16: bool = True,
    progress: bool = True,
    guide: Guide | None = None,
) -> Planned:
    """Plan from the first state of each clip towards its last.

    Args:
        dynamics: world model that takes real actions.
        clips: clips of ``horizon + 1`` states.
        how: the protocol.
        seed: seed of the candidates; the same ones for every model.
        bf16: see ``GoalCost``.
        progress: show a progress bar.
        guide: what guesses the whole motion, which leaving has a price.
    """
    generator, device = torch.Generator().manual_seed(seed), how.prior.mean.device
    actions, costs, true_costs = [], [], []
    guesses = guide.regression(clips).to(device) if guide else torch.empty(len(clips), 0)
    parts = (whole.split(AT_ONCE) for whole in (clips.states, clips.actions, guesses))
    with tqdm(desc=f"planning, {how.name}", **how.shown(len(clips), progress)) as bar:
        for of_clips, done, guess in zip(*parts, strict=True):
            states, true = of_clips.to(device).float(), done.to(device)
            cost = GoalCost(dynamics, states[:, :1], true[:, :0], states[:, -1], bf16)
            searched = guide.cost(cost, guess) if guide else cost
            found = how.solve(counted(searched, bar, how.iterations), len(states), generator)
            actions.append(found.actions)
            costs.append(cost(found.actions[:, None])[:, 0] if guide else found.cost)
            true_costs.append(cost(true[:, None])[:, 0])
    planned = torch.cat(actions).cpu()
    costs_of_all = {"cost": torch.cat(costs).cpu(), "true cost": torch.cat(true_costs).cpu()}
    return Planned(planned, judged(planned, clips, how, costs_of_all))


def plan_latent(
    dynamics: FromPrior,
    decode: Callable[[Tensor, Tensor], Tensor],
    clips: LabelledClips,
    how: PlanningProtocol,
    unlikely: float = 0.0,
    seed: int = 0,
    bf16: bool = True,
    progress: bool = True,
) -> Planned:
    """Plan in the base space of a prior, and decode what is found; the costs are those of the latent actions.

    Args:
        dynamics: latent action model and prior.
        decode: maps latent actions ``[C, H, Z]`` and the states that they are taken in to real ones, ``[C, H, A]``.
        clips: clips of ``horizon + 1`` states.
        how: the protocol; it is searched ``in_base_space``.
        unlikely: price of a nat of what the prior finds unlikely; see ``LikelyCost``.
        seed: seed of the candidates.
        bf16: see ``GoalCost``.
        progress: show a progress bar.
    """
    z, states, costs = search_latent(dynamics, clips, how, unlikely, seed, bf16, progress)
    planned = decode(z, states).cpu()
    return Planned(planned, judged(planned, clips, how, costs))


@torch.no_grad()
def search_latent(
    dynamics: FromPrior,
    clips: LabelledClips,
    how: PlanningProtocol,
    unlikely: float = 0.0,
    seed: int = 0,
    bf16: bool = True,
    progress: bool = True,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What ``plan_latent`` decodes: latent actions ``[C, H, Z]``, the states ``[C, H, N, D]`` that they are taken in,
    and by name the ``cost`` and the ``true cost``, of the latent actions that are inferred, of each clip. On the CPU.
    """
    generator, device, model = torch.Generator().manual_seed(seed), how.prior.mean.device, dynamics.model
    how = how.in_base_space(dynamics.prior.base)
    found: list[tuple[Tensor, ...]] = []
    with tqdm(desc=f"planning in latent, {how.name}", **how.shown(len(clips), progress)) as bar:
        for of_clips in clips.states.split(AT_ONCE):
            states = of_clips.to(device).float()
            known = states[:, :1], states.new_empty(len(states), 0, 0), states[:, -1]
            priced = LikelyCost(dynamics, *known, bf16, price=unlikely)
            plan = how.solve(counted(priced, bar, how.iterations), len(states), generator).actions
            costs = GoalCost(dynamics, *known, bf16)(plan[:, None])[:, 0]
            true_costs = GoalCost(Latent(model), *known, bf16)(model.infer(states)[:, None])[:, 0]
            found.append(tuple(one.cpu() for one in (*dynamics.latents(known[0], plan), costs, true_costs)))
    z, used_in, costs, true_costs = (torch.cat(parts) for parts in zip(*found, strict=True))
    return z, used_in, {"cost": costs, "true cost": true_costs}


def plan_simulated(
    clips: LabelledClips,
    how: PlanningProtocol,
    encoder: Encoder,
    model: LatentActionModel | None = None,
    seed: int = 0,
    bf16: bool = True,
    progress: bool = True,
) -> Planned:
    """Plan with the simulator that the clips were filmed in, in place of a world model: the upper bound.

    With a model, the simulator takes the place of the controller alone: of what is seen along a candidate latent
    actions are inferred, and the model unrolls these.

    Args:
        clips: clips of ``horizon + 1`` states, from films of ``wildlam collect``.
        how: the protocol.
        encoder: encoder of the states that are compared.
        model: model that infers latent actions, and that they are for.
        seed: seed of the candidates.
        bf16: see ``GoalCost``.
        progress: show a progress bar.

    Raises:
        WildlamError: the clips are no such films, or the simulator is missing.
    """
    generator, found = torch.Generator().manual_seed(seed), []
    true_costs = []
    with (
        simulator_costs(clips, encoder, model, bf16) as costs,
        tqdm(desc=f"planning, {how.name}, simulator", **how.shown(len(clips), progress)) as bar,
    ):
        for i in range(len(clips)):
            cost = costs(i)
            found.append(how.solve(counted(cost, bar, how.iterations), 1, generator))
            true_costs.append(cost(clips.actions[i : i + 1, None])[:, 0])
    planned = torch.cat([one.actions for one in found]).cpu()
    values = {"cost": torch.cat([one.cost for one in found]).cpu(), "true cost": torch.cat(true_costs).cpu()}
    return Planned(planned, judged(planned, clips, how, values))


def simulator_costs(
    clips: LabelledClips, encoder: Encoder, model: LatentActionModel | None, bf16: bool
) -> AbstractContextManager[Callable[[int], CountingCost]]:
    """The simulator's costs of plans in each clip, by its index; arguments and errors as of ``plan_simulated``."""
    from wildlam.worlds.simulators import simulated_costs

    @torch.no_grad()
    def reinfer_end(states: Tensor) -> Tensor:
        assert model is not None
        states = states.to(encoder.device)
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=bf16):
            latent = model.infer(states)
            return model.rollout(states[:1, :1], latent[None])[0, :, -1].float().cpu()

    def encode(pictures: Tensor) -> Tensor:
        return torch.cat([encode_frames(encoder, part[:, None])[:, 0].cpu() for part in pictures.split(PICTURES)])

    return simulated_costs(clips, encode, encoder.spec.image_size, reinfer_end if model else None)


def off_by_component(planned: Tensor, clips: LabelledClips) -> dict[str, float]:
    """Mean distance of plans ``[C, H, A]`` from the truth by component of an action, each in its own unit.

    Of the sums of the steps' actions where these add up; of changes of states, of the state at the end from the
    recorded one; of commands, each with that of its own moment.
    """
    space, off = clips.space, planned - clips.actions
    if isinstance(space, Changes):
        apart = []
        for way, poses in zip(planned.double().numpy(), clips.poses.numpy(), strict=True):
            end = space.integrate(poses[0], way)[-1]
            apart.append(np.abs(space.between(np.stack([poses[-1], end]))[0]))
        return dict(zip(space.action_names, np.mean(apart, axis=0).tolist(), strict=True))
    if isinstance(space, Commands) and not space.zero_stays:
        return dict(
            zip(
                space.components,
                off.unflatten(2, (-1, len(space.components))).abs().mean((0, 1, 2)).tolist(),
                strict=True,
            )
        )
    return dict(zip(space.action_names, off.sum(dim=1).abs().mean(dim=0).tolist(), strict=True))


def states_unjudged(space: ActionSpace) -> str | None:
    """Why plans of commands have no error of the states that are recorded beside these, in words; None if none are."""
    if not isinstance(space, Commands) or not space.pose_names:
        return None
    return (
        f"the recorded states ({few(space.pose_names)}) are not judged: which ones commands lead to is known of those "
        f"that were given alone; a controller of {option('actions')} states plans and judges changes of these"
    )


def off_by_step(planned: Tensor, clips: LabelledClips) -> list[float]:
    """Mean distance of what plans ``[C, H, A]`` have done by each step from the truth, in deviations of true actions.

    Of commands that do not add up, that of each step by itself.
    """
    off = planned - clips.actions
    off = off.cumsum(dim=1) if clips.space.zero_stays else off
    return _in_deviations(off, clips.actions.flatten(0, 1).std(dim=0)).mean(dim=(0, 2)).tolist()


def _in_deviations(off: Tensor, std: Tensor) -> Tensor:
    """Distances ``[..., A]`` by deviations, of the components that vary."""
    varies = std > CONSTANT
    return (off.abs() / std)[..., varies] if varies.any() else torch.zeros_like(off)


def judged(
    planned: Tensor,
    clips: LabelledClips,
    how: PlanningProtocol | None = None,
    more: dict[str, Tensor] | None = None,
) -> PerClip:
    """Errors of plans ``[C, H, A]``, per clip: ``displacement`` and, on the ground, ``ate`` and ``rpe``.

    Of actions whose components the data name, ``error``: mean over the components that vary of the distance from the
    true ones, in deviations of the prior of the protocol, ``how``; of their sums where they add up, else step by step.
    """
    space = clips.space
    values = dict(more or {})
    if space in SPACES.values():
        values["displacement"] = displacement_error(planned, clips.actions, space.position)
    else:
        assert how is not None
        off = planned - clips.actions
        steps = off.sum(dim=1, keepdim=True) if space.zero_stays else off
        values["error"] = _in_deviations(steps, how.prior.std[0].cpu()).mean(dim=(1, 2))
    if space == PLANAR:
        errors = []
        for actions, poses in zip(planned.double().numpy(), clips.poses.numpy(), strict=True):
            errors.append(trajectory_errors(PLANAR.integrate(poses[0], actions), poses))
        values |= {name: torch.tensor([e[name] for e in errors]) for name in errors[0]}
    return PerClip(values, clips.names, [space.name] * len(clips), clips.recordings)
