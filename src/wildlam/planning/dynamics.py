"""What a planner unrolls: world models of real actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from wildlam.models import LatentActionModel
from wildlam.models.controller import Controller


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
