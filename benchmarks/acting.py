"""Who acts best in the closed loop, from few labels, and how long does it think? Writes acting.md, .json and .svg.

    python benchmarks/acting.py arm|nav|pusht [--clips 64 16 0] [--seeds 0 1 2] [--ways alone guided labelled]

Arm and nav are those of ``planning.py``, with wildlam-tiny; pusht is that of ``pusht.py``, with the model that it
trains. Films, models, controllers and labelled world models that are there are taken. A *policy* of latent actions is
trained on the films of the world, without labels (``wildlam policy train``).

For every number of labelled clips and seed all of these act in the simulator, towards the same goal images (``wildlam
play``). *alone*: the policy, whose latent actions a linear map of the labelled clips makes real ones; the planner, with
a controller of these clips; the planner from what the policy would do; and what takes no world model: a linear
regression from state and goal, and goal-conditioned behaviour cloning. *guided*: the planner guided by a linear map of
these clips. *labelled*: a world model of real actions, of these clips, without and with such a guide.

The document is written anew after every part. What acting.json holds is not done again; to do all of it again, give
another ``--out`` and ``--work``. Two calls, for different worlds, can run side by side (OMP_NUM_THREADS=1
on two cores).
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

import pusht
from matplotlib.figure import Figure
from planning import ALL, GUIDE, driver_of, labelled_of
from worlds import Rows, films, machines, weights_of

from wildlam.fileio import read_json
from wildlam.report.plots import LINES, quiet, svg
from wildlam.report.text import markdown_table
from wildlam.workflows.play import play
from wildlam.workflows.policy import train_policy

WORLDS = ("arm", "nav", pusht.WORLD)
EPISODES = 20
"""Of a seed: a plan of a step takes about a second, and five models make one in each of an episode's twelve."""
COUNTS = [64, 16, ALL]
"""Labelled clips, the most telling first."""
SUCCESS, DISTANCE, THOUGHT = "success", "final distance", "milliseconds"
UNGUIDED = {
    "no move": "no move",
    "random": "random",
    "regression": "regression",
    "cloning": "cloning",
    "policy": "policy",
    "latent": "planner",
    "latent from policy": "planner from policy",
}
"""Rows of play.json, and what they are called here."""
GUIDED = {"guide": "regression with z", "latent": "planner, guided"}
"""Likewise where plans are guided; of the others there are rows without a guide."""
LABELLED = {False: "labelled model", True: "labelled model, guided"}
MODELS = (*UNGUIDED.values(), *GUIDED.values(), *LABELLED.values())
WAYS: dict[str, dict[Any, str]] = {"alone": UNGUIDED, "guided": GUIDED, "labelled": LABELLED}
SHOWN = ("regression", "cloning", "policy", "planner", "planner from policy", LABELLED[False])
"""Lines of the picture."""
FIGURES = {SUCCESS: "success", DISTANCE: "distance at the end", THOUGHT: "milliseconds a step"}
KEYS = ("world", "clips", "seed", "model")


def main() -> None:
    args = parsed()
    study = pusht.study_of(args)
    rows = Rows(args.out / "acting.json", {"episodes": args.episodes, "guide": GUIDE}, KEYS)
    weights = weights_of(study.run)
    for count, seed in product(args.clips, args.seeds):
        part = {"world": args.world, "clips": count or "all", "seed": seed}
        wanted = [name for way in args.ways for name in WAYS[way].values()]
        if not all(rows.has(**part, weights=weights, model=name) for name in wanted):
            common = {**part, "weights": weights}
            write(rows.add([{**common, **row} for row in acted(study, args.world, count, seed)]), args)
    write(rows.read(), args)
    print((args.out / "acting.md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    pusht.add_world(parser, WORLDS)
    parser.add_argument("--clips", type=int, nargs="+", default=COUNTS, help="labelled clips, in this order; 0: all")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="to act")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="episodes of a seed")
    return parser.parse_args()


def acted(args: argparse.Namespace, world: str, count: int, seed: int) -> list[dict]:
    """What comes of acting in one world with so many labelled clips."""
    folder = args.work / "study" / (args.run.parent.name if world == pusht.WORLD else "")
    policy = train_policy(args.run, data=films(args, world), out=folder / f"policy_{world}")
    driver = driver_of(args, world, count, seed, folder)
    labelled = [labelled_of(args, world, count, seed, folder)] if "labelled" in args.ways else []
    rows = []
    for guided, names in {False: UNGUIDED, True: GUIDED}.items():
        if not labelled and ("guided" if guided else "alone") not in args.ways:
            continue
        ways = f"{'guided_' * guided}{'labelled_' * len(labelled)}"
        out = folder / f"act_{ways}{world}_{count or 'all'}_{seed}_{args.episodes}"
        if not (out / "play.json").is_file():
            play(
                run=args.run,
                world=world,
                controller=driver,
                baselines=labelled,
                policy=None if guided else policy,
                controls=not guided,
                guide=GUIDE if guided else None,
                labelled=films(args, world),
                clips=count or None,
                episodes=args.episodes,
                seed=seed,
                out=out,
            )
        found = read_json(out / "play.json")
        for label, name in {**names, **{one.name: LABELLED[guided] for one in labelled}}.items():
            of = found["summary"][label]
            rows += [{"model": name, "figure": figure, **of[figure]} for figure in (SUCCESS, DISTANCE)]
            if label in found[THOUGHT]:
                rows.append({"model": name, "figure": THOUGHT, "mean": found[THOUGHT][label]})
    return rows


def write(rows: list[dict], args: argparse.Namespace) -> None:
    (args.out / "acting.md").write_text(text(rows, args))
    (args.out / "acting.svg").write_bytes(curves(rows))


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown: mean over seeds (smallest to largest)."""
    lines = [
        "# Acting with few labels",
        "",
        f"Made by `python benchmarks/acting.py` on {machines(rows)}: {args.episodes} episodes a seed;",
        "mean over the seeds (smallest to largest; of one seed, the 95 % interval of its episodes).",
        "",
        "*policy*: clones latent actions of films without labels, a linear map makes them real ones; *planner*: plans",
        "anew at every step with the model, which never saw an action, and a controller; *from policy*: beginning with",
        f"what the policy would do; *guided*: leaving what *regression with z* tells has a price ({GUIDE:g});",
        "*labelled model*: a world model of real actions; *regression*, *cloning*: no world model. All are of the same",
        "labelled clips. Times are those of a step of one episode, where ten are thought about together, the least",
        "over the seeds.",
        "",
        "![Success by labelled clips](acting.svg)",
    ]
    for world in sorted({row["world"] for row in rows}):
        for clips in counts_of(rows, world):
            own = [row for row in rows if (row["world"], row["clips"]) == (world, clips)]
            lines += ["", f"## {world}: {clips} labelled clips", ""]
            table = []
            for model in MODELS:
                if not (of_model := [row for row in own if row["model"] == model]):
                    continue
                cells = [cell([row for row in of_model if row["figure"] == figure]) for figure in FIGURES]
                table.append([model, str(len({row["seed"] for row in of_model})), *cells])
            lines += markdown_table(["", "seeds", *FIGURES.values()], table)
    return "\n".join([*lines, ""])


def counts_of(rows: list[dict], world: str) -> list:
    found = {row["clips"] for row in rows if row["world"] == world}
    return sorted(found, key=lambda clips: (clips == "all", clips))


def cell(rows: list[dict]) -> str:
    """Mean and range of a figure; of times the least, as other work on the machine only adds to them."""
    if not rows:
        return ""
    if rows[0]["figure"] == THOUGHT:
        return f"{min(row['mean'] for row in rows):.0f}"
    return pusht.over_seeds(rows)


@svg
def curves(rows: list[dict]) -> Figure:
    """Success by labelled clips."""
    worlds = sorted({row["world"] for row in rows})
    fig = Figure(figsize=(4 * len(worlds) + 1, 3.6), layout="constrained")
    for ax, world in zip(fig.subplots(1, len(worlds), squeeze=False)[0], worlds, strict=True):
        counts = counts_of(rows, world)
        for n, (colour, model) in enumerate(zip(LINES, SHOWN, strict=False)):
            of_model = [r for r in rows if (r["world"], r["model"], r["figure"]) == (world, model, SUCCESS)]
            points = [[row for row in of_model if row["clips"] == count] for count in counts]
            pusht.line(ax, points, 0.06 * (n - len(SHOWN) / 2), color=colour, label=model)
        ax.set_xticks(range(len(counts)), [str(count) for count in counts])
        ax.set_xlim(-0.5, len(counts) - 0.5)
        ax.set_xlabel("labelled clips")
        ax.set_title(world)
        ax.set_ylim(0, 1)
        quiet(ax, grid="y")
    fig.axes[0].set_ylabel("success")
    fig.legend(*fig.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return fig


if __name__ == "__main__":
    main()
