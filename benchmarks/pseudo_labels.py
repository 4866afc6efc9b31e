"""What do pseudo-labels teach, and is it the latent actions that do? docs/results/pseudo_labels.md

    python benchmarks/pseudo_labels.py arm|nav|pusht [--clips 16 64 105 0] [--seeds 0 1 2]

From few labelled clips and all films of a world without labels, as ``wildlam plan --unlabelled`` and ``wildlam play
--unlabelled`` learn: a linear regression and a small network (goal-conditioned cloning) from start and goal to what is
done between. Beside them the same of the labelled clips alone, of pseudo-labels into which no latent action enters,
only the change of the state, and of the true labels of all films.

They are judged in held-out clips, by the share of the variance of what is really done that they miss (R² is 1 less it),
a step at a time and over as many steps as a plan has. Nothing is planned or played here: minutes on two cores. The
document is written anew after every part. A part whose rows pseudo_labels.json holds is not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pusht
import torch
from common import spread
from planning import ALL
from torch import Tensor
from worlds import Rows, films, machines, weights_of

from wildlam.episodes.clips import LabelledClips, cut_clips
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.evaluation.clips import infer_latents
from wildlam.models import LatentActionModel
from wildlam.report.text import markdown_table
from wildlam.types import Split
from wildlam.workflows.baseline import STATES
from wildlam.workflows.goal_cloning import fit_goal_cloning
from wildlam.workflows.goal_regression import fit_goal_regression
from wildlam.workflows.motions import leading_of, motions_of, recordings_of, sums_between
from wildlam.workflows.open_run import open_run
from wildlam.workflows.pseudo_labels import Films, pseudo_labels

HORIZONS = {"arm": 3, "nav": 6, pusht.WORLD: 5}
"""Steps of a plan, or to a goal."""
COUNTS = [16, 64, 105, ALL]
"""Labelled clips; 105 are 5 % of PushT's."""
KEYS = ("world", "clips", "seed")
FEW, LATENT, CHANGE = "labelled clips alone", "pseudo-labels", "pseudo-labels without z"
LEARNERS = ("regression", "cloning")


class Blind:
    """In the place of a model: infers nothing."""

    def __init__(self, model: LatentActionModel) -> None:
        self.parameters = model.parameters

    def infer(self, states: Tensor) -> Tensor:
        return states.new_zeros(len(states), states.shape[1] - 1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pusht.add_world(parser, HORIZONS)
    parser.add_argument("--clips", type=int, nargs="+", default=COUNTS, help="labelled clips, in this order; 0: all")
    args = pusht.study_of(parser.parse_args())
    rows = Rows(args.out / "pseudo_labels.json", {"states": STATES}, KEYS)
    opened = open_run(args.run)
    model, weights = opened.model(), weights_of(args.run)
    found, cache = read_episodes(films(args, args.world)), cache_folder(films(args, args.world))

    def clips(split: Split) -> LabelledClips:
        fps = opened.config.data.fps
        return cut_clips(found, opened.encoder, split, states=STATES, fps=fps, cache=cache).encoded(opened.encoder)

    train, held_out = clips("train"), clips("held_out")
    see = leading_of(train.states)
    seen = Films(see, see(train.states), infer_latents(model, train.states).double().cpu(), recordings_of(train))
    for count, seed in product(args.clips, args.seeds):
        part = {"world": args.world, "clips": count or "all", "seed": seed}
        if not rows.has(**part, weights=weights):
            taught = judged(model, seen, train.few(count or None, seed), held_out, HORIZONS[args.world], seed)
            write(rows.add([{**part, "weights": weights, **row} for row in taught]), args)
    write(rows.read(), args)
    print((args.out / "pseudo_labels.md").read_text())


def judged(
    model: LatentActionModel, films: Films, few: LabelledClips, held_out: LabelledClips, horizon: int, seed: int
) -> list[dict]:
    """What a regression and cloning miss, by what teaches them."""
    blind = replace(films, latents=torch.zeros_like(films.latents[..., :1]))
    taught: dict[str, tuple[Films | None, Any]]
    taught = {FEW: (None, model), LATENT: (films, model), CHANGE: (blind, Blind(model))}
    rows = []
    for teacher, (seen, infers) in taught.items():
        if len(few) == len(films.states) and seen is not None:
            continue  # every label is known
        pseudo = None if seen is None else pseudo_labels(infers, few, seen, horizon)
        told = {
            "regression": fit_goal_regression(few, horizon, pseudo=pseudo).told,
            "cloning": summed(fit_goal_cloning(pseudo.films if pseudo else motions_of(few, horizon), seed).act),
        }
        for learner, steps in product(LEARNERS, (1, horizon)):
            missed = share_missed(told[learner], held_out, steps)
            rows.append({"teacher": teacher, "learner": learner, "steps": steps, "missed": missed})
    return rows


def summed(act: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """From the mean action to the sum."""
    return lambda ends, steps: act(ends, steps) * steps


def share_missed(told: Callable[[Tensor, int], Tensor], clips: LabelledClips, steps: int) -> float:
    """Share of the variance of the sums of the actions over some steps that is not told, mean over the components."""
    pairs = [(i, i + steps) for i in range(STATES - steps)]
    done = sums_between(clips.actions, pairs)
    found = torch.stack([told(clips.states[:, pair], steps) for pair in pairs], dim=1)
    varied = done.flatten(0, 1).var(dim=0)
    moves = varied > 1e-9  # of components that are not at rest throughout
    return float(((found - done).square().mean(dim=(0, 1)) / varied)[moves].mean())


def write(rows: list[dict], args: argparse.Namespace) -> None:
    (args.out / "pseudo_labels.md").write_text(text(rows))


def text(rows: list[dict]) -> str:
    """The rows as Markdown: mean over seeds (smallest to largest)."""
    lines = [
        "# What pseudo-labels teach",
        "",
        f"Made by `python benchmarks/pseudo_labels.py` on {machines(rows)}: share of the variance of",
        "what is really done in held-out clips that is missed, from start and goal, mean over the components of the",
        "action; mean over seeds (smallest to largest). 1: the mean is told; 0: all is.",
        "",
        f"*{LATENT}*: few labelled clips tell from z and the change of the state what is done in all films of the",
        f"world, and these teach; *{CHANGE}*: the control, from the change of the state alone. The",
        "regression is of the labelled clips where pseudo-labels miss more of labelled recordings that had no part in",
        "them.",
    ]
    for world in sorted({row["world"] for row in rows}):
        of_world = [row for row in rows if row["world"] == world]
        lines += ["", f"## {world}", ""]
        heads = dict.fromkeys((row["learner"], row["steps"]) for row in of_world)
        table = []
        for clips in sorted({row["clips"] for row in of_world}, key=lambda count: (count == "all", count)):
            for teacher in (FEW, CHANGE, LATENT):
                own = [row for row in of_world if (row["clips"], row["teacher"]) == (clips, teacher)]
                if own:
                    of_heads = [[r["missed"] for r in own if (r["learner"], r["steps"]) == head] for head in heads]
                    table.append([str(clips), "all labels" if clips == "all" else teacher, *map(spread, of_heads)])
        names = [f"{learner}, {steps} step{'s' * (steps > 1)}" for learner, steps in heads]
        lines += markdown_table(["labelled clips", "taught by", *names], table)
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
