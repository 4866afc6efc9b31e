"""Latent actions with few labels against a world model of real actions with as many: docs/results/planning.md.

    python benchmarks/planning.py [--worlds arm nav cameras] [--clips 32 0 ...] [--seeds 0 1 2] [--simulator] [--play]

The run (wildlam-tiny, if no other is given) was trained without labels on a mix that holds arm and nav; all films are
made if they are not there (``wildlam collect``). *cameras* is the arm, seen by a camera of its own in each film
(``--cameras many``).

For every world, number of labelled clips and seed a controller of the run and, on the same clips, a world model of real
actions (the part that V-JEPA 2-AC plays), of the run's size, are trained for as many steps, the latter with the
optimiser that suits it better. Both plan in the same held-out episodes: the arm by the DROID protocol with fewer
candidates (``--samples``) and iterations, the drives by the RECON protocol. Both plan once more, guided by what a
linear map of the same clips tells of the whole motion (``wildlam plan --guide``). Beside them stand what takes no world
model, of the same clips (``wildlam plan --controls``): a linear regression from start and goal, and goal-conditioned
behaviour cloning.

With ``--simulator``, all labels and the first seed, the simulator plans, too, in the place of the model and of the
controller: upper bounds. With ``--play``, the run driven by a controller of a tenth of the labels, and the world model
of all real actions act in the simulator.

The documents are written anew after every part. A part whose rows planning.json holds is not done again; to do all of
it again, give another ``--out`` and ``--work``. What was trained for a part that was interrupted goes on. Two calls,
for different worlds, can run side by side (OMP_NUM_THREADS=1 on two cores).
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from common import spread
from matplotlib.figure import Figure
from worlds import Rows, add_arguments, films, machines, prepare, weights_of

from wildlam.config import read_config
from wildlam.fileio import read_json
from wildlam.planning.protocols import droid
from wildlam.planning.protocols.protocol import ProtocolName
from wildlam.report.plots import LINES, quiet, svg
from wildlam.report.text import markdown_table
from wildlam.training import TrainingConfig
from wildlam.training.optimizers import OptimizerConfig
from wildlam.workflows.baseline import LabelledModelConfig, train_labelled_model
from wildlam.workflows.controller import ControllingConfig, train_controller
from wildlam.workflows.plan import EPISODES, plan
from wildlam.workflows.play import play

WORLDS: dict[str, tuple[ProtocolName, str, tuple[int, ...]]] = {
    "arm": ("droid", "displacement", (6,)),
    "nav": ("recon", "rpe", (1,)),
    "cameras": ("droid", "displacement", (6,)),
}
"""PlanningProtocol, the figure that it is judged by, and how often candidates are drawn (RECON's protocol: once)."""
STATED = ("arm", "nav")
"""Worlds whose iterations planning.json states for their protocols, so that another world belongs to the same study."""
PLAY = "closed loop"
PLAYED = {"arm": {"world": "arm"}, "nav": {"world": "nav"}, "cameras": {"world": "arm", "cameras": "many"}}
"""Simulators of the closed loop."""
ALL = 0
COUNTS = [32, ALL, 128, 16, 512, 64]
"""Labelled clips, the most telling first."""
GENTLE = OptimizerConfig(muon=False, adamw_lr=3e-4)
"""Optimiser of a labelled model of few clips, which Muon learns by heart within twenty steps (docs/results.md)."""
KEYS = ("protocol", "world", "seed", "clips")
"""Of the parts."""
FEW = 64
"""Labelled clips up to which the labelled model is trained gently."""
GUIDE = 0.1
"""Price of leaving what the linear map tells; ``codes.py --guides`` compares prices."""
GUIDED = {"latent": "latent, guided", "guide": "regression with z"}
"""Rows of guided plans, as they are called here."""
RATIOS = [
    ("latent", "labelled"),
    ("latent", "no move"),
    ("latent, guided", "labelled"),
    ("latent, guided", "labelled, guided"),
    ("latent, guided", "regression"),
    ("latent, guided", "cloning"),
    ("latent", "cloning"),
]
"""What is compared."""
SHOWN = ("latent", "labelled", "regression", "latent, guided", "cloning")
"""Lines of the picture."""
TENTH = {"arm": 168, "nav": 396, "cameras": 168}
"""Labelled clips of who plays against all labels: a tenth of those of the world."""


def main() -> None:
    args = parsed()
    prepare(args)
    rows = Rows(args.out / "planning.json", {"weights": weights_of(args.run), **settings(args)}, KEYS)
    for seed in args.seeds:
        for count in args.clips:
            for world in args.worlds:
                simulator = args.simulator and count == ALL and seed == args.seeds[0]
                part = {"world": world, "protocol": WORLDS[world][0], "clips": count or "all", "seed": seed}
                if not rows.has(**part, model="inferred" if simulator else "latent, guided"):
                    driver, labelled = driver_of(args, world, count, seed), labelled_of(args, world, count, seed)
                    plans = planned(args, world, driver, labelled, count, seed, simulator)
                    write(rows.add([{**part, **row} for row in rows_of(world, driver, labelled, plans)]), args)
    for seed, world in product(args.seeds, args.worlds) if args.play else ():
        if not rows.has(world=world, protocol=PLAY, seed=seed, clips=TENTH[world]):
            driver, labelled = driver_of(args, world, TENTH[world], seed), labelled_of(args, world, ALL, seed)
            out = args.work / "study" / f"play_{world}_{seed}"
            if not (out / "play.json").is_file():
                play(run=args.run, controller=driver, baselines=[labelled], seed=seed, out=out, **PLAYED[world])
            write(rows.add(rows_of_play(out, world)), args)
    write(rows.read(), args)
    print((args.out / "planning.md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, WORLDS)
    parser.add_argument(
        "--clips",
        type=int,
        nargs="+",
        default=COUNTS,
        help="labelled clips, in this order; 0: all",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of clips, training and plans")
    parser.add_argument("--steps", type=int, help="training steps; 200 (up to 64 clips), 400 or 800 (all) by default")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="held-out episodes")
    parser.add_argument("--samples", type=int, default=64, help="candidates of an iteration, arm")
    parser.add_argument(
        "--simulator", action="store_true", help="the upper bound, too; a quarter of an hour for the arm"
    )
    parser.add_argument("--play", action="store_true", help="the closed loop, too")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for planning.json, .md and .svg")
    return parser.parse_args()


def settings(args: argparse.Namespace) -> dict:
    """What all rows have in common, beside the run."""
    iterations = {world: list(WORLDS[world][2]) for world in STATED}
    return {name: getattr(args, name) for name in ("steps", "episodes", "samples")} | {"iterations": iterations}


def steps_of(args: argparse.Namespace, count: int) -> int:
    """Training steps for a number of labelled clips."""
    return args.steps or (800 if count == ALL else 400 if count > FEW else 200)


def driver_of(
    args: argparse.Namespace, world: str, count: int, seed: int, study: Path | None = None, **changes: Any
) -> Path:
    """A controller of one world, number of clips and seed: its folder, in ``study``; ``changes`` of its config."""
    config, often = ControllingConfig(**clips_of(args, world, count, seed), **changes), judged_every(args, count)
    if "training" not in changes:
        training = replace(config.training, steps=steps_of(args, count), save_every=often, eval_every=often)
        config = replace(config, training=training)
    folder = (study or args.work / "study") / f"controller_{world}_{count or 'all'}_{seed}"
    return train_controller(args.run, config, folder)


def labelled_of(args: argparse.Namespace, world: str, count: int, seed: int, study: Path | None = None) -> Path:
    """A world model of real actions of one world, number of clips and seed: its folder, in ``study``."""
    config, often = read_config(args.run / "config.yaml"), judged_every(args, count)
    optimizer = GENTLE if 0 < count <= FEW else OptimizerConfig()
    training = TrainingConfig(steps=steps_of(args, count), save_every=often, eval_every=often, optimizer=optimizer)
    return train_labelled_model(
        config.encoder.build(),
        LabelledModelConfig(**clips_of(args, world, count, seed), model=config.model, training=training),
        config.data.fps,
        (study or args.work / "study") / f"labelled_{world}_{count or 'all'}_{seed}",
    )


def clips_of(args: argparse.Namespace, world: str, count: int, seed: int) -> dict:
    """What is said of the labelled clips, alike for both."""
    return {"data": films(args, world), "clips": count or None, "seed": seed}


def judged_every(args: argparse.Namespace, count: int) -> int:
    """Steps between evaluations: all are judged as often, as with few clips the best step comes early."""
    return max(steps_of(args, count) // 10, 1)


def planned(
    args: argparse.Namespace, world: str, driver: Path, labelled: Path, count: int, seed: int, simulator: bool
) -> dict[Path, str]:
    """Plan with both, guided where plans can be, and in the simulator if asked to: figures by the plans' folders."""
    protocol, figure, iterations = WORLDS[world]
    of = f"{driver.name}_{args.episodes}_episodes_{args.samples}_samples"
    plans = {}
    for often, guide in product(iterations, (None, GUIDE)):
        folder = driver.with_name(f"plans_{often}_{of}" if guide is None else f"guided_{guide:g}_{often}_{of}")
        kept, simulates, wanted = folder / "plans.json", simulator and guide is None, "latent"
        if guide is None:
            wanted = "inferred" if simulates else "cloning"
        if not kept.is_file() or wanted not in read_json(kept)["summary"]:
            plan(
                run=args.run,
                protocol=protocol,
                data=films(args, world),
                controller=driver,
                baselines=[labelled],
                guide=guide,
                controls=guide is None,
                clips=count or None,
                episodes=args.episodes,
                samples=args.samples if protocol == "droid" else None,
                iterations=often,
                simulator=simulates,
                seed=seed,
                out=folder,
            )
        plans[folder] = drawn(figure, often)
    return plans


def rows_of(world: str, driver: Path, labelled: Path, plans: dict[Path, str]) -> list[dict]:
    """What was found for one world, number of clips and seed."""
    figure = WORLDS[world][1]
    errors = read_json(driver / "results.json")
    figures = {"rollout error over inferred": "over_idm", "z error": "z", "size of change": "movement"}
    rows = [{"model": "latent", "figure": words, "value": errors[key]["mean"]} for words, key in figures.items()]
    for folder, words in plans.items():
        found = read_json(folder / "plans.json")
        names = {labelled.name: "labelled"}
        if found["guide"] is not None:  # of the others there are rows without one
            names = {labelled.name: "labelled, guided", **GUIDED}
        for label, of in found["summary"].items():
            if found["guide"] is None or label in names:
                rows.append({"model": names.get(label, label), "figure": words, "value": of[figure]["mean"]})
    return rows


def rows_of_play(folder: Path, world: str) -> list[dict]:
    """What came of acting in a world."""
    found = read_json(folder / "play.json")
    known = {"latent": ("latent", TENTH[world]), "no move": ("no move", 0), "random": ("random", 0)}
    rows = []
    for label, of in found["summary"].items():
        model, clips = known.get(label, ("labelled", "all"))
        common = {"world": world, "protocol": PLAY, "clips": clips, "seed": found["seed"], "model": model}
        for figure in ("success", "final distance"):
            found_there = {"value": of[figure]["mean"], "low": of[figure]["low"], "high": of[figure]["high"]}
            rows.append({**common, "figure": figure, **found_there})
    return rows


def drawn(figure: str, iterations: int) -> str:
    return f"{figure}, candidates drawn {'once' if iterations == 1 else f'{iterations} times'}"


def write(rows: list[dict], args: argparse.Namespace) -> None:
    (args.out / "planning.md").write_text(text(rows, args))
    (args.out / "planning.svg").write_bytes(curves(rows))


def values(rows: list[dict], **wanted: object) -> list[float]:
    return [row["value"] for row in rows if all(row[key] == value for key, value in wanted.items())]


def counts_of(rows: list[dict], world: str) -> list:
    found = {row["clips"] for row in rows if row["world"] == world and row["protocol"] != PLAY}
    return sorted(found, key=lambda count: (count == "all", count))


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown: mean over seeds (smallest to largest)."""
    lines = [
        "# Planning with few labels",
        "",
        f"Made by `python benchmarks/planning.py` on {machines(rows)}:",
        f"{args.episodes} held-out episodes; mean over the seeds (smallest to largest); lower is better.",
        "*latent*: the run, which never saw an action, driven by a controller of the labelled clips; *labelled*: a",
        "world model of real actions, of the labelled clips, for as many steps. A quarter of the clips chooses",
        "checkpoints.",
        "*regression*: a linear map from start and goal to the whole motion, of the labelled clips, no model; *with",
        "z*: one from z of the two in its place, or the mean of both, if that misses less of recordings that were not",
        "fitted to; *cloning*: a network from both to the mean action of a step, of the same clips. *guided*: leaving",
        f"the regression with z has a price ({GUIDE:g}); of labelled models, that without z.",
        f"On the arm the DROID protocol has {args.samples} candidates, drawn {WORLDS['arm'][2][0]} times, in place of",
        f"{droid.SAMPLES} drawn {droid.ITERATIONS} times.",
        "",
        "![Error of plans over that of staying, by labelled clips](planning.svg)",
    ]
    for world, (protocol, of_world, iterations) in WORLDS.items():
        counts = counts_of(rows, world)
        if not counts:
            continue
        lines += ["", f"## {world}: {protocol} protocol"]
        for figure in (drawn(of_world, often) for often in iterations):
            chosen = [row for row in rows if row["world"] == world and row["figure"] == figure]
            models = list(dict.fromkeys(row["model"] for row in chosen))
            pairs = [pair for pair in RATIOS if set(pair) <= set(models)]
            table = []
            for count in counts:
                of = {m: values(chosen, clips=count, model=m) for m in models}
                mean = {m: statistics.mean(v) for m, v in of.items() if v}
                cells = [spread(of[m]) if of[m] else "" for m in models]
                table.append([str(count), str(len(of["latent"])), *cells, *(ratio(mean, *pair) for pair in pairs)])
            heads = ["labelled clips", "seeds", *models, *(" / ".join(pair) for pair in pairs)]
            lines += ["", f"{figure}:", "", *markdown_table(heads, table)]
        lines += [
            "",
            "The controllers (1: as good as inferred; as bad as their mean; as large as the truth):",
            "",
        ]
        names = ["rollout error over inferred", "z error", "size of change"]
        table = []
        for count in counts:
            cells = [spread(values(rows, world=world, clips=count, model="latent", figure=name)) for name in names]
            table.append([str(count), *cells])
        lines += markdown_table(["labelled clips", *names], table)
    if closed := [row for row in rows if row["protocol"] == PLAY]:
        lines += ["", "## Closed loop", ""]
        lines += [
            "50 episodes a seed, planning anew at every step towards a goal image (`wildlam play`); mean over seeds"
        ]
        lines += ["(smallest to largest; of one seed, the 95 % interval of its episodes).", ""]
        table = []
        for world, model, clips in dict.fromkeys((row["world"], row["model"], row["clips"]) for row in closed):
            own = [row for row in closed if (row["world"], row["model"], row["clips"]) == (world, model, clips)]
            cells = [over_seeds([row for row in own if row["figure"] == f]) for f in ("success", "final distance")]
            seeds = len({row["seed"] for row in own})
            table.append([world, model, str(clips or "none"), str(seeds), *cells])
        lines += markdown_table(["world", "model", "labelled clips", "seeds", "success", "final distance"], table)
    return "\n".join([*lines, ""])


def ratio(means: dict[str, float], one: str, other: str) -> str:
    return f"{means[one] / means[other]:.2f}" if {one, other} <= means.keys() else ""


def over_seeds(rows: list[dict]) -> str:
    """Mean and range of a figure of the closed loop."""
    if len(rows) == 1:
        return f"{rows[0]['value']:.3g} ({rows[0]['low']:.3g} to {rows[0]['high']:.3g})"
    return spread([row["value"] for row in rows])


@svg
def curves(rows: list[dict]) -> Figure:
    """Error over that of staying, by labelled clips: mean over seeds, and their range."""
    worlds = [world for world in WORLDS if counts_of(rows, world)]
    fig = Figure(figsize=(4.5 * len(worlds), 3.6), layout="constrained")
    for ax, world in zip(fig.subplots(1, len(worlds), squeeze=False)[0], worlds, strict=True):
        counts, figure = counts_of(rows, world), drawn(WORLDS[world][1], WORLDS[world][2][0])
        for colour, model in zip(LINES, SHOWN, strict=False):
            if not any(row["world"] == world and row["model"] == model for row in rows):
                continue
            shares: dict[int, torch.Tensor] = {}
            for at, count in enumerate(counts):
                wanted = {"world": world, "clips": count, "figure": figure}
                found, still = (values(rows, model=one, **wanted) for one in (model, "no move"))
                if len(found) == len(still):  # else a part was planned before there was such a row
                    shares[at] = torch.tensor(found) / torch.tensor(still)
            means = [float(share.mean()) for share in shares.values()]
            ends = [
                [m - float(s.min()) for m, s in zip(means, shares.values(), strict=True)],
                [float(s.max()) - m for m, s in zip(means, shares.values(), strict=True)],
            ]
            ax.errorbar(list(shares), means, ends, color=colour, marker="o", ms=4, capsize=2.5, label=model)
        ax.axhline(1, color="0.5", lw=1, ls=":")
        ax.set_xticks(range(len(counts)), [str(count) for count in counts])
        ax.set_xlabel("labelled clips")
        ax.set_ylabel("error over that of no move")
        ax.set_title(f"{world}: {WORLDS[world][1]}")
        quiet(ax, grid="y")
        ax.legend(frameon=False)
    return fig


if __name__ == "__main__":
    main()
