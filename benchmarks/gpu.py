"""Speed at the paper's size on one GPU: a training step, with and without the encoder, and a plan.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json [--short] [--tiny]

V-JEPA 2-L, the world model and the inverse dynamics model of configs/paper_vitl.yaml, all with random weights: speed
does not depend on them, and nothing is downloaded. Steps with the encoder online, and on stored states, of 4 to 32
clips, plain, compiled, with flex attention, and with both (``training.compile``): clips per second, memory at the peak,
and MFU, the share of the GPU's stated bfloat16 rate that the model's own operations reach: three times those of a
forward pass, and the encoder's. What is not the model's does not count there: the optimiser's products (beside it, with
them), and what backward passes compute again. Then CEM as DROID's protocol has it. Videos are tensors in memory:
reading and decoding are not timed.

Results are written after every step that was timed. Without a GPU it says so and ends; ``--tiny`` goes through all of
it at a size that a CPU bears (without flex attention), and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import finish, row, write
from torch import Tensor

from wildlam.config import RunConfig, run_parser, to_config
from wildlam.encoders import Lite0
from wildlam.estimate import GPUS, Estimate, estimate, flop_counter
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
    forward = operations(config, encoder)
    rounds = 3 if args.short or args.tiny else 8
    rows: list[dict] = []
    for clips in (4,) if args.tiny else (8, 16) if args.short else (4, 8, 16, 32):
        for online in (True, False):
            training = replace(config.training, batch_size=clips, accumulate=1)
            expected = estimate(replace(config, training=training, data=replace(config.data, store=not online)))
            for kind in KINDS if device.type == "cuda" else KINDS[:2]:
                name = f"step of {clips} clips, {'online' if online else 'stored states'}, {kind}"
                try:
                    rows += train_step(config, encoder, name, clips, kind, online, forward, expected, peak, rounds)
                except Exception as error:  # whatever a compiler raises, the others are measured
                    traceback.print_exc()
                    rows.append(row(f"{name}: {type(error).__name__}", 1, ""))
                forget()
                write(rows, args.out)
    rows += plan(config, encoder, device, args.tiny)
    finish(rows, args.out)


def recipe() -> RunConfig:
    """The paper's; its videos are not looked at."""
    parser = run_parser()
    return to_config(RunConfig, parser, parser.parse_args(["--config", str(RECIPE), "--data.path", "videos"]))


def operations(config: RunConfig, encoder: Encoder) -> dict[str, int]:
    """Of one clip's forward pass: the encoder's, and those of world model and inverse dynamics model."""
    spec, frames = encoder.spec, config.data.frames
    model = config.model.build(spec.width, spec.grid).to(encoder.device)
    with flop_counter() as of_encoder:
        encoder.encode(torch.zeros(1, frames, 3, spec.image_size, spec.image_size, dtype=torch.uint8))
    states = torch.zeros(1, frames // spec.frames_per_state, spec.tokens, spec.width, device=encoder.device)
    with flop_counter() as of_model, torch.autocast(encoder.device.type, torch.bfloat16):
        model(states)
    return {"encoder": of_encoder.get_total_flops(), "model": of_model.get_total_flops()}


def train_step(
    config: RunConfig,
    encoder: Encoder,
    name: str,
    clips: int,
    kind: str,
    online: bool,
    forward: dict[str, int],
    expected: Estimate,
    peak: float | None,
    rounds: int,
) -> list[dict]:
    """Clips per second, memory and MFU of a step."""
    device, spec = encoder.device, encoder.spec
    # The encoder's weights are there, whether the step needs them or not.
    idle = 0 if online or device.type != "cuda" else torch.cuda.memory_allocated()
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

    taken, memory = timed(step, rounds, device)
    memory -= idle
    rows = [
        row(f"{name}: clips/s", clips / taken, "clips/s", 3 * PAPER if online else None),
        row(f"{name}: memory", memory / 2**30, "GiB"),
        row(f"{name}: memory over the estimate", memory / expected.memory["total"], "x"),
    ]
    if peak:
        flops = clips * (3 * forward["model"] + (forward["encoder"] if online else 0))
        rows += [
            row(f"{name}: MFU", flops / taken / peak, "share", 0.5),
            row(f"{name}: with the optimiser's", (flops + expected.optimizer_flops) / taken / peak, "share"),
        ]
    return rows


@torch.no_grad()
def plan(config: RunConfig, encoder: Encoder, device: torch.device, tiny: bool) -> list[dict]:
    """One plan of DROID's protocol, by the paper's world model under a controller that sees tokens."""
    spec = encoder.spec
    model = config.model.build(spec.width, spec.grid).to(device).eval()
    controller = ControllerConfig(width=spec.width).build(spec, 7, model.bottleneck.dim).to(device).eval()
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


def forget() -> None:
    """Give memory back that nothing refers to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


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
