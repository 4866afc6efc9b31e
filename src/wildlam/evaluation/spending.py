"""What latent actions spend: nats, and dimensions where a model keeps as many as it needs."""

from __future__ import annotations

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.intervals import PerClip
from wildlam.models import LatentActionModel


@torch.no_grad()
def spending(model: LatentActionModel, clips: InferredClips, dims: int | None = None) -> PerClip:
    """Mean over the transitions of each clip of what their latent actions tell.

    Args:
        model: the model, in evaluation mode, with a bottleneck that counts in nats.
        clips: clips.
        dims: how many leading dimensions are kept; of a bottleneck with widths, as many as needed if not given.

    Returns:
        ``nats``; of a bottleneck with widths also ``dims``, the dimensions that are kept.

    Raises:
        WildlamError: the bottleneck does not count in nats, or cannot keep so many dimensions.
    """
    device = next(model.parameters()).device
    found: dict[str, list[Tensor]] = {}
    for part in clips.batches():
        states = clips.states[part].to(device).float()
        kept = model.needed(states) if dims is None else torch.full(clips.z[part].shape[:2], dims)
        nats = model.nats(states, kept if model.bottleneck.widths else dims)
        found.setdefault("nats", []).append(nats.mean(dim=1).cpu())
        if model.bottleneck.widths:
            found.setdefault("dims", []).append(kept.float().mean(dim=1).cpu())
    return clips.per_clip({name: torch.cat(parts) for name, parts in found.items()})
