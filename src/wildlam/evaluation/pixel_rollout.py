"""Rollouts evaluated in pixels: decoded, and compared with the true frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips, spread
from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.pixels import pixel_metrics
from wildlam.evaluation.rollout import horizon_of
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder, shrink

CLIPS = 64
"""Clips, spread over all, whose pictures are compared."""
AT_ONCE = 8


@dataclass
class PixelRollout:
    """Metrics of decoded rollouts.

    Attributes:
        per_clip: ``METHOD: METRIC`` means over the steps of a clip. Methods are those of ``rollout`` and ``true
            states``, the decoder's own error; metrics those of ``pixel_metrics``.
    """

    per_clip: PerClip

    def summary(self) -> dict[str, dict[str, dict[str, float]]]:
        """``{METHOD: {METRIC: estimate}}``."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for key in self.per_clip.values:
            method, metric = key.split(": ")
            found.setdefault(method, {})[metric] = asdict(self.per_clip.estimate(key))
        return found


@torch.no_grad()
def pixel_rollout(
    model: LatentActionModel, decoder: Decoder, clips: InferredClips, frames: Callable[[int], Tensor]
) -> PixelRollout:
    """Decode the rollouts of some clips, and compare the pictures with the true frames.

    Args:
        model: the model, in evaluation mode.
        decoder: decoder of its encoder's states.
        clips: clips with the latent actions that the model infers.
        frames: gives the frames of all states of a clip by its index, ``uint8 [T * frames_per_state, 3, S, S]``.
    """
    device = next(model.parameters()).device
    horizon, partners = horizon_of(clips), clips.partners
    chosen = spread(len(clips), CLIPS)
    values: dict[str, list[Tensor]] = {}
    for few in (chosen[first : first + AT_ONCE] for first in range(0, len(chosen), AT_ONCE)):
        states = clips.states[few].to(device).float()
        context = states[:, :-horizon]
        z = {"idm": clips.z[few, -horizon:], "permuted": clips.z[[partners[i] for i in few], -horizon:]}
        futures = {name: model.rollout(context, actions.to(device)) for name, actions in z.items()}
        futures["copy"] = context[:, -1:].expand(-1, horizon, -1, -1)
        futures["true states"] = states[:, -horizon:]
        truth = shrink(torch.stack([frames(i) for i in few]).to(device), decoder.config.image_size)
        shown = horizon * decoder.spec.frames_per_state
        for name, future in futures.items():
            pictures = decoder.decode(torch.cat([context, future], dim=1))
            for metric, of_clips in pixel_metrics(pictures[:, -shown:], truth[:, -shown:], decoder.perceptual).items():
                values.setdefault(f"{name}: {metric}", []).append(of_clips.cpu())
        clips.counted(len(few))
    return PixelRollout(clips.choose(chosen).per_clip({key: torch.cat(parts) for key, parts in values.items()}))
