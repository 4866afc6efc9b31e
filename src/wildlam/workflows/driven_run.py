"""A run that can be made to act: by a controller of its model, or by a prior and a decoder of its latent actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from wildlam.config import RunConfig
from wildlam.encoders.base import fast_dtype
from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.formats import format_of
from wildlam.episodes.vectors import Reading
from wildlam.models import LatentActionModel
from wildlam.planning.dynamics import Dynamics
from wildlam.runs.folder import Run
from wildlam.types import Encoder


class Scales(Protocol):
    """Mean and deviation of the real actions ``[A]`` that something was trained on."""

    action_mean: Tensor
    action_std: Tensor


@dataclass
class DrivenRun(ABC):
    """A run and what makes it act.

    Attributes:
        run: its folder.
        config: its configuration.
        encoder: encoder of its states.
        model: the latent action model.
        place: folder of what makes it act.
        space: what real actions are.
        given_by: name of the option that gives ``place``.
        learner: what learnt from real actions, in words.
    """

    run: Run
    config: RunConfig
    encoder: Encoder
    model: LatentActionModel
    place: Path
    space: ActionSpace

    given_by: ClassVar[str]
    learner: ClassVar[str]

    @property
    def bf16(self) -> bool:
        """Whether matrix products are in bfloat16: as in training, unless the device would emulate it."""
        return self.config.training.precision == "bf16" and fast_dtype(self.encoder.device) == torch.bfloat16

    @property
    @abstractmethod
    def dynamics(self) -> Dynamics:
        """What a planner unrolls."""

    @property
    @abstractmethod
    def scales(self) -> Scales:
        """Sizes of the real actions that it learnt from."""

    @property
    def camera(self) -> str | None:
        """Name of the camera whose films it learnt from, if one was chosen."""
        return None

    @property
    def rate(self) -> float | None:
        """Frames a second of what it learnt from, if they were said."""
        return None

    def reads(self, reading: Reading, data: Path) -> Reading:
        """How it reads data: as is said, else as what it learnt from was read, and always with its own actions."""
        rate = reading.rate or (self.rate if format_of(data).rated else None)
        return replace(reading, camera=reading.camera or self.camera, rate=rate).like(self.space)

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What makes it act, for JSON; as text, it is a phrase of a report."""
