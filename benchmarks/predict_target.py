"""Should the world model predict the change from the last state, or the state itself? docs/results/predict.md.

    python benchmarks/predict_target.py [--out docs/results] [--runs runs] [--steps 150]

Trains both on the videos of the demo (which must have run) over three seeds, without the deterministic baseline, and
compares their held-out errors. Finished runs are kept and read. About 10 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import machine, results, spread

from wildlam.report.text import markdown_table

SEEDS = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for predict.json and predict.md")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--steps", type=int, default=150, help="training steps of each run")
    args = parser.parse_args()

    found = {}
    for target in ("change", "state"):
        command = f"wildlam train --data.path {args.runs}/demo/videos --training.steps {args.steps} --action_free false"
        command += f" --model.predict {target} --model.idm Transformer --model.place false --model.bottleneck.dim 32"
        command += " --encoder.pool 2 --encoder.fold 1"
        found[target] = [
            results([*command.split(), "--seed", str(seed)], args.runs / f"predict_{target}_{seed}") for seed in SEEDS
        ]
    lines = [
        "# Predict the change or the state?",
        "",
        f"Made by `python benchmarks/predict_target.py --steps {args.steps}` on {machine()}: held-out one-step L1",
        "error on all clips of the demo's videos (states: means of cells), over three seeds (smallest to largest).",
        "",
    ]
    rows = []
    for target, runs in found.items():
        errors = [run["all"] for run in runs]
        figures = [[e["idm"] for e in errors], [e["permuted"] for e in errors], [e["idm"] / e["copy"] for e in errors]]
        rows.append([target, *map(spread, figures)])
    lines += markdown_table(["`model.predict`", "inferred actions", "another clip's actions", "inferred / copy"], rows)
    lines += ["", "`change` adds the output to the last state; an untrained model is then an exact copy.", ""]
    record = {"machine": machine(), "seeds": SEEDS, **{t: [run["all"] for run in runs] for t, runs in found.items()}}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "predict.md").write_text("\n".join(lines))
    (args.out / "predict.json").write_text(json.dumps(record, indent=1))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
