"""Improved CEM (Pinneri et al., 2020): coloured noise, elites kept from one iteration to the next, fewer samples."""

from __future__ import annotations

import torch
from torch import Tensor

from wildlam.planning.cost import Cost
from wildlam.planning.solvers.base import Plan, Prior, lowest


@torch.no_grad()
def icem(
    cost: Cost,
    prior: Prior,
    *,
    batch: int,
    samples: int = 300,
    elites: int = 10,
    iterations: int = 15,
    colour: float = 2.0,
    kept: float = 0.3,
    decay: float = 1.25,
    momentum: float = 0.1,
    generator: torch.Generator | None = None,
) -> Plan:
    """Minimise a cost by improved CEM.

    Args:
        cost: cost of candidates ``[B, S, H, A]``.
        prior: distribution from which the first candidates are drawn.
        batch: episodes B.
        samples: candidates of the first iteration.
        elites: how many of them the next distribution is fitted to.
        iterations: how often.
        colour: exponent of the noise's power spectrum over the horizon; 0 is white, more is smoother.
        kept: share of the elites that stay among the next candidates.
        decay: factor by which the samples shrink from one iteration to the next, to twice the elites at least.
        momentum: share of the last mean and deviation in the next.
        generator: random generator of the draws, on the CPU.

    Returns:
        The best candidate of all iterations, with its cost.
    """
    mean, std = prior.per_episode(batch)
    carried: Tensor | None = None
    history = []
    best_actions, best_cost = mean, torch.full((batch,), torch.inf, device=mean.device)
    for iteration in range(iterations):
        count = max(2 * elites, round(samples / decay**iteration))
        candidates = prior.around(mean, std, coloured_noise((batch, count, *mean.shape[1:]), colour, generator))
        if carried is not None:
            candidates = torch.cat([candidates, carried], dim=1)
        if iteration + 1 == iterations:
            candidates[:, 0] = mean
        chosen, costs = lowest(candidates, cost(candidates), elites)
        history.append(costs[:, 0])
        better = costs[:, 0] < best_cost
        best_cost = torch.where(better, costs[:, 0], best_cost)
        best_actions = torch.where(better[:, None, None], chosen[:, 0], best_actions)
        carried = chosen[:, : round(kept * elites)]
        mean = momentum * mean + (1 - momentum) * chosen.mean(dim=1)
        std = momentum * std + (1 - momentum) * chosen.std(dim=1, correction=0)
    return Plan(best_actions, best_cost, torch.stack(history))


def coloured_noise(shape: tuple[int, ...], colour: float, generator: torch.Generator | None = None) -> Tensor:
    """Noise ``[..., H, A]`` of variance 1 whose power falls with frequency along H as ``f ** -colour``."""
    *_, horizon, _ = shape
    frequency = torch.fft.rfftfreq(horizon)
    scale = frequency.clamp(min=1 / horizon) ** (-colour / 2)
    white = torch.randn(shape, generator=generator)
    noise = torch.fft.irfft(torch.fft.rfft(white, dim=-2) * scale[:, None], n=horizon, dim=-2)
    full = torch.fft.fftfreq(horizon).abs().clamp(min=1 / horizon) ** (-colour / 2)
    return noise / full.square().mean().sqrt()
