"""What the benchmarks share: their arguments, their table, their JSON, the machine's name and its matmul ceiling."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch


def arguments(doc: str) -> argparse.Namespace:
    """Parse ``--out FILE [--short]``."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--short", action="store_true", help="fewer rounds")
    return parser.parse_args()


def row(name: str, value: float, unit: str, aim: float | None = None, *, at_most: bool = False) -> dict:
    """A result; ``aim`` is the least value wanted (with ``at_most`` the largest), if one was set."""
    met = None if aim is None else (value <= aim if at_most else value >= aim)
    return {"name": name, "value": round(value, 4), "unit": unit, "aim": aim, "met": met}


def finish(rows: list[dict], out: Path) -> None:
    """Print the rows as a table and write them as JSON."""
    for r in rows:
        verdict = "" if r["aim"] is None else f"  aim {r['aim']:g}: {'met' if r['met'] else 'missed'}"
        print(f"{r['name']:<66} {r['value']:12.3f} {r['unit']}{verdict}", flush=True)
    write(rows, out)


def write(rows: list[dict], out: Path) -> None:
    """Write rows as JSON, with the machine's name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([{**r, "machine": machine()} for r in rows], indent=2))


def machine() -> str:
    """The processor or GPU, the cores that PyTorch uses, and PyTorch's version."""
    if torch.accelerator.is_available():
        device = torch.get_device_module().get_device_name()
        if torch.version.cuda:
            device += f", CUDA {torch.version.cuda}"
    else:
        cpuinfo = Path("/proc/cpuinfo")
        lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        device = names[0] if names else platform.processor()
    return f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def seconds(run: Callable[[], object], rounds: int) -> list[float]:
    """Time ``rounds`` runs, after one that is not counted."""
    run()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return times


def results(command: list[str], out: Path) -> dict:
    """``results.json`` of the run in ``out``, which ``command`` makes if it is not there."""
    if not (out / "results.json").exists():
        subprocess.run([*command, "--out", str(out)], check=True)
    found = json.loads((out / "results.json").read_text())
    for path in ("videos", "data", "bounds"):  # of this machine
        found.pop(path, None)
    return found


def spread(values: list[float]) -> str:
    """Mean, and smallest to largest if there are several."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def matmul_ceiling(dtype: torch.dtype) -> float:
    """The best rate, FLOP/s, of large matrix products of this machine: of several shapes, each one's median."""
    rates = []
    for m, k, n in ((4096, 1024, 1024), (7168, 256, 1024), (4096, 384, 1536), (2048, 2048, 2048)):
        a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)
        rates.append(2 * m * k * n / statistics.median(seconds(partial(torch.matmul, a, b), 9)))
    return max(rates)
