"""Policy: from a state and a goal to the latent action that leads there, learnt from videos without actions.

Behaviour cloning of latent actions, as in LAPO (arXiv 2312.10812), towards goals in hindsight: what a film comes to
some steps later is taken to be what was wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wildlam.models.attention import rotations
from wildlam.models.transformer import Block, Mlp
from wildlam.types import EncoderSpec, Loss


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Size of a policy.

    Args:
        blocks: self-attention blocks over the tokens of state and goal.
        width: width of these, a multiple of 4 heads of an even width.
    """

    blocks: int = 2
    width: int = 128

    def __post_init__(self) -> None:
        if self.blocks < 0:
            raise ValueError(f"policy.blocks must not be negative, got {self.blocks}")
        if self.width < 8 or self.width % 8:
            raise ValueError(f"policy.width must be a multiple of 8, got {self.width}")

    def build(self, spec: EncoderSpec, latent_width: int) -> Policy:
        """Make a policy, randomly initialised.

        Args:
            spec: specification of the encoder of the states.
            latent_width: width Z of a latent action.
        """
        return Policy(self, spec, latent_width)


class Policy(nn.Module):
    """States and goals ``[B, N, D]``, and the steps between, to latent actions ``[B, Z]``; first, to their mean."""

    latent_mean: Tensor
    latent_std: Tensor

    HEADS = 4

    def __init__(self, config: PolicyConfig, spec: EncoderSpec, latent_width: int) -> None:
        super().__init__()
        width = config.width
        self.config, self.grid = config, spec.grid
        self.embed_steps = nn.Sequential(nn.Linear(1, width), nn.GELU(), nn.Linear(width, width))
        self.embed_state, self.embed_change = nn.Linear(spec.width, width), nn.Linear(spec.width, width)
        self.embed_place = nn.Parameter(torch.randn(spec.tokens, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, self.HEADS) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        self.cross = nn.MultiheadAttention(width, self.HEADS, batch_first=True)
        self.norm_mlp, self.mlp = nn.LayerNorm(width), Mlp(width)
        self.norm_head, self.head = nn.LayerNorm(width), nn.Linear(width, latent_width)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("latent_mean", torch.zeros(latent_width))
        self.register_buffer("latent_std", torch.ones(()))

    def fit_scales(self, latents: Tensor) -> None:
        """Set the scales by latent actions ``[..., Z]`` of training films; all dimensions share one."""
        flat = latents.flatten(0, -2)
        self.latent_mean.copy_(flat.mean(dim=0))
        self.latent_std.copy_(flat.var(dim=0).mean().sqrt().clamp(min=1e-6))

    def forward(self, states: Tensor, latents: Tensor) -> Loss:
        """Mean squared error over the variance, 1 for the mean, towards one later state of each, drawn by chance.

        Args:
            states: ``[B, T, N, D]``.
            latents: inferred between them, ``[B, T - 1, Z]``.
        """
        count, last = states.shape[0], states.shape[1] - 1
        begins = torch.arange(last, device=states.device).expand(count, -1)
        steps = 1 + (torch.rand(count, last, device=states.device) * (last - begins)).long()
        clip = torch.arange(count, device=states.device)[:, None]
        error = self.errors(states[:, :-1].flatten(0, 1), states[clip, begins + steps].flatten(0, 1), steps, latents)
        return Loss(error.mean(), lambda: {"z_error": error.mean().detach()})

    def errors(self, states: Tensor, goals: Tensor, steps: Tensor, latents: Tensor) -> Tensor:
        """Mean squared error of each latent action over the variance, of states and goals ``[B, N, D]``: ``[B]``."""
        z = self.act(states, goals, steps.flatten())
        return ((z - latents.flatten(0, -2)) / self.latent_std).square().mean(dim=-1)

    def act(self, states: Tensor, goals: Tensor, steps: Tensor) -> Tensor:
        """Latent actions ``[B, Z]`` in states ``[B, N, D]`` to come to goals ``[B, N, D]`` in steps ``[B]``."""
        query = self.embed_steps(steps[:, None].to(states))
        x = self.embed_state(states) + self.embed_change(goals - states) + self.embed_place
        cos_sin = rotations(torch.zeros(1, device=x.device), self.grid, self.config.width // self.HEADS, x.dtype)
        for block in self.blocks:
            x = block(x, cos_sin)
        x = self.norm(x)
        query = query + self.cross(query[:, None].to(x.dtype), x, x, need_weights=False)[0][:, 0]
        query = query + self.mlp(self.norm_mlp(query))
        return self.latent_mean + self.latent_std * self.head(self.norm_head(query)).float()
