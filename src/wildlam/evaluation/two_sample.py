"""Two-sample tests: can samples of latent actions be distinguished from inferred ones?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.intervals import Estimate, PerClip, numbered

PERMUTATIONS = 500
TRANSITIONS = 1024
"""Inferred latent actions, of whole clips, that are compared with as many samples."""


@dataclass
class TwoSample:
    """How far samples lie from inferred latent actions.

    Attributes:
        coefficient: energy coefficient of inhomogeneity, 0 (same distribution) to 1 (Székely and Rizzo, 2013).
        p_value: p-value of a permutation test on it, of whole recordings, as the transitions of one are alike.
        told_apart: ``accuracy`` of a 1-nearest-neighbour classifier (Lopez-Paz and Oquab, 2017), per clip: 0.5 where
            the two cannot be distinguished, 1 where they always can. Neighbours come from other recordings.
    """

    coefficient: float
    p_value: float
    told_apart: PerClip

    @property
    def accuracy(self) -> Estimate:
        """Accuracy of the nearest-neighbour classifier."""
        return self.told_apart.estimate("accuracy")

    def summary(self) -> dict[str, Any]:
        """What goes into ``results.json``."""
        return {
            "energy_coefficient": self.coefficient,
            "p_value": self.p_value,
            "accuracy": asdict(self.accuracy),
        }


def two_sample(clips: InferredClips, samples_CTZ: Tensor, seed: int = 0) -> TwoSample:
    """Test whether inferred latent actions and as many samples share a distribution.

    Args:
        clips: clips with the inferred latent actions, of two recordings at least.
        samples_CTZ: samples, in any order.
        seed: seed of the permutations.
    """
    inferred_CTZ = clips.z
    recording = numbered(clips.recordings).repeat_interleave(inferred_CTZ.shape[1])
    count, recordings = len(recording), int(recording.max()) + 1
    points = torch.cat([inferred_CTZ.flatten(0, 1), samples_CTZ.flatten(0, 1)])
    # Not by matrix product, under which the distance of equal codes is not quite zero.
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    generator = torch.Generator().manual_seed(seed)

    # A sample goes with the recording of the inferred action beside it: blocks of equal sizes, of either kind.
    block = torch.cat([recording, recording + recordings])
    permuted = torch.rand(PERMUTATIONS, 2 * recordings, generator=generator).argsort(dim=1) < recordings
    labels = torch.cat([torch.arange(2 * recordings)[None] < recordings, permuted])[:, block].float()
    first, second = (one / one.sum(dim=1, keepdim=True) for one in (labels, 1 - labels))
    to_first, to_second = first @ distances, second @ distances
    across = 2 * (to_first * second).sum(dim=1)
    within = (to_first * first).sum(dim=1) + (to_second * second).sum(dim=1)
    coefficients = (across - within) / across.clamp(min=1e-12)
    p_value = float((coefficients >= coefficients[0] - 1e-6).double().mean())  # the true labelling is one of them

    # Neighbours in the own recording, and its share of the samples, do not count: neighbouring moments are alike.
    own = torch.cat([recording, recording])
    apart = distances.masked_fill(own[:, None] == own, torch.inf)
    nearest = (apart == apart.amin(dim=1, keepdim=True)).float()  # several, where codes are equal: each gives its share
    is_sample = torch.arange(2 * count) >= count
    correct = (nearest * (is_sample[:, None] == is_sample)).sum(dim=1) / nearest.sum(dim=1)
    accuracy = correct.view(2, *inferred_CTZ.shape[:2]).mean(dim=(0, 2))
    return TwoSample(float(coefficients[0]), p_value, clips.per_clip({"accuracy": accuracy}))
