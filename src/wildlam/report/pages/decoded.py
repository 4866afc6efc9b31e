"""What a run predicts, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder, shrink, to_uint8
from wildlam.report.html import Section, figure, paragraph, write_report
from wildlam.report.strips import Strip, picture_strips
from wildlam.runs.folder import Run

CLIPS = 6
FROM = 4
"""Candidate clips for each one that is shown."""


def informative_clips(
    frames: Callable[[int], Tensor], names: list[str], sources: list[str], per_source: int
) -> list[int]:
    """Clips to show: those of each source with the most visible motion, preferably each from another video.

    Candidates are a few clips of each source, evenly spread. A close-up of a wall would not show what moved.

    Args:
        frames: gives the frames of a clip by its index, ``uint8 [F, 3, S, S]``.
        names: video of each clip.
        sources: source of each clip.
        per_source: number of clips from each source.
    """
    chosen = []
    for source in dict.fromkeys(sources):
        own = [i for i, s in enumerate(sources) if s == source]
        few = own[:: max(len(own) // (FROM * per_source), 1)]
        # What is left of the movement in a picture of 8 x 8: textures average out, things and walls do not.
        movement = {i: float(shrink(frames(i)[None], 8).diff(dim=1).abs().mean()) for i in few}
        most = sorted(few, key=movement.__getitem__, reverse=True)
        of_video: dict[str, int] = {}
        for i in most:
            of_video.setdefault(names[i], i)
        first_of_video = list(of_video.values())
        chosen += sorted([*first_of_video, *(i for i in most if i not in first_of_video)][:per_source])
    return chosen


def painted(
    model: LatentActionModel, painter: Decoder, states: Tensor, z: Tensor, video: Tensor, known: int
) -> dict[str, Tensor]:
    """The rows of a strip, each ``uint8 [F, 3, S, S]``: true frames, decoded true states, one step ahead, unrolled.

    Args:
        model: the model, in evaluation mode.
        painter: decoder of its encoder's states.
        states: states of one clip, ``[1, T, N, D]``.
        z: its latent actions, ``[1, T - 1, Z]``.
        video: its frames, ``uint8 [1, F, 3, H, W]``.
        known: states from which the rollout starts.
    """
    context = states[:, :known]
    rows = {
        "true frame": shrink(video.to(states.device), painter.config.image_size),
        "true state": painter.decode(states),
        "one step": painter.decode(torch.cat([states[:, :1], model.predict(states[:, :-1], z)], dim=1)),
        "rollout": painter.decode(torch.cat([context, model.rollout(context, z[:, known - 1 :])], dim=1)),
    }
    return {name: to_uint8(pictures[0]) for name, pictures in rows.items()}


def write_decoded_page(output: Path, run: Run, strips: Sequence[Strip]) -> None:
    """Write strips as a page."""
    pictures = "".join(figure(picture_strips([strip]), f"Strip of {strip.name}", wide=True) for strip in strips)
    facts = run.facts
    subtitle = f"{facts['encoder']['name']} states, {facts['machine']}, seed {facts['seed']}, {facts['started']}"
    title = f"Decoded predictions: {run.path.resolve().name}"
    write_report(output, title, Section("Held-out clips", paragraph(EXPLAINED) + pictures), subtitle=subtitle)


EXPLAINED = (
    "True frame: as filmed. True state: decoded from the encoder's states, what can be seen of any prediction. "
    "One step: each state predicted from the true ones before it and the latent actions inferred in this clip. "
    "Rollout: from the first state (or states) and those actions alone. A decoder is trained on true states; it may "
    "paint predictions more certain, or more blurred, than they are."
)
"""The rows in words."""
