"""Models that are broken in a known way, to validate the evaluations.

Each has the methods of ``LatentActionModel`` that evaluations call. ``Blind`` and ``Shuffled`` wrap a trained model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wildlam.models import LatentActionModel
from wildlam.models.latent_action_model import Dims


class Cheating(LatentActionModel):
    """z *is* the next state: perfect one step ahead, anywhere; the leakage test must catch it."""

    def __init__(self, grid: tuple[int, int], width: int) -> None:
        nn.Module.__init__(self)
        self.state_shape = (grid[0] * grid[1], width)
        self.register_parameter("nothing", nn.Parameter(torch.zeros(())))

    def infer(self, states: Tensor, dims: Dims = None) -> Tensor:
        """The next states, flattened."""
        return states[:, 1:].flatten(2)

    def predict(self, states: Tensor, actions: Tensor) -> Tensor:
        """What the actions say, whatever the states."""
        return actions.unflatten(-1, self.state_shape)

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        """As ``predict``."""
        return actions.unflatten(-1, self.state_shape)


class Blind(LatentActionModel):
    """Infers as the model it spoils, but predicts the same whatever the action; rollout and probe must catch it.

    Its z carries nothing either: an unused action has no reason to mean anything.
    """

    def __init__(self, model: LatentActionModel) -> None:
        nn.Module.__init__(self)
        self.model = model

    def infer(self, states: Tensor, dims: Dims = None) -> Tensor:
        """Noise that depends on nothing."""
        z = self.model.infer(states, dims)
        return torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).to(z)

    def predict(self, states: Tensor, actions: Tensor) -> Tensor:
        """The model's prediction under zero actions."""
        return self.model.predict(states, torch.zeros_like(actions))

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        """The model's rollout under zero actions."""
        return self.model.rollout(context, torch.zeros_like(actions))


class Shuffled(LatentActionModel):
    """What z means depends on the scene; within a clip all is well, between clips nothing fits: cycles must catch it.

    Latent actions are rotated by an orthogonal matrix drawn from the clip's first state.
    """

    def __init__(self, model: LatentActionModel) -> None:
        nn.Module.__init__(self)
        self.model = model

    def infer(self, states: Tensor, dims: Dims = None) -> Tensor:
        """The model's actions, in the code of this scene."""
        z = self.model.infer(states, dims)
        return z @ self._codes(states, z.shape[-1]).mT

    def predict(self, states: Tensor, actions: Tensor) -> Tensor:
        """The model's prediction, the actions read in the code of this scene."""
        return self.model.predict(states, actions @ self._codes(states, actions.shape[-1]))

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        """The model's rollout, the actions read in the code of this scene."""
        return self.model.rollout(context, actions @ self._codes(context, actions.shape[-1]))

    def _codes(self, states: Tensor, width: int) -> Tensor:
        """A rotation ``[B, Z, Z]`` for each clip, from its first state alone."""
        codes = []
        for first in states[:, 0].double().sum(dim=(1, 2)).tolist():
            generator = torch.Generator().manual_seed(int(abs(first) * 1e6) % 2**31)
            codes.append(torch.linalg.qr(torch.randn(width, width, generator=generator))[0])
        return torch.stack(codes).to(states)
