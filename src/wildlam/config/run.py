"""The configuration of a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import jsonargparse

from wildlam.encoders import EncoderConfig, Lite0
from wildlam.errors import option
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import BottleneckConfig, Deterministic
from wildlam.models.consistency import ConsistencyConfig
from wildlam.models.inverse_dynamics import InverseDynamicsConfig
from wildlam.models.priors import PriorConfig
from wildlam.training import TrainingConfig
from wildlam.types import settle_paths
from wildlam.video.config import DataConfig

OF_RUNS: dict[str, Any] = {
    "encoder": EncoderConfig,
    "model.idm": InverseDynamicsConfig,
    "model.bottleneck": BottleneckConfig,
    "model.consistency": ConsistencyConfig,
}
"""Keys of a run whose value is one of a class's subclasses."""

CHOSEN_BY_NAME: dict[str, Any] = {**OF_RUNS, "prior": PriorConfig}
"""The same of all configurations; ``wildlam.config.names.CHOSEN`` has the keys."""

jsonargparse.set_parsing_settings(subclasses_enabled=list(CHOSEN_BY_NAME.values()))


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Configuration of a training run.

    Args:
        data: the videos, and how clips are cut from them.
        encoder: frozen video encoder: Lite0 (offline), VJEPA2 or HFImage.
        model: inverse dynamics model, bottleneck and world model.
        training: steps, batch, precision, optimiser.
        action_free: also train a baseline: a deterministic model (no latent action) of the same size for as many steps.
        seed: seed of initialisation, order of the data and noise.
        out: folder of the run; runs/<name of the data folder>-<time> if not given.
    """

    data: DataConfig
    encoder: EncoderConfig = field(default_factory=Lite0)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    action_free: bool = True
    seed: int = 0
    out: Path | None = None

    def __post_init__(self) -> None:
        settle_paths(self, "out")
        if self.seed < 0:
            raise ValueError(f"{option('seed')} must not be negative, got {self.seed}")
        for key, base in OF_RUNS.items():
            if type(attrgetter(key)(self)) is base:
                raise ValueError(f"{key}: choose {' or '.join(cls.__name__ for cls in base.__subclasses__())}")


def without_actions(config: RunConfig) -> RunConfig | None:
    """The configuration of a run's baseline: the same model without latent actions.

    None if the run trains none: it has no latent actions itself, or ``action_free`` is off.
    """
    if not config.action_free or isinstance(config.model.bottleneck, Deterministic):
        return None
    nothing = Deterministic(dim=config.model.bottleneck.dim)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, bottleneck=nothing))
