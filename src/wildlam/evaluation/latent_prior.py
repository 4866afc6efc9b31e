"""Is a prior of latent actions any good? Its likelihood, its samples, and what a planner makes of it, held out.

*Likelihood*: how probable are inferred latent actions, beside a prior that does not see the state? *Coverage*: how
near does the best of K samples come to what really follows, which is what a search can find? *Samples*: can they be
told from inferred latent actions, alone and with their states? *Exploitation*: the distance from its goal that a plan
predicts, over that of what really led there; well under 1, the planner has found what the model never learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips, spread
from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.two_sample import TRANSITIONS, TwoSample, two_sample
from wildlam.models import LatentActionModel
from wildlam.models.priors import LatentPrior

DRAWS = (1, 8, 64)
"""Numbers of samples of which the best is taken."""
COVERED = 64
"""Clips whose first transition is to be covered by samples."""
PLANNED = 16
"""Clips that are planned in."""
HORIZON = 3
"""Steps of such a plan."""
AT_ONCE = 256
"""Samples whose effects are predicted together."""

Search = Callable[[Tensor, Tensor], Tensor]
"""Plans from states ``[B, N, D]`` to goals ``[B, N, D]``; gives the predicted distance that is left, ``[B]``."""


@dataclass
class PriorQuality:
    """What is known of a prior.

    Attributes:
        likelihood: log-likelihood of a clip's latent actions in nats, the mean of its transitions: ``prior``, and
            ``blind`` of the prior that does not see the state.
        coverage: one-step L1 error of the best of K samples: ``prior K`` and ``blind K``; ``inferred`` of the inferred
            latent action, ``copy`` of no change.
        samples: see ``compare_samples``.
        exploitation: predicted distance from the goal: of plans, by the names of the searches; ``inferred`` of the
            inferred latent actions, ``start`` of staying.
    """

    likelihood: PerClip
    coverage: PerClip
    samples: dict[str, TwoSample]
    exploitation: PerClip

    def summary(self) -> dict[str, Any]:
        """Figures with their intervals, for ``results.json``."""
        searches = [name for name in self.exploitation.values if name not in ("inferred", "start")]
        ratios = {name: asdict(self.exploitation.estimate(name, over="inferred")) for name in searches}
        return {
            "likelihood": self.likelihood.summary(),
            "coverage": self.coverage.summary(),
            "samples": {name: test.summary() for name, test in self.samples.items()},
            "exploitation": {"over inferred": ratios, "distance": self.exploitation.summary()},
        }


@torch.no_grad()
def prior_quality(
    model: LatentActionModel,
    prior: LatentPrior,
    blind: LatentPrior,
    clips: InferredClips,
    searches: Mapping[str, Search],
    seed: int = 0,
) -> PriorQuality:
    """Evaluate a prior on held-out clips.

    Args:
        model: the model whose latent actions it is of, in evaluation mode.
        prior: the prior.
        blind: a prior that does not see the state.
        clips: held-out clips with the inferred latent actions.
        searches: planners by name.
        seed: seed of the samples.
    """
    both = {"prior": prior, "blind": blind}
    return PriorQuality(
        clips.per_clip({name: _likelihood(one, clips) for name, one in both.items()}),
        _coverage(model, both, clips.choose(spread(len(clips), COVERED)), seed),
        compare_samples(prior, clips, seed),
        _exploitation(model, clips.choose(spread(len(clips), PLANNED)), searches),
    )


@torch.no_grad()
def compare_samples(prior: LatentPrior, clips: InferredClips, seed: int = 0) -> dict[str, TwoSample]:
    """Samples of a prior, drawn in the states of clips, against what is inferred there: ``alone``, and in ``pairs``.

    In pairs with their states samples must fit each of these, not only be spread as inferred latent actions are. States
    count as much as latent actions in the distances. Nothing is compared where all clips are of one recording.
    """
    clips = clips.choose(spread(len(clips), max(TRANSITIONS // clips.z.shape[1], 1)))
    if len(set(clips.recordings)) < 2:
        return {}
    device, generator = _device(prior), torch.Generator().manual_seed(seed)
    drawn, read = [], []
    for part in clips.batches():
        states = clips.states[part, :-1].to(device).float()
        drawn.append(prior.sample(states, generator).cpu())
        read.append(prior.read(states).cpu())
    samples, state = torch.cat(drawn), _sized(torch.cat(read))
    size = clips.z.flatten(0, 1).var(dim=0).sum().sqrt().clamp(min=1e-12)
    inferred_pairs, sampled_pairs = (torch.cat([z / size, state], dim=-1) for z in (clips.z, samples))
    return {
        "alone": two_sample(clips, samples, seed),
        "pairs": two_sample(replace(clips, z=inferred_pairs), sampled_pairs, seed),
    }


def _sized(x: Tensor) -> Tensor:
    """Scaled so that the variances of all columns add up to 1."""
    return x / x.flatten(0, 1).var(dim=0).sum().sqrt().clamp(min=1e-12)


def _likelihood(prior: LatentPrior, clips: InferredClips) -> Tensor:
    device = _device(prior)
    parts = []
    for part in clips.batches():
        z, states = clips.z[part].to(device), clips.states[part, :-1].to(device).float()
        parts.append(prior.log_prob(z, states).mean(dim=1).cpu())
    return torch.cat(parts)


def _coverage(model: LatentActionModel, priors: Mapping[str, LatentPrior], clips: InferredClips, seed: int) -> PerClip:
    device, most = next(model.parameters()).device, max(DRAWS)
    before, after = (clips.states[:, i].to(device).float() for i in (0, 1))

    def errors(z: Tensor) -> Tensor:
        """One-step errors ``[C, K]`` of latent actions ``[C, K, Z]``."""
        found, count = [], z.shape[1]
        for rows in torch.arange(len(before) * count, device=device).split(AT_ONCE):
            clip = rows // count
            predicted = model.predict(before[clip, None], z.flatten(0, 1)[rows, None])[:, 0]
            found.append((predicted.float() - after[clip]).abs().mean(dim=(1, 2)))
        return torch.cat(found).view(-1, count).cpu()

    values = {}
    for name, prior in priors.items():
        generator = torch.Generator().manual_seed(seed)
        of = errors(prior.sample(before[:, None].expand(-1, most, -1, -1), generator))
        for draws in DRAWS:  # the mean over disjoint sets of so many
            values[f"{name} {draws}"] = of.unflatten(1, (-1, draws)).amin(dim=2).mean(dim=1)
    values["inferred"] = errors(clips.z[:, :1].to(device))[:, 0]
    values["copy"] = (before - after).abs().mean(dim=(1, 2)).cpu()
    return clips.per_clip(values)


def _exploitation(model: LatentActionModel, clips: InferredClips, searches: Mapping[str, Search]) -> PerClip:
    device, steps = next(model.parameters()).device, min(HORIZON, clips.z.shape[1])
    start, goal = (clips.states[:, i].to(device).float() for i in (0, steps))
    values = {name: search(start, goal).cpu() for name, search in searches.items()}
    end = model.rollout(start[:, None], clips.z[:, :steps].to(device))[:, -1]
    for name, state in (("inferred", end), ("start", start)):
        values[name] = (state.float() - goal).flatten(1).norm(dim=-1).cpu()
    return clips.per_clip(values)


def _device(prior: LatentPrior) -> torch.device:
    return prior.state_mean.device
