"""Which form of latent action is most of an action? docs/results/codes.md

    python benchmarks/codes.py [--worlds arm nav] [--forms Transformer Linear Split ...] [--seeds 0 1 2] [--plans 32 0]
    python benchmarks/codes.py --worlds arm --forms Transformer Split --plans 32 0 --guides 0.1

Models that differ in their inverse dynamics model, in the price of a nat, or in what is asked of latent actions besides
prediction, are trained without labels on the films of one world (those of ``diagnose.py``, made if they are not there).
Each is then asked, on other films: how well does it predict a step, and how much does z say (nats)? How well does a
*linear* map tell what was truly done from z, fitted to few labelled clips and to all: step by step, and from the z of
start and goal alone? Does z, taken in another clip, come out the same when it is inferred again from what it did there?
With ``--plans``, how far from the goal do plans end that a controller of so many labelled clips makes (as in
``planning.py``)? With ``--guides``, too, if the same clips guide them (``wildlam plan --guide``)?

The models are small (``nano``), so that one takes about five minutes on one core. What codes.json holds is not done
again, and a training that was cut off goes on; to do all of it again, give another ``--out`` and ``--work``. Two calls,
one for each world, can run side by side (OMP_NUM_THREADS=1 on two cores).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from common import spread
from diagnose import WORLDS
from planning import driver_of
from rungs import SPAN, STEPS, Ladder, ladder_of, row_name
from torch import Tensor
from worlds import FPS, Rows, film, films, machines

from wildlam.config import RunConfig, dump_config
from wildlam.distributed import Processes
from wildlam.encoders import Lite0
from wildlam.models import LatentActionModel, ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.models.consistency import Additive, Composition, Cycle
from wildlam.models.inverse_dynamics import Difference, Linear, Split, Transformer
from wildlam.report.text import markdown_table
from wildlam.runs.folder import Run
from wildlam.training import TrainingConfig
from wildlam.training.loop import fit
from wildlam.types import Encoder, StateBatch
from wildlam.video.config import DataConfig
from wildlam.workflows.plan import plan

WEIGHT = 0.05
PLAIN = ModelConfig(idm=Transformer(), place=False, bottleneck=Noisy(dim=48, beta=1e-4))
CHEAP = replace(PLAIN, bottleneck=Noisy(dim=48, beta=5e-5))
HALVES = Split(linear=0.5, local=0.0)
DEARER = replace(HALVES, surcharge=2.0, dropped=0.0)
"""Neither half is ever dropped, and a nat of the transformer's costs twice as much."""
FORMS = {
    "Transformer": PLAIN,
    "Linear": replace(PLAIN, idm=Linear()),
    "Split": replace(PLAIN, idm=HALVES),
    "Split, dearer": replace(PLAIN, idm=DEARER),
    "Transformer, half the price": CHEAP,
    "Linear, half the price": replace(CHEAP, idm=Linear()),
    "Split, dearer, half the price": replace(CHEAP, idm=DEARER),
    "Difference": replace(PLAIN, idm=Difference()),
    "Transformer, Additive": replace(PLAIN, consistency=Additive(weight=WEIGHT)),
    "Transformer, Composition": replace(PLAIN, consistency=Composition(weight=WEIGHT)),
    "Transformer, Cycle": replace(PLAIN, consistency=Cycle(weight=WEIGHT)),
}
"""By name; at half the price the transformer's dimensions of the dearer Split cost what they do elsewhere."""
COUNTS = (32, 0)
"""Labelled clips, 0 for all."""
DRAWS = (0, 1, 2)
"""Of the labelled clips."""
HELD_OUT = 256
"""Held-out clips that a model is judged on."""
CONTROL = "no model: difference of the states"
KEYS = ("world", "form", "seed")
NATS, ERROR, COPY, PLAN, GUIDED = "nats", "one-step error", "copying", "plan", "plan guided at"
ALONE = {"guide": "guide alone", "regression": "regression alone"}
"""What guides by itself, and what it is called here."""
FIGURES = (ERROR, "under z of another clip", "under the mean z", COPY, NATS, "cycle")
ABOUT = {
    ERROR: "mean L1 error of the next state under its own z; *under z of another clip*, *under the mean z*: the same "
    "with these, far above it if z is used; *copying*: of the last state.",
    NATS: "what z says, on average.",
    "cycle": "share of z's variance that comes out again when z is taken in another clip and inferred from its effect.",
    "steps, start and goal": "error of the sum of actions that a ridge tells from z, as in "
    "[diagnosis.md](diagnosis.md), of all labelled clips or of 32; the first row tells them without a model, from "
    "principal components of the difference of the two states.",
    PLAN: "error of plans in the held-out episodes of [planning.md](planning.md), by a controller of so many "
    "labelled clips (`--plans`).",
    GUIDED: "the same, guided at this price (`--guides`) by linear maps of start and goal, of the same clips; *guide "
    "alone*: what these tell; *regression alone*: that of them that sees no z, so that no model enters.",
}


def main() -> None:
    args = parsed()
    of = {"size": args.size, "steps": args.steps, "batch": args.batch}
    rows = Rows(args.out / "codes.json", of, KEYS)
    film(args, args.worlds)
    encoder = Lite0().build()
    for world in args.worlds:
        model = PLAIN.build(encoder.spec.width, encoder.spec.grid)
        ladder = ladder_of(model, encoder, FPS, films(args, world), WORLDS[world], HELD_OUT, 1)
        if not rows.has(world=world, form=CONTROL):
            part = {"world": world, "form": CONTROL, "seed": "none"}
            (args.out / "codes.md").write_text(
                text(rows.add([part | row for row in decoded(ladder, "difference")]), args)
            )
        for seed, form in product(args.seeds, args.forms):
            if not rows.has(world=world, form=form, seed=seed):
                one = replace(ladder, model=trained(args, ladder, world, form, seed))
                part = {"world": world, "form": form, "seed": seed}
                found = [part | row for row in (*predicted(one), *decoded(one, "z"))]
                (args.out / "codes.md").write_text(text(rows.add(found), args))
        for seed, form, count in product(args.seeds, args.forms, args.plans):
            part = {"world": world, "form": form, "seed": seed}
            for guide in (None, *args.guides):
                names = {"latent": PLAN} if guide is None else {"latent": f"{GUIDED} {guide:g}", **ALONE}
                if not all(rows.has(figure=told_by(name, count), **part) for name in names.values()):
                    trained(args, ladder, world, form, seed)
                    run = folder(args, world, form, seed)
                    found = [part | row for row in planned(args, world, run, count, seed, names, guide)]
                    beside = [row for row in rows.read() if all(row[key] == value for key, value in part.items())]
                    beside = [row for row in beside if row["figure"] not in {new["figure"] for new in found}]
                    (args.out / "codes.md").write_text(text(rows.add([*beside, *found]), args))
    (args.out / "codes.md").write_text(text(rows.read(), args))
    print((args.out / "codes.md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/worlds"), help="folder for films and models")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=["arm", "nav"])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--plans", type=int, nargs="+", default=[], help="plan by so many labelled clips; 0: all")
    parser.add_argument("--guides", type=float, nargs="+", default=[], help="also with guides of this price; arm only")
    parser.add_argument("--size", default="nano", help="of the models")
    parser.add_argument("--steps", type=int, default=400, help="training steps of each")
    parser.add_argument("--batch", type=int, default=32, help="clips of a step")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for codes.json and codes.md")
    return parser.parse_args()


def trained(args: argparse.Namespace, ladder: Ladder, world: str, form: str, seed: int) -> LatentActionModel:
    """A model, trained if it is not there."""
    often = max(args.steps // 4, 1)
    training = TrainingConfig(steps=args.steps, batch_size=args.batch, save_every=often, eval_every=often, keep=1)
    config = RunConfig(
        data=DataConfig(path=films(args, world).absolute(), fps=FPS),
        encoder=Lite0(),
        model=replace(FORMS[form], size=args.size),
        training=training,
        seed=seed,
    )
    run = Run(folder(args, world, form, seed))
    encoder, states = ladder.encoder, ladder.train.states
    run.create(dump_config(config), seed, encoder.spec)
    torch.manual_seed(seed)
    model = config.model.build(encoder.spec.width, encoder.spec.grid)

    def batches(start: int) -> Iterator[StateBatch]:
        for step in range(start, args.steps):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            drawn = torch.randint(len(states), (args.batch,), generator=generator)
            yield StateBatch(
                states[drawn], [f"clip {i}" for i in drawn.tolist()], [world] * args.batch, [0.0] * args.batch
            )

    def prepare(batch: StateBatch) -> tuple[Tensor]:
        return (batch.states.to(encoder.device).float(),)

    title = f"{world}, {form}, seed {seed}"
    fitted = fit(model, batches, prepare, training, run, team(encoder), seed=seed, resume=True, title=title)
    assert isinstance(fitted, LatentActionModel)
    return fitted


def folder(args: argparse.Namespace, world: str, form: str, seed: int) -> Path:
    sizes = f"{args.size}_{args.steps}x{args.batch}"
    return args.work / "codes" / sizes / f"{world}_{form.replace(', ', '_').replace(' ', '_')}_{seed}"


def planned(
    args: argparse.Namespace,
    world: str,
    run: Path,
    count: int,
    seed: int,
    names: dict[str, str],
    guide: float | None,
) -> Iterator[dict]:
    """Errors of plans of a run, driven by a controller of so many labelled clips, and that of staying."""
    of, data = WORLDS[world], films(args, world)
    driver = driver_of(argparse.Namespace(run=run, work=args.work, steps=None), world, count, seed, run / "study")
    samples, iterations = of.searches[0]
    settings = {"samples": samples, "iterations": iterations, "seed": seed}
    out = driver.with_name(f"plans_{driver.name}")
    if guide is not None:
        settings |= {"guide": guide, "clips": count or None}
        out = driver.with_name(f"plans_{driver.name}_guide_{guide:g}")
    found = plan(run=run, protocol=of.protocol, data=data, controller=driver, out=out, **settings).rows
    still = float(found["no move"].values[of.figure].mean())
    for row, name in names.items():
        yield {"figure": told_by(name, count), "value": float(found[row].values[of.figure].mean()), "still": still}


def team(encoder: Encoder) -> Processes:
    return Processes(0, 1, encoder.device)


@torch.no_grad()
def predicted(ladder: Ladder) -> list[dict]:
    """Errors of one step under z and without it, what z says, and whether it comes back from another clip."""
    model, clips = ladder.model, ladder.clips(0)
    states = clips.states.to(ladder.encoder.device).float()
    z, before, after = model.infer(states), states[:, :-1], states[:, 1:]

    def error(predicted: Tensor) -> float:
        return float((predicted - after).abs().mean())

    figures = [
        error(model.predict(before, z)),
        error(model.predict(before, z.roll(1, dims=0))),
        error(model.predict(before, z.mean(dim=(0, 1)).expand_as(z))),
        error(before),
        float(model.nats(states).mean()),
        returned(model, before, z),
    ]
    return [{"figure": figure, "value": value} for figure, value in zip(FIGURES, figures, strict=True)]


def returned(model: LatentActionModel, before: Tensor, z: Tensor) -> float:
    """R² of z by what is inferred again of its effect in another clip, one step at a time."""
    there = before.roll(1, dims=0).flatten(0, 1)[:, None]
    effect = model.predict(there, z.flatten(0, 1)[:, None])
    again = model.infer(torch.cat((there, effect), dim=1))[:, 0].view_as(z)
    return 1 - float((again - z).square().sum() / (z - z.mean(dim=(0, 1))).square().sum())


def decoded(ladder: Ladder, seen: str) -> Iterator[dict]:
    """What linear maps tell from z or from the states' difference: means over draws of labelled and held-out clips."""
    for count in COUNTS:
        found: dict[str, list[dict]] = {}
        for draw in DRAWS:
            for row in ladder.told(count, draw, [seen], ["linear"]):
                if not row["few"]:
                    how = STEPS if row["row"] == row_name(seen, STEPS, "linear") else SPAN
                    name = told_by(how, count) if row["figure"] == "error" else row["figure"]
                    found.setdefault(name, []).append(row)
        for figure, rows in found.items():
            means = {key: statistics.mean(row[key] for row in rows) for key in ("value", "still") if key in rows[0]}
            yield {"figure": figure, **means}


def told_by(how: str, count: int) -> str:
    return f"{how}, {count or 'all'}"


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown."""
    lines = [
        "# Forms of latent actions",
        "",
        f"Made by `python benchmarks/codes.py` on {machines(rows)}: models of size {args.size}, {args.steps} steps of",
        f"{args.batch} clips of 8 Lite0 states, z of 48 dimensions under noise at 1e-4 a nat (half of that where it",
        f"says so), consistency at a weight of {WEIGHT:g}. *Split*: half of z by a linear map, and of half of the",
        "transitions one half is dropped in training; *dearer*: none is, and a nat of the transformer's half costs",
        f"twice as much. {HELD_OUT} held-out clips; means over seeds (smallest to largest; where these are missing,",
        "of one seed).",
        "Forms and seeds that are missing here have not been run.",
        "",
        *(f"- *{name}*: {about}" for name, about in ABOUT.items()),
    ]
    for world in WORLDS:
        of_world = [row for row in rows if row["world"] == world]
        if of_world:
            lines += ["", f"## {world}", "", *table(of_world)]
    return "\n".join([*lines, ""])


def table(rows: list[dict]) -> list[str]:
    forms = [form for form in (CONTROL, *FORMS) if any(row["form"] == form for row in rows)]
    figures = [*FIGURES, *(told_by(how, count) for how, count in product((STEPS, SPAN), COUNTS))]
    figures += dict.fromkeys(row["figure"] for row in rows if row["figure"].startswith("R²"))
    plans = {row["figure"]: row for row in rows if row["figure"].startswith((PLAN, *ALONE.values()))}
    figures += sorted(plans)
    body = []
    for form in forms:
        own = [row for row in rows if row["form"] == form]
        values = {figure: [row["value"] for row in own if row["figure"] == figure] for figure in figures}
        cells = [spread(values[figure]) if values[figure] else "" for figure in figures]
        body.append([form, str(len(values[ERROR]) or ""), *cells])
    still = statistics.mean(row["still"] for row in rows if "still" in row and row["figure"] not in plans)
    planned = [row["still"] for row in rows if row["figure"] in plans]
    also = f", in the episodes of the plans by {statistics.mean(planned):.3g}" if planned else ""
    return [f"Staying errs by {still:.3g}{also}.", "", *markdown_table(["form", "seeds", *figures], body)]


if __name__ == "__main__":
    main()
