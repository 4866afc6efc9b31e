"""How much of what happens does each limit let through, as more things move? Writes capacity.md, .json and .svg.

    python benchmarks/capacity.py [--limits Noisy Sparse Discrete] [--seeds 0 1 2] [--steps 800]

The paper's central figure, made where it can be counted how much happens: films of nothing to four things that move
independently (``wildlam collect movers``, made if they are not there). Each limit is tried at three strengths, between
two bounds: no latent action at all, and one without limit. A codebook must name every combination of motions with a
code of its own, so it should fall behind the continuous limits as more things move.

Held-out clips are parted by how many things move before a background that stands still; films whose background moves
are a part of their own. Of each part: one-step error, how much of the gap between the bounds a limit closes, and the
error at a scene cut over that without one.

What capacity.json holds is not done again, and a training that was cut off goes on; to do all of it again, give another
``--out`` and ``--work``. A model takes about six minutes on one core.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

from budgets import happening
from common import spread
from matplotlib.figure import Figure
from worlds import MOVERS, Rows, add_training, film, machines, trained

from wildlam.encoders import Lite0
from wildlam.evaluation.leakage import leakage
from wildlam.evaluation.one_step import one_step
from wildlam.models import LatentActionModel, ModelConfig
from wildlam.models.bottlenecks import BottleneckConfig, Deterministic, Discrete, Noisy, Sparse, Unconstrained
from wildlam.models.inverse_dynamics import Transformer
from wildlam.report.plots import LINES, quiet, svg
from wildlam.report.text import markdown_table
from wildlam.states.dataset import Clips
from wildlam.types import Encoder
from wildlam.workflows.open_run import inferred

DIM = 48
NONE, FULL = "Deterministic", "Unconstrained"
LIMITS: dict[str, dict[str, BottleneckConfig]] = {
    "Noisy": {f"beta {beta:g}": Noisy(dim=DIM, beta=beta) for beta in (1e-3, 1e-4, 1e-5)},
    # The covariance's price is that of configs/sweeps/limits.yaml: under a lower one all dimensions are copies of one.
    "Sparse": {f"l1 {l1:g}": Sparse(dim=DIM, l1=l1, covariance=0.1) for l1 in (0.01, 0.003, 0.001)},
    "Discrete": {f"{codes} codes": Discrete(dim=DIM, codes=codes) for codes in (16, 128, 1024)},
}
BOUNDS: dict[str, BottleneckConfig] = {NONE: Deterministic(dim=DIM), FULL: Unconstrained(dim=DIM)}
ERROR, CUT = "one-step error", "cut"
ALL, MOVING = "all clips", "background moves"
COUNTS = ("0 moving", "1 moving", "2 moving", "3 moving", "4 moving")
KEYS = ("limit", "strength", "seed")


def main() -> None:
    args = parsed()
    rows = Rows(args.out / "capacity.json", {name: getattr(args, name) for name in ("size", "steps", "batch")}, KEYS)
    film(args, [MOVERS])
    encoder = Lite0().build()
    for seed, (limit, strength, bottleneck) in product(args.seeds, wanted(args.limits)):
        if not rows.has(limit=limit, strength=strength, seed=seed):
            part = {"limit": limit, "strength": strength, "seed": seed}
            model, clips = fitted(args, encoder, bottleneck, f"{limit}_{strength}_{seed}".replace(" ", "_"), seed)
            write(rows.add([part | row for row in measured(model, clips, args.work / "videos")]), args)
    write(rows.read(), args)
    print((args.out / "capacity.md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training(parser, steps=800, batch=16)
    parser.add_argument("--limits", nargs="+", choices=LIMITS, default=list(LIMITS), help="between the bounds")
    return parser.parse_args()


def wanted(limits: list[str]) -> Iterator[tuple[str, str, BottleneckConfig]]:
    """Both bounds first: nothing can be said without them."""
    yield from ((name, "", bottleneck) for name, bottleneck in BOUNDS.items())
    yield from ((limit, strength, one) for limit in limits for strength, one in LIMITS[limit].items())


def fitted(
    args: argparse.Namespace, encoder: Encoder, bottleneck: BottleneckConfig, name: str, seed: int
) -> tuple[LatentActionModel, Clips]:
    model = ModelConfig(idm=Transformer(), bottleneck=bottleneck)
    return trained(args, encoder, model, [MOVERS], args.work / "capacity", name, seed)


def measured(model: LatentActionModel, clips: Clips, videos: Path) -> Iterator[dict]:
    """Errors of a step and at a cut, of each part of the held-out clips."""
    held_out = inferred(clips, model, clips.held_out)
    errors, cuts = one_step(model, held_out), leakage(model, held_out).per_clip
    for name, chosen in parts(happening(held_out, videos)).items():
        if any(chosen):
            of = {"part": name, "clips": sum(chosen)}
            some, cut = errors.where(chosen), cuts.where(chosen)
            yield of | {"figure": ERROR, "value": some.estimate("idm").mean, "copy": some.estimate("copy").mean}
            yield of | {"figure": CUT, "value": cut.estimate("cut", over="plain").mean}


def parts(true: list[dict]) -> dict[str, list[bool]]:
    """Which clips are of which part."""
    still = [one["background"] == "still" for one in true]
    by_count = {
        name: [is_still and one["movers"] == count for one, is_still in zip(true, still, strict=True)]
        for count, name in enumerate(COUNTS)
    }
    return {ALL: [True] * len(true), **by_count, MOVING: [not is_still for is_still in still]}


def write(rows: list[dict], args: argparse.Namespace) -> None:
    (args.out / "capacity.md").write_text(text(rows, args))
    (args.out / "capacity.svg").write_bytes(curves(rows))


def found(rows: list[dict], **of: object) -> dict[int, float]:
    """A figure by seed."""
    return {row["seed"]: row["value"] for row in rows if all(row[key] == value for key, value in of.items())}


def over_seeds(rows: list[dict], figure: str, limit: str, strength: str, part: str) -> list[float]:
    return list(found(rows, limit=limit, strength=strength, part=part, figure=figure).values())


def shares(rows: list[dict], limit: str, strength: str, part: str) -> list[float]:
    """How much of the gap between the bounds is closed, of each seed that has both."""
    own, none, full = (
        found(rows, limit=one, strength=of, part=part, figure=ERROR)
        for one, of in ((limit, strength), (NONE, ""), (FULL, ""))
    )
    return [
        (none[seed] - own[seed]) / (none[seed] - full[seed])
        for seed in sorted(own.keys() & none.keys() & full.keys())
        if none[seed] > full[seed]
    ]


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown."""
    names = [
        (limit, strength) for limit, strength, _ in wanted(list(LIMITS)) if found(rows, limit=limit, strength=strength)
    ]
    counts = {row["part"]: row["clips"] for row in rows}
    titles = {name: f"{name} ({counts[name]})" for name in (*COUNTS, MOVING, ALL) if name in counts}
    lines = [
        "# What each limit lets through, as more things move",
        "",
        f"Made by `python benchmarks/capacity.py` on {machines(rows)}:",
        f"480 films of things that move; models of size {args.size} that know places, {args.steps} steps of",
        f"{args.batch} clips of 8 Lite0 states, z of {DIM} dimensions. Means over seeds (smallest to largest; where",
        "these are missing, of one seed). Columns: held-out clips (how many) by what moves before a background that",
        "stands still. Limits and seeds that are missing here have not been run.",
        "",
        "![How much of the gap is closed, by how many things move](capacity.svg)",
        "",
        "## How much of the gap is closed",
        "",
        "(error without latent actions - error) / (error without latent actions - error without limit). How wide the",
        f"gap itself is, of all clips: {gap(rows)} of the error without latent actions.",
        "",
        *table(names, titles, partial(shares, rows)),
    ]
    about = {
        ERROR: "Of the model's own z; a copy of the last state: "
        + ", ".join(f"{part} {copy:.3f}" for part, copy in copies(rows).items() if part in titles)
        + ".",
        CUT: "The error at a scene cut over that without one; the paper's models lie above 2. Without latent actions "
        "nothing can leak.",
    }
    for figure, says in about.items():
        lines += ["", f"## {figure[0].upper()}{figure[1:]}", "", says, ""]
        lines += table(names, titles, partial(over_seeds, rows, figure))
    return "\n".join([*lines, ""])


def gap(rows: list[dict]) -> str:
    """The gap between the bounds, over the seeds that have both."""
    none, full = (found(rows, limit=limit, part=ALL, figure=ERROR) for limit in (NONE, FULL))
    both = [(none[seed] - full[seed]) / none[seed] for seed in sorted(none.keys() & full.keys())]
    return spread(both) if both else "not known yet"


def table(
    names: list[tuple[str, str]], titles: dict[str, str], values: Callable[[str, str, str], list[float]]
) -> list[str]:
    """A row for each limit and strength, a column for each part."""
    body = [
        [
            f"{limit} {strength}".strip(),
            *(spread(some) if (some := values(limit, strength, part)) else "" for part in titles),
        ]
        for limit, strength in names
    ]
    return markdown_table(["limit", *titles.values()], body)


def copies(rows: list[dict]) -> dict[str, float]:
    return {row["part"]: row["copy"] for row in rows if row["figure"] == ERROR}


@svg
def curves(rows: list[dict]) -> Figure:
    """How much of the gap is closed, by how many things move: a line for each strength."""
    fig = Figure(figsize=(7.2, 4.0), layout="constrained")
    ax = fig.subplots()
    for colour, (limit, strengths) in zip(LINES, LIMITS.items(), strict=False):
        for style, strength in zip((":", "--", "-"), strengths, strict=True):
            by_count = [shares(rows, limit, strength, part) for part in COUNTS]
            points = [(count, statistics.mean(some)) for count, some in enumerate(by_count) if some]
            if points:
                ax.plot(
                    *zip(*points, strict=True), color=colour, ls=style, marker="o", ms=3.5, label=f"{limit}, {strength}"
                )
    ax.axhline(0, lw=0.8, color="0.6")
    ax.axhline(1, lw=0.8, color="0.6")
    ax.set_xticks(range(len(COUNTS)))
    ax.set_xlabel("things that move")
    ax.set_ylabel("share of the gap that is closed")
    quiet(ax, grid="y")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    return fig


if __name__ == "__main__":
    main()
