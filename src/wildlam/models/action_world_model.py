"""The world model trained on real actions, with labels alone (the part that V-JEPA 2-AC plays): a baseline."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wildlam.models.latent_action_model import ModelConfig
from wildlam.models.scales import scaled, scales_of
from wildlam.models.transformer import SIZES
from wildlam.models.world_model import WorldModel
from wildlam.types import EncoderSpec, Loss


class LabelledWorldModel(nn.Module):
    """World model of the same architecture, conditioned on real actions ``[B, T, A]`` in place of latent ones.

    Args:
        config: size, output and knowledge of places of the world model; there is no bottleneck.
        spec: specification of the encoder of its states.
        action_width: width A of a real action.
    """

    action_mean: Tensor
    action_std: Tensor

    def __init__(self, config: ModelConfig, spec: EncoderSpec, action_width: int) -> None:
        super().__init__()
        self.world_model = WorldModel(
            spec.width, spec.grid, action_width, SIZES[config.size], config.predict, config.place
        )
        self.register_buffer("action_mean", torch.zeros(action_width))
        self.register_buffer("action_std", torch.ones(action_width))

    def fit_scales(self, actions: Tensor) -> None:
        """Set what makes real actions ``[..., A]`` of size 1."""
        mean, std = scales_of(actions)
        self.action_mean.copy_(mean)
        self.action_std.copy_(std)

    def forward(self, states: Tensor, actions: Tensor) -> Loss:
        """Mean L1 error of the states ``[B, T, N, D]``, predicted under the actions ``[B, T - 1, A]`` between them."""
        predicted = self.world_model(states[:, :-1], self._scaled(actions))
        error = (predicted.float() - states[:, 1:].float()).abs().mean()
        return Loss(error, lambda: {"prediction": error.detach()})

    @property
    def bytes_per_state(self) -> int:
        """Bytes of the keys and values of a predicted state."""
        return self.world_model.bytes_per_state

    def rollout(self, context: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        """Unroll candidates ``[B, S, H, A]`` from the states ``[B, C, N, D]`` between which ``[B, C - 1, A]`` was done.

        Returns:
            States ``[B, S, H, N, D]``.
        """
        return self.world_model.rollout(context, self._scaled(past), self._scaled(actions))

    def _scaled(self, actions: Tensor) -> Tensor:
        return scaled(actions, self.action_mean, self.action_std)
