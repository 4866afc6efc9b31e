"""Transfer: what happens in one video, done to another (arXiv 2601.05230, cycle consistency)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.evaluation.rollout import SECONDS
from wildlam.fileio import write_atomically, writing
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder, to_uint8
from wildlam.types import Encoder
from wildlam.video.config import DataConfig
from wildlam.video.decode import decode_at, probe
from wildlam.video.mp4 import write_mp4
from wildlam.video.write import side_by_side


@dataclass(frozen=True)
class TransferErrors:
    """What the states say of a transfer: L1 errors of rollouts, and how latent actions agree.

    Attributes:
        source: error on the source with its own latent actions.
        cycled: error on the source with those re-inferred from what they did to the target; ``cycled / source`` near 1
            says that they mean the same in both.
        copy: error on the source of copying its last known state.
        agreement: mean cosine between the source's latent actions and the re-inferred ones.
        effect: mean change of the target's prediction from its last known state, over the same change with the target's
            own latent actions.
    """

    source: float
    cycled: float
    copy: float
    agreement: float
    effect: float


@dataclass
class Transfer:
    """The latent actions of a source video, applied to a target.

    Attributes:
        films: ``source``, ``target`` (as they were) and ``transferred`` (decoded), each ``uint8 [F, 3, S, S]``; the
            first ``known`` frames of ``transferred`` show decoded states of the target, the others predictions.
        known: frames of the target that the model was given.
        fps: frames per second.
        errors: what the states say.
        videos: the source's and the target's files.
    """

    films: dict[str, Tensor]
    known: int
    fps: float
    errors: TransferErrors
    videos: tuple[Path, Path]

    def save(self, path: str | Path) -> Path:
        """Write the films side by side as ``path`` (H.264) and the errors as ``path.json``; return the path.

        Raises:
            WildlamError: they cannot be written.
        """
        path = Path(path)
        check_output(path, *self.videos)
        with writing(path, "choose another --output"):
            write_mp4(path, side_by_side(self.films), self.fps)
            write_atomically(_figures_path(path), json.dumps(asdict(self.errors), indent=2))
        return path


@torch.no_grad()
def transfer(
    model: LatentActionModel,
    encoder: Encoder,
    decoder: Decoder,
    source: Path,
    target: Path,
    *,
    data: DataConfig,
    seconds: float = SECONDS,
) -> Transfer:
    """Infer what happens in the source, and predict the target as if it happened there.

    Args:
        model: in evaluation mode.
        encoder: of its states.
        decoder: of the same encoder's states.
        source: video whose first ``seconds`` (after the known states) act.
        target: video whose first states are acted on.
        data: how videos are read, as in the model's training: of its clips, the states that the rollout leaves are
            known.
        seconds: how long to unroll.

    Raises:
        VideoError: a video cannot be decoded.
        WildlamError: a video is too short, or ``seconds`` hold no step.
    """
    step, fps = encoder.spec.frames_per_state, data.fps
    horizon = round(seconds * fps / step) if math.isfinite(seconds) else 0
    if horizon < 1:
        raise WildlamError(f"--seconds {seconds:g}: a latent action takes {step / fps:g} s; give at least that")
    known = max(1, data.frames // step - horizon)
    clips = (
        _clip(video, (known + horizon) * step, max(2 * step, data.frames), data, encoder) for video in (source, target)
    )
    of_source, of_target = clips
    a, b = (encoder.encode(clip[None]).float() for clip in (of_source, of_target))
    z = model.infer(a)[:, -horizon:]
    on_b = model.rollout(b[:, :known], z)
    again = model.infer(torch.cat([b[:, :known], on_b], dim=1))[:, -horizon:]
    own = model.rollout(b[:, :known], model.infer(b)[:, -horizon:])

    def error(actions: Tensor) -> float:
        return float((model.rollout(a[:, :known], actions) - a[:, known:]).abs().mean())

    last = b[:, known - 1 : known]
    errors = TransferErrors(
        source=error(z),
        cycled=error(again),
        copy=float((a[:, known - 1 : known] - a[:, known:]).abs().mean()),
        agreement=float(torch.cosine_similarity(z, again, dim=-1).mean()),
        effect=float((on_b - last).abs().mean() / (own - last).abs().mean().clamp(min=1e-12)),
    )
    pictures = decoder.decode(torch.cat([b[:, :known], on_b], dim=1))[0]
    films = {
        "source": of_source,
        "target": of_target,
        "transferred": to_uint8(pictures),
    }
    return Transfer(films, known * step, fps, errors, (source, target))


def check_output(path: Path, source: Path, target: Path) -> None:
    """Refuse a film that is no .mp4, or that would replace another video.

    Raises:
        WildlamError: naming it.
    """
    if path.suffix != ".mp4":
        raise WildlamError(f"{path}: the film is written as H.264; give a name that ends in .mp4")
    if path.resolve() in (source.resolve(), target.resolve()):
        raise WildlamError(f"{path} is one of the videos; give another --output")
    if path.exists() and not _figures_path(path).exists():
        raise WildlamError(f"{path} is not a film of `wildlam transfer`; give another --output, or move it away")


def _figures_path(film: Path) -> Path:
    return film.with_name(f"{film.name}.json")


def _clip(video: Path, frames: int, least: int, data: DataConfig, encoder: Encoder) -> Tensor:
    """The first frames of a video, ``uint8 [frames, 3, S, S]``; with fewer ``--seconds`` there need to be ``least``."""
    info, step = probe(video), encoder.spec.frames_per_state
    duration = min([info.duration, *info.breaks])  # no clip crosses a break in the timestamps
    states = math.floor(duration * data.fps + 1e-6) // step
    if states * step < frames:
        fewer = f" or --seconds {(states - 1) * step / data.fps:g}" if states * step >= least else ""
        raise WildlamError(
            f"{video}: lasts {duration:.2f} s, {frames / data.fps:.2f} s are needed; give a longer video{fewer}"
        )
    return decode_at(video, [k / data.fps for k in range(frames)], encoder.spec.image_size, data.backend)
