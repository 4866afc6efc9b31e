"""How long a plan takes, by either protocol: encoding, rollouts and solver; and what caching and sharing save.

    python benchmarks/plan_speed.py --out build/plan_speed.json [--short]

One episode, the demo's model (untrained: speed does not depend on the weights) under a controller that sees tokens:
DROID's 300 candidates x 15 iterations x 3 steps, RECON's 120 x 1 x 8. Beside it the same plan with rollouts that
predict every step anew from each candidate's whole sequence; both make the same plan, which is checked.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from common import arguments, finish, matmul_ceiling, row, seconds
from torch import Tensor

from wildlam.encoders import Lite0
from wildlam.models import LatentActionModel
from wildlam.models.controller import Controller, ControllerConfig
from wildlam.planning.cost import GoalCost
from wildlam.planning.dynamics import Controlled, Dynamics
from wildlam.planning.protocols import droid, recon
from wildlam.planning.solvers.base import Plan, Prior
from wildlam.planning.solvers.cem import cem
from wildlam.workflows.demo import demo_config
from wildlam.workflows.estimate import flop_counter

SETTINGS = {"samples": droid.SAMPLES, "elites": droid.ELITES, "iterations": droid.ITERATIONS}


@dataclass
class Recomputed:
    """The same predictions, each step anew from the whole sequence of every candidate."""

    model: LatentActionModel
    controller: Controller

    @property
    def bytes_per_state(self) -> int:
        return self.model.world_model.bytes_per_state

    def rollout(self, context: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        batch, candidates, horizon = actions.shape[:3]
        known = context.repeat_interleave(candidates, dim=0)
        latents = known.new_zeros(len(known), 0, self.model.bottleneck.dim)
        for h in range(horizon):
            latent = self.controller.act(actions[:, :, h].flatten(0, 1), known[:, -1])
            latents = torch.cat([latents, latent[:, None]], dim=1)
            known = torch.cat([known, self.model.predict(known, latents)[:, -1:]], dim=1)
        return known[:, 1:].unflatten(0, (batch, candidates))


@dataclass
class Timed:
    """Adds up the time of rollouts."""

    dynamics: Dynamics
    taken: float = 0.0

    @property
    def bytes_per_state(self) -> int:
        return self.dynamics.bytes_per_state

    def rollout(self, context: Tensor, past: Tensor, actions: Tensor) -> Tensor:
        began = time.perf_counter()
        states = self.dynamics.rollout(context, past, actions)
        self.taken += time.perf_counter() - began
        return states


@torch.no_grad()
def main() -> None:
    args = arguments(__doc__ or "")
    rounds = 1 if args.short else 5
    encoder = Lite0().build("cpu")
    spec = encoder.spec
    torch.manual_seed(0)
    model = demo_config().model.build(spec.width, spec.grid).eval()
    video = torch.randint(0, 256, (1, 2, 3, spec.image_size, spec.image_size), dtype=torch.uint8)
    encoding = 1e3 * statistics.median(seconds(partial(encoder.encode, video), 20))
    states = encoder.encode(video)
    ceiling = matmul_ceiling(torch.bfloat16)
    size = sum(p.numel() for p in model.world_model.parameters()) / 1e6
    rows = [
        row("plan: encoding of start and goal", encoding, "ms"),
        row("world model", size, "million parameters"),
        row("tokens of a state", spec.tokens, "tokens"),
    ]
    for name, width in (("droid", 7), ("recon", 3)):
        controller = ControllerConfig().build(spec, width, model.bottleneck.dim).eval()
        for parameter in (*model.parameters(), *controller.parameters()):
            if not parameter.any():  # an untrained model only copies
                torch.nn.init.normal_(parameter, std=0.02)
        horizon = droid.HORIZON if name == "droid" else 1
        prior = Prior(torch.zeros(horizon, width), torch.ones(horizon, width))
        solve: Callable[[GoalCost], Plan] = partial(solved, name, prior)

        def cost(dynamics: Dynamics, width: int = width) -> GoalCost:
            return GoalCost(dynamics, states[:, :1], torch.zeros(1, 0, width), states[:, 1])

        cached, anew = Timed(Controlled(model, controller)), Recomputed(model, controller)
        torch.testing.assert_close(solve(cost(cached)).cost, solve(cost(anew)).cost, atol=0.05, rtol=0.01)
        totals, rollouts, ratios = [], [], []
        for _ in range(rounds):
            cached.taken, began = 0.0, time.perf_counter()
            solve(cost(cached))
            totals.append(time.perf_counter() - began)
            rollouts.append(cached.taken)
            began = time.perf_counter()
            solve(cost(anew))
            ratios.append((time.perf_counter() - began) / totals[-1])
        with flop_counter() as counter:
            solve(cost(cached))
        total, rollout = statistics.median(totals), statistics.median(rollouts)
        rows += [
            row(f"plan, {name}: whole, without encoding", 1e3 * total, "ms"),
            row(f"plan, {name}: rollouts", 1e3 * rollout, "ms"),
            row(f"plan, {name}: cost and solver", 1e3 * (total - rollout), "ms"),
            row(f"plan, {name}: FLOPs", counter.get_total_flops() / 1e9, "GFLOP"),
            row(
                f"plan, {name}: achieved over matmul ceiling, bf16",
                counter.get_total_flops() / total / ceiling,
                "share",
            ),
            row(
                f"plan, {name}: recomputed over cached",
                statistics.median(ratios),
                "x",
                3.0 if name == "recon" else None,
            ),
        ]
    finish(rows, args.out)


def solved(name: str, prior: Prior, cost: GoalCost) -> Plan:
    """The protocol's plan, from the same draws every time."""
    generator = torch.Generator().manual_seed(0)
    if name == "droid":
        return cem(cost, prior, batch=1, generator=generator, **SETTINGS)
    return recon.plan_divided(cost, prior, batch=1, generator=generator)


if __name__ == "__main__":
    main()
