"""How long ``wildlam eval`` takes on the demo's run, and what share of the machine's matmul rate it reaches.

    python benchmarks/evaluation.py --out build/evaluation.json [--short]

``runs/demo`` must be there (``make demo``). Its videos are encoded already. FLOPs are those of matrix products and
convolutions, as PyTorch's counter counts them, in a second evaluation that is not timed; the ceiling is that of
float32, in which evaluations run. ``--short`` changes nothing.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common import arguments, finish, matmul_ceiling, row

from wildlam.workflows.estimate import flop_counter
from wildlam.workflows.evaluate import evaluate

AIM = 120.0
"""Seconds."""
RUN = Path("runs/demo")


def main() -> None:
    args = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "demo"  # the run's own results stay as they are
        shutil.copytree(RUN, copy, ignore=shutil.ignore_patterns("videos"))
        ceilings = [matmul_ceiling(torch.float32)]
        began = time.perf_counter()
        evaluate(run=copy)
        taken = time.perf_counter() - began
        ceilings.append(matmul_ceiling(torch.float32))
        with flop_counter() as counter:
            evaluate(run=copy)
    flops, ceiling = counter.get_total_flops(), statistics.mean(ceilings)
    rows = [
        row("wildlam eval on the demo's run", taken, "s", AIM, at_most=True),
        row("wildlam eval: achieved over matmul ceiling, fp32", flops / taken / ceiling, "share"),
        row("wildlam eval: FLOPs", flops / 1e9, "GFLOP"),
        row("matmul ceiling, fp32", ceiling / 1e9, "GFLOP/s"),
    ]
    finish(rows, args.out)


if __name__ == "__main__":
    main()
