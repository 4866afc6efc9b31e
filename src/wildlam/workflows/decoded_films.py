"""Decoded films: what happens in one video done to another (arXiv 2601.05230, cycle consistency), and given latent
actions unrolled from a video's first states."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wildlam.errors import WildlamError, option
from wildlam.evaluation.horizon import SECONDS
from wildlam.fileio import write_atomically, writing
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder, to_uint8
from wildlam.progress import Count, uncounted
from wildlam.report.html import table, video
from wildlam.types import Encoder
from wildlam.video.config import DataConfig
from wildlam.video.given import Given, VideoFile
from wildlam.video.mp4 import write_mp4
from wildlam.video.write import mp4_bytes, side_by_side


@dataclass(frozen=True)
class TransferErrors:
    """Quality of a transfer in state space: L1 errors of rollouts, and agreement of latent actions.

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
        errors: errors in state space.
        videos: the source's and the target's files, where they are files.
    """

    films: dict[str, Tensor] = field(repr=False)
    known: int
    fps: float
    errors: TransferErrors
    videos: tuple[Path, ...]

    def save(self, path: str | Path) -> Path:
        """Write the films side by side as ``path`` (H.264) and the errors as ``path.json``; return the path.

        Raises:
            WildlamError: they cannot be written.
        """
        path = Path(path)
        check_output(path, *self.videos)
        with writing(path, f"choose another {option('output')}"):
            write_mp4(path, side_by_side(self.films), self.fps)
            write_atomically(_figures_path(path), json.dumps(asdict(self.errors), indent=2))
        return path

    def _repr_html_(self) -> str:
        film = mp4_bytes(side_by_side(self.films), self.fps)
        return video(film, "source, target and the target under the source's actions") + table(
            {"L1 error, or share": asdict(self.errors)}
        )


@dataclass
class DecodedRollout:
    """Latent actions unrolled from the first states of a video, as pictures.

    Attributes:
        states: known and predicted, ``[K + H, N, D]``.
        film: the same decoded, ``uint8 [F, 3, S, S]``.
        known: frames of it that show states which the model was given.
        fps: frames per second.
    """

    states: Tensor = field(repr=False)
    film: Tensor = field(repr=False)
    known: int
    fps: float

    def save(self, path: str | Path) -> Path:
        """Write the film as ``path`` (H.264, .mp4) and return the path.

        Raises:
            WildlamError: it cannot be written, or is not to be an .mp4.
        """
        path = Path(path)
        check_suffix(path)
        with writing(path, "choose another path"):
            write_mp4(path, self._frames(), self.fps)
        return path

    def _frames(self) -> list[np.ndarray]:
        return side_by_side({f"{self.known} frames known": self.film})

    def _repr_html_(self) -> str:
        return video(mp4_bytes(self._frames(), self.fps), f"decoded states, of which the first {self.known} are known")


@torch.no_grad()
def unroll_actions(
    model: LatentActionModel, encoder: Encoder, decoder: Decoder, start: Given, z: Tensor, data: DataConfig
) -> DecodedRollout:
    """Unroll latent actions from the beginning of a video, and decode the prediction.

    Args:
        model: the model, in evaluation mode.
        encoder: encoder of its states.
        decoder: decoder of the same encoder's states.
        start: video whose first states are known: as many as in the model's training beside so many actions, one at
            least, if the video has them.
        z: latent actions ``float [H, Z]``.
        data: how videos are read, as in the model's training.

    Raises:
        VideoError: the video cannot be decoded.
        WildlamError: it is too short for one state, or the actions are of another width.
    """
    step, width = encoder.spec.frames_per_state, model.bottleneck.dim
    if z.dim() != 2 or z.shape[1] != width or not len(z) or not z.is_floating_point():
        raise WildlamError(f"actions must be finite floats [H, {width}], got {z.dtype} {list(z.shape)}")
    if not z.isfinite().all():
        wrong = int((~z.isfinite()).sum())
        raise WildlamError(f"actions must be finite floats, {wrong} of {z.numel()} are NaN or infinite")
    there = math.floor(start.seconds() * data.fps + 1e-6) // step
    if not there:
        raise WildlamError(f"{start}: too short, at {data.fps:g} frames/s it holds no state")
    known = min(max(1, data.frames // step - len(z)), there)
    frames = start.first(known * step, data.fps, encoder.spec.image_size, data.backend)
    context = encoder.encode(frames[None]).float()
    states = torch.cat([context, model.rollout(context, z[None].to(context))], dim=1)
    return DecodedRollout(states[0].cpu(), to_uint8(decoder.decode(states)[0]), known * step, data.fps)


@torch.no_grad()
def transfer_actions(
    model: LatentActionModel,
    encoder: Encoder,
    decoder: Decoder,
    source: Given,
    target: Given,
    *,
    data: DataConfig,
    seconds: float = SECONDS,
    count: Count = uncounted,
) -> Transfer:
    """Infer the latent actions of the source, and unroll them from the target's first frames.

    Args:
        model: the model, in evaluation mode.
        encoder: encoder of its states.
        decoder: decoder of the same encoder's states.
        source: video whose first ``seconds`` (after the known states) act.
        target: video whose first states are acted on.
        data: how videos are read, as in the model's training: of its clips, the states that the rollout leaves are
            known.
        seconds: how long to unroll.
        count: called with the share of the work done since the last call.

    Raises:
        VideoError: a video cannot be decoded.
        WildlamError: a video is too short, or ``seconds`` hold no step.
    """
    step, fps = encoder.spec.frames_per_state, data.fps
    horizon = round(seconds * fps / step) if math.isfinite(seconds) else 0
    if horizon < 1:
        raise WildlamError(f"seconds is {seconds:g}: a latent action takes {step / fps:g} s; give at least that")
    known = max(1, data.frames // step - horizon)
    done = partial(count, 0.125)  # eight parts, each of the order of a second at most on a processor
    clips, states = [], []
    for given in (source, target):
        clips.append(_clip(given, (known + horizon) * step, max(2 * step, data.frames), data, encoder))
        done()
        states.append(encoder.encode(clips[-1][None]).float())
        done()
    of_source, of_target = clips
    a, b = states
    z = model.infer(a)[:, -horizon:]
    on_b = model.rollout(b[:, :known], z)
    done()
    again = model.infer(torch.cat([b[:, :known], on_b], dim=1))[:, -horizon:]
    own = model.rollout(b[:, :known], model.infer(b)[:, -horizon:])
    done()

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
    done()
    pictures = decoder.decode(torch.cat([b[:, :known], on_b], dim=1))[0]
    done()
    films = {
        "source": of_source,
        "target": of_target,
        "transferred": to_uint8(pictures),
    }
    paths = (video.path for video in (source, target) if isinstance(video, VideoFile))
    files = tuple(path for path in paths if isinstance(path, Path))
    return Transfer(films, known * step, fps, errors, files)


def check_suffix(path: Path) -> None:
    """Refuse a film that is no .mp4.

    Raises:
        WildlamError: naming it.
    """
    if path.suffix != ".mp4":
        raise WildlamError(f"{path}: the film is written as H.264; give a name that ends in .mp4")


def check_output(path: Path, *videos: Path) -> None:
    """Refuse a film that is no .mp4, or that would replace another video.

    Raises:
        WildlamError: naming it.
    """
    check_suffix(path)
    if path.resolve() in [video.resolve() for video in videos]:
        raise WildlamError(f"{path} is one of the videos; give another {option('output')}")
    if path.exists() and not _figures_path(path).exists():
        raise WildlamError(
            f"{path} is not a film of `wildlam transfer`; give another {option('output')}, or move it away"
        )


def _figures_path(film: Path) -> Path:
    return film.with_name(f"{film.name}.json")


def _clip(video: Given, frames: int, least: int, data: DataConfig, encoder: Encoder) -> Tensor:
    """The first frames of a video, ``uint8 [frames, 3, S, S]``; with fewer ``seconds`` there need to be ``least``."""
    duration, step = video.seconds(), encoder.spec.frames_per_state
    states = math.floor(duration * data.fps + 1e-6) // step
    if states * step < frames:
        fewer = (
            f", or lower {option('seconds')} to {(states - 1) * step / data.fps:g}" if states * step >= least else ""
        )
        raise WildlamError(
            f"{video}: lasts {duration:.2f} s, {frames / data.fps:.2f} s are needed; give a longer video{fewer}"
        )
    return video.first(frames, data.fps, encoder.spec.image_size, data.backend)
