"""The demo over three seeds: the figures of docs/results/demo.md.

    python benchmarks/demo_seeds.py [--seeds 0 1 2] [--out docs/results] [--runs runs]

Runs ``wildlam demo`` for seeds 0, 1 and 2, each of which films its own walks. Finished runs are kept and read. About 25
minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from common import machine, results, spread

METHODS = ("idm", "permuted", "zero", "deterministic", "copy")
AIMS = {"idm / copy": 0.75, "idm / permuted": 0.80}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for demo.json and demo.md")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the demos")
    args = parser.parse_args()

    demos = []
    for seed in args.seeds:
        out = args.runs / ("demo" if seed == 0 else f"demo_seed{seed}")
        demos.append(results(["wildlam", "demo", "--seed", str(seed)], out))
    rows = {source: [demo["sources"][source] for demo in demos] for source in demos[0]["sources"]}
    rows["all"] = [demo["all"] for demo in demos]

    ratios: dict[str, Callable[[dict], float]] = {
        "idm / copy": lambda errors: errors["idm"] / errors["copy"],
        "idm / permuted": lambda errors: errors["idm"] / errors["permuted"],
    }
    seeds = " ".join(map(str, args.seeds))
    lines = [
        "# What the demo reaches",
        "",
        f"Made by `python benchmarks/demo_seeds.py --seeds {seeds}` on {machine()}: `wildlam demo --seed S` each.",
        "Held-out one-step L1 error of the states, mean over seeds (smallest to largest). Each seed films its walks.",
        "",
        "| source | " + " | ".join([*METHODS, *ratios]) + " |",
        "| --- |" + " --- |" * (len(METHODS) + len(ratios)),
    ]
    for source, errors in rows.items():
        cells = [spread([e[method] for e in errors]) for method in METHODS]
        cells += [spread([ratio(e) for e in errors]) for ratio in ratios.values()]
        lines.append(f"| {source} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "idm: the latent action inferred from the transition itself. permuted: inferred from another clip of the same",
    ]
    lines += ["source. zero: z = 0. deterministic: a model trained without latent actions. copy: the last state.", ""]
    for name, aim in AIMS.items():
        for source in ("doom", "all"):
            worst = max(ratios[name](errors) for errors in rows[source])
            verdict = "reached" if worst <= aim else "missed"
            lines.append(f"- {name} on {source}, aim at most {aim}: {verdict} (worst seed {worst:.3f}).")
    lines.append("")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "demo.md").write_text("\n".join(lines))
    record = {"machine": machine(), "seeds": args.seeds, "demo": demos}
    (args.out / "demo.json").write_text(json.dumps(record, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
