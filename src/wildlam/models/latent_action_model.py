"""Latent action model: inverse dynamics model, bottleneck and world model, trained jointly (arXiv 2601.05230)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from wildlam.errors import WildlamError, option
from wildlam.models.bottlenecks import BottleneckConfig, Noisy
from wildlam.models.bottlenecks.base import leading
from wildlam.models.consistency import Absent, ConsistencyConfig
from wildlam.models.inverse_dynamics import IdmShape, InverseDynamicsConfig, Split
from wildlam.models.transformer import SIZES, SizeName
from wildlam.models.world_model import Act, WorldModel
from wildlam.types import Loss

Dims = int | Tensor | None
"""How many leading dimensions to keep: of all latent actions, of each, or as many as are needed."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and choices of a latent action model.

    Args:
        size: size of the world model: nano, tiny, small, base, L (the paper's), H or g. The inverse dynamics model,
            which the paper leaves open, is as wide and half as deep.
        predict: output of the world model: the change from the last state, or the state itself.
        idm: inverse dynamics model: Split, Transformer, Linear or Difference.
        place: whether both models know places: learnt embeddings of them, and a latent action that reaches each token
            by a linear map of its own. (What ``idm`` reads in one place acts there in any case.)
        bottleneck: limit on the latent action: Noisy, Adaptive, Sparse, Discrete, Unconstrained or Deterministic.
        consistency: what is asked of latent actions besides prediction: Absent, Additive, Composition or Cycle.
    """

    size: SizeName = "tiny"
    predict: Literal["change", "state"] = "change"
    idm: InverseDynamicsConfig = field(default_factory=Split)
    place: bool = True
    bottleneck: BottleneckConfig = field(default_factory=Noisy)
    consistency: ConsistencyConfig = field(default_factory=Absent)

    def build(self, state_width: int, grid: tuple[int, int]) -> LatentActionModel:
        """Make a model, randomly initialised, for states of ``grid[0] * grid[1]`` tokens of width ``state_width``."""
        return LatentActionModel(self, state_width, grid)


class LatentActionModel(nn.Module):
    """Learns latent actions from states alone. States are ``[B, T, N, D]``, latent actions ``[B, T - 1, Z]``;
    ``z[:, t]`` leads from state t to state t + 1.
    """

    def __init__(self, config: ModelConfig, state_width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        self.state_shape = (grid[0] * grid[1], state_width)
        self.bottleneck = config.bottleneck.build()
        size = SIZES[config.size]
        half = replace(size, depth=size.depth // 2)
        width, dim = self.bottleneck.in_width, self.bottleneck.dim
        shape = IdmShape(state_width, grid, dim, width // dim, half, config.place)
        self.idm = config.idm.build(shape) if width else None
        if width and (prices := config.idm.prices(shape)) is not None:
            self.bottleneck.set_prices(prices)
        cells = config.idm.parted(shape) if width else None
        self.world_model = WorldModel(state_width, grid, dim, size, config.predict, config.place, cells)
        self.consistency = config.consistency.build(dim) if width else None

    def __repr__(self) -> str:
        tokens, width = self.state_shape
        count = sum(parameter.numel() for parameter in self.parameters())
        limit = type(self.config.bottleneck).__name__
        return (
            f"LatentActionModel({self.config.size}, {limit} z of width {self.bottleneck.dim}, "
            f"states [{tokens}, {width}], {count / 1e6:.1f}M parameters)"
        )

    def forward(self, states: Tensor) -> Loss:
        """Loss of teacher-forced prediction: mean L1 error of the next states plus the bottleneck's penalty, and that
        of latent actions that are not consistent.
        """
        read = self._read(states)
        z, penalty = self.bottleneck(read)
        # Consistency is asked of whole latent actions.
        predicted = self.world_model(states[:, :-1], z if self.idm is None else self.idm.drop(z))
        prediction = (predicted.float() - states[:, 1:].float()).abs().mean()
        inconsistency, disagreements = self._inconsistency(states, z)

        def statistics() -> dict[str, Tensor]:
            with torch.no_grad():
                terms = {"prediction": prediction.detach(), "penalty": penalty.detach()}
                terms |= {name: value.detach() for name, value in disagreements.items()}
                return terms | self.bottleneck.statistics(read.detach())

        return Loss(prediction + penalty + inconsistency, statistics)

    def infer(self, states: Tensor, dims: Dims = None) -> Tensor:
        """Infer the latent actions ``[B, T - 1, Z]`` between ``T >= 2`` states; each of its two states alone.

        Args:
            states: ``[B, T, N, D]``.
            dims: how many leading dimensions of latent actions to keep, the others zero: one of the bottleneck's
                ``widths``, or one of them for each, ``int64 [B, T - 1]``. If not given, they are whole; or those
                ``needed``, where the bottleneck has widths.

        Raises:
            ValueError: the states are fewer than two, no tensor of floats, or of another shape than the model was made
                for; or there are not as many dimensions as latent actions.
            WildlamError: the dimensions are none of the bottleneck's widths.
        """
        self._check_transitions(states)
        z = self.bottleneck.encode(self._read(states))
        return self._cut(z, states, z, dims)

    def needed(self, states: Tensor) -> Tensor:
        """How many leading dimensions of its latent action each transition needs, ``int64 [B, T - 1]``.

        The fewest of the bottleneck's ``widths`` with which the world model, who sees the state before alone, predicts
        the next one as well as with the whole latent action, up to the bottleneck's ``tolerance``; Z, if it has none.

        Args:
            states: ``T >= 2`` states, ``[B, T, N, D]``.

        Raises:
            ValueError: as ``infer``, for the states.
        """
        self._check_transitions(states)
        return self._needed(states, self.bottleneck.encode(self._read(states)))

    def check_dims(self, dims: Dims) -> None:
        """Refuse numbers of dimensions that latent actions of this model cannot be cut to.

        Raises:
            WildlamError: naming those that they can.
        """
        widths, limit = self.bottleneck.widths, type(self.config.bottleneck).__name__
        if dims is None or set(torch.as_tensor(dims).flatten().tolist()) <= set(widths):
            return
        remedy = f"give one of {', '.join(map(str, widths))}" if widths else f"{limit} is always whole, leave it out"
        raise WildlamError(f"{option('dims')} {dims}: latent actions of this model cannot be cut so; {remedy}")

    @torch.no_grad()
    def nats(self, states: Tensor, dims: Dims = None) -> Tensor:
        """What the latent actions between ``T >= 2`` states tell, in nats, ``[B, T - 1]``.

        Args:
            states: ``[B, T, N, D]``.
            dims: as of ``infer``; what is cut off tells nothing.

        Raises:
            ValueError: as ``infer``.
            WildlamError: likewise, or the bottleneck does not count in nats.
        """
        self._check_transitions(states)
        read = self._read(states)
        return self._cut(self.bottleneck.nats(read), states, self.bottleneck.encode(read), dims).sum(dim=-1)

    def predict(self, states: Tensor, actions: Tensor) -> Tensor:
        """Predict the next state after each of ``[B, T, N, D]`` under the actions ``[B, T, Z]`` taken there.

        Raises:
            ValueError: states or actions are no tensors of floats, or of other shapes.
        """
        self._check(states)
        batch, steps, width = *states.shape[:2], self.bottleneck.dim
        self._check_floats(f"actions [{batch}, {steps}, {width}]", actions)
        if actions.shape != (batch, steps, width):
            raise ValueError(
                f"expected actions [{batch}, {steps}, {width}], one for each state [{batch}, {steps}, ...], "
                f"got {list(actions.shape)}"
            )
        return self.world_model(states, actions)

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        """Unroll latent actions from known states, keys and values cached.

        Args:
            context: ``C >= 1`` known states ``[B, C, N, D]``; the actions between them are inferred.
            actions: ``[B, H, Z]``, or S candidates that share the context, ``[B, S, H, Z]``.

        Returns:
            The predicted states, ``[B, H, N, D]`` or ``[B, S, H, N, D]``.

        Raises:
            ValueError: states or actions are no tensors of floats, of other shapes, or none.
        """
        self._check(context)
        batch, width = len(context), self.bottleneck.dim
        expected = f"actions [{batch}, H, {width}] or [{batch}, S, H, {width}]"
        self._check_floats(expected, actions)
        shape = actions.shape
        if len(shape) not in (3, 4) or (shape[0], shape[-1]) != (batch, width) or not shape[-2]:
            raise ValueError(f"expected {expected} with H of at least 1, got {list(shape)}")
        return self._unroll(context, actions, None)

    def drive(self, context: Tensor, actions: Tensor, act: Act) -> Tensor:
        """Unroll actions of another kind, as ``rollout`` does latent ones.

        Args:
            context: ``C >= 1`` known states ``[B, C, N, D]``.
            actions: ``[B, H, A]``, or candidates ``[B, S, H, A]``.
            act: makes of them and of the states that they are taken in latent actions, such as a controller.
        """
        self._check(context)
        return self._unroll(context, actions, act)

    def _unroll(self, context: Tensor, actions: Tensor, act: Act | None) -> Tensor:
        past = self.infer(context) if context.shape[1] > 1 else context.new_zeros(len(context), 0, self.bottleneck.dim)
        if actions.dim() == 3:
            return self.world_model.rollout(context, past, actions.unsqueeze(1), act).squeeze(1)
        return self.world_model.rollout(context, past, actions, act)

    def _inconsistency(self, states: Tensor, z: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.consistency is None:
            return z.new_zeros(()), {}
        return self.consistency(states, z, self._draw, self.world_model)

    def _draw(self, states: Tensor) -> Tensor:
        return self.bottleneck.draw(self._read(states))

    def _read(self, states: Tensor) -> Tensor:
        if self.idm is None:
            return states.new_zeros((states.shape[0], states.shape[1] - 1, 0))
        return self.idm(states)

    def _cut(self, x: Tensor, states: Tensor, z: Tensor, dims: Dims) -> Tensor:
        """The leading dimensions of ``x``, ``[B, T - 1, Z]`` as the whole latent actions ``z``; see ``infer``."""
        if dims is None:
            return leading(x, self._needed(states, z)) if self.bottleneck.widths else x
        self.check_dims(dims)
        if isinstance(dims, Tensor) and dims.shape != x.shape[:2]:
            raise ValueError(f"expected dims {list(x.shape[:2])}, one for each latent action, got {list(dims.shape)}")
        return leading(x, dims)

    @torch.no_grad()
    def _needed(self, states: Tensor, z: Tensor) -> Tensor:
        widths = torch.tensor(self.bottleneck.widths or (self.bottleneck.dim,), device=z.device)
        before, after = states[:, :-1].flatten(0, 1)[:, None], states[:, 1:].flatten(0, 1)[:, None].float()
        actions = z.flatten(0, 1)[:, None]
        predicted = (self.world_model(before, leading(actions, width)) for width in widths)
        errors = torch.stack([(one.float() - after).abs().mean(dim=(1, 2, 3)) for one in predicted])
        does = errors <= (1 + self.bottleneck.tolerance) * errors[-1]
        return widths[does.int().argmax(dim=0)].view(z.shape[:2])  # the first that does

    def _check_transitions(self, states: Tensor) -> None:
        self._check(states)
        if states.shape[1] < 2:
            raise ValueError(f"latent actions lie between states: at least 2 are needed, got {states.shape[1]}")

    def _check(self, states: Tensor) -> None:
        tokens, width = self.state_shape
        self._check_floats(f"states [B, T, {tokens}, {width}]", states)
        if states.dim() != 4 or not states.shape[1] or tuple(states.shape[2:]) != self.state_shape:
            raise ValueError(f"expected states [B, T, {tokens}, {width}], got {list(states.shape)}")

    def _check_floats(self, expected: str, given: Tensor) -> None:
        if not isinstance(given, Tensor):
            kind = type(given).__name__
            raise ValueError(
                f"expected {expected} as a tensor, got {kind}; give torch.as_tensor(..., dtype=torch.float32)"
            )
        weights = self.world_model.embed.weight.dtype
        if not given.is_floating_point() or (given.dtype == torch.float64 != weights):  # autocast takes no float64
            raise ValueError(f"expected {expected} in {weights}, got {given.dtype}; convert them with .float()")
