"""Latent actions with few labels against a world model of real actions with as many: docs/results/planning.md.

    python benchmarks/planning.py --run runs/worlds/run --videos runs/worlds/videos [--worlds arm nav]
        [--clips 32 0 ...] [--seeds 0 1 2] [--out docs/results]

The run was trained without labels on a mix that holds both worlds (``wildlam collect nav|arm``). For every world,
number of labelled clips and seed a controller of the run (which sees the other films of that world, too, without their
labels) and, on the same clips, a world model of real actions (the part that V-JEPA 2-AC plays), of the run's size, are
trained for as many steps. Both plan in the same held-out episodes: the arm by the DROID protocol with fewer candidates
(``--samples``), the drives by the RECON protocol. With ``--simulator``, all labels and the first seed, the simulator
itself plans, too: the upper bound. With ``--play``, the run driven by a controller of a tenth of the labels, or less,
and the world model of all real actions act in the simulator. What is trained or planned is kept beside the run and not
done again; the documents are written anew after every part.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import torch
from common import machine, spread
from matplotlib.figure import Figure

from wildlam.config import RunConfig, read_config
from wildlam.controlling import ControllingConfig, train_controller
from wildlam.labelling import LabelledModelConfig, train_labelled_model
from wildlam.plan import EPISODES, ProtocolName, plan
from wildlam.play import play
from wildlam.report.plots import LINES, quiet, svg
from wildlam.training import TrainingConfig
from wildlam.training.run import read_json
from wildlam.types import Encoder

WORLDS: dict[str, tuple[ProtocolName, str, tuple[int, ...]]] = {
    "arm": ("droid", "displacement", (6,)),
    "nav": ("recon", "rpe", (1,)),
}
"""Protocol, the figure that it is judged by, and how often candidates are drawn (RECON's protocol: once)."""
PLAY = "closed loop"
ALL = 0
COUNTS = [32, ALL, 128, 16, 512, 64]
"""Labelled clips, the most telling first."""
TENTH = 128
"""Labelled clips of who plays against all labels: at most a tenth of those of either world."""


def main() -> None:
    args = parsed()
    config = read_config(args.run / "config.yaml")
    encoder = config.encoder.build()
    for seed in args.seeds:
        for count in args.clips:
            for world in args.worlds:
                study(args, config, encoder, world, count, seed)
                write(gathered(args), args)
    for world in args.worlds if args.play else []:
        driver, _, _ = folders(args, world, TENTH, args.seeds[0])
        _, labelled, _ = folders(args, world, ALL, args.seeds[0])
        if not (played(args, world) / "play.json").is_file():
            play(args.run, world, controller=driver, baselines=[labelled], seed=args.seeds[0], out=played(args, world))
        write(gathered(args), args)
    print((args.out / "planning.md").read_text())


def gathered(args: argparse.Namespace) -> list[dict]:
    """The rows of all parts that are finished, those of earlier calls included."""
    rows = []
    for seed in sorted({0, 1, 2, *args.seeds}):
        for count in dict.fromkeys([*COUNTS, *args.clips]):
            for world in WORLDS:
                rows += rows_of(args, world, count, seed)
    return rows + [row for world in WORLDS for row in rows_of_play(args, world)]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/worlds/run"), help="a trained run")
    parser.add_argument("--videos", type=Path, default=Path("runs/worlds/videos"), help="folder of the worlds' videos")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
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
    parser.add_argument(
        "--play", action="store_true", help="the closed loop, too; needs the parts of 128 and all clips"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for planning.json, .md and .svg")
    return parser.parse_args()


def study(args: argparse.Namespace, config: RunConfig, encoder: Encoder, world: str, count: int, seed: int) -> None:
    """Train and plan for one world, number of clips and seed."""
    protocol, _, iterations = WORLDS[world]
    steps = args.steps or (800 if count == ALL else 400 if count > 64 else 200)
    driver, labelled, plans = folders(args, world, count, seed)
    few = {"data": args.videos / world, "clips": count or None, "seed": seed}
    of_controller = ControllingConfig(**few, unlabelled=args.videos / world if count else None)
    # Both are judged as often: with few clips the best step comes early.
    often = max(steps // 10, 1)
    training = replace(of_controller.training, steps=steps, save_every=often, eval_every=often)
    train_controller(args.run, replace(of_controller, training=training), driver)
    whole = TrainingConfig(steps=steps, save_every=often, eval_every=often)
    train_labelled_model(
        encoder, LabelledModelConfig(**few, model=config.model, training=whole), config.data.fps, labelled
    )
    simulator = args.simulator and count == ALL and seed == args.seeds[0]
    for often, folder in zip(iterations, plans, strict=True):
        kept = folder / "plans.json"
        if not kept.is_file() or (simulator and "simulator" not in read_json(kept)["summary"]):
            plan(
                args.run,
                protocol,
                args.videos / world,
                controller=driver,
                baselines=[labelled],
                episodes=args.episodes,
                samples=args.samples if protocol == "droid" else None,
                iterations=often,
                simulator=simulator,
                seed=seed,
                out=folder,
            )


def folders(args: argparse.Namespace, world: str, count: int, seed: int) -> tuple[Path, Path, list[Path]]:
    """Those of a controller, of a labelled model and of their plans."""
    folder, name = args.run.parent / "study", f"{world}_{count or 'all'}_{seed}"
    plans = [folder / f"plans_{often}_{name}" for often in WORLDS[world][2]]
    return folder / f"controller_{name}", folder / f"labelled_{name}", plans


def rows_of(args: argparse.Namespace, world: str, count: int, seed: int) -> list[dict]:
    """What was found for one world, number of clips and seed; nothing if it is not finished."""
    protocol, figure, iterations = WORLDS[world]
    driver, labelled, plans = folders(args, world, count, seed)
    if not all((folder / "plans.json").is_file() for folder in plans):
        return []
    common = {"world": world, "protocol": protocol, "clips": count or "all", "seed": seed}
    errors = read_json(driver / "results.json")
    told = {"rollout error over inferred": "over_idm", "z error": "z", "size of change": "movement"}
    rows = [{**common, "model": "latent", "figure": words, "value": errors[key]["mean"]} for words, key in told.items()]
    for often, folder in zip(iterations, plans, strict=True):
        for label, of in read_json(folder / "plans.json")["summary"].items():
            model = "labelled" if label == labelled.name else label
            rows.append({**common, "model": model, "figure": drawn(figure, often), "value": of[figure]["mean"]})
    return rows


def played(args: argparse.Namespace, world: str) -> Path:
    """The folder of the closed loop."""
    return args.run.parent / "study" / f"play_{world}"


def rows_of_play(args: argparse.Namespace, world: str) -> list[dict]:
    """What came of acting in a world; nothing if that was not done."""
    if not (played(args, world) / "play.json").is_file():
        return []
    found = read_json(played(args, world) / "play.json")
    known = {"latent": ("latent", TENTH), "no move": ("no move", 0), "random": ("random", 0)}
    rows = []
    for label, of in found["summary"].items():
        model, clips = known.get(label, ("labelled", "all"))
        common = {"world": world, "protocol": PLAY, "clips": clips, "seed": found["seed"], "model": model}
        rows += [{**common, "figure": figure, "value": of[figure]["mean"]} for figure in ("success", "final distance")]
    return rows


def drawn(figure: str, iterations: int) -> str:
    return f"{figure}, candidates drawn {'once' if iterations == 1 else f'{iterations} times'}"


def write(rows: list[dict], args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "planning.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    (args.out / "planning.md").write_text(text(rows, args))
    (args.out / "planning.svg").write_bytes(curves(rows))


def values(rows: list[dict], **wanted: object) -> list[float]:
    return [row["value"] for row in rows if all(row[key] == value for key, value in wanted.items())]


def counts_of(rows: list[dict], world: str) -> list:
    found = {row["clips"] for row in rows if row["world"] == world and row["protocol"] != PLAY}
    return sorted(found, key=lambda count: (count == "all", count))


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown: mean over seeds (smallest to largest)."""
    seeds = len({row["seed"] for row in rows})
    lines = [
        "# Planning with few labels",
        "",
        f"Made by `python benchmarks/planning.py --run {args.run} --videos {args.videos}` on {machine()}:",
        f"{args.episodes} held-out episodes; mean over {seeds} seed(s) (smallest to largest); lower is better.",
        "*latent*: the run, which never saw an action, driven by a controller of the labelled clips (and of the other",
        "films of that world, without labels); *labelled*: a world model of real actions alone, trained on the",
        "labelled clips for as many steps, its best checkpoint by held-out error.",
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
            lines += ["", f"{figure}:", ""]
            lines.append(f"| labelled clips | {' | '.join(models)} | latent / labelled | latent / no move |")
            lines.append("| --- |" + " --- |" * (len(models) + 2))
            for count in counts:
                of = {m: values(chosen, clips=count, model=m) for m in models}
                mean = {m: statistics.mean(v) for m, v in of.items() if v}
                ratios = f"{mean['latent'] / mean['labelled']:.2f} | {mean['latent'] / mean['no move']:.2f}"
                cells = [spread(of[m]) if of[m] else "" for m in models]
                lines.append(f"| {count} | {' | '.join(cells)} | {ratios} |")
        lines += [
            "",
            "The controllers (1: as good as inferred; as bad as their mean; as large as the truth):",
            "",
        ]
        told = ["rollout error over inferred", "z error", "size of change"]
        lines += [f"| labelled clips | {' | '.join(told)} |", "| --- | --- | --- | --- |"]
        for count in counts:
            cells = [spread(values(rows, world=world, clips=count, model="latent", figure=name)) for name in told]
            lines.append(f"| {count} | {' | '.join(cells)} |")
    if closed := [row for row in rows if row["protocol"] == PLAY]:
        lines += ["", "## Closed loop", ""]
        lines += ["50 episodes, planning anew at every step towards a goal image (`wildlam play`).", ""]
        lines += ["| world | model | labelled clips | success | final distance |", "| --- | --- | --- | --- | --- |"]
        for world, model in dict.fromkeys((row["world"], row["model"]) for row in closed):
            own = [row for row in closed if (row["world"], row["model"]) == (world, model)]
            cells = [f"{values(own, figure=figure)[0]:.3f}" for figure in ("success", "final distance")]
            lines.append(f"| {world} | {model} | {own[0]['clips'] or 'none'} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


@svg
def curves(rows: list[dict]) -> Figure:
    """Error over that of staying, by labelled clips: mean over seeds, and their range."""
    fig = Figure(figsize=(9.0, 3.6), layout="constrained")
    worlds = [world for world in WORLDS if counts_of(rows, world)]
    for ax, world in zip(fig.subplots(1, len(worlds), squeeze=False)[0], worlds, strict=True):
        counts, figure = counts_of(rows, world), drawn(WORLDS[world][1], WORLDS[world][2][0])
        for colour, model in zip(LINES, ("latent", "labelled"), strict=False):
            shares = []
            for count in counts:
                wanted = {"world": world, "clips": count, "figure": figure}
                still = torch.tensor(values(rows, model="no move", **wanted))
                shares.append(torch.tensor(values(rows, model=model, **wanted)) / still)
            means = [float(share.mean()) for share in shares]
            ends = [
                [m - float(s.min()) for m, s in zip(means, shares, strict=True)],
                [float(s.max()) - m for m, s in zip(means, shares, strict=True)],
            ]
            ax.errorbar(range(len(counts)), means, ends, color=colour, marker="o", ms=4, capsize=2.5, label=model)
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
