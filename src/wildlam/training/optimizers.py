"""Muon for the hidden matrices, AdamW for the rest, one schedule for both (arXiv 2601.05230)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wildlam.distributed import in_parts
from wildlam.encoders.base import fast_dtype

NOT_HIDDEN = ("embed", "head")
"""Modules whose matrices AdamW trains: the first and last layers."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Step sizes and decay; the paper's but for AdamW's rate, which suits batches far smaller than its 1024.

    Args:
        muon: train the hidden matrices by Muon; else AdamW trains all (the paper's controllers).
        muon_lr: learning rate of the hidden matrices (Muon; 0.02 x sqrt(max(1, rows / columns))).
        adamw_lr: learning rate of all other parameters (AdamW; paper: 6.25e-4 for latent actions).
        beta1: decay of AdamW's average of gradients.
        beta2: decay of AdamW's average of squared gradients (paper's controllers: 0.999).
        weight_decay: decoupled weight decay, of matrices only.
        warmup: share of the steps over which the learning rates rise linearly; a cosine takes them to zero after.
        clip: largest norm of the gradient.
    """

    muon: bool = True
    muon_lr: float = 0.02
    adamw_lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.04
    warmup: float = 0.1
    clip: float = 1.0

    def __post_init__(self) -> None:
        for name in ("muon_lr", "adamw_lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"training.optimizer.{name} must be a positive number, got {getattr(self, name)}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"training.optimizer.{name} must lie in [0, 1), got {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"training.optimizer.weight_decay must not be negative, got {self.weight_decay}")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"training.optimizer.warmup is a share of the steps, 0 to 1, got {self.warmup}")


class MuonAdamW:
    """The two optimisers as one: ``step``, ``zero_grad``, ``state_tensors`` and a learning rate by share of the run."""

    def __init__(self, model: nn.Module, config: OptimizerConfig) -> None:
        self.config = config
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        hidden = [(name, p) for name, p in named if config.muon and is_hidden_matrix(name, p)]
        names = {name for name, _ in hidden}
        matrices = [(n, p) for n, p in named if n not in names and p.ndim == 2]
        vectors = [(n, p) for n, p in named if n not in names and p.ndim != 2]
        groups = [
            {"params": [p for _, p in matrices], "weight_decay": config.weight_decay},
            {"params": [p for _, p in vectors], "weight_decay": 0.0},
        ]
        given, betas = [g for g in groups if g["params"]], (config.beta1, config.beta2)
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(given, lr=config.adamw_lr, betas=betas, fused=True)
        ]
        if hidden:
            muon = Muon([p for _, p in hidden], lr=config.muon_lr, weight_decay=config.weight_decay)
            self.optimizers.append(muon)
        self.names: dict[Tensor, str] = {p: name for name, p in named}

    def set_progress(self, step: int, steps: int) -> float:
        """Set the learning rates for ``step`` of ``steps``; return the factor they were multiplied by."""
        factor = warmup_cosine(step, steps, self.config.warmup)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group.setdefault("base_lr", group["lr"])
                group["lr"] = group["base_lr"] * factor
        return factor

    def step(self) -> None:
        """Update the parameters from their gradients."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def state_tensors(self) -> dict[str, Tensor]:
        """The optimisers' state by ``parameter name : state name``; in parts, where the parameters are."""
        return {
            f"{self.names[p]}:{key}": value
            for optimizer in self.optimizers
            for p, state in optimizer.state.items()
            for key, value in state.items()
        }

    def place(self, key: str, empty: Tensor) -> Tensor:
        """The empty tensor in whose place ``state_tensors``' entry ``key`` is: in parts, if its parameter is."""
        parameter = self._parameter(key)
        if parameter.shape == empty.shape:
            return torch.empty_like(parameter, requires_grad=False)
        # AdamW keeps its step count on the CPU for all devices unless fused, where it lies with the parameter.
        return empty.to(parameter.device)

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what ``state_tensors`` gave."""
        owner = {p: o for o in self.optimizers for group in o.param_groups for p in group["params"]}
        for key, value in tensors.items():
            parameter = self._parameter(key)
            owner[parameter].state[parameter][key.rsplit(":", 1)[1]] = value

    def _parameter(self, key: str) -> Tensor:
        name = key.rsplit(":", 1)[0]
        return next(p for p, known in self.names.items() if known == name)


class Muon(torch.optim.Muon):
    """PyTorch's Muon, with the matrices of one shape orthogonalised together: the same steps, larger products.

    Small matrices one by one leave cores idle, and a small model's orthogonalisation is much of its training step. With
    several processes each orthogonalises its share of the matrices, and gives the others what they need of them.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append((p, p.grad))
            for (rows, columns), pairs in shapes.items():
                updates = []
                for p, gradient in pairs:
                    if "momentum_buffer" not in self.state[p]:
                        self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                    momentum, own = _own(self.state[p]["momentum_buffer"]), _own(gradient)
                    momentum.lerp_(own, 1 - group["momentum"])
                    updates.append(own.lerp(momentum, group["momentum"]).bfloat16())  # Nesterov's
                solve = partial(orthogonalise, coefficients=group["ns_coefficients"], steps=group["ns_steps"])
                for (p, _), direction in zip(pairs, directions(pairs[0][0], updates, solve), strict=True):
                    _own(p).mul_(1 - group["lr"] * group["weight_decay"])
                    _own(p).add_(direction, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def _own(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, or the whole one; changes in place are changes of it."""
    return tensor.to_local() if in_parts(tensor) else tensor


def directions(like: Tensor, updates: list[Tensor], solve: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Orthogonalise matrices of one shape, each in one process alone.

    Args:
        like: one of their parameters: whole in all processes, or in parts of rows (``Shard(0)``).
        updates: each matrix, or this process's rows of it.
        solve: orthogonalises ``[n, rows, columns]``.

    Returns:
        As ``updates``, orthogonalised.
    """
    if not dist.is_initialized():
        return list(solve(torch.stack(updates)))
    count = len(updates)
    if not in_parts(like):
        world, rank = dist.get_world_size(), dist.get_rank()
        each = -(-count // world)
        own = torch.stack(updates)[rank * each : (rank + 1) * each]
        solved = own.new_zeros(each, *like.shape)
        if len(own):
            solved[: len(own)] = solve(own)
        gathered = solved.new_empty(world * each, *like.shape)
        dist.all_gather_into_tensor(gathered, solved)
        return list(gathered[:count])
    # Rows of all matrices go to those who solve them, and back. Parts are of equal height but for the last ones.
    group = like.device_mesh.get_group("shard")
    world, (rows, columns) = dist.get_world_size(group), like.shape
    each, height, held = -(-count // world), -(-rows // world), len(updates[0])
    sent = updates[0].new_zeros(world * each, height, columns)
    sent[:count, :held] = torch.stack(updates)
    received = torch.empty_like(sent)
    dist.all_to_all_single(received, sent, group=group)
    matrices = received.view(world, each, height, columns).transpose(0, 1).reshape(each, world * height, columns)
    matrices[:, :rows] = solve(matrices[:, :rows])
    back = matrices.view(each, world, height, columns).transpose(0, 1).contiguous().view_as(sent)
    returned = torch.empty_like(sent)  # not into what was received, of which `back` may be a view
    dist.all_to_all_single(returned, back, group=group)
    return list(returned[:count, :held])


def orthogonalise(matrices: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """Push the singular values of each of ``[n, rows, columns]`` towards 1: quintic Newton-Schulz iterations in bf16.

    As in Keller Jordan's Muon, and but for rounding what ``torch.optim.Muon`` does to each alone. Where the device has
    no instructions for bf16 they are made in float32, which is far faster there.
    """
    a, b, c = coefficients
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.bfloat16().to(fast_dtype(matrices.device))
    x = (x.mT if tall else x) / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).bfloat16()


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon trains a parameter: a matrix that belongs neither to a first nor to a last layer."""
    parts = name.split(".")
    return parameter.ndim == 2 and not any(part.startswith(NOT_HIDDEN) for part in parts)


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate at ``step`` (from 0) of ``steps``: a linear rise, then a cosine to zero."""
    rise = max(round(warmup * steps), 1)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))


def gradient_norm(parameters: Iterable[nn.Parameter], clip: float) -> Tensor:
    """Clip the gradients to the norm ``clip`` in place; return their norm before that, a scalar."""
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
    return norm.full_tensor() if in_parts(norm) else norm
