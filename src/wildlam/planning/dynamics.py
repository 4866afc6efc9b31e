"""What a planner unrolls: world models of real actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from wildlam.models import LatentActionModel
from wildlam.models.controller import Controller
from wildlam.models.priors import LatentPrior


class Dynamics(Protocol):
    """Unrolls candidate actions from known states."""

    @property
    def bytes_per_state(self) -> int:
        """Memory that each predicted state of a candidate takes during a rollout, at most."""
        ...

    def rollout(self, context: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        """Predict states ``[B, S, H, N, D]``.

        Args:
            context: known states ``[B, C, N, D]``.
            past: the real actions between them, ``[B, C - 1, A]``.
            actions: candidates ``[B, S, H, A]``.
        """
        ...


@dataclass
class Controlled:
    """A latent action model, trained on video alone, with a controller for real actions."""

    model: LatentActionModel
    controller: Controller

    @property
    def bytes_per_state(self) -> int:
        """See ``Dynamics``."""
        return self.model.world_model.bytes_per_state

    def rollout(self, context: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        """See ``Dynamics``; between known states the latent actions are inferred, and ``past`` is not needed."""
        return self.model.drive(context, actions, self.controller.act)


@dataclass
class Latent:
    """A latent action model alone: candidates are latent actions."""

    model: LatentActionModel

    @property
    def bytes_per_state(self) -> int:
        """See ``Dynamics``."""
        return self.model.world_model.bytes_per_state

    def rollout(self, context: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        """See ``Dynamics``."""
        return self.model.rollout(context, actions)


@dataclass
class FromPrior(Latent):
    """A latent action model and a prior: candidates are points of the prior's base space, ``N(0, I)`` where likely.

    What a point does depends on the state that it is used in, which is predicted from the second step on.
    """

    prior: LatentPrior

    def rollout(self, context: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        """See ``Dynamics``."""
        return self.model.drive(context, actions, self.prior.act)

    def surprise(self, context: Tensor, actions: Tensor, predicted: Tensor) -> Tensor:
        """How unlikely candidates ``[B, S, H, U]`` are by the prior, in nats up to a constant, ``[B, S]``.

        Args:
            context: known states ``[B, C, N, D]``.
            actions: the candidates.
            predicted: what ``rollout`` makes of them, ``[B, S, H, N, D]``.
        """
        return self.prior.surprise(actions, self.used_in(context, predicted)).sum(dim=-1)

    def latents(self, context: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Latent actions ``[B, H, Z]`` of points ``[B, H, U]``, and the states ``[B, H, N, D]`` they are used in."""
        states = self.used_in(context, self.rollout(context, actions[:, :0], actions[:, None]))[:, 0]
        z = self.prior.act(actions.flatten(0, 1), states.flatten(0, 1))
        return z.unflatten(0, actions.shape[:2]), states

    @staticmethod
    def used_in(context: Tensor, predicted: Tensor) -> Tensor:
        """The states that actions are taken in, ``[B, S, H, N, D]``: the last known one and all predicted but one."""
        last = context[:, None, -1:].expand(-1, predicted.shape[1], -1, -1, -1)
        return torch.cat([last.to(predicted), predicted[:, :, :-1]], dim=2)
