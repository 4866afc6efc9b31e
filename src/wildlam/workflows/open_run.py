"""Open a run folder: its configuration, its encoder, its model, the clips of its videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from wildlam.config import RunConfig, read_config
from wildlam.distributed import Processes, default_device
from wildlam.errors import WildlamError, option
from wildlam.evaluation.clips import InferredClips, infer_clips
from wildlam.evaluation.horizon import SECONDS
from wildlam.models import LatentActionModel
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.states.dataset import Clips, clips_of
from wildlam.types import Encoder, EncoderSpec, StateBatch
from wildlam.video.manifest import Manifest


@dataclass(frozen=True)
class OpenRun:
    """A run folder, its configuration, and the encoder of its states."""

    run: Run
    config: RunConfig
    encoder: Encoder

    def model(self) -> LatentActionModel:
        """Its model, on the encoder's device; see ``load_model``."""
        return load_model(self.run, self.config, self.encoder.spec).to(self.encoder.device)


def open_run(path: str | Path, device: torch.device | None = None) -> OpenRun:
    """Open a run and build its encoder, on the accelerator where there is one if no device is given.

    Raises:
        WildlamError: it is no run folder, or the encoder is not the one whose states it was trained on.
    """
    run = Run.open(path)
    config = read_config(run.path / "config.yaml")
    encoder = config.encoder.build(device or default_device())
    check_encoder(run, encoder.spec)
    return OpenRun(run, config, encoder)


def load_clips(
    config: RunConfig,
    encoder: Encoder,
    team: Processes,
    before: Callable[[Manifest, float | None], None] | None = None,
) -> Clips:
    """The clips of a run's videos; see ``states.dataset.clips_of``."""
    size, seed = config.training.batch_size, config.seed
    return clips_of(config.data, encoder, team, batch_size=size, seed=seed, seconds=SECONDS, before=before)


def inferred(clips: Clips, model: LatentActionModel, batches: Sequence[StateBatch]) -> InferredClips:
    """Some held-out or labelled clips with the latent actions that a model infers in them, see ``infer_clips``."""
    names = {name for batch in batches for name in batch.names}
    return infer_clips(model, batches, clips.manifest.recordings_of(names))


def load_model(run: Run, config: RunConfig, spec: EncoderSpec) -> LatentActionModel:
    """Load the best checkpoint of a run, in evaluation mode and not to be trained further.

    Raises:
        WildlamError: there is none, it does not fit the configuration, or it holds weights that are not finite.
    """
    model = config.model.build(spec.width, spec.grid)
    checkpoint = checkpoints.best(run.checkpoints)
    weights = checkpoint.model_tensors()
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise WildlamError(
                f"{checkpoint.path}: weight {name!r} is not finite; delete that checkpoint, then {option('resume')}"
            )
    checkpoints.load_weights(model, weights, checkpoint.path)
    return model.eval().requires_grad_(False)


def check_encoder(run: Run, spec: EncoderSpec) -> None:
    """Refuse an encoder whose states are not those that the run was trained on.

    Raises:
        WildlamError: naming both.
    """
    trained = run.encoder_spec
    if trained.fingerprint != spec.fingerprint:
        raise WildlamError(
            f"{run.path} was trained on states of {trained.name} {trained.fingerprint}, this encoder is {spec.name} "
            f"{spec.fingerprint}; train one on its states, or restore its weights and settings as they were then"
        )
