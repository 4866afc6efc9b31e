"""What acts in a simulator towards goal images: planners, what takes no model, and chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.clips import LabelledClips, encode_frames
from wildlam.planning.dynamics import Dynamics, FromPrior
from wildlam.planning.mpc import MEMORY, LatentReplanner, Policy, Replanner
from wildlam.planning.solvers.base import Prior
from wildlam.workflows import durations
from wildlam.workflows.driven_run import DrivenRun
from wildlam.workflows.goal_cloning import PSEUDO_CLONING, fit_goal_cloning
from wildlam.workflows.goal_regression import fit_goal_regression
from wildlam.workflows.latent_run import LatentRun
from wildlam.workflows.motions import motions_of
from wildlam.workflows.planners import Guide
from wildlam.workflows.policy import ActingPolicy
from wildlam.workflows.pseudo_labels import Films, PseudoLabels, pseudo_labels
from wildlam.worlds.simulators.base import Budget, Simulator

RANDOM, LATENT = "random", "latent"
FROM_POLICY = "latent from policy"
"""The run's model, whose plans begin with what the policy would do."""
Act = Callable[[Tensor, int], Tensor]
"""What to do, ``[C, A]``, between two states ``[C, 2, N, D]`` that are so many steps apart."""


@dataclass
class Players:
    """All that acts, by the names of their rows.

    Attributes:
        driven: the run.
        dynamics: world models to plan with, the run's own as ``LATENT``.
        prior: prior of actions, of the horizon of a plan.
        budget: how long episodes and plans are.
        between: what was really done, ``[T - 1, A]``, by the poses ``[T, P]``; None of commands, see ``Replanner``.
        acts: what acts without planning.
        policy: what the run's model plans from once more, if there is one.
        guides: what guides planners, by the names of their models.
        pseudo: pseudo-labels that some of these learn from, if there are any.
    """

    driven: DrivenRun
    dynamics: dict[str, Dynamics]
    prior: Prior
    budget: Budget
    between: Callable[[np.ndarray], np.ndarray] | None
    acts: dict[str, Act] = field(default_factory=dict)
    policy: ActingPolicy | None = None
    guides: dict[str, Guide] = field(default_factory=dict)
    pseudo: PseudoLabels | None = None

    def fit(self, clips: LabelledClips, films: Films | None, guide: float | None, controls: bool, seed: int) -> None:
        """Fit to labelled clips, and videos without labels, what takes no model, and what guides; see
        ``DrivingConfig``.
        """
        away, model = self.budget.away, self.driven.model
        pseudo = self.pseudo = None if films is None else pseudo_labels(model, clips, films, away)
        if guide is not None:
            own = fit_goal_regression(clips, away, model, pseudo)
            self.guides = dict.fromkeys(self.dynamics, Guide(own.without_model, guide)) | {LATENT: Guide(own, guide)}
            self.acts |= {"regression": _in_steps(own.without_model.told), "guide": _in_steps(own.told)}
        if controls:
            if guide is None and clips.space.zero_stays:
                self.acts["regression"] = _in_steps(fit_goal_regression(clips, away).told)
            self.acts["cloning"] = fit_goal_cloning(motions_of(clips, away), seed).act
            if pseudo is not None:
                self.acts[PSEUDO_CLONING] = fit_goal_cloning(pseudo.films, seed).act

    @property
    def planning(self) -> dict[str, Dynamics]:
        """What plans; the run's model twice, if plans begin with a policy, too."""
        again = self.policy is not None and not isinstance(self.driven, LatentRun)
        return self.dynamics | ({FROM_POLICY: self.dynamics[LATENT]} if again else {})

    @property
    def names(self) -> list[str]:
        """Of all that acts."""
        return [RANDOM, *self.acts, *self.planning]

    def towards(self, goals: Tensor, seed: int) -> dict[str, Policy]:
        """What they do to reach goals, states ``[B, N, D]``: policies that have seen nothing so far."""
        policies = {RANDOM: self._random(seed)}
        policies |= {label: self._acting(act, goals) for label, act in self.acts.items()}
        return policies | {label: self._planner(label, goals, seed) for label in self.planning}

    def _planner(self, label: str, goals: Tensor, seed: int) -> Replanner:
        """What plans with a model: in the base space of its prior, if it has one."""
        of_policy = label == FROM_POLICY
        dynamics, guide = self.planning[label], self.guides.get(LATENT if of_policy else label)
        encode, bf16 = partial(encode_frames, self.driven.encoder), self.driven.bf16
        arrive = self.budget.away if self.budget.closing else None
        if not isinstance(self.driven, LatentRun) or not isinstance(dynamics, FromPrior):
            propose = partial(self._proposed, goals) if of_policy else None
            guided = partial(guide.on_the_way, self.budget.away) if guide else None
            known = dynamics, encode, goals, self.prior, self.between, seed, bf16, arrive
            return Replanner(*known, propose=propose, guide=guided)
        one = torch.ones(len(self.prior.mean), self.driven.prior.base, device=goals.device)
        return LatentReplanner(
            dynamics=dynamics,
            encode=encode,
            goals=goals,
            prior=Prior(torch.zeros_like(one), one),
            between=self.between,
            seed=seed,
            bf16=bf16,
            arrive=arrive,
            decode=self.driven.decoder,
            unlikely=self.driven.unlikely,
        )

    def _proposed(self, goals: Tensor, states: Tensor, acted: int) -> Tensor:
        """What the policy would do from states ``[B, N, D]`` on, after so many steps, ``[B, H, A]``."""
        assert self.policy is not None
        return self.policy.plan(states, goals, max(1, self.budget.away - acted), self.budget.horizon)

    def _acting(self, act: Act, goals: Tensor) -> Policy:
        """Does what is told of the way to the goal, which is taken to be as many steps away as it was at first, less
        those that are done; one at least.
        """

        def policy(frames: list[np.ndarray], *_: list[np.ndarray]) -> np.ndarray:
            video = torch.from_numpy(frames[-1][:, None]).permute(0, 1, 4, 2, 3)
            state = encode_frames(self.driven.encoder, video)[:, 0].to(goals)
            told = act(torch.stack([state, goals], dim=1).cpu(), max(1, self.budget.away - len(frames) + 1))
            return self.prior.clip(told.to(self.prior.mean)).double().cpu().numpy()

        return policy

    def _random(self, seed: int) -> Policy:
        rng = np.random.default_rng(seed)
        mean, std = first_action(self.prior)
        return lambda frames, *_: mean + std * rng.normal(size=(len(frames[0]), len(mean)))


def prior_of(driven: DrivenRun, budget: Budget) -> Prior:
    """Candidate actions are those that were learnt from, to three standard deviations."""
    mean, std = driven.scales.action_mean, driven.scales.action_std
    return Prior(mean.expand(budget.horizon, -1), std.expand(budget.horizon, -1), mean - 3 * std, mean + 3 * std)


def first_action(prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the first action, ``float64 [A]``."""
    mean, std = (t[0].double().cpu().numpy() for t in (prior.mean, prior.std))
    return mean, std


def parts(players: Players, simulator: Simulator, episodes: int, at_once: int) -> list[durations.Part]:
    """Estimated time of each planner's episodes, from a reset, a step and a plan in a world of their own."""
    driven, budget = players.driven, players.budget
    device, together = driven.encoder.device, min(at_once, episodes)
    with simulator.open(0, size=driven.encoder.spec.image_size) as world:
        seen: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
        begin = durations.seconds_of(lambda: seen.append(world.reset(seed=0)), device)
        action, _ = first_action(players.prior)
        step = durations.seconds_of(lambda: world.step(action), device)
    before = (seen[0][0], seen[0][1]["pose"], action)
    frames, poses, actions = ([np.repeat(one[None], together, axis=0)] * MEMORY for one in before)
    video = torch.from_numpy(frames[0][:, None]).permute(0, 1, 4, 2, 3)
    policies = players.towards(encode_frames(driven.encoder, video)[:, 0].float(), 0)
    steps = f"{episodes * budget.steps:,} steps"
    acted = episodes * (begin + budget.steps * step)
    found = [
        durations.Part("goals", f"{episodes} episodes", episodes * (2 * begin + (budget.away + budget.steps) * step))
    ]
    found.append(durations.Part(RANDOM, steps, acted))
    for label in players.planning:
        plan = durations.seconds_of(partial(policies[label], frames, poses, actions), device)
        found.append(durations.Part(label, steps, acted + math.ceil(episodes / at_once) * budget.steps * plan))
    return found


def _in_steps(told: Act) -> Act:
    """The mean action, from what tells their sum."""
    return lambda ends, steps: told(ends, steps) / steps
