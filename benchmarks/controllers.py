"""What must a controller see, and how must it learn? docs/results/controllers.md

    python benchmarks/controllers.py [--worlds arm nav cameras] [--clips 32 0] [--seeds 0 1 2] [--controllers ...]

Controllers of one run (wildlam-tiny, if no other is given), of few and of all labelled clips. *See*: with two, one and
no self-attention blocks, with the mean of the past state in place of its tokens, and without any past. Who does not see
the past cannot know where the camera stands, which is another one in each film of *cameras*. *Learn*: through a clip
that is unrolled, which weighs more or less; from each latent action by itself (the paper's); or not at all, which
leaves the linear map from actions that the others begin with. *Four folds* are four controllers, each with another
quarter of the clips set aside to choose their checkpoint by, of which the mean acts.

Each is judged by its rollouts, by the size of the change that it makes (near 0: it does not move), and by plans in the
episodes of ``planning.py``, whose controllers are taken if they are there. What controllers.json holds is not done
again; to do all of it again, give another ``--out`` and ``--work``. Two calls, for different worlds, can run side by
side (OMP_NUM_THREADS=1 on two cores).
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from common import spread
from planning import ALL, WORLDS, driver_of
from worlds import Rows, add_arguments, films, machines, prepare, weights_of

from wildlam.fileio import read_json
from wildlam.models.controller import ControllerConfig
from wildlam.report.text import markdown_table
from wildlam.training import TrainingConfig
from wildlam.training.optimizers import OptimizerConfig
from wildlam.workflows.plan import EPISODES, plan

SAMPLES = 64
"""Candidates of an iteration, arm: those of ``planning.py``."""
DEFAULT = "default"
UNTRAINED = TrainingConfig(steps=1, eval_every=1, save_every=1, optimizer=OptimizerConfig(muon=False, adamw_lr=1e-12))
"""A step that changes nothing."""
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "one block": {"controller": ControllerConfig(blocks=1)},
    "no self-attention": {"controller": ControllerConfig(blocks=0)},
    "mean of the tokens": {"controller": ControllerConfig(past="pooled")},
    "no past": {"controller": ControllerConfig(past="none")},
    "unrolled, a tenth the weight": {"controller": ControllerConfig(prediction=10.0)},
    "step by step": {"controller": ControllerConfig(prediction=0.0)},
    "linear map alone": {"training": UNTRAINED},
    "four folds": {"folds": 4},
}
"""What is changed of a controller's config."""
FIGURES = {"over_idm": "rollout error over inferred", "z": "z error", "movement": "size of change"}
KEYS = ("world", "clips", "controller", "seed")
"""Of the parts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, WORLDS)
    parser.add_argument("--clips", type=int, nargs="+", default=[32, ALL], help="labelled clips, in this order; 0: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of clips, training and plans")
    parser.add_argument("--controllers", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--steps", type=int, help="training steps; as in planning.py if not given")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="held-out episodes to plan in")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for controllers.json and .md")
    args = parser.parse_args()
    prepare(args)
    of = {"weights": weights_of(args.run), "steps": args.steps, "episodes": args.episodes}
    rows = Rows(args.out / "controllers.json", of, KEYS)
    for count, seed, world, name in product(args.clips, args.seeds, args.worlds, args.controllers):
        part = {"world": world, "clips": count or "all", "controller": name, "seed": seed}
        if not rows.has(**part):
            found = judged(args, world, count, name, seed)
            written = rows.add([{**part, "figure": figure, "value": value} for figure, value in found.items()])
            (args.out / "controllers.md").write_text(text(written, args))
    print((args.out / "controllers.md").read_text())


def judged(args: argparse.Namespace, world: str, count: int, name: str, seed: int) -> dict[str, float]:
    """Train one and plan with it: what is found, by figure."""
    protocol, figure, (iterations,) = WORLDS[world]
    study = args.work / "study" if name == DEFAULT else args.work / "controllers" / name.replace(" ", "_")
    folder = driver_of(args, world, count, seed, study, **VARIANTS[name])
    plans = folder / f"plans_{args.episodes}"
    if not (plans / "plans.json").is_file():
        plan(
            run=args.run,
            protocol=protocol,
            data=films(args, world),
            controller=folder,
            episodes=args.episodes,
            samples=SAMPLES if protocol == "droid" else None,
            iterations=iterations,
            seed=seed,
            out=plans,
        )
    errors, summary = read_json(folder / "results.json"), read_json(plans / "plans.json")["summary"]
    found = {words: errors[key]["mean"] for key, words in FIGURES.items()}
    return found | {figure: summary["latent"][figure]["mean"]}


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown: mean over seeds (smallest to largest)."""
    lines = [
        "# What a controller must see, and how it must learn",
        "",
        f"Made by `python benchmarks/controllers.py` on {machines(rows)}:",
        f"plans in the {args.episodes} held-out episodes of [planning.md](planning.md); mean over the seeds (smallest",
        "to largest).",
        "",
        "*default*: two blocks over the tokens, unrolled; the others change what their names say. *step by step*: from",
        "each latent action by itself; *linear map alone*: what all begin with, not trained; *four folds*: the mean of",
        "four, each with another quarter of the clips set aside.",
        "Rollout error: over that under inferred actions. z error: over that of their mean. Size of change: of the",
        "predicted over the true one, near 0 for a controller that does not move. Lower is better but for that one.",
    ]
    for world, clips in dict.fromkeys((row["world"], row["clips"]) for row in rows):
        chosen = [row for row in rows if (row["world"], row["clips"]) == (world, clips)]
        figures = list(dict.fromkeys(row["figure"] for row in chosen))
        table = []
        for name in VARIANTS:
            own = [row for row in chosen if row["controller"] == name]
            if own:
                cells = [spread([row["value"] for row in own if row["figure"] == figure]) for figure in figures]
                table.append([name, str(len({row["seed"] for row in own})), *cells])
        lines += [
            "",
            f"## {world}: {clips} labelled clips",
            "",
            *markdown_table(["controller", "seeds", *figures], table),
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
