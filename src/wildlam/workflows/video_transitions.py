"""The transitions of one video: their latent actions, when they are, and how much happens in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wildlam.models import LatentActionModel
from wildlam.workflows.trained import Trained

AT_ONCE, NUMBERS_AT_ONCE = 256, 1 << 24
"""Transitions that are inferred at once, at most, and numbers of their states."""


@dataclass(frozen=True)
class VideoTransitions:
    """The transitions of one video.

    Attributes:
        z: their latent actions, ``float32 [n, Z]``.
        start: times of the states before, in seconds, ``float64 [n]``.
        end: times of those after.
        speed: mean absolute change of the states' numbers per second, ``float32 [n]``.
    """

    z: np.ndarray
    start: np.ndarray
    end: np.ndarray
    speed: np.ndarray

    def __len__(self) -> int:
        return len(self.start)


def from_file(trained: Trained, video: Any) -> VideoTransitions | None:
    """The transitions of a video file, encoded now; None if it is too short for one.

    Raises:
        VideoError: it cannot be decoded.
    """
    parts, at_once = [], at_once_of(*trained.model.state_shape)
    for times, states in trained.encode(video):
        pairs = torch.stack([states[:-1], states[1:]], dim=1).float()
        for at in range(0, len(pairs), at_once):
            some = slice(at, min(at + at_once, len(pairs)))
            parts.append(transitions(trained.model, pairs[some], times[:-1][some], times[1:][some]))
    return joined(parts) if parts else None


def at_once_of(tokens: int, width: int) -> int:
    """How many transitions between states of so many tokens, of such a width, are inferred at once."""
    return max(min(AT_ONCE, NUMBERS_AT_ONCE // (2 * tokens * width)), 1)


@torch.no_grad()
def transitions(model: LatentActionModel, pairs: Tensor, start: np.ndarray, end: np.ndarray) -> VideoTransitions:
    """The transitions between pairs of states.

    Args:
        model: infers their latent actions.
        pairs: states before and after, ``[n, 2, N, D]``.
        start: times of those before, in seconds, ``[n]``.
        end: times of those after.
    """
    z = model.infer(pairs)[:, 0].float().cpu().numpy()
    change = (pairs[:, 1] - pairs[:, 0]).abs().mean(dim=(1, 2)).cpu().numpy()
    return VideoTransitions(z, start, end, (change / (end - start)).astype(np.float32))


def joined(parts: Sequence[VideoTransitions]) -> VideoTransitions:
    """Parts of a video, one behind the other."""
    names = ("z", "start", "end", "speed")
    return VideoTransitions(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
