"""What a run predicts, as pictures: the step behind ``wildlam decoder show``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from wildlam.errors import WildlamError

from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder, shrink, to_uint8
from wildlam.report.html import Section, figure, paragraph, write_report
from wildlam.report.strips import Strip, draw_strips, picture_strips
from wildlam.runs.folder import Run
from wildlam.states.dataset import index_videos
from wildlam.workflows.decoder import held_out_clips, load_decoder
from wildlam.workflows.open_run import load

CLIPS = 6
FROM = 4
"""Clips among which each one shown is chosen."""


@torch.no_grad()
def decoded_strips(path: Path, clips: int = CLIPS, decoder: Path | None = None) -> list[Strip]:
    """Held-out clips of a run as pictures: the truth, and decoded the true states and those that the run predicts.

    Args:
        path: the run folder.
        clips: how many, spread over the sources.
        decoder: folder of the decoder, or of a run with one of the same encoder; ``path`` if not given.

    Raises:
        WildlamError: there is no decoder, or it belongs to another encoder.
    """
    trained = load(path)
    spec, data, model = trained.encoder.spec, trained.config.data, trained.model
    painter = load_decoder(decoder or path, spec, trained.encoder.device)
    strips = []
    batches = list(held_out_clips(index_videos(data), data, spec.image_size, FROM * clips))
    names, sources = ([getattr(batch, of)[0] for batch in batches] for of in ("names", "sources"))
    for i in telling_clips(lambda i: batches[i].video[0], names, sources, -(-clips // len(set(sources)))):
        batch = batches[i]
        states = trained.encoder.encode(batch.video)
        seconds = [batch.starts[0] + k / data.fps for k in range(data.frames)]
        rows = painted(model, painter, states, model.infer(states), batch.video, known=1)
        strips.append(Strip(batch.names[0], {row: pictures.numpy() for row, pictures in rows.items()}, seconds))
    return strips[:clips]


def telling_clips(frames: Callable[[int], Tensor], names: list[str], sources: list[str], per_source: int) -> list[int]:
    """Clips to look at: those of each source in which most is seen to move, of one video each while there are others.

    Of each source a few are looked at, spread over its clips. In a wall seen from close by nobody could tell what
    moved.

    Args:
        frames: gives those of a clip by its index, ``uint8 [F, 3, S, S]``.
        names: each clip's video.
        sources: each clip's source.
        per_source: how many of each.
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
        model: in evaluation mode.
        painter: decoder of its encoder's states.
        states: of one clip, ``[1, T, N, D]``.
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


def write_decoded(path: Path, output: Path | None = None, clips: int = CLIPS, decoder: Path | None = None) -> Path:
    """Write ``decoded_strips`` as a page (.html) or as one picture (.svg, .png, .pdf).

    Args:
        path: the run folder.
        output: the file; ``path/decoded.html`` if not given.
        clips: how many.
        decoder: folder of the decoder, or of a run with one; ``path`` if not given.

    Raises:
        WildlamError: as ``decoded_strips``, or the file cannot be written, or is of another kind.
    """
    output = output or path / "decoded.html"
    if clips < 1:
        raise WildlamError(f"--clips must be at least 1, got {clips}")
    if output.suffix not in (".html", ".svg", ".png", ".pdf"):
        raise WildlamError(f"{output}: give a name that ends in .html, .svg, .png or .pdf")
    strips = decoded_strips(path, clips, decoder)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.suffix == ".html":
            pictures = "".join(figure(picture_strips([strip]), f"Strip of {strip.name}", wide=True) for strip in strips)
            facts = Run.open(path).facts
            subtitle = (
                f"{facts['encoder']['name']} states, {facts['machine']}, seed {facts['seed']}, {facts['started']}"
            )
            title = f"Decoded predictions: {path.resolve().name}"
            write_report(output, title, Section("Held-out clips", paragraph(EXPLAINED) + pictures), subtitle=subtitle)
        elif output.suffix == ".svg":
            output.write_bytes(picture_strips(strips))
        else:
            draw_strips(strips).savefig(output, dpi=110)
    except OSError as error:
        raise WildlamError(f"cannot write {output}: {error.strerror}; choose another --output") from error
    return output


EXPLAINED = (
    "True frame: as filmed. True state: decoded from the encoder's states, what can be seen of any prediction. "
    "One step: each state predicted from the true ones before it and the latent actions inferred in this clip. "
    "Rollout: from the first state (or states) and those actions alone. A decoder is trained on true states; it may "
    "paint predictions more certain, or more blurred, than they are."
)
"""The rows in words."""
