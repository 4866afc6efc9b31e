"""What each principal direction of z does: real transitions at its two ends and, with a decoder, what it would do."""

from __future__ import annotations

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.latent_space import DIRECTIONS, LatentSpace
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder, to_uint8
from wildlam.report.films import film, films
from wildlam.report.html import Section, pair, paragraph
from wildlam.report.pages.transitions import transition_film
from wildlam.video.manifest import Manifest

AT_END = 5
"""Real transitions at each end of a direction."""
DEVIATIONS = 2.0
STEPS = 4
"""How often a decoded direction acts."""
STARTS = 4
"""States that decoded directions act on, each of another source where there are as many."""


@torch.no_grad()
def directions_section(
    model: LatentActionModel, space: LatentSpace, clips: InferredClips, manifest: Manifest, decoder: Decoder | None
) -> Section:
    """The leading principal directions of the latent actions, both ends of each.

    Args:
        model: the model, in evaluation mode.
        space: shape of its latent actions.
        clips: held-out clips with their latent actions.
        manifest: the videos.
        decoder: decoder of the states, if there is one.
    """
    count = min(DIRECTIONS, len(space.mean))
    shares = space.variance / space.variance.sum().clamp(min=1e-30)
    along = (clips.z - space.mean) @ space.directions[:count].T / space.variance[:count].clamp(min=1e-12).sqrt()
    starts = _starts(clips)
    parts = ""
    for k in range(count):
        parts += f"<h3>Direction {k + 1}: {100 * float(shares[k]):.0f} % of the variance</h3>\n"
        sides = []
        for sign in (-1, 1):
            side = paragraph("Down:" if sign < 0 else "Up:") + films(
                transition_film(manifest, clips, i, t, f" · {float(along[i, t, k]):+.1f} sd")
                for i, t in _ends(clips, sign * along[..., k])
            )
            if decoder is not None:
                z = space.mean + sign * DEVIATIONS * space.variance[k].sqrt() * space.directions[k]
                side += films(
                    film(
                        _acted(model, decoder, clips.states[i, 0], z).numpy(),
                        f"A state of {clips.names[i]}, decoded, under direction {k + 1}, {sign * DEVIATIONS:+g} sd",
                        f"decoded: {clips.sources[i]} · {sign * DEVIATIONS:+g} sd",
                    )
                    for i in starts
                )
            sides.append(side)
        parts += pair(*sides)
    words = (
        "The directions along which the latent actions differ most. At the two ends of a direction stand opposite "
        "actions, such as left and right, if it means one thing."
    )
    if decoder is not None:
        words += f" Decoded: a state on which the same latent action acts {STEPS} times."
    return Section("What each direction does", paragraph(words) + parts)


def _ends(clips: InferredClips, along: Tensor) -> list[tuple[int, int]]:
    """The transitions, as (clip, number), furthest along (``[clips, T - 1]``), each of another recording."""
    chosen: dict[str, tuple[int, int]] = {}
    for place in along.flatten().argsort(descending=True, stable=True).tolist():
        i, t = divmod(place, along.shape[1])
        chosen.setdefault(clips.recordings[i], (i, t))
        if len(chosen) == AT_END:
            break
    return list(chosen.values())


def _starts(clips: InferredClips) -> list[int]:
    """Clips whose first states are acted on."""
    of_source: dict[str, int] = {}
    for i, source in enumerate(clips.sources):
        of_source.setdefault(source, i)
    return list(of_source.values())[:STARTS]


def _acted(model: LatentActionModel, decoder: Decoder, state: Tensor, z: Tensor) -> Tensor:
    """The state ``[N, D]`` and what follows if the same latent action ``[Z]`` is done again and again, as pictures."""
    device = next(model.parameters()).device
    context = state.to(device).float()[None, None]
    unrolled = model.rollout(context, z.to(device).expand(1, STEPS, -1))
    return to_uint8(decoder.decode(torch.cat([context, unrolled], dim=1))[0]).cpu()
