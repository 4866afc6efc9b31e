"""Controller: from a real action, and the state that it is taken in, to a latent action (arXiv 2601.05230).

Latent actions are seen from the camera: the same motion of an arm is another latent action from another viewpoint. So
a controller needs the state; from actions alone it can only average over viewpoints, and hardly moves. What the state
says takes labels to learn, though, and few are learnt by heart. So a controller begins with what a linear map of the
action alone says, and what it sees of the state comes in from zero, as in ReZero (arXiv 2003.04887). And where several
learn, each without another part of the labels, their mean errs less than they do (Krogh and Vedelsby, 1995).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from wildlam.models.attention import rotations
from wildlam.models.scales import scaled, scales_of
from wildlam.models.transformer import Block, Mlp
from wildlam.types import EncoderSpec, Loss

Drive = Callable[[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]], Tensor]
"""From a first state ``[B, 1, N, D]``, actions ``[B, T, A]`` and a controller's ``act`` to the T next states."""


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """Inputs and size of a controller.

    Args:
        past: what it sees of the last state: its tokens (the paper's), their mean (pooled), or none (actions alone).
        blocks: self-attention blocks over those tokens (paper: 2).
        width: width of its tokens (paper: the encoder's), a multiple of 4 heads of an even width.
        start: what it is before it learns: linear, the linear map from actions to latent ones that a regression finds,
            to which a network adds, in which what is seen of the state has no weight yet; or network, which begins with
            the mean latent action and with all of the state (the paper's).
        prediction: weight in the loss of what the model that it drives predicts under its latent actions (mean L1 error
            of the states of a clip that is unrolled from its first state, as a plan is), besides the error of these
            themselves; 0, the paper's, saves running the model.
    """

    past: Literal["tokens", "pooled", "none"] = "tokens"
    blocks: int = 2
    width: int = 128
    start: Literal["linear", "network"] = "linear"
    prediction: float = 100.0

    def __post_init__(self) -> None:
        if self.blocks < 0:
            raise ValueError(f"controller.blocks must not be negative, got {self.blocks}")
        if self.width < 8 or self.width % 8:
            raise ValueError(f"controller.width must be a multiple of 8, got {self.width}")
        if not 0 <= self.prediction < math.inf:
            raise ValueError(f"controller.prediction must not be negative, got {self.prediction}")

    def build(
        self, spec: EncoderSpec, action_width: int, latent_width: int, drive: Drive | None = None
    ) -> ControllerNetwork:
        """Make a controller, randomly initialised.

        Args:
            spec: specification of the encoder of the states.
            action_width: width A of a real action.
            latent_width: width Z of a latent one.
            drive: unrolls the frozen model that it learns to drive; for training alone.
        """
        return ControllerNetwork(self, spec, action_width, latent_width, drive)


class Controller(nn.Module, ABC):
    """Real actions ``[B, A]`` and states ``[B, N, D]`` to latent actions ``[B, Z]``.

    Attributes:
        action_mean: of the real actions that it learnt from, ``[A]``.
        action_std: their deviation.
    """

    action_mean: Tensor
    action_std: Tensor

    @abstractmethod
    def forward(self, actions: Tensor, states: Tensor, latents: Tensor) -> Loss:
        """What training minimises.

        Args:
            actions: ``[B, T, A]``.
            states: states that they are taken in, and the last one, ``[B, T + 1, N, D]``.
            latents: inferred between the states, ``[B, T, Z]``.
        """

    @abstractmethod
    def act(self, actions: Tensor, states: Tensor) -> Tensor:
        """Latent actions ``[B, Z]`` for real actions ``[B, A]`` taken in states ``[B, N, D]``."""


class ControllerEnsemble(Controller):
    """The mean of several controllers, each of which learns from clips of its own.

    Args:
        members: the controllers.
    """

    def __init__(self, members: Sequence[ControllerNetwork]) -> None:
        super().__init__()
        # No list, as the modules of a list are taken for blocks where memory is to be saved.
        self.folds = nn.ModuleDict({str(fold): member for fold, member in enumerate(members)})

    @property
    def members(self) -> list[ControllerNetwork]:
        """The controllers."""
        return list(self.folds.values())  # type: ignore[arg-type]

    @property
    def action_mean(self) -> Tensor:  # type: ignore[override]
        """Mean of the members'."""
        return torch.stack([member.action_mean for member in self.members]).mean(dim=0)

    @property
    def action_std(self) -> Tensor:  # type: ignore[override]
        """Mean of the members'."""
        return torch.stack([member.action_std for member in self.members]).mean(dim=0)

    def forward(self, actions: Tensor, states: Tensor, latents: Tensor) -> Loss:
        """Mean loss of the members, each by its own share of the batch, in their order. Gradients are clipped by the
        norm of all together.
        """
        shares = zip(*(given.chunk(len(self.members)) for given in (actions, states, latents)), strict=True)
        losses: list[Loss] = [member(*share) for member, share in zip(self.members, shares, strict=True)]

        def statistics() -> dict[str, Tensor]:
            told = [loss.statistics() for loss in losses]
            return {name: torch.stack([of[name] for of in told]).mean() for name in told[0]}

        return Loss(torch.stack([loss.total for loss in losses]).mean(), statistics)

    def act(self, actions: Tensor, states: Tensor) -> Tensor:
        """Mean of what the members say."""
        return torch.stack([member.act(actions, states) for member in self.members]).mean(dim=0)


class ControllerNetwork(Controller):
    """A controller by itself.

    Real actions come in their own units; ``fit_scales`` sets what makes them, and the latent ones, of size 1.
    """

    latent_mean: Tensor
    latent_std: Tensor

    HEADS = 4

    def __init__(
        self,
        config: ControllerConfig,
        spec: EncoderSpec,
        action_width: int,
        latent_width: int,
        drive: Drive | None = None,
    ) -> None:
        super().__init__()
        width = config.width
        self.config, self.grid, self.drive = config, spec.grid, drive
        self.embed_action = nn.Sequential(
            nn.Linear(action_width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        if config.past != "none":
            self.embed = nn.Linear(spec.width, width)
        if config.past == "tokens":
            self.blocks = nn.ModuleList(Block(width, self.HEADS) for _ in range(config.blocks))
            self.norm = nn.LayerNorm(width)
            # Rotary positions distinguish tokens; this gives the query the place of each in the picture.
            self.embed_place = nn.Parameter(torch.randn(spec.tokens, width) * 0.02)
            self.cross = nn.MultiheadAttention(width, self.HEADS, batch_first=True)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.norm_head = nn.LayerNorm(width)
        self.head = nn.Linear(width, latent_width)
        outputs = [self.head]
        if config.start == "linear":
            self.linear = nn.Linear(action_width, latent_width)
            outputs.append(self.linear)
            if config.past != "none":
                self.state_weight = nn.Parameter(torch.zeros(width))
        for output in outputs:
            nn.init.zeros_(output.weight)
            nn.init.zeros_(output.bias)
        for name, size in (("action_mean", action_width), ("latent_mean", latent_width)):
            self.register_buffer(name, torch.zeros(size))
        self.register_buffer("action_std", torch.ones(action_width))
        self.register_buffer("latent_std", torch.ones(()))

    def fit_scales(self, actions: Tensor, latents: Tensor) -> None:
        """Set the scales by training data ``[..., A]`` and ``[..., Z]``. Latent dimensions share one: those that a
        bottleneck leaves empty must stay small."""
        mean, std = scales_of(actions)
        self.action_mean.copy_(mean)
        self.action_std.copy_(std)
        latents = latents.flatten(0, -2)
        self.latent_mean.copy_(latents.mean(dim=0))
        self.latent_std.copy_(latents.var(dim=0).mean().sqrt().clamp(min=1e-6))

    def begin_with(self, linear: Callable[[Tensor], Tensor]) -> None:
        """Begin with a linear map from actions ``[B, A]`` to latent ones ``[B, Z]``, after ``fit_scales``."""
        eye = torch.eye(len(self.action_mean), device=self.action_mean.device)
        at_mean, *at_steps = linear(torch.cat([torch.zeros_like(eye[:1]), eye]) * self.action_std + self.action_mean)
        with torch.no_grad():
            self.linear.bias.copy_((at_mean - self.latent_mean) / self.latent_std)
            self.linear.weight.copy_((torch.stack(at_steps) - at_mean).T / self.latent_std)

    def forward(self, actions: Tensor, states: Tensor, latents: Tensor) -> Loss:
        """Mean squared error of the latent actions of clips, over their variance: 1 is what their mean reaches. With
        ``drive``, plus the mean L1 error of the states that its unrolling predicts, times ``config.prediction``.
        """
        z = self.act(actions.flatten(0, 1), states[:, :-1].flatten(0, 1)).view_as(latents)
        terms = {"z_error": ((z - latents) / self.latent_std).square().mean()}
        total = terms["z_error"]
        if self.drive is not None:
            predicted = self.drive(states[:, :1], actions, self.act)
            terms["prediction"] = (predicted.float() - states[:, 1:].float()).abs().mean()
            total = total + self.config.prediction * terms["prediction"]
        return Loss(total, lambda: {name: term.detach() for name, term in terms.items()})

    def act(self, actions: Tensor, states: Tensor) -> Tensor:
        """Latent actions ``[B, Z]`` for real actions ``[B, A]`` taken in states ``[B, N, D]``."""
        sized = scaled(actions, self.action_mean, self.action_std)
        query = self.embed_action(sized)
        if self.config.past != "none":
            seen = self.embed(states.mean(dim=1)) if self.config.past == "pooled" else self._look(query, states)
            query = query + (self.state_weight * seen if self.config.start == "linear" else seen)
        query = query + self.mlp(self.norm_mlp(query))
        out = self.head(self.norm_head(query))
        if self.config.start == "linear":
            out = out + self.linear(sized)
        return self.latent_mean + self.latent_std * out.float()

    def _look(self, query: Tensor, states: Tensor) -> Tensor:
        x = self.embed(states) + self.embed_place
        cos_sin = rotations(torch.zeros(1, device=x.device), self.grid, self.config.width // self.HEADS, x.dtype)
        for block in self.blocks:
            x = block(x, cos_sin)
        x = self.norm(x)
        return self.cross(query[:, None].to(x.dtype), x, x, need_weights=False)[0][:, 0]
