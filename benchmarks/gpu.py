"""Speed at the paper's size on one GPU: a training step, with and without the encoder, and a plan.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json [--short] [--tiny]

V-JEPA 2-L, the world model and the inverse dynamics model of configs/paper_vitl.yaml, all with random weights: speed
does not depend on them, and nothing is downloaded. Steps with the encoder online, and on stored states, of 4 to 32
clips, plain, compiled, with flex attention, and with both (``training.compile``); clips per second, memory at the peak,
and the share of the GPU's stated bfloat16 rate that the operations of the step reach (MFU, the scores that attention's
backward pass makes again included). Then CEM as DROID's protocol has it. Without a GPU it says so and ends; ``--tiny``
goes through all of it at a size that a CPU bears (without flex attention), and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import finish, row
from torch import Tensor

from wildlam.config import RunConfig, run_parser, to_config
from wildlam.encoders import Lite0
from wildlam.estimate import GPUS, estimate
from wildlam.models import ModelConfig
from wildlam.models.controller import ControllerConfig
from wildlam.planning import droid
from wildlam.planning.cem import cem
from wildlam.planning.cost import GoalCost
from wildlam.planning.dynamics import Controlled
from wildlam.planning.solvers import Prior
from wildlam.training.optimizers import MuonAdamW, gradient_norm
from wildlam.training.parallel import compile_blocks, use_flex_attention
from wildlam.types import Encoder

RECIPE = Path(__file__).parent.parent / "configs" / "paper_vitl.yaml"
KINDS = ("plain", "compiled", "flex attention", "compiled with flex attention")
PAPER = 30_000 * 1024 / (12 * 3600) / 64
"""Clips/s of each of the paper's 64 H100, all included; aimed at: three times that."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--short", action="store_true", help="fewer sizes and rounds")
    parser.add_argument("--tiny", action="store_true", help="small models, on any device: only to see that it runs")
    args = parser.parse_args()
    if not torch.cuda.is_available() and not args.tiny:
        print("no GPU here: nothing was measured")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = recipe()
    if args.tiny:
        config = replace(config, encoder=Lite0(image_size=64), model=ModelConfig(size="nano"))
    peak = next((gpu.flops for name, gpu in GPUS.items() if device.type == "cuda" and name in _name()), None)
    encoder = on(config.encoder.hollow(), device)
    rows = []
    for clips in (4,) if args.tiny else (8, 16) if args.short else (4, 8, 16, 32):
        for kind in KINDS if device.type == "cuda" else KINDS[:2]:
            for online in (True, False):
                rows += train_step(config, encoder, clips, kind, online, peak, 3 if args.short or args.tiny else 8)
    rows += plan(config, encoder, device, args.tiny)
    finish(rows, args.out)


def recipe() -> RunConfig:
    """The paper's; its videos are not looked at."""
    parser = run_parser()
    return to_config(RunConfig, parser, parser.parse_args(["--config", str(RECIPE), "--data.path", "videos"]))


def train_step(
    config: RunConfig, encoder: Encoder, clips: int, kind: str, online: bool, peak: float | None, rounds: int
) -> list[dict]:
    """Clips per second, memory and MFU of a step."""
    device, spec = encoder.device, encoder.spec
    torch.manual_seed(0)
    model = config.model.build(spec.width, spec.grid).to(device)
    optimizer = MuonAdamW(model, config.training.optimizer)
    if "compiled" in kind:
        compile_blocks(model, **({} if device.type == "cuda" else {"backend": "eager"}))
    if "flex" in kind:
        use_flex_attention(model)
    frames = config.data.frames
    video = torch.randint(0, 256, (clips, frames, 3, spec.image_size, spec.image_size), dtype=torch.uint8)
    states = torch.randn(clips, frames // spec.frames_per_state, spec.tokens, spec.width, device=device)

    def step() -> None:
        given = encoder.encode(video) if online else states
        with torch.autocast(device.type, torch.bfloat16):
            loss = model(given).total
        loss.backward()
        gradient_norm(model.parameters(), config.training.optimizer.clip)
        optimizer.set_progress(50, 100)
        optimizer.step()
        optimizer.zero_grad()

    name = f"step of {clips} clips, {'online' if online else 'stored states'}, {kind}"
    try:
        taken, memory = timed(step, rounds, device)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return [row(f"{name}: out of memory", 1, "")]
    training = replace(config.training, batch_size=clips, accumulate=1)
    found = estimate(replace(config, training=training, data=replace(config.data, store=not online)))
    flops = sum(found.flops.values()) + found.optimizer_flops
    rows = [
        row(f"{name}: clips/s", clips / taken, "clips/s", 3 * PAPER if online else None),
        row(f"{name}: memory", memory / 2**30, "GiB"),
        row(f"{name}: memory over the estimate", memory / found.memory["total"], "x"),
    ]
    return rows + ([row(f"{name}: MFU", flops / taken / peak, "share", 0.5)] if peak else [])


@torch.no_grad()
def plan(config: RunConfig, encoder: Encoder, device: torch.device, tiny: bool) -> list[dict]:
    """One plan of DROID's protocol, by the paper's world model under a controller that sees tokens."""
    spec = encoder.spec
    model = config.model.build(spec.width, spec.grid).to(device).eval()
    controller = ControllerConfig().build(spec, 7, model.bottleneck.dim).to(device).eval()
    prior = Prior(torch.zeros(droid.HORIZON, 7, device=device), torch.ones(droid.HORIZON, 7, device=device))
    states = torch.randn(1, 2, spec.tokens, spec.width, device=device)
    past = torch.zeros(1, 0, 7, device=device)
    settings = {"samples": 16 if tiny else droid.SAMPLES, "elites": droid.ELITES, "iterations": droid.ITERATIONS}

    def solve() -> None:
        generator = torch.Generator().manual_seed(0)
        with torch.autocast(device.type, torch.bfloat16):
            cost = GoalCost(Controlled(model, controller), states[:, :1], past, states[:, 1])
            cem(cost, prior, batch=1, generator=generator, **settings)

    taken, memory = timed(solve, 3, device)
    return [row("plan, droid, ViT-L", 1e3 * taken, "ms"), row("plan, droid, ViT-L: memory", memory / 2**30, "GiB")]


def timed(run: Callable[[], None], rounds: int, device: torch.device) -> tuple[float, int]:
    """Median seconds of a run, after two that are not counted, and the bytes held at the peak."""
    accelerated = device.type == "cuda"
    run()
    run()
    if accelerated:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        if accelerated:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times), torch.cuda.max_memory_allocated() if accelerated else 0


def on(encoder: Any, device: torch.device) -> Any:
    """A hollow encoder on a device, its weights drawn small."""
    for name, value in vars(encoder).items():
        if isinstance(value, torch.nn.Module):
            value.to(device)
            for p in value.parameters():
                torch.nn.init.normal_(p, std=0.02)
        elif isinstance(value, Tensor):
            setattr(encoder, name, value.to(device))
    encoder.device = device
    return encoder


def _name() -> str:
    return torch.cuda.get_device_name().replace(" ", "")


if __name__ == "__main__":
    main()
