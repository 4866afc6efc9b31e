"""Sampling and shape of the latent space: does what the bottleneck samples look like what the IDM infers?

Samples come without an IDM: codes of Discrete, the prior of Noisy, Langevin dynamics on the energy of Sparse (arXiv
2601.05230). A planner that searches among them finds real actions only where the two agree. For Noisy, the inferred z
are the means of the posterior and so narrower than the prior, by the posterior's own width, even in a perfect fit. A
prior that was trained for the run (``wildlam prior train``) is compared, too.
"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.evaluation.clips import InferredClips, spread
from wildlam.evaluation.components import principal_directions
from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.latent_prior import compare_samples
from wildlam.evaluation.two_sample import TRANSITIONS, TwoSample, two_sample
from wildlam.models import LatentActionModel
from wildlam.models.priors import LatentPrior

DIRECTIONS = 3
"""Principal directions that are traversed."""
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Places along a direction, in standard deviations from the mean."""
TARGETS = 32
"""Clips whose first states are acted on in traversals."""

compiled: set[str] = set()
"""What has compiled itself in this process."""


@dataclass
class LatentSpace:
    """Shape of the inferred latent actions, and what the bottleneck's samples have to do with them.

    Attributes:
        sampling: the tests; None where there is nothing to sample.
        note: why not, or empty.
        of_prior: tests of samples of the run's prior, which sees the state: ``alone``, and in ``pairs`` with their
            states; empty without a prior.
        embedding: inferred, then sampled latent actions in two dimensions, ``[n or 2 n, 2]``.
        method: ``"UMAP"`` if umap-learn is installed, else ``"PCA"``.
        embedded_clips: numbers of the clips whose transitions are embedded, in order.
        directions: principal directions of the inferred latent actions, ``[Z, Z]``, a row each, first first.
        variance: variance along each, ``[Z]``.
        mean: mean inferred latent action, ``[Z]``.
        targets: numbers of the clips whose first states are acted on.
        change: mean absolute change of each token that ``mean + k std direction`` brings, over that of ``mean`` alone,
            ``[targets, DIRECTIONS, STEPS, N]``.
        traversal: per target and direction, ``effect i``: its mean over tokens at the outermost steps, and
            ``opposition i``: minus the cosine between the effects of +2 and of -2, 1 where they are opposite (turn
            left, turn right), 0 where unrelated, -1 where the same.
    """

    sampling: TwoSample | None
    note: str
    of_prior: dict[str, TwoSample]
    embedding: Tensor
    method: str
    embedded_clips: list[int]
    directions: Tensor
    variance: Tensor
    mean: Tensor
    targets: list[int]
    change: Tensor
    traversal: PerClip

    @property
    def effective_dimensions(self) -> float:
        """Participation ratio of the variances, ``(Σ λ)² / Σ λ²``: 1 to Z, and 0 where nothing varies."""
        return float(self.variance.sum() ** 2 / self.variance.square().sum().clamp(min=1e-30))

    def summary(self) -> dict[str, Any]:
        """What goes into ``results.json``."""
        share = self.variance / self.variance.sum().clamp(min=1e-30)
        return {
            "sampling": self.sampling and self.sampling.summary(),
            "note": self.note,
            "sampling_of_prior": {name: test.summary() for name, test in self.of_prior.items()} or None,
            "embedding": self.method,
            "explained_variance": [round(s, 6) for s in share.tolist()],
            "effective_dimensions": self.effective_dimensions,
            "traversals": {name: asdict(self.traversal.estimate(name)) for name in self.traversal.values},
        }


@torch.no_grad()
def latent_space(
    model: LatentActionModel, clips: InferredClips, seed: int = 0, prior: LatentPrior | None = None
) -> LatentSpace:
    """Compare samples with inferred latent actions, and describe and traverse the space.

    Args:
        model: the model, in evaluation mode.
        clips: held-out clips with their inferred latent actions.
        seed: seed of samples, permutations and UMAP.
        prior: prior of the run, if it has one.
    """
    flat = clips.z.flatten(0, 1)
    mean, variance, directions = principal_directions(flat)

    chosen = spread(len(clips), max(TRANSITIONS // clips.z.shape[1], 1))
    some = clips.choose(chosen)
    inferred = some.z.flatten(0, 1)
    samples, note = _sample(model, len(inferred), seed)
    sampling = None
    if samples is not None and len(set(some.recordings)) > 1:
        sampling = two_sample(some, samples.view_as(some.z), seed)
    elif samples is not None:
        note = "clips of one recording alone cannot be compared with samples"
    of_prior = compare_samples(prior, clips, seed) if prior is not None else {}
    embedding, method = embed(inferred if samples is None else torch.cat([inferred, samples]), seed)

    targets = spread(len(clips), TARGETS)
    points = mean + torch.tensor(STEPS)[:, None] * (variance.sqrt()[:, None] * directions)[:DIRECTIONS, None]
    traversed = [_traverse(model, clips.states[i, 0].float(), points) for i in targets]
    change = torch.stack([c for c, _ in traversed])
    opposition = torch.stack([o for _, o in traversed])
    values = {}
    for i in range(len(points)):
        values[f"effect {i + 1}"] = change[:, i, [0, -1]].mean(dim=(1, 2))
        values[f"opposition {i + 1}"] = opposition[:, i]
    traversal = clips.choose(targets).per_clip(values)
    return LatentSpace(
        sampling, note, of_prior, embedding, method, chosen, directions, variance, mean, targets, change, traversal
    )


def _sample(model: LatentActionModel, count: int, seed: int) -> tuple[Tensor | None, str]:
    """Samples of the bottleneck, or why there are none."""
    bottleneck = getattr(model, "bottleneck", None)  # controls have none
    if bottleneck is None:
        return None, "the model has no bottleneck to sample from"
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            samples = bottleneck.sample(count).float().cpu()
        except WildlamError as error:
            return None, str(error)
    if (samples == samples[0]).all():
        return None, "there is one latent action only: nothing to sample"
    return samples, ""


def umap_to_compile() -> bool:
    """Whether ``embed`` will compile UMAP, which takes about half a minute: where it is installed, once a process."""
    return "UMAP" not in compiled and importlib.util.find_spec("umap") is not None


def embed(z: Tensor, seed: int) -> tuple[Tensor, str]:
    """Latent actions ``[n, Z]`` in two dimensions, ``[n, 2]``, and by which method: UMAP where it is installed."""
    try:
        from umap import UMAP
    except ImportError:
        mean, _, directions = principal_directions(z)
        flat = (z - mean) @ directions[:2].T
        return torch.nn.functional.pad(flat, (0, 2 - flat.shape[1])), "PCA"
    compiled.add("UMAP")
    threads = torch.get_num_threads()
    flat = torch.from_numpy(UMAP(random_state=seed, n_jobs=1).fit_transform(z.numpy())).float()
    torch.set_num_threads(threads)  # numba sets OpenMP's to all cores: with several processes on them, 10 times slower
    return flat, "UMAP"


def _traverse(model: LatentActionModel, state_ND: Tensor, points_PKZ: Tensor) -> tuple[Tensor, Tensor]:
    """Change per token ``[P, K, N]`` over the middle point, and the opposition of the outermost ``[P]``."""
    device = next(model.parameters()).device
    z = points_PKZ.flatten(0, 1)[:, None].to(device)
    states = state_ND.to(device).expand(len(z), 1, *state_ND.shape)
    predicted = model.predict(states, z).float().cpu().view(*points_PKZ.shape[:2], *state_ND.shape)
    effect = predicted - predicted[:, [points_PKZ.shape[1] // 2]]
    opposition = -torch.cosine_similarity(effect[:, -1].flatten(1), effect[:, 0].flatten(1), dim=-1)
    return effect.abs().mean(dim=-1), opposition
