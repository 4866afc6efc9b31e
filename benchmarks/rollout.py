"""What the key/value cache and the shared context save when many candidate action sequences are unrolled.

    python benchmarks/rollout.py --out build/rollout.json [--short]

300 candidates for one context, the demo's model: ``LatentActionModel.rollout`` against predicting every step anew from
the whole sequence of each candidate. Both in the same precision; their outputs are compared first.
"""

from __future__ import annotations

import statistics
import time
from functools import partial

import torch
from common import arguments, finish, row, seconds
from torch import Tensor

from wildlam.encoders import Lite0
from wildlam.models import LatentActionModel
from wildlam.workflows.demo import demo_config

CANDIDATES = 300


def recomputed(model: LatentActionModel, context: Tensor, actions: Tensor) -> Tensor:
    """Unroll ``[1, C, N, D]`` and ``[1, S, H, Z]`` without a cache, to ``[1, S, H, N, D]``."""
    candidates, horizon = actions.shape[1:3]
    known = context.expand(candidates, -1, -1, -1)
    past = model.infer(context).expand(candidates, -1, -1) if context.shape[1] > 1 else actions[0, :, :0]
    for h in range(horizon):
        step = model.predict(known, torch.cat((past, actions[0, :, : h + 1]), dim=1))[:, -1:]
        known = torch.cat((known, step), dim=1)
    return known[None, :, context.shape[1] :]


@torch.no_grad()
def main() -> None:
    args = arguments(__doc__ or "")
    spec = Lite0().build().spec
    torch.manual_seed(0)
    model = demo_config().model.build(spec.width, spec.grid).eval()
    for parameter in model.parameters():
        if not parameter.any():  # an untrained model only copies
            torch.nn.init.normal_(parameter, std=0.02)
    rows = []
    for context_states in (1, 4):
        context = torch.randn(1, context_states, spec.tokens, spec.width)
        for horizon in (3, 8):
            actions = torch.randn(1, CANDIDATES, horizon, model.bottleneck.dim)
            few = actions[:, :16]
            torch.testing.assert_close(model.rollout(context, few), recomputed(model, context, few), atol=1e-3, rtol=0)
            ratios, cached = [], []
            with torch.autocast("cpu", torch.bfloat16):
                for _ in range(1 if args.short else 5):
                    cached += seconds(partial(model.rollout, context, actions), 1)
                    began = time.perf_counter()
                    recomputed(model, context, actions)
                    ratios.append((time.perf_counter() - began) / cached[-1])
            name = f"rollout, 300 candidates, H {horizon}, {context_states} context states"
            rows.append(
                row(f"{name}: recomputed over cached", statistics.median(ratios), "x", 3.0 if horizon == 8 else None)
            )
            rows.append(row(f"{name}: cached", 1e3 * statistics.median(cached), "ms"))
    finish(rows, args.out)


if __name__ == "__main__":
    main()
