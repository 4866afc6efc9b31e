"""What arithmetic and memory allow, and how far from it we are: docs/results/floors.md.

    python benchmarks/floors.py [--bench benchmarks/results/cpu_2_cores.json] [--gpu H100] [--gpus FILE] [--out FOLDER]

A floor by arithmetic is the operations of all matrix products over the rate of the machine: measured here for a CPU,
as its maker states it for a GPU. A floor by bytes is what must come from memory or go there once, over the rate of
memory, likewise. What is reached is read from the rows of ``make bench`` and of ``benchmarks/gpu.py`` (``--gpus``).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from common import machine, matmul_ceiling, seconds
from gpu import ENCODER_TOO, KINDS, recipe
from torch._subclasses.fake_tensor import FakeTensorMode

from wildlam.config import RunConfig
from wildlam.encoders import Lite0
from wildlam.models.controller import ControllerConfig
from wildlam.planning.dynamics import Controlled
from wildlam.planning.protocols import droid
from wildlam.report.text import markdown_table
from wildlam.workflows.demo import demo_config
from wildlam.workflows.estimate import GPUS, estimate, flop_counter

BANDWIDTH = {"H100": 3.35e12, "H200": 4.8e12, "B200": 8e12, "A100": 2.04e12}
"""Bytes a second of a GPU's memory, as its maker states them."""
CLIPS = 16
"""Of a step on a GPU."""
UPDATE = 28
"""Bytes that a step moves for each parameter in float32: read forward and backward, its gradient written and read, its
momentum read and written, itself written."""


@dataclass(frozen=True)
class Floor:
    """One kind of work.

    Attributes:
        what: its name.
        flops: operations of its matrix products.
        moved: bytes that must come from memory or go there.
        reached: seconds; None if they were not measured.
        between: what the difference is spent on.
    """

    what: str
    flops: float
    moved: float
    reached: float | None
    between: str

    def cells(self, rate: float, bandwidth: float) -> list[str]:
        """A row of a table, for operations and bytes a second."""
        floors = self.flops / rate, self.moved / bandwidth
        ours = "not measured" if self.reached is None else duration(self.reached)
        share = "" if self.reached is None else f"{max(floors) / self.reached:.2f}"
        return [self.what, *map(duration, floors), ours, share, self.between]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    results = Path(__file__).parent / "results"
    parser.add_argument("--bench", type=Path, default=results / "cpu_2_cores.json", help="rows of `make bench`")
    parser.add_argument("--gpu", choices=sorted(BANDWIDTH), default="H100", help="kind of GPU")
    parser.add_argument("--gpus", type=Path, help="rows of benchmarks/gpu.py on such a GPU")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for floors.md")
    args = parser.parse_args()
    bench = {row["name"]: row["value"] for row in json.loads(args.bench.read_text())}
    measured = {row["name"]: row["value"] for row in json.loads(args.gpus.read_text())} if args.gpus else {}
    if "filling a store: decoding" not in bench:
        raise SystemExit(f"{args.bench} has no rows of filling a store: make bench, and give its build/bench.json")
    rate, bandwidth = matmul_ceiling(torch.bfloat16), copying()
    gpu = GPUS[args.gpu]
    floors, memory = on_gpu(measured)
    lines = [
        "# Floors",
        "",
        f"Made by `python benchmarks/floors.py` on {machine()}.",
        "The floor of a kind of work is the larger of two times: the operations of its matrix products at the",
        "machine's rate, and the bytes that must come from memory or go there at its rate. *share*: the floor over",
        "the time that it takes.",
        "",
        "## This CPU",
        "",
        f"{rate / 1e9:.0f} GFLOP/s in bfloat16 and {bandwidth / 1e9:.1f} GB/s, both measured; times from `make bench` "
        f"([rows](../../benchmarks/results/{args.bench.name})).",
        "",
        *table(on_cpu(bench), rate, bandwidth),
        "",
        f"## One {args.gpu}",
        "",
        f"{gpu.flops / 1e12:.0f} TFLOP/s in bfloat16, {BANDWIDTH[args.gpu] / 1e12:.2f} TB/s, as its maker states them. "
        + (reached_by(measured, args.gpus) if measured else "No GPU was at hand."),
        "",
        *table(floors, gpu.flops, BANDWIDTH[args.gpu]),
        "",
        *memory,
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "floors.md").write_text("\n".join(lines))
    print("\n".join(lines))


def table(floors: list[Floor], rate: float, bandwidth: float) -> list[str]:
    head = ["what", "floor by arithmetic", "floor by bytes", "reached", "share", "what stands between"]
    return markdown_table(head, [floor.cells(rate, bandwidth) for floor in floors])


def on_cpu(bench: Mapping[str, float]) -> list[Floor]:
    encoder = Lite0().build("cpu")
    spec, calls = encoder.spec, 64
    video = torch.zeros(1, calls, 3, spec.image_size, spec.image_size, dtype=torch.uint8)
    with flop_counter() as counter:
        encoder.encode(video)
    flops = counter.get_total_flops() / calls
    frame, state = 3 * spec.image_size**2, 2 * spec.tokens * spec.width
    fps = bench[f"lite0 bfloat16, {calls} frames a call, cpu"]
    config = demo_config()
    step = estimate(replace(config, data=replace(config.data, store=True)), accelerated=False)
    with torch.device("meta"):
        world = 4 * sum(p.numel() for p in config.model.build(spec.width, spec.grid).world_model.parameters())
    plans = [
        Floor(
            f"a plan, {name.upper()}'s protocol",
            1e9 * bench[f"plan, {name}: FLOPs"],
            world * rollouts,
            bench[f"plan, {name}: whole, without encoding"] / 1e3,
            "AdaLN, rotary positions, GELU, softmax and normalisation; copies into heads and caches",
        )
        for name, rollouts in (("droid", droid.HORIZON * (droid.ITERATIONS + 1)), ("recon", 2 * 8))
    ]
    return [
        Floor(
            "a frame of 128 px to its state (Lite0)",
            flops,
            frame + state,
            1 / fps,
            "convolutions of one channel each and of 1 x 1, which move more than they compute: far under the rate of "
            "large products",
        ),
        Floor(
            "a clip of 8 states from H.264 into the store",
            8 * flops,
            8 * (3 * frame + 2 * state),
            1 / bench["filling a store: clips of 8 states"],
            f"decoding ({bench['filling a store: decoding']:.0f} ms a clip, by FFmpeg), encoding "
            f"({bench['filling a store: encoding']:.0f} ms) and writing ({bench['filling a store: writing']:.0f} ms); "
            f"one after the other {bench['filling a store: parts one after the other, over the whole']:.2f} x as long",
        ),
        Floor(
            "a training step of the demo (32 clips)",
            sum(step.flops.values()) + step.optimizer_flops,
            UPDATE * sum(n for part, n in step.parameters.items() if "frozen" not in part) + 2 * step.memory["act"],
            bench["train step: time"],
            "casts to bfloat16 and layouts of heads; AdaLN, GELU, softmax; small matrices, far from the rate of large",
        ),
        *plans,
    ]


def reached_by(measured: Mapping[str, float], rows: Path) -> str:
    """Where the times come from, and what large products and copies reach there."""
    products, copies = (next((v for k, v in measured.items() if k.startswith(of)), None) for of in ("bfloat16", "copy"))
    ceilings = f" Large products reach {products:.0f} TFLOP/s there, copies {copies:.2f} TB/s." if products else ""
    return f"Times from `python benchmarks/gpu.py --out {rows}`, the fastest kind of step.{ceilings}"


def on_gpu(measured: Mapping[str, float]) -> tuple[list[Floor], list[str]]:
    """Floors, and how the estimate's memory compares with what was measured: lines of a Markdown table."""
    config = recipe()
    memory = []
    training = replace(config.training, batch_size=CLIPS, accumulate=1)
    floors = []
    for online in (True, False):
        found = estimate(replace(config, training=training, data=replace(config.data, store=not online)))
        flops = sum(found.flops.values()) + found.optimizer_flops
        trained = sum(n for part, n in found.parameters.items() if "frozen" not in part)
        kind = "online" if online else "stored states"
        steps = [f"step of {CLIPS} clips, {kind}, {how}" for how in (*KINDS, ENCODER_TOO)]
        best = max(measured.get(f"{step}: clips/s", 0.0) for step in steps)
        total = found.memory["total"] / 2**30
        memory += [
            [step, f"{measured[key]:.1f} GiB", f"{total:.1f} GiB", f"{measured[key] / total:.2f}"]
            for step in steps
            if (key := f"{step}: memory") in measured
        ]
        floors.append(
            Floor(
                f"a training step of ViT-L, {CLIPS} clips, {kind}",
                flops,
                UPDATE * trained + 2 * found.memory["act"] + found.memory.get("encoder", 0) + found.read,
                CLIPS / best if best else None,
                f"the optimiser's products are {found.optimizer_flops / flops:.0%} of all; fewer with more clips",
            )
        )
    planning, moved = plan_of_vitl(config)
    plans = [measured[name] for name in ("plan, droid, ViT-L", "plan, droid, ViT-L, compiled") if name in measured]
    taken = min(plans) if plans else None
    floors.append(
        Floor(
            "a plan, DROID's protocol, ViT-L",
            planning,
            moved,
            taken / 1e3 if taken else None,
            "nothing but the rollouts",
        )
    )
    if memory:
        head = ["step", "memory at the peak", "by `--estimate`", "share"]
        return floors, [*markdown_table(head, memory), ""]
    return floors, []


@torch.no_grad()
def plan_of_vitl(config: RunConfig) -> tuple[float, float]:
    """Operations of a plan by DROID's protocol, and bytes: the weights read at every step of every rollout."""
    encoder = config.encoder.hollow()
    spec = encoder.spec
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = config.model.build(spec.width, spec.grid).eval()
        controller = ControllerConfig().build(spec, 7, model.bottleneck.dim).eval()
        states = torch.zeros(1, 2, spec.tokens, spec.width)
        driven = Controlled(model, controller)
        with flop_counter() as counter:
            driven.rollout(states[:, :1], torch.zeros(1, 0, 7), torch.zeros(1, droid.SAMPLES, droid.HORIZON, 7))
    weights = 2 * sum(p.numel() for p in model.world_model.parameters())
    return droid.ITERATIONS * counter.get_total_flops(), droid.ITERATIONS * droid.HORIZON * weights


def copying() -> float:
    """Bytes a second that large copies read and write."""
    a = torch.zeros(2**28)
    b = torch.empty_like(a)
    return 2 * a.numel() * a.element_size() / statistics.median(seconds(lambda: b.copy_(a), 5))


def duration(taken: float) -> str:
    return f"{taken:.2f} s" if taken >= 1 else f"{1e3 * taken:.3g} ms"


if __name__ == "__main__":
    main()
