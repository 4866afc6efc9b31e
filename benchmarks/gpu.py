"""Speed at the paper's size on one GPU: a training step, with and without the encoder, and a plan.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json [--profile FILE] [--short] [--tiny]

V-JEPA 2-L, the world model and the inverse dynamics model of configs/paper_vitl.yaml, all with random weights: speed
does not depend on them, and nothing is downloaded. First what the GPU can do (large matrix products, copies) and how
far gradients of each kind of step lie from those in float32. Then steps of 4 to 32 clips, with the encoder online and
on stored states: plain, compiled, with flex attention, with both, and with the encoder's blocks compiled, too (which
is ``training.compile``): clips per second, memory at the peak, and MFU, the share of the GPU's stated bfloat16 rate
that the model's own operations reach: three times those of a forward pass, and the encoder's. What is not the model's
does not count there: the optimiser's products (also given with them), and what backward passes compute again. Then CEM
as DROID's protocol has it. Videos are tensors in memory: reading and decoding are not timed.

Results are written after every step that was timed, those of 16 clips first. ``--profile`` writes the kernels that take
longest in some of them. Without a GPU it says so and ends; ``--tiny`` goes through all of it at a size that a CPU bears
(without flex attention), and its figures mean nothing.
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
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from wildlam.config import RunConfig, run_parser, to_config
from wildlam.encoders import Lite0
from wildlam.models import ModelConfig
from wildlam.models.controller import ControllerConfig
from wildlam.planning.cost import GoalCost
from wildlam.planning.dynamics import Controlled
from wildlam.planning.protocols import droid
from wildlam.planning.solvers.base import Prior
from wildlam.planning.solvers.cem import cem
from wildlam.training.optimizers import MuonAdamW, gradient_norm
from wildlam.training.parallel import compile_blocks, use_flex_attention
from wildlam.types import Encoder
from wildlam.workflows.estimate import GPUS, flop_counter

RECIPE = Path(__file__).parent.parent / "configs" / "paper_vitl.yaml"
KINDS = ("plain", "compiled", "flex attention", "compiled with flex attention")
ENCODER_TOO = "compiled with flex attention, encoder too"
PAPER = 30_000 * 1024 / (12 * 3600) / 64
"""Clips/s of each of the paper's 64 H100, all included; aimed at: three times that."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--profile", type=Path, help="text file for the kernels that take longest")
    parser.add_argument("--short", action="store_true", help="fewer sizes, kinds and rounds")
    parser.add_argument("--tiny", action="store_true", help="small models, on any device: only to see that it runs")
    args = parser.parse_args()
    if not torch.cuda.is_available() and not args.tiny:
        print("no GPU here: nothing was measured")
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = recipe()
    if args.tiny:
        config = replace(config, encoder=Lite0(image_size=64), model=ModelConfig(size="nano"))
    bench = Bench(config, device, 1 if args.tiny else 3 if args.short else 8, args.out, args.profile)
    plain, *others = KINDS if device.type == "cuda" else KINDS[:2]
    best = [ENCODER_TOO] if device.type == "cuda" else []
    bench.attempt("what the GPU can do", bench.ceilings)
    for kind in (plain, *others):
        bench.attempt(f"gradients, {kind}", bench.agreement, kind)
    for clips in (4,) if args.tiny else (16, 32) if args.short else (16, 32, 8, 4):
        kinds = (plain, others[-1]) if args.short and clips != 16 else (plain, *others)
        for online in (True, False):
            for kind in (*kinds, *best) if online else kinds:
                name = f"step of {clips} clips, {'online' if online else 'stored states'}, {kind}"
                bench.attempt(name, bench.train_step, clips, kind, online)
        if clips in (4, 16):  # once: after what matters most
            for kind in ("plain", "compiled") if clips == 16 else ("plain",) if args.tiny else ():
                name = "plan, droid, ViT-L" + ("" if kind == "plain" else f", {kind}")
                bench.attempt(name, bench.plan, kind, args.tiny)
    finish(bench.rows, args.out)


def recipe() -> RunConfig:
    """The paper's; its videos are not looked at."""
    parser = run_parser()
    return to_config(RunConfig, parser, parser.parse_args(["--config", str(RECIPE), "--data.path", "videos"]))


class Bench:
    """Rows measured so far, and what all measurements share."""

    def __init__(self, config: RunConfig, device: torch.device, rounds: int, out: Path, profile: Path | None) -> None:
        self.config, self.device, self.rounds, self.out = config, device, rounds, out
        self.profile = profile
        self.rows: list[dict] = []
        self.peak = next((g.flops for name, g in GPUS.items() if device.type == "cuda" and name in _name()), None)
        self.spec = config.encoder.hollow().spec
        self.states = config.data.frames // self.spec.frames_per_state
        self.forward = self.operations()

    def attempt(self, name: str, measure: Callable[..., None], *given: Any) -> None:
        """Measure; whatever a compiler raises, the others are measured."""
        torch._dynamo.reset()  # sizes are fixed in a training; those of before would make them variable
        began = time.perf_counter()
        try:
            measure(name, *given)
        except Exception as error:
            traceback.print_exc()
            self.rows.append(row(f"{name}: {type(error).__name__}", 1, ""))
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
        write(self.rows, self.out)

    def operations(self) -> dict[str, int]:
        """Of one clip's forward pass: the encoder's, and those of world model and inverse dynamics model."""
        encoder, model = self.encoder(), self.model()
        with flop_counter() as of_encoder:
            encoder.encode(self.video(1))
        with flop_counter() as of_model, torch.autocast(self.device.type, torch.bfloat16):
            model(self.random_states(1))
        return {"encoder": of_encoder.get_total_flops(), "model": of_model.get_total_flops()}

    def encoder(self) -> Encoder:
        return on(self.config.encoder.hollow(), self.device)

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return self.config.model.build(self.spec.width, self.spec.grid).to(self.device)

    def video(self, clips: int) -> Tensor:
        size = self.spec.image_size
        return torch.randint(0, 256, (clips, self.config.data.frames, 3, size, size), dtype=torch.uint8)

    def random_states(self, clips: int) -> Tensor:
        return torch.randn(clips, self.states, self.spec.tokens, self.spec.width, device=self.device)

    def ceilings(self, _: str) -> None:
        """Rates of large matrix products and copies, as a reference for the others."""
        side, size = (8192, 2**32) if self.device.type == "cuda" else (512, 2**22)
        a, b = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        taken, _ = self.timed(lambda: a @ b, 20)
        self.rows.append(row(f"bfloat16 product of {side} x {side}", 2e-12 * side**3 / taken, "TFLOP/s"))
        source = torch.randint(0, 256, (size,), dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        taken, _ = self.timed(lambda: target.copy_(source), 20)
        self.rows.append(row("copy, bytes read and written", 2e-12 * size / taken, "TB/s"))

    def agreement(self, name: str, kind: str) -> None:
        """How far the gradient of one clip lies from that in float32, over the latter's length."""
        states = self.random_states(1)
        gradients = []
        for precise in (True, False):
            model = self.model()
            for p in model.parameters():
                nn.init.normal_(p, std=0.02)  # nothing is gated off, as at the start of a training
            if not precise:
                self.prepare(model, None, kind)
            torch.manual_seed(1)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=not precise):
                loss = model(states).total
            loss.backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        apart = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
        self.rows.append(row(f"{name}: distance from float32's", float(apart), "share", 0.05, at_most=True))

    def prepare(self, model: nn.Module, encoder: Any, kind: str) -> None:
        options: dict[str, Any] = {} if self.device.type == "cuda" else {"backend": "eager"}
        if "compiled" in kind:
            compile_blocks(model, **options)
        if "flex" in kind:
            use_flex_attention(model)
        if "encoder too" in kind:
            compile_blocks(encoder.network, **options)

    def train_step(self, name: str, clips: int, kind: str, online: bool) -> None:
        """Clips per second, memory and MFU of a step."""
        encoder = self.encoder() if online else None
        model = self.model()
        optimizer = MuonAdamW(model, self.config.training.optimizer)
        self.prepare(model, encoder, kind)
        video, states = self.video(clips), self.random_states(clips)

        def update() -> None:
            gradient_norm(model.parameters(), self.config.training.optimizer.clip)
            optimizer.set_progress(50, 100)
            optimizer.step()

        def step(update: Callable[[], None] = update) -> None:
            given = encoder.encode(video) if encoder else states
            with torch.autocast(self.device.type, torch.bfloat16):
                loss = model(given).total
            loss.backward()
            update()
            optimizer.zero_grad()

        taken, memory = self.timed(step, self.rounds)
        self.rows += [
            row(f"{name}: clips/s", clips / taken, "clips/s", 3 * PAPER if online else None),
            row(f"{name}: memory", memory / 2**30, "GiB"),
        ]
        if self.peak:
            flops = clips * (3 * self.forward["model"] + (self.forward["encoder"] if online else 0))
            counter = flop_counter()

            def counted() -> None:
                with counter:
                    update()

            step(counted)
            self.rows += [
                row(f"{name}: MFU", flops / taken / self.peak, "share", 0.5),
                row(f"{name}: with the optimiser's", (flops + counter.get_total_flops()) / taken / self.peak, "share"),
            ]
        if clips in (4, 16) and kind in (KINDS[0], ENCODER_TOO, KINDS[-1]):
            self.write_profile(name, step)

    @torch.no_grad()
    def plan(self, name: str, kind: str, tiny: bool) -> None:
        """One plan of DROID's protocol, by the paper's world model under a controller that sees tokens."""
        model = self.model().eval()
        controller = ControllerConfig(width=self.spec.width).build(self.spec, 7, model.bottleneck.dim)
        controller = controller.to(self.device).eval()
        self.prepare(model, None, kind)
        prior = Prior(
            torch.zeros(droid.HORIZON, 7, device=self.device), torch.ones(droid.HORIZON, 7, device=self.device)
        )
        states = self.random_states(1)[:, :2]
        past = torch.zeros(1, 0, 7, device=self.device)
        samples, iterations = (16, 2) if tiny else (droid.SAMPLES, droid.ITERATIONS)
        settings = {"samples": samples, "elites": droid.ELITES, "iterations": iterations}

        def solve(**changed: int) -> None:
            generator = torch.Generator().manual_seed(0)
            with torch.autocast(self.device.type, torch.bfloat16):
                cost = GoalCost(Controlled(model, controller), states[:, :1], past, states[:, 1])
                cem(cost, prior, batch=1, generator=generator, **settings | changed)

        taken, memory = self.timed(solve, 2)
        self.rows += [row(name, 1e3 * taken, "ms"), row(f"{name}: memory", memory / 2**30, "GiB")]
        self.write_profile(f"{name}, one iteration", lambda: solve(iterations=1))

    def timed(self, run: Callable[[], object], rounds: int) -> tuple[float, int]:
        """Median seconds of a run, after two that are not counted, and the bytes held at the peak."""
        accelerated = self.device.type == "cuda"
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

    def write_profile(self, name: str, run: Callable[[], object]) -> None:
        """Add the kernels that take longest to the file for them."""
        if self.profile is None:
            return
        accelerated = self.device.type == "cuda"
        with profile(activities=[ProfilerActivity.CUDA if accelerated else ProfilerActivity.CPU]) as found:
            run()
            if accelerated:
                torch.cuda.synchronize()
        by = "self_cuda_time_total" if accelerated else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=by, row_limit=30, max_name_column_width=110)
        with self.profile.open("a") as file:
            file.write(f"# {name}\n{table}\n")


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
