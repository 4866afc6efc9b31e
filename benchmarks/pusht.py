"""PushT with few labels: docs/results/pusht.md

    python benchmarks/pusht.py [--shares 0.05 0.2 1] [--seeds 0 1 2]

One model is trained on films of PushT without labels (``wildlam collect pusht``; made if they are not there), in steps
of five commands. For every share of the clips that is labelled, and every seed, a controller of it and, on the same
clips, a world model of real actions of its size are trained for as many steps; both act in the simulator from starts
and to goals that everybody has (``wildlam play --world pusht``), free, guided by a linear map of the same clips, and
from what a policy of latent actions would do, and so does what takes no world model. From pseudo-labels, which these
clips give all films, a linear map, its guide and cloning learn once more (``--unlabelled``), and a policy of real
actions (``wildlam policy train --labelled``).
The document is written anew after every part. A part whose rows pusht.json holds is not done again; to do all of it
again, give another ``--out`` and ``--work``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from common import spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from planning import ALL, GUIDE, driver_of, labelled_of
from worlds import Rows, add_training, films, machines, prepare, trained, weights_of

from wildlam.encoders import Lite0
from wildlam.episodes.clips import cut_clips
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.fileio import read_json
from wildlam.models import ModelConfig
from wildlam.report.plots import LINES, quiet, svg
from wildlam.report.text import markdown_table
from wildlam.workflows.baseline import STATES
from wildlam.workflows.goal_cloning import PSEUDO_CLONING
from wildlam.workflows.play import play
from wildlam.workflows.policy import PolicyTrainingConfig, train_policy
from wildlam.worlds.pusht_films import collect_pusht
from wildlam.worlds.pusht_tasks import EPISODES, fingerprint

WORLD, WORK = "pusht", Path("runs/pusht")
FPS = 2.0
"""Steps a second: of five commands each."""
FILMS, SECONDS, SEED = 480, 20.0, 10
SHARES = [0.05, 1.0, 0.2]
"""Of the clips that are labelled, the most telling first."""
FLOORS = ("no move", "random")
ALONE = {name: name for name in (*FLOORS, "regression", "cloning", "labelled", "latent")}
GUIDED = {"guide": "regression with z", "labelled": "labelled, guided", "latent": "latent, guided"}
POLICY = {"policy": "policy", "latent from policy": "latent from policy"}
PSEUDO = {
    "guide": "regression, pseudo-labels",
    PSEUDO_CLONING: "cloning, pseudo-labels",
    "latent": "latent, guided, pseudo-labels",
}
REAL = {"policy": "policy, pseudo-labels", "latent from policy": "latent from policy, pseudo-labels"}
PSEUDO_WAYS = {"play_pseudo": PSEUDO, "play_real": REAL}
WAYS = {"play": ALONE, "play_guided": GUIDED, "play_policy": POLICY} | PSEUDO_WAYS
"""Folders of what is played, the rows that are taken from there, and what they are called here."""
REAL_STEPS = 3000
"""Training steps of a policy of real actions; the 800 of one of latent actions leave much to learn."""
MODELS = [name for names in WAYS.values() for name in names.values()]
SHOWN = (
    "random",
    "regression",
    "cloning",
    "labelled",
    "latent",
    "labelled, guided",
    "latent, guided",
    "latent from policy",
)
"""Lines of the picture."""
FIGURES = {
    "success": "success",
    "final distance": "distance, px",
    "disc": "disc, px",
    "block": "T, px",
    "turn": "T, rad",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model(parser)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the clips that are labelled")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="episodes of a seed")
    args = parser.parse_args()
    study = prepared(args)
    encoder = Lite0().build("cpu")
    found, cache = read_episodes(films(args, WORLD)), cache_folder(films(args, WORLD))
    clips = len(cut_clips(found, encoder, "train", states=STATES, fps=FPS, cache=cache).places)
    of = {"weights": weights_of(study.run), "tasks": fingerprint(), "films": args.films, "episodes": args.episodes}
    rows = Rows(args.out / "pusht.json", of, ("share", "seed", "model"))
    for seed, share, way in product(args.seeds, args.shares, WAYS):
        if share == 1 and way in PSEUDO_WAYS:
            continue  # every label is known
        if not all(rows.has(share=share, seed=seed, model=name) for name in WAYS[way].values()):
            write(rows.add(acted(study, way, share, clips, seed)), args)
    write(rows.read(), args)
    print((args.out / "pusht.md").read_text())


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add what ``prepared`` takes, ``--seeds`` and ``--out``."""
    add_training(parser, steps=1600, batch=32)
    parser.add_argument("--films", type=int, default=FILMS, help="films in all, of which one of eight is held out")
    parser.set_defaults(work=WORK)


def add_world(parser: argparse.ArgumentParser, worlds: Iterable[str]) -> None:
    """Add ``world``, one of PushT and the worlds of ``planning.py``, and what ``study_of`` takes."""
    parser.add_argument("world", choices=list(worlds))
    add_model(parser)
    parser.set_defaults(work=None)


def study_of(args: argparse.Namespace) -> argparse.Namespace:
    """Films and the model of a world: this study's own of PushT, wildlam-tiny of the others."""
    if args.world == WORLD:
        return prepared(argparse.Namespace(**vars(args) | {"work": args.work or WORK}))
    study = {"work": args.work or Path("runs/worlds"), "worlds": [args.world], "run": None, "steps": None}
    found = argparse.Namespace(**vars(args) | study)
    prepare(found)
    return found


def prepared(args: argparse.Namespace) -> argparse.Namespace:
    """What ``planning.py`` takes to train controllers and labelled models of the model, which is trained if need be."""
    collect_pusht(films(args, WORLD), episodes=args.films, seconds=SECONDS, seed=SEED, distractors=0.0)
    trained(args, Lite0().build("cpu"), ModelConfig(), [WORLD], args.work, "run", 0, FPS)
    name = f"{args.size}_{args.steps}x{args.batch}"
    steps = None  # as many as their labels need
    return argparse.Namespace(**vars(args) | {"run": args.work / name / "run", "steps": steps})


def acted(args: argparse.Namespace, way: str, share: float, clips: int, seed: int) -> list[dict]:
    """What comes of acting in one of ``WAYS`` with a share of the labels, of so many clips."""
    count = ALL if share == 1 else round(share * clips)
    folder = args.work / "study" / args.run.parent.name
    out = folder / f"{way}_{count or 'all'}_{seed}_{args.episodes}"
    how: dict[str, Any]
    if way == "play_policy":
        how = {"policy": train_policy(args.run, data=films(args, WORLD), out=folder / f"policy_{WORLD}")}
    elif way == "play_real":
        often = REAL_STEPS // 8
        training = replace(PolicyTrainingConfig().training, steps=REAL_STEPS, eval_every=often, save_every=often)
        of_films = {"data": films(args, WORLD), "labelled": films(args, WORLD), "clips": count, "seed": seed}
        out_of = folder / f"policy_{WORLD}_{count}_{seed}"
        how = {"policy": train_policy(args.run, **of_films, training=training, out=out_of)}
    elif way == "play_pseudo":
        how = {"guide": GUIDE, "controls": True, "unlabelled": films(args, WORLD)}
    else:
        labelled = labelled_of(args, WORLD, count, seed, folder)
        how = {"baselines": [labelled]} | ({"guide": GUIDE} if way == "play_guided" else {"controls": True})
    if not (out / "play.json").is_file():
        play(
            run=args.run,
            world=WORLD,
            controller=driver_of(args, WORLD, count, seed, folder),
            labelled=films(args, WORLD),
            clips=count or None,
            episodes=args.episodes,
            seed=seed,
            out=out,
            **how,
        )
    found = read_json(out / "play.json")["summary"]
    rows = []
    for label, name in WAYS[way].items():
        of = found[labelled.name if label == "labelled" else label]
        common = {"share": share, "clips": count or clips, "seed": seed, "model": name}
        rows += [{**common, "figure": figure, **of[figure]} for figure in FIGURES]
    return rows


def write(rows: list[dict], args: argparse.Namespace) -> None:
    (args.out / "pusht.md").write_text(text(rows, args))
    (args.out / "pusht.svg").write_bytes(curves(rows))


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown: mean over seeds (smallest to largest)."""
    lines = [
        "# PushT with few labels",
        "",
        f"Made by `python benchmarks/pusht.py` on {machines(rows)}: {args.films} films of {SECONDS:g} s, a model of",
        f"size {args.size} ({args.steps} steps of {args.batch} clips); {args.episodes} episodes a seed of the tasks",
        f"`{fingerprint()}`; mean over the seeds (smallest to largest; of one seed, the 95 % interval of episodes).",
        "",
        "*latent*: the model, which never saw an action, with a controller of the labelled clips; *labelled*: a world",
        "model of real actions, of these clips, for as many steps; *regression*, *cloning*: no world model, of these",
        "clips (`wildlam play --controls true`); *guided*: leaving what *regression with z* tells has a price",
        f"(`--guide {GUIDE:g}`); *policy*: clones latent actions of the films without labels, and a linear map of the",
        "labelled clips makes these real ones; *latent from policy*: plans begin with what it would do;",
        "*pseudo-labels*: learnt from all films, by what the labelled clips tell of z and of the change of the state",
        "there (`--unlabelled`; *policy*: of real actions, `wildlam policy train --labelled`);",
        "*no move*, *random*: floors. Success: disc and T together less than 20 pixels away at any moment of 50",
        "commands, the T turned by less than 20 degrees. Distances: at the end.",
        "",
        "![Success by labelled clips](pusht.svg)",
    ]
    for share in sorted({row["share"] for row in rows}):
        own = [row for row in rows if row["share"] == share]
        lines += ["", f"## {share:.0%} of the labels: {own[0]['clips']} clips", ""]
        table = []
        for model in MODELS:
            if of_model := [row for row in own if row["model"] == model]:
                cells = [over_seeds([row for row in of_model if row["figure"] == figure]) for figure in FIGURES]
                table.append([model, str(len({row["seed"] for row in of_model})), *cells])
        lines += markdown_table(["", "seeds", *FIGURES.values()], table)
    return "\n".join([*lines, ""])


def over_seeds(rows: list[dict]) -> str:
    """Mean and range of a figure."""
    if len(rows) == 1:
        return f"{rows[0]['mean']:.3g} ({rows[0]['low']:.3g} to {rows[0]['high']:.3g})"
    return spread([row["mean"] for row in rows])


def line(ax: Axes, points: list[list[dict]], shift: float = 0.0, **looks: Any) -> None:
    """Draw the mean over seeds, by points, and their range; of one seed, the interval of its episodes. ``shift`` moves
    it aside, so that intervals are seen beside each other; points without rows are left out.
    """
    at, means, below, above = [], [], [], []
    for place, rows in enumerate(points):
        if not rows:
            continue
        at.append(place + shift)
        found = [row["mean"] for row in rows]
        low, high = (rows[0]["low"], rows[0]["high"]) if len(rows) == 1 else (min(found), max(found))
        means.append(statistics.mean(found))
        below.append(means[-1] - low)
        above.append(high - means[-1])
    ax.errorbar(at, means, [below, above], marker="o", ms=4, **looks)


@svg
def curves(rows: list[dict]) -> Figure:
    """Success by labelled clips."""
    fig = Figure(figsize=(5.5, 3.6), layout="constrained")
    ax, shares = fig.subplots(), sorted({row["share"] for row in rows})
    clips = [next(row["clips"] for row in rows if row["share"] == share) for share in shares]
    for i, (colour, model) in enumerate(zip(["0.7", *LINES, "black"], SHOWN, strict=True)):
        of_model = [row for row in rows if (row["model"], row["figure"]) == (model, "success")]
        points = [[row for row in of_model if row["share"] == share] for share in shares]
        line(ax, points, shift=0.03 * (i - len(SHOWN) // 2), color=colour, label=model)
    ax.set_xticks(range(len(shares)), [str(count) for count in clips])
    ax.set_xlabel("labelled clips")
    ax.set_ylabel("success")
    ax.set_ylim(bottom=0)
    quiet(ax, grid="y")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return fig


if __name__ == "__main__":
    main()
