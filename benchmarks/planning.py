"""Latent actions with few labels against a world model of real actions with as many: docs/results/planning.md.

    python benchmarks/planning.py --run runs/nav/run --data runs/nav/videos [--clips 16 32 ...] [--seeds 0 1 2]
        [--steps 1000] [--protocols recon droid] [--out docs/results]

For every number of labelled clips and seed it trains a controller of the run and, on the same clips, a world model of
real actions (the part that V-JEPA 2-AC plays), of the run's size and for ``--steps`` steps each, and plans with both in
the same held-out episodes. What is trained is kept beside the run and not trained again; plans are kept, too.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from common import machine, spread

from wildlam.config import read_config
from wildlam.controlling import ControllingConfig, train_controller
from wildlam.labelling import LabelledModelConfig, train_labelled_model
from wildlam.plan import EPISODES, plan
from wildlam.training import TrainingConfig
from wildlam.training.run import read_json

FIGURES = {"recon": ("rpe", "ate"), "droid": ("displacement",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/nav/run"), help="a trained run")
    parser.add_argument("--data", type=Path, default=Path("runs/nav/videos"), help="labelled videos")
    parser.add_argument(
        "--clips", type=int, nargs="+", default=[16, 32, 64, 128, 512, 0], help="labelled clips; 0: all"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of clips, controllers and plans")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of controllers and of labelled models")
    parser.add_argument("--protocols", nargs="+", choices=list(FIGURES), default=["recon"], help="how plans are judged")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="held-out episodes")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder for planning.json and planning.md"
    )
    args = parser.parse_args()

    config = read_config(args.run / "config.yaml")
    encoder = config.encoder.build()
    rows = []
    for count in args.clips:
        for seed in args.seeds:
            name = f"{count or 'all'}_{seed}"
            driver, labelled = args.run / "study" / f"controller_{name}", args.run / "study" / f"labelled_{name}"
            few = {"data": args.data, "clips": count or None, "seed": seed}
            of_controller = ControllingConfig(**few)
            training = replace(of_controller.training, steps=args.steps, save_every=args.steps, eval_every=args.steps)
            train_controller(args.run, replace(of_controller, training=training), driver)
            # As often as the controller is judged: with few clips the best step comes early.
            often = max(args.steps // 10, 1)
            whole = TrainingConfig(steps=args.steps, save_every=often, eval_every=often)
            train_labelled_model(
                encoder, LabelledModelConfig(**few, model=config.model, training=whole), config.data.fps, labelled
            )
            for protocol in args.protocols:
                folder = args.run / "study" / f"plans_{protocol}_{name}"
                if not (folder / "plans.json").is_file():
                    plan(
                        args.run,
                        protocol,
                        args.data,
                        controller=driver,
                        baselines=[labelled],
                        episodes=args.episodes,
                        seed=seed,
                        out=folder,
                    )
                found = read_json(folder / "plans.json")["summary"]
                for label, figures in found.items():
                    who = "labelled" if label == labelled.name else label
                    rows += [
                        {"world": args.data.parent.name, "protocol": protocol, "model": who, "clips": count or "all",
                         "seed": seed, "figure": figure, "value": figures[figure]["mean"]}
                        for figure in FIGURES[protocol]
                    ]  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "planning.json").write_text(
        json.dumps({"machine": machine(), "steps": args.steps, "rows": rows}, indent=1)
    )
    text = table(rows, args)
    (args.out / "planning.md").write_text(text)
    print(text)


def table(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown: mean over seeds (smallest to largest)."""
    lines = [
        "# Planning with few labels",
        "",
        f"Made by `python benchmarks/planning.py --run {args.run} --data {args.data} --steps {args.steps}` on",
        f"{machine()}. {args.episodes} held-out episodes, mean over {len(args.seeds)} seed(s) (smallest to largest);",
        "lower is better.",
    ]
    for protocol in args.protocols:
        for figure in FIGURES[protocol]:
            chosen = [row for row in rows if (row["protocol"], row["figure"]) == (protocol, figure)]
            models = list(dict.fromkeys(row["model"] for row in chosen))
            lines += ["", f"{protocol}, {figure}:", "", f"| labelled clips | {' | '.join(models)} |"]
            lines.append("| --- |" + " --- |" * len(models))
            for clips in dict.fromkeys(row["clips"] for row in chosen):
                of_clips = [row for row in chosen if row["clips"] == clips]
                cells = [spread([row["value"] for row in of_clips if row["model"] == model]) for model in models]
                lines.append(f"| {clips} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
