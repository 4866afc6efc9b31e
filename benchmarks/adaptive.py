"""Does a limit that adapts to the clip pay? Writes adaptive.md, .json and .svg.

    python benchmarks/adaptive.py [--rows fixed limits] [--prices 3e-5 1e-4 ...] [--seeds 0 1 2] [--steps 600]

Films of things that move are made if they are not there (``wildlam collect movers``); how many move is known.

- ``fixed``: what a model with a fixed price of a nat (wildlam-tiny, if no other run is given) spends on each held-out
  clip, against how much happens in it: how many things move, and how far off a copy of the last state and a model
  without latent actions are. Nothing but the latter is trained.
- ``limits``: ``Noisy`` and ``Adaptive`` at the same prices. The errors of the model without latent actions part the
  held-out clips into thirds: calm, middle, busy. Of each third: one-step error, nats, dimensions, scene cut and cycle.
  ``Adaptive`` also within other tolerances, and cut at each width: one model for every budget.

The documents are written anew after every model. What adaptive.json holds is not done again, and what was begun goes
on; to do all of it again, give another ``--out`` and ``--work``. All of it takes some three hours on one core; 20
minutes do for

    python benchmarks/adaptive.py --prices 1e-4 1e-3 --seeds 0 --size nano --batch 16 --episodes 160
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from budgets import ALL, FIXED, LIMITS, NEEDED, NONE, SECONDS, SEED, THIRDS, WHOLE, Study
from common import spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from worlds import Rows, machines, unpacked, weights_of

from wildlam.report.plots import LINES, quiet, svg
from wildlam.report.text import markdown_table
from wildlam.workflows.open_run import open_run

PRICES = [3e-5, 1e-4, 3e-4, 1e-3]
BARE = "Deterministic"
KEYS = ("limit", "price", "seed")
"""Of the parts."""
SPENT = {"copy": "error of a copy", "without z": "error without latent actions", "nats": "nats"}
"""What is shown of each clip."""
SHOWN = {"error": "one-step error", "cut": "scene cut", "cycle": "cycle"}
COMPARED = [*product(["error"], [ALL, *THIRDS]), ("cut", ALL), ("cut", "calm"), ("cut", "busy"), ("cycle", ALL)]
COMPARED += [("cycle", "calm"), ("cycle", "busy")]
"""Figures and groups that are compared at equal mean nats."""


def main() -> None:
    args = parsed()
    args.run = args.run or unpacked(args)
    settings = {name: getattr(args, name) for name in ("episodes", "steps", "batch", "size", "dim")}
    rows = Rows(args.out / "adaptive.json", {"weights": weights_of(args.run), **settings}, KEYS)
    study = Study(args, open_run(args.run))
    if "fixed" in args.rows and not rows.has(limit=FIXED):
        part = {"limit": FIXED, "price": study.opened.config.model.bottleneck.beta, "seed": NONE}
        write(rows.add([part | row for row in study.fixed()]), args)
    for seed in args.seeds if "limits" in args.rows else ():
        for price, limit in [(NONE, BARE), *product(args.prices, LIMITS)]:
            part = {"limit": limit, "price": price, "seed": seed}
            if not rows.has(**part):
                found = study.bare(seed) if limit == BARE else study.limited(limit, price, seed)
                write(rows.add([{**part, **row} for row in found]), args)
    write(rows.read(), args)
    print((args.out / "adaptive.md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a Noisy run, for the fixed price and the encoder; wildlam-tiny")
    parser.add_argument("--work", type=Path, default=Path("runs/worlds"), help="folder for films and models")
    parser.add_argument("--rows", nargs="+", choices=["fixed", "limits"], default=["fixed", "limits"])
    parser.add_argument("--prices", type=float, nargs="+", default=PRICES, help="of a nat, both limits'")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training")
    parser.add_argument("--episodes", type=int, default=320, help="films, an eighth of them held out")
    parser.add_argument("--steps", type=int, default=600, help="training steps of each model")
    parser.add_argument("--batch", type=int, default=32, help="clips of a step")
    parser.add_argument("--size", default="tiny", help="size of the models")
    parser.add_argument("--dim", type=int, default=32, help="width Z of latent actions")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for adaptive.json, .md and .svg")
    return parser.parse_args()


def write(rows: list[dict], args: argparse.Namespace) -> None:
    (args.out / "adaptive.md").write_text(text(rows, args))
    (args.out / "adaptive.svg").write_bytes(curves(rows))


def values(
    rows: list[dict], figure: str = "error", kept: str | None = None, group: str = ALL, **wanted: object
) -> list:
    """A figure over the seeds; as it is used, if nothing is said of what is kept."""
    wanted |= {"figure": figure, "group": group}
    found = [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]
    return [row["value"] for row in found if row["kept"] in ((WHOLE, NEEDED) if kept is None else (kept,))]


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown."""
    lines = [
        "# Limits that adapt to the clip",
        "",
        f"Made by `python benchmarks/adaptive.py` on {machines(rows)}:",
        f"{args.episodes} films of things that move (`wildlam collect movers`, {SECONDS:g} s, seed {SEED}), an eighth",
        f"of them held out; models of size `{args.size}` that know places, Z = {args.dim}, {args.steps} steps of",
        f"{args.batch} clips.",
        "",
        "![Nats of clips against how much happens; error against nats](adaptive.svg)",
    ]
    clips = [row for row in rows if row["limit"] == FIXED]
    lines += fixed_section(clips) if clips else []
    limits = [row for row in rows if row["limit"] in LIMITS]
    lines += limits_section(limits, [row for row in rows if row["limit"] == BARE]) if limits else []
    return "\n".join([*lines, ""])


def fixed_section(clips: list[dict]) -> list[str]:
    """What a fixed price spends on each clip."""
    still = [clip for clip in clips if clip["background"] == "still"]
    by_movers = {count: [clip for clip in still if clip["movers"] == count] for count in (range(9))}
    table = [[f"{count}, still", *means(found)] for count, found in by_movers.items() if found]
    for background in sorted({clip["background"] for clip in clips} - {"still"}):
        table.append([f"any, {background}", *means([clip for clip in clips if clip["background"] == background])])
    of_copy, of_bare, of_movers = rank(clips, "copy"), rank(clips, "without z"), rank(still, "movers")
    return [
        "",
        "## A fixed price",
        "",
        f"`Noisy` at one price, {clips[0]['price']:g}: {len(clips)} held-out clips. Rank correlation of a clip's nats",
        f"with the error of a copy: {of_copy:.2f}; with that of a model without latent actions: {of_bare:.2f}; with",
        f"how many things move, of clips whose background stands still: {of_movers:.2f}. Nats and errors are means",
        "over a clip's transitions.",
        "",
        *markdown_table(["moving, background", "clips", *SPENT.values()], table),
    ]


def means(clips: list[dict]) -> list[str]:
    return [str(len(clips)), *(f"{statistics.mean(clip[name] for clip in clips):.3g}" for name in SPENT)]


def rank(clips: list[dict], name: str) -> float:
    """Spearman's correlation of nats with a figure; 0 where there is none."""
    of, nats = ([clip[key] for clip in clips] for key in (name, "nats"))
    return float(spearmanr(of, nats).statistic) if len(set(of)) > 1 < len(set(nats)) else 0.0


def limits_section(rows: list[dict], bare: list[dict]) -> list[str]:
    prices = sorted({row["price"] for row in rows})
    own = []
    for limit, price in product(LIMITS, prices):
        wanted = {"limit": limit, "price": price}
        if nats := values(rows, "nats", **wanted):
            dims = values(rows, "dims", **wanted)
            cells = [in_thirds(rows, figure, **wanted) for figure in SHOWN]
            own.append([f"{limit} {price:g}", str(len(nats)), spread(nats), spread(dims) if dims else "", *cells])
    if bare:
        own.append([BARE, str(len(values(bare))), "0", "", *(in_thirds(bare, figure) for figure in SHOWN)])
    equal = [[f"{price:g}", *(ratio_cell(rows, price, *of) for of in COMPARED)] for price in prices]
    lines = [
        "",
        "## Two limits",
        "",
        "Thirds of the held-out clips by the error of a model without latent actions: all (calm, middle, busy),",
        "means over seeds. *scene cut*: error at a cut over that without one; *cycle*: error of a rollout with latent",
        "actions that have been to another clip over that with those that have not.",
        "",
        *markdown_table(["limit, price", "seeds", "nats", "dimensions", *SHOWN.values()], own),
        "",
        "At equal mean nats: the figure of `Adaptive` over that of `Noisy`, interpolated between its prices at the",
        "nats that `Adaptive` spends on average; mean over the seeds (smallest to largest). Under 1 is better for",
        "errors and cycles, over 1 for scene cuts. Empty where `Noisy` spends as much at no price.",
        "",
        *markdown_table(["price", *(f"{SHOWN[figure]}, {group}" for figure, group in COMPARED)], equal),
    ]
    adaptive = [row for row in rows if row["limit"] == "Adaptive"]
    if adaptive:
        kept = list(dict.fromkeys(row["kept"] for row in adaptive))
        budgets = [[name, *(budget_cell(adaptive, price, name) for price in prices)] for name in kept if name != NEEDED]
        lines += [
            "",
            "One model, every budget: `Adaptive` cut to so many dimensions, or to as many as predict each transition",
            "within so much of the whole; one-step error (nats), means over seeds.",
            "",
            *markdown_table(["kept", *(f"{price:g}" for price in prices)], budgets),
        ]
    moving = sorted({row["group"] for row in rows if row["group"].endswith("moving")})
    spent = []
    for limit, price in product(LIMITS, prices):
        found = [values(rows, "nats", group=group, limit=limit, price=price) for group in moving]
        if any(found):
            spent.append([f"{limit} {price:g}", *(f"{statistics.mean(one):.3g}" if one else "" for one in found)])
    return [*lines, "", "Nats by how many things move:", "", *markdown_table(["limit, price", *moving], spent)]


def in_thirds(rows: list[dict], figure: str, **wanted: object) -> str:
    found = [values(rows, figure, group=group, **wanted) for group in (ALL, *THIRDS)]
    if not all(found):
        return ""
    every, *thirds = (f"{statistics.mean(one):.3f}" for one in found)
    return f"{every} ({', '.join(thirds)})"


def budget_cell(rows: list[dict], price: float, kept: str) -> str:
    error, nats = (values(rows, figure, kept, price=price) for figure in ("error", "nats"))
    return f"{statistics.mean(error):.3f} ({statistics.mean(nats):.3g})" if error else ""


def ratio_cell(rows: list[dict], price: float, figure: str, group: str) -> str:
    found = []
    for seed in sorted({row["seed"] for row in rows}):
        own = [row for row in rows if row["seed"] == seed]
        ratio = at_equal_nats(own, price, figure, group)
        found += [] if ratio is None else [ratio]
    return spread(found) if found else ""


def at_equal_nats(rows: list[dict], price: float, figure: str, group: str) -> float | None:
    """A figure of ``Adaptive`` over that of ``Noisy`` where both spend as many nats on average; rows of one seed.

    None where ``Noisy`` spends as many at none of its prices, nor between two.
    """
    spent, own = (
        values(rows, name, limit="Adaptive", price=price, group=of) for name, of in (("nats", ALL), (figure, group))
    )
    noisy = [
        (
            values(rows, "nats", limit="Noisy", price=one)[0],
            values(rows, figure, group=group, limit="Noisy", price=one)[0],
        )
        for one in {row["price"] for row in rows if row["limit"] == "Noisy"}
    ]
    if not spent or not noisy:
        return None
    nats, known = zip(*sorted(noisy), strict=True)
    if not nats[0] <= spent[0] <= nats[-1]:
        return None
    return own[0] / float(np.interp(np.log(spent[0]), np.log(nats), known))


@svg
def curves(rows: list[dict]) -> Figure:
    """Nats of clips at a fixed price, by how much happens; error against nats of both limits."""
    fig = Figure(figsize=(9.6, 4.2), layout="constrained")
    left, right = fig.subplots(1, 2)
    clips = [row for row in rows if row["limit"] == FIXED]
    for colour, count in zip(LINES, sorted({clip["movers"] for clip in clips}), strict=False):
        own = [clip for clip in clips if clip["movers"] == count]
        left.scatter(
            *([clip[name] for clip in own] for name in ("without z", "nats")),
            s=12,
            color=colour,
            label=f"{count} moving",
        )
    left.set_xlabel("error without latent actions")
    left.set_ylabel("nats, mean over a clip's transitions")
    left.set_title("a fixed price")
    adaptive = [row for row in rows if row["limit"] == "Adaptive"]
    budgets = {":": ("0123456789", "Adaptive, cut at each width"), "--": ("%", "Adaptive, within tolerances")}
    for i, price in enumerate(sorted({row["price"] for row in adaptive})):
        own = [row for row in adaptive if row["price"] == price]
        for style, (ends, label) in budgets.items():
            kept = [one for one in dict.fromkeys(row["kept"] for row in own) if one[-1] in ends]
            line(right, [row_mean(own, price, one) for one in kept], "0.6", style, None if i else label)
    for colour, limit in zip(LINES, LIMITS, strict=False):
        own = [row for row in rows if row["limit"] == limit]
        points = [row_mean(own, price, None) for price in {row["price"] for row in own}]
        line(right, points, colour, "-", limit)
    right.set_xscale("log")
    right.set_xlabel("mean nats")
    right.set_ylabel("one-step error")
    right.set_title("two limits")
    for ax in (left, right):
        quiet(ax, grid="y")
        if ax.get_legend_handles_labels()[1]:
            ax.legend(frameon=False)
    return fig


def row_mean(rows: list[dict], price: float, kept: str | None) -> tuple[float, float]:
    """Nats and error, means over the seeds."""
    nats, error = (statistics.mean(values(rows, figure, kept, price=price)) for figure in ("nats", "error"))
    return nats, error


def line(ax: Axes, points: Sequence[tuple[float, float]], colour: str, style: str, label: str | None) -> None:
    places = zip(*sorted(points), strict=True) if points else ((), ())
    ax.plot(*places, color=colour, ls=style, marker="o", ms=3.5, label=label)


if __name__ == "__main__":
    main()
