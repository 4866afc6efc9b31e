"""What makes real actions of size 1, for every model that takes them."""

from __future__ import annotations

from torch import Tensor

FLAT = 1e-6
"""Deviation up to which a component did not vary in training, such as a gripper that was never used."""


def scales_of(actions: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``[A]`` of actions ``[..., A]``, the latter ``FLAT`` at least."""
    flat = actions.flatten(0, -2)
    return flat.mean(dim=0), flat.std(dim=0).clamp(min=FLAT)


def scaled(actions: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Actions ``[..., A]`` by their scales ``[A]``; what did not vary in training is 0, whatever it is now."""
    return ((actions - mean) / std).where(std > FLAT, 0.0)
