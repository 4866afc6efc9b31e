"""What is the smallest controller that still plans? docs/results/controllers.md

    python benchmarks/controllers.py [--worlds arm nav cameras] [--seeds 0]

Controllers of one run (wildlam-tiny, if no other is given) on all labelled clips: with two, one and no self-attention
blocks, with the mean of the past state in place of its tokens, and without any past. Each is judged by its rollouts, by
the size of the change that it makes (near 0: it does not move), and by plans. Who does not see the past cannot know
where the camera stands, which is another one in each film of *cameras*. What controllers.json holds is not done
again; to do all of it again, give another ``--out``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from common import spread
from worlds import Rows, add_arguments, films, machines, prepare, weights_of

from wildlam.fileio import read_json
from wildlam.models.controller import ControllerConfig
from wildlam.planning.protocols.protocol import ProtocolName
from wildlam.report.text import markdown_table
from wildlam.workflows.controller import ControllingConfig, train_controller
from wildlam.workflows.plan import plan

PROTOCOLS: dict[str, tuple[ProtocolName, str, int | None, int | None]] = {
    "arm": ("droid", "displacement", 64, 6),
    "nav": ("recon", "rpe", None, None),
    "cameras": ("droid", "displacement", 64, 6),
}
VARIANTS = {
    "tokens, 2 blocks (the paper's)": ControllerConfig(),
    "tokens, 1 block": ControllerConfig(blocks=1),
    "tokens, no self-attention": ControllerConfig(blocks=0),
    "mean of the tokens": ControllerConfig(past="pooled"),
    "no past": ControllerConfig(past="none"),
}
FIGURES = {"over_idm": "rollout error over inferred", "z": "z error", "movement": "size of change"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, PROTOCOLS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=400, help="training steps of each")
    parser.add_argument("--episodes", type=int, default=32, help="held-out episodes to plan in")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for controllers.json and .md")
    args = parser.parse_args()
    prepare(args)
    of = {"weights": weights_of(args.run), "steps": args.steps, "episodes": args.episodes}
    rows = Rows(args.out / "controllers.json", of, ("world", "controller", "seed"))
    for world in args.worlds:
        for number, (name, controller) in enumerate(VARIANTS.items()):
            for seed in args.seeds:
                if not rows.has(world=world, controller=name, seed=seed):
                    found = judged(args, world, f"{world}_{number}_{seed}", name, controller, seed)
                    (args.out / "controllers.md").write_text(text(rows.add(found), args))
    print((args.out / "controllers.md").read_text())


def judged(
    args: argparse.Namespace, world: str, key: str, name: str, controller: ControllerConfig, seed: int
) -> list[dict]:
    """Train one and plan with it."""
    protocol, figure, samples, iterations = PROTOCOLS[world]
    folder = args.work / "controllers" / key
    config = ControllingConfig(data=films(args, world), controller=controller, seed=seed)
    train_controller(args.run, replace(config, training=replace(config.training, steps=args.steps)), folder)
    plans = folder / f"plans_{args.episodes}"
    if not (plans / "plans.json").is_file():
        plan(
            run=args.run,
            protocol=protocol,
            data=films(args, world),
            controller=folder,
            episodes=args.episodes,
            samples=samples,
            iterations=iterations,
            seed=seed,
            out=plans,
        )
    errors, summary = read_json(folder / "results.json"), read_json(plans / "plans.json")["summary"]
    found = {words: errors[key]["mean"] for key, words in FIGURES.items()}
    found[f"{figure} over no move"] = summary["latent"][figure]["mean"] / summary["no move"][figure]["mean"]
    return [{"world": world, "controller": name, "seed": seed, "figure": f, "value": v} for f, v in found.items()]


def text(rows: list[dict], args: argparse.Namespace) -> str:
    seeds = len({row["seed"] for row in rows})
    over = "one seed." if seeds == 1 else f"mean over {seeds} seeds (smallest to largest)."
    lines = [
        "# The smallest controller that still plans",
        "",
        f"Made by `python benchmarks/controllers.py` on {machines(rows)}:",
        f"all labelled clips, {args.steps} steps, {args.episodes} held-out episodes; {over}",
        "Rollout error: over that under inferred actions. z error: over that of their mean.",
        "Size of change: of the predicted over the true one, near 0 for a controller that does not move. Lower is",
        "better but for that one.",
    ]
    for world in dict.fromkeys(row["world"] for row in rows):
        of_world = [row for row in rows if row["world"] == world]
        figures = list(dict.fromkeys(row["figure"] for row in of_world))
        table = []
        for name in VARIANTS:
            own = [row for row in of_world if row["controller"] == name]
            if own:
                cells = [spread([row["value"] for row in own if row["figure"] == figure]) for figure in figures]
                table.append([name, *cells])
        lines += ["", f"## {world}", "", *markdown_table(["controller", *figures], table)]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
