"""The types every room of the library shares: clips, states, encoders; and the checks that configurations share.

Axes, used as suffixes of names where it helps: ``B`` batch, ``T`` time (latent frames), ``N`` tokens per frame,
``D`` width of a token, ``Z`` width of a latent action, ``S`` candidates, ``C H W`` channels and pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from wildlam.errors import option

if TYPE_CHECKING:  # the command line checks what it is given before PyTorch is there
    import torch
    from torch import Tensor, nn

Split = Literal["train", "held_out"]


def check_seed(seed: int) -> None:
    """Refuse what no generator takes.

    Raises:
        ValueError: it is no whole number, is negative, or has more than 32 bits.
    """
    if not _is_whole(seed) or not 0 <= seed < 2**32:
        raise ValueError(f"{option('seed')} must be 0 to {2**32 - 1}, got {seed!r}")


def check_count(name: str, value: Any) -> None:
    """Refuse a field that is no whole number from 1 on.

    Raises:
        ValueError: naming the field.
    """
    if not _is_whole(value) or value < 1:
        raise ValueError(f"{option(name)} must be at least 1, got {value!r}")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a field that is none of its choices.

    Raises:
        ValueError: naming the field and the choices.
    """
    if value not in choices:
        raise ValueError(f"{option(name)} must be {', '.join(choices[:-1])} or {choices[-1]}, got {value!r}")


def settle_paths(config: Any, *names: str) -> None:
    """Make paths of the texts in some fields of a frozen configuration; None stays.

    Raises:
        ValueError: a field holds something else, naming it.
    """
    for name in names:
        value = getattr(config, name)
        if value is None or hasattr(value, "joinpath"):  # a URL's path (universal-pathlib) is no os.PathLike
            continue
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a path, got {value!r}")
        object.__setattr__(config, name, Path(value))


def settle_path_lists(config: Any, *names: str) -> None:
    """As ``settle_paths``, of fields that hold several paths; one alone is a list of one.

    Raises:
        ValueError: a field holds something else, naming it.
    """
    for name in names:
        value = getattr(config, name)
        several = [value] if isinstance(value, str | os.PathLike) else value
        if not isinstance(several, list | tuple) or not all(isinstance(one, str | os.PathLike) for one in several):
            raise ValueError(f"{name} must be a list of paths, got {value!r}")
        object.__setattr__(config, name, [Path(one) for one in several])


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class EncoderSpec:
    """What a frozen video encoder makes of a clip.

    Attributes:
        name: name of the encoder, for people.
        frames_per_state: video frames consumed for each state (V-JEPA 2: 2, the tubelet; per-frame encoders: 1).
        grid: height and width of the token map; ``N = grid[0] * grid[1]``.
        width: width ``D`` of a token.
        image_size: side, in pixels, of the square frames that ``encode`` takes.
        context: ``"frame"`` if a state depends on its own frames alone, ``"clip"`` if it also depends on the clip's
            earlier frames. States of a ``"frame"`` encoder can be cut into clips anywhere.
        fingerprint: short hash of weights and settings; two encoders with one fingerprint give the same states.
    """

    name: str
    frames_per_state: int
    grid: tuple[int, int]
    width: int
    image_size: int
    context: Literal["frame", "clip"]
    fingerprint: str

    @property
    def tokens(self) -> int:
        """Tokens per state, ``N``."""
        return self.grid[0] * self.grid[1]


@runtime_checkable
class Encoder(Protocol):
    """A frozen, frame-causal video encoder: later frames never change earlier states.

    Attributes:
        spec: what it makes of a clip.
        device: device that it computes on.
        network: its weights.
    """

    spec: EncoderSpec
    device: torch.device
    network: nn.Module

    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """Encode ``uint8`` video ``[B, F, 3, H, W]`` (``H = W = spec.image_size``, ``F`` a multiple of
        ``spec.frames_per_state``) to float32 states ``[B, F / frames_per_state, N, D]`` on the encoder's device."""
        ...


@dataclass
class VideoBatch:
    """Clips of pixels: ``video`` is ``uint8 [B, F, 3, H, W]``; the lists have one entry per clip.

    ``names`` are the videos' paths relative to the data folder, ``starts`` the clips' first timestamps in seconds.
    """

    video: Tensor
    names: list[str]
    sources: list[str]
    starts: list[float]


def _none() -> Tensor:
    import torch

    return torch.empty(0)


@dataclass
class StateBatch:
    """Clips of states: ``states`` is float ``[B, T, N, D]``; the lists have one entry per clip, as in VideoBatch."""

    states: Tensor
    names: list[str]
    sources: list[str]
    starts: list[float]
    times: Tensor = field(default_factory=_none)
    """Timestamps ``[B, T]`` in seconds of the (first) frame of each state."""


class BatchSource(Protocol):
    """Training data as a pure function of the step, so that a resumed run sees the very batches it would have seen.

    The clips of ``batch(step)`` depend on the source's seed and ``step`` alone. With several processes, each is given
    ``(rank, world_size)`` at construction and returns its own contiguous share of the same global batch.
    """

    def batch(self, step: int) -> VideoBatch | StateBatch:
        """The batch of training step ``step`` (from 0)."""
        ...


@dataclass
class Loss:
    """What a training step minimises, and what to log of it.

    Attributes:
        total: the scalar to minimise.
        statistics: computes, without gradient, figures of the step's health: scalars, and vectors per dimension. Called
            only for the steps that are logged.
    """

    total: Tensor
    statistics: Callable[[], dict[str, Tensor]]
