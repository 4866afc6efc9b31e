"""How much of the machine's matmul rate a training step reaches, for the demo's model, and where the rest goes.

    python benchmarks/train_step.py --out build/train_step.json [--short]

The step is that of ``wildlam demo``: forward, backward, clipping, Muon and AdamW. Its FLOPs are those of its matrix
products, as PyTorch's counter counts them: the model's forward and backward, and Muon's Newton-Schulz iterations, which
a step of the method cannot do without. The share without the latter, the usual model FLOPs utilisation, is given next
to it. The ceiling is measured between the steps, in the same dtype.
"""

from __future__ import annotations

import statistics
from collections import defaultdict

import torch
from common import arguments, finish, matmul_ceiling, row, seconds
from torch.profiler import ProfilerActivity, profile

from wildlam.encoders import Lite0
from wildlam.training.optimizers import MuonAdamW, gradient_norm
from wildlam.workflows.demo import demo_config
from wildlam.workflows.estimate import flop_counter

PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


def main() -> None:
    args = arguments(__doc__ or "")
    config = demo_config()
    bf16 = config.training.bf16(torch.device("cpu"))
    spec = Lite0().build().spec
    torch.manual_seed(0)
    model = config.model.build(spec.width, spec.grid)
    for parameter in model.parameters():
        if not parameter.any():  # zeros would let products with them run faster than in a real step
            torch.nn.init.normal_(parameter, std=0.02)
    optimizer = MuonAdamW(model, config.training.optimizer)
    states = torch.randn(config.training.batch_size, config.data.frames, spec.tokens, spec.width)

    def forward_backward() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(states)
        loss.total.backward()

    def update() -> None:
        gradient_norm(model.parameters(), config.training.optimizer.clip)
        optimizer.set_progress(50, 100)
        optimizer.step()

    def step() -> None:
        forward_backward()
        update()
        optimizer.zero_grad()

    with flop_counter() as counter:
        forward_backward()
    flops = counter.get_total_flops()
    with flop_counter() as counter:
        update()
    optimizer_flops = counter.get_total_flops()
    optimizer.zero_grad()

    dtype = torch.bfloat16 if bf16 else torch.float32
    ratios, times = [], []
    for _ in range(3 if args.short else 8):
        ceiling = matmul_ceiling(dtype)
        times.append(statistics.median(seconds(step, 3)))
        ratios.append((flops + optimizer_flops) / times[-1] / ceiling)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    spent: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        spent[event.key] += event.self_cpu_time_total
    whole = sum(spent.values())

    seconds_a_step, reached = statistics.median(times), statistics.median(ratios)
    rows = [
        row(
            f"train step, {'bf16' if bf16 else 'fp32'}: achieved over matmul ceiling",
            statistics.median(ratios),
            "share",
            0.5,
        ),
        row("train step: of that the model's FLOPs alone", reached * flops / (flops + optimizer_flops), "share"),
        row("train step: time", seconds_a_step, "s"),
        row("train step: clips", config.training.batch_size / seconds_a_step, "clips/s"),
        row("train step: model FLOPs", flops / 1e9, "GFLOP"),
        row("train step: optimiser FLOPs", optimizer_flops / 1e9, "GFLOP"),
        row("matmul ceiling", ceiling / 1e9, "GFLOP/s"),
        row("profile: matrix products", sum(spent[name] for name in PRODUCTS) / whole, "share of time"),
    ]
    others = sorted(((time, name) for name, time in spent.items() if name not in PRODUCTS), reverse=True)
    rows += [row(f"profile: {name}", time / whole, "share of time") for time, name in others[:8]]
    finish(rows, args.out)


if __name__ == "__main__":
    main()
