"""The report's pictures and films of what a run predicts, painted by a decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.rollout import horizon_of
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder, to_uint8
from wildlam.report.films import films
from wildlam.report.html import Section, figure, paragraph, video
from wildlam.report.pages.decoded import EXPLAINED, informative_clips, painted
from wildlam.report.strips import Strip, picture_strips
from wildlam.video.write import mp4_bytes, side_by_side

SHOWN_PER_SOURCE = 2
BORROWED = (
    'Painted by wildlam-tiny\'s decoder, which was trained on other videos: see by "true state, decoded" how far to '
    "trust its pictures. `wildlam decoder train RUN` trains one on these."
)


@dataclass(frozen=True)
class Painter:
    """What paints states, and the true frames to compare with.

    Attributes:
        decoder: decoder of the encoder's states.
        frames: gives the frames of all states of a clip by its index, ``uint8 [T * frames_per_state, 3, S, S]``.
        fps: rate of those frames.
        own: whether the decoder is the run's own, and not wildlam-tiny's.
    """

    decoder: Decoder
    frames: Callable[[int], Tensor]
    fps: float
    own: bool = True


@torch.no_grad()
def pictures_section(model: LatentActionModel, painter: Painter, clips: InferredClips) -> Iterator[Section]:
    """Films and strips of some held-out clips, and films of latent actions transferred to another video.

    Args:
        model: the model, in evaluation mode.
        painter: what paints its states.
        clips: clips with the latent actions that the model infers.
    """
    decoder, frames, fps = painter.decoder, painter.frames, painter.fps
    offsets = torch.arange(decoder.spec.frames_per_state, dtype=torch.float64) / fps
    horizon, partners = horizon_of(clips), clips.partners
    known = (clips.states.shape[1] - horizon) * decoder.spec.frames_per_state
    device = next(model.parameters()).device
    strips = ""
    rollouts: list[str] = []
    transfers: list[str] = []
    for i in informative_clips(frames, clips.names, clips.sources, SHOWN_PER_SOURCE):
        j = partners[i]
        states, other = clips.states[i : i + 1].to(device).float(), clips.states[j : j + 1].to(device).float()
        z = clips.z[i : i + 1].to(device)
        carried = torch.cat([other[:, :-horizon], model.rollout(other[:, :-horizon], z[:, -horizon:])], dim=1)
        seconds = (clips.times[i, :, None] + offsets).flatten().tolist()
        true = frames(i)
        rows = painted(model, decoder, states, z, true[None], known=states.shape[1] - horizon)
        name = clips.names[i]
        strip = Strip(name, {row: pictures.numpy() for row, pictures in rows.items()}, seconds)
        strips += figure(picture_strips([strip]), f"Strip of {name}: truth, decoded truth and predictions", wide=True)
        panels = side_by_side({"true": true, "true state, decoded": rows["true state"], "rollout": rows["rollout"]})
        rollouts.append(
            video(mp4_bytes(panels, fps), f"Film of {name} and its rollout", f"{name}; {_known(known)}", plays=True)
        )
        if clips.recordings[i] == clips.recordings[j]:
            continue  # nothing is carried to another recording
        panels = side_by_side(
            {"source": true, "target": frames(j), "source's actions on target": to_uint8(decoder.decode(carried)[0])}
        )
        words = f"What happens in {name}, done to {clips.names[j]}; {_known(known)}"
        transfers.append(video(mp4_bytes(panels, fps), words, words, plays=True))
    whose = "" if painter.own else paragraph(BORROWED)
    yield Section("What it predicts", whose + films(rollouts, "large"))
    yield Section(
        "The actions of one video, done to another",
        paragraph("The latent actions inferred in the first film, unrolled from the first states of the second.")
        + films(transfers, "large")
        if transfers
        else paragraph("No source has a second held-out recording to carry actions to."),
    )
    yield Section("What it predicts, frame by frame", paragraph(EXPLAINED) + strips, folded=True)


def _known(frames: int) -> str:
    return "its first frame is known" if frames == 1 else f"its first {frames} frames are known"
