"""The demo over three seeds: the figures of docs/results/demo.md.

    python benchmarks/demo_seeds.py [--seeds 0 1 2] [--out docs/results] [--runs runs]

Runs ``wildlam demo`` for seeds 0, 1 and 2, each of which makes its own films. Finished runs are kept and read. About 35
minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path

from common import machine, results, spread

from wildlam.report.text import markdown_table

METHODS = ("idm", "permuted", "zero", "deterministic", "copy")
AIMS = {"idm / copy": 0.75, "idm / permuted": 0.80}
REPORT_MB = 8
"""What the report of a demo is to stay under."""
TESTS: dict[str, Callable[[dict], float]] = {
    "two-second rollout, idm / copy": lambda e: _mean(e, "rollout.errors.idm") / _mean(e, "rollout.errors.copy"),
    "error at a scene cut / without": lambda e: _mean(e, "leakage.ratio"),
    "the same of copying the last state": lambda e: _mean(e, "leakage.copy_ratio"),
    "after a cycle / own actions": lambda e: _mean(e, "cycle.ratio"),
    "another clip's actions / own": lambda e: _mean(e, "cycle.other_ratio"),
    "R² of a linear probe on z, forward": lambda e: _mean(e, "probes.linear z.forward"),
    "R² of a linear probe on z, left": lambda e: _mean(e, "probes.linear z.left"),
    "R² of a linear probe on z, turn": lambda e: _mean(e, "probes.linear z.turn"),
    "locality: share of the moved place (0.5: none)": lambda e: _mean(e, "locality.share.transferred"),
    "locality: displacement over the true one": lambda e: _mean(e, "locality.carried"),
}


def _mean(evaluations: dict, name: str) -> float:
    for part in name.split("."):
        evaluations = evaluations[part]
    return evaluations["mean"]


def of_size(sizes: Sequence[int]) -> str:
    """Whether the largest of the reports, in bytes, is under ``REPORT_MB``."""
    verdict = "reached" if max(sizes) < 1e6 * REPORT_MB else "missed"
    return f"- size of report.html, aim under {REPORT_MB} MB: {verdict} (largest {max(sizes) / 1e6:.1f} MB)."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for demo.json and demo.md")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the demos")
    args = parser.parse_args()

    demos, sizes = [], []
    for seed in args.seeds:
        out = args.runs / ("demo" if seed == 0 else f"demo_seed{seed}")
        demos.append(results(["wildlam", "demo", "--seed", str(seed)], out))
        sizes.append((out / "report.html").stat().st_size)
    rows = {source: [demo["sources"][source] for demo in demos] for source in demos[0]["sources"]}
    rows["all"] = [demo["all"] for demo in demos]

    ratios: dict[str, Callable[[dict], float]] = {
        "idm / copy": lambda errors: errors["idm"] / errors["copy"],
        "idm / permuted": lambda errors: errors["idm"] / errors["permuted"],
    }
    cells = [
        [source, *(spread([figure(e) for e in errors]) for figure in (*map(itemgetter, METHODS), *ratios.values()))]
        for source, errors in rows.items()
    ]
    seeds = " ".join(map(str, args.seeds))
    lines = [
        "# What the demo reaches",
        "",
        f"Made by `python benchmarks/demo_seeds.py --seeds {seeds}` on {machine()}: `wildlam demo --seed S` each.",
        "Held-out one-step L1 error of the states, mean over seeds (smallest to largest). Each seed makes its films.",
        "",
        *markdown_table(["source", *METHODS, *ratios], cells),
        "",
        "idm: the latent action inferred from the transition itself. permuted: inferred from another clip of the same",
    ]
    lines += ["source. zero: z = 0. deterministic: a model trained without latent actions. copy: the last state.", ""]
    for name, aim in AIMS.items():
        for source in ("doom", "all"):
            worst = max(ratios[name](errors) for errors in rows[source])
            verdict = "reached" if worst <= aim else "missed"
            lines.append(f"- {name} on {source}, aim at most {aim}: {verdict} (worst seed {worst:.3f}).")
    lines.append(of_size(sizes))
    found = [demo["evaluations"] for demo in demos]
    lines += ["", "Are they actions? Mean over seeds (smallest to largest) of what `wildlam eval` finds:", ""]
    lines += markdown_table(
        ["test", "measured"], ([name, spread([figure(e) for e in found])] for name, figure in TESTS.items())
    )
    lines.append("")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "demo.md").write_text("\n".join(lines))
    record = {"machine": machine(), "seeds": args.seeds, "demo": demos, "report_bytes": sizes}
    (args.out / "demo.json").write_text(json.dumps(record, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
