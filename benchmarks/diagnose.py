"""Where is information lost between what is seen and a plan? A ladder of errors: docs/results/diagnosis.md.

    python benchmarks/diagnose.py [--worlds arm nav cameras mover pusht] [--rows cheap search simulator trained] ...

The run (wildlam-tiny, if no other is given) and the films of arm and nav are those of ``planning.py``. *mover* is one
thing that moves before real pictures, and an action how it moves in the picture; of *pusht* wildlam-tiny has seen
nothing. All films are made if they are not there. For every world, seed and number of labelled clips:

- ``cheap``: neither training nor planning. What was done is told by a linear map (ridge) or a small network, from the
  difference of two states or from z, with and without the state beside it; either of each true step or of the start
  and the goal alone, which is a plan that no model makes.
- ``search``: plans by the goal's true pose (what search alone loses), and plans in z that a linear map decodes.
- ``simulator``: plans in the simulator, and with latent actions of what it shows (*inferred*).
- ``trained``: plans of a controller and of a labelled world model, which are trained for it (see ``planning.py``).

Plans are made by two sizes of search, the larger in a few episodes; candidates' costs are compared with their true
errors. What ``planning.json`` holds of the same run is shown beside. The documents are written anew after every part,
and what diagnosis.json holds is not done again; to do all of it again, give another ``--out``. Two calls, one for each
world, can run side by side (OMP_NUM_THREADS=1 on two cores).
Another world is an entry of ``WORLDS`` and of ``FILMS`` in ``worlds.py``.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from common import spread
from matplotlib.figure import Figure
from planning import ALL, drawn, driver_of, labelled_of
from rungs import FITS, INPUTS, SPAN, STEPS, Ladder, Search, World, open_ladder, row_name
from tqdm import tqdm
from worlds import Rows, add_arguments, film, films, machines, unpacked, weights_of

from wildlam.fileio import read_json
from wildlam.models.priors import Gaussian, Neighbours
from wildlam.planning.dynamics import Dynamics
from wildlam.planning.protocols import droid, recon
from wildlam.report.plots import LINES, quiet, svg
from wildlam.report.text import markdown_table
from wildlam.workflows.baseline import load_labelled_model
from wildlam.workflows.controller import load_controlled
from wildlam.workflows.open_run import open_run
from wildlam.workflows.plan import EPISODES, dynamics_of

LARGE: Search = (droid.SAMPLES, droid.ITERATIONS)
WORLDS = {
    "arm": World("droid", "displacement", "m", ((64, 6), LARGE)),
    "nav": World("recon", "rpe", "map units", ((recon.SAMPLES, recon.ITERATIONS), LARGE)),
    "cameras": World("droid", "displacement", "m", ((64, 6), LARGE)),
    "mover": World("droid", "displacement", "pixels", ((64, 6), LARGE), simulated=False),
    "pusht": World("droid", "displacement", "pixels of the disc", ((64, 6), LARGE)),
}
COUNTS = [16, 32, 64, 128, 512, ALL]
TRAINED = (32, ALL)
"""Labelled clips of what is trained; the study of ``planning.py`` has the other numbers."""
SLOW = 8
NONE = "none"
RANK = "rank"
KEYS = ("world", "row", "search", "clips", "seed")
"""Of the parts."""
REGRESSION = row_name("difference", SPAN, "linear")
KNOWN = "known goal"
IN_Z = {"plan in z": Gaussian(), "plan in z, by state": Neighbours()}
"""Priors whose likely latent actions are searched: of all states, or of the most similar ones; neither is trained."""
CONTROLLER, LABELLED = MODELS = ("controller", "labelled model")
PLANS = (*MODELS, *IN_Z)
SIMULATED = {"simulator": False, "inferred": True}
"""Whether latent actions are inferred of what the simulator shows."""
STUDIED = {"latent": CONTROLLER, "labelled": LABELLED}
"""Rows of planning.json, and what they are called here."""
TITLES = {
    STEPS: "Each true step is seen: what the states hold of the actions, and what z keeps of it.",
    SPAN: "Start and goal alone are seen: a plan that no model makes.",
}
SEARCHES = (
    "By two sizes of search; *few*: some of the episodes, in which the slow plans are made; *rank*: Spearman's\n"
    "correlation of the cost with the true error over candidates of an episode, 1 where it tells which is better."
)
CURVES = {
    row_name("difference", STEPS, "linear"): "true steps: difference, linear",
    row_name("z", STEPS, "linear"): "true steps: z, linear",
    REGRESSION: "start and goal: difference, linear",
    row_name("z", SPAN, "linear"): "start and goal: z, linear",
    CONTROLLER: "plans: controller",
    LABELLED: "plans: labelled model",
}
STYLES = [(LINES[0], ":"), (LINES[1], ":"), (LINES[0], "-"), (LINES[1], "-"), (LINES[2], "--"), (LINES[3], "--")]
LEVELS = {"simulator": "--", KNOWN: ":"}
"""What needs no labels, and its line."""
BAR = "{percentage:3.0f}%|{bar:20}| {elapsed}, left {remaining}{postfix}"


@dataclass(frozen=True)
class Task:
    """What is done at once.

    Attributes:
        parts: its parts of the study.
        weight: about how many seconds it takes on one core, for the time left.
        do: gives its rows; they are of the first part, if they do not say otherwise.
    """

    parts: list[dict]
    weight: float
    do: Callable[[Ladder], list[dict]]


def main() -> None:
    args = parsed()
    args.run = args.run or unpacked(args)
    of = {"weights": weights_of(args.run), "episodes": args.episodes, "slow": args.slow, "steps": args.steps}
    rows = Rows(args.out / "diagnosis.json", of, KEYS)
    tasks = [task for task in tasks_of(args) if not all(rows.has(**one) for one in task.parts)]
    opened, sizes = open_run(args.run), (args.episodes, args.slow)
    worlds = dict.fromkeys(task.parts[0]["world"] for task in tasks)
    film(args, worlds)
    ladders = {world: open_ladder(opened, films(args, world), WORLDS[world], *sizes) for world in worlds}
    with tqdm(total=sum(task.weight for task in tasks), bar_format=BAR) as bar:
        for task in tasks:
            first = task.parts[0]
            bar.set_postfix_str(", ".join(str(first[key]) for key in KEYS))
            write(rows.add([{**first, **row} for row in task.do(ladders[first["world"]])]), of, args)
            bar.update(task.weight)
    write(rows.read(), of, args)
    print((args.out / "diagnosis.md").read_text())


def tasks_of(args: argparse.Namespace) -> Iterator[Task]:
    """All tasks, the rows that were asked for first first."""
    for rows, seed, world in product(args.rows, args.seeds, args.worlds):
        yield from GROUPS[rows](args, world, seed)


def cheap(args: argparse.Namespace, world: str, seed: int) -> Iterator[Task]:
    for count in args.clips:
        names = [row_name(*one) for one in product(INPUTS, (STEPS, SPAN), FITS)]
        parts = [part(world, name, seed, clips=count or "all") for name in names]
        yield Task(parts, 10 if 0 < count < 512 else 60, partial(Ladder.told, count=count, seed=seed))


def search(args: argparse.Namespace, world: str, seed: int) -> Iterator[Task]:
    for size in WORLDS[world].searches:
        yield Task([part(world, KNOWN, seed, words(size))], 30, partial(Ladder.known_goal, search=size, seed=seed))
        for row, prior in IN_Z.items():
            parts = [part(world, row, seed, words(size), count or "all") for count in args.clips]
            do = partial(Ladder.planned_in_z, config=prior, search=size, counts=args.clips, seed=seed)
            yield Task(parts, 120, do)


def simulator(args: argparse.Namespace, world: str, seed: int) -> Iterator[Task]:
    for row, inferred in SIMULATED.items() if WORLDS[world].simulated else ():
        for size in WORLDS[world].searches[: 1 if inferred else None]:
            weight = args.slow * size[0] * size[1] * (0.04 if inferred else 0.02)
            do = partial(Ladder.simulated, search=size, seed=seed, inferred=inferred)
            yield Task([part(world, row, seed, words(size))], weight, do)
        do = partial(Ladder.rank_simulated, seed=seed, inferred=inferred)
        yield Task([part(world, row, seed, RANK)], 60, do)


def trained(args: argparse.Namespace, world: str, seed: int) -> Iterator[Task]:
    for count, row in product(TRAINED, MODELS):

        def planned(ladder: Ladder, size: Search, count: int = count, row: str = row) -> list[dict]:
            return ladder.planned(dynamics(args, ladder, world, row, count, seed), size, seed)

        def ranked(ladder: Ladder, count: int = count, row: str = row) -> list[dict]:
            return ladder.rank(dynamics(args, ladder, world, row, count, seed), seed)

        for size in WORLDS[world].searches:
            yield Task([part(world, row, seed, words(size), count or "all")], 120, partial(planned, size=size))
        yield Task([part(world, row, seed, RANK, count or "all")], 10, ranked)


GROUPS = {"cheap": cheap, "search": search, "simulator": simulator, "trained": trained}


def dynamics(args: argparse.Namespace, ladder: Ladder, world: str, row: str, count: int, seed: int) -> Dynamics:
    """A controlled run or a labelled model, trained if it is not there."""
    if row == CONTROLLER:
        return dynamics_of(load_controlled(args.run, driver_of(args, world, count, seed)), [])["latent"]
    return load_labelled_model(labelled_of(args, world, count, seed), ladder.encoder)[0]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, WORLDS)
    groups = ["cheap", "search", "simulator", "trained"]
    parser.add_argument("--rows", nargs="+", choices=groups, default=groups, help="kinds of rows, in this order")
    parser.add_argument("--clips", type=int, nargs="+", default=COUNTS, help="labelled clips; 0: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of clips, training and plans")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="held-out episodes")
    parser.add_argument("--slow", type=int, default=SLOW, help="of these, those of slow plans")
    parser.add_argument("--steps", type=int, help="training steps, see planning.py")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results"), help="folder for diagnosis.json, .md and .svg"
    )
    return parser.parse_args()


def part(world: str, row: str, seed: int, search: str = NONE, clips: int | str = NONE) -> dict:
    return {"world": world, "row": row, "search": search, "clips": clips, "seed": seed}


def words(search: Search) -> str:
    return f"{search[0]} x {search[1]}"


def write(rows: list[dict], of: dict, args: argparse.Namespace) -> None:
    told = [*rows, *studied(rows, of, args)]
    (args.out / "diagnosis.md").write_text(text(told, args))
    (args.out / "diagnosis.svg").write_bytes(curves(told, args))


def studied(rows: list[dict], of: dict, args: argparse.Namespace) -> list[dict]:
    """Rows of ``planning.json`` that these lack, if it is of the same run and episodes, and their world is studied."""
    file = args.out / "planning.json"
    study = read_json(file) if file.is_file() else {"of": {}}
    wanted = {key: of[key] for key in ("weights", "episodes", "steps")} | {"samples": WORLDS["arm"].searches[0][0]}
    if any(study["of"].get(key) != value for key, value in wanted.items()):
        return []
    small = {world: (drawn(one.figure, one.searches[0][1]), words(one.searches[0])) for world, one in WORLDS.items()}
    planned = [row for row in study["rows"] if row["figure"] == small.get(row["world"], ("", ""))[0]]
    still = {(row["world"], row["seed"]): row["value"] for row in planned if row["model"] == "no move"}
    known = {tuple(row[key] for key in KEYS) for row in rows}
    worlds, found = {row["world"] for row in rows}, []
    for row in planned:
        if row["model"] in STUDIED and row["world"] in worlds:
            world, seed = row["world"], row["seed"]
            one = part(world, STUDIED[row["model"]], seed, small[world][1], row["clips"])
            if tuple(one.values()) not in known:
                more = {"figure": "error", "few": False, "episodes": of["episodes"], "machine": row["machine"]}
                found.append({**one, **more, "value": row["value"], "still": still[world, seed]})
    return found


class Told:
    """Rows of one world, to be looked up.

    Args:
        rows: the rows of all.
        world: the world.
    """

    def __init__(self, rows: list[dict], world: str) -> None:
        self.world = WORLDS[world]
        self.rows = [row for row in rows if row["world"] == world]
        self.small, self.large = (words(size) for size in self.world.searches)
        labels = {row["clips"] for row in self.rows} - {NONE}
        self.counts = sorted(labels, key=lambda count: (count == "all", count))

    def of(self, row: str, clips: int | str, few: bool = False, search: str = "", figure: str = "error") -> list[dict]:
        """A row over the seeds: without a plan or by the smaller search, if no other is asked for."""
        wanted = {"row": row, "clips": clips, "few": few, "figure": figure}
        searches = {search} if search else {NONE, self.small}
        found = [one for one in self.rows if one["search"] in searches]
        return [one for one in found if all(one[key] == value for key, value in wanted.items())]


def mean(rows: list[dict], key: str = "value") -> float:
    return statistics.mean(row[key] for row in rows)


def share(rows: list[dict]) -> float:
    return mean(rows) / mean(rows, "still")


def cell(rows: list[dict]) -> str:
    """The mean error, and its share of that of staying."""
    return f"{mean(rows):.3g} ({share(rows):.2f})" if rows else ""


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown, means over seeds."""
    seeds = len({row["seed"] for row in rows})
    lines = [
        "# Where information is lost",
        "",
        f"Made by `python benchmarks/diagnose.py` on {machines(rows)}:",
        f"{args.episodes} held-out episodes a seed, {seeds} seed{'s' * (seeds != 1)}. Cells are mean errors (lower is",
        "better) and, in brackets, their share of the error of staying. Per seed: [diagnosis.json](diagnosis.json).",
        "Worlds and rows that are missing here (`--worlds`, `--rows`) have not been run.",
        "",
        "- *difference*: of two states, in principal components that labelled and unlabelled films give. Ridge shrinks",
        "  faint components more; *each scaled*: all alike, which few labels do not bear.",
        "- *z*: inferred from the same two states, each dimension scaled. *state*: the first of the two.",
        "- *linear*: ridge, its penalty chosen across clips; *MLP*: two hidden layers, stopped early.",
        "- *controller*, *labelled model*: as in [planning.md](planning.md), and from there where not planned anew.",
        "  *plan in z*: among latent actions that are likely, in all states or *by state* in the most similar ones;",
        "  then decoded by a linear map.",
        "- *known goal*: the cost is the distance from the goal's true pose. *simulator*: it predicts in the model's",
        "  place; *inferred*: so it does, and the model unrolls latent actions that are inferred of what it shows.",
        "",
        "![Share of the error of staying, by labelled clips](diagnosis.svg)",
    ]
    for world in WORLDS:
        if any(row["world"] == world for row in rows):
            lines += ["", f"## {world}", "", *section(Told(rows, world))]
    return "\n".join([*lines, ""])


def section(told: Told) -> list[str]:
    """What is told of one world."""
    errors = sorted((row for row in told.rows if row["figure"] == "error"), key=lambda row: not row["few"])
    still = {row["seed"]: row["still"] for row in errors}  # in all episodes, if there are plans in more than a few
    protocol, figure, unit = told.world.protocol, told.world.figure, told.world.unit
    lines = [f"Errors: {figure} of the {protocol} protocol, {unit}; staying: {spread(list(still.values()))}.", ""]
    lines += finding(told)
    tables = {title: by_labels(told, names_of(how)) for how, title in TITLES.items()}
    tables[f"Plans, {told.small} candidates x iterations:"] = by_labels(told, {row: row for row in PLANS})
    tables[SEARCHES] = searches(told)
    tables["R² of each action, each true step seen, all labelled clips:"] = explained(told)
    for title, table in tables.items():
        lines += [title, "", *table, ""] if table else []
    return lines[:-1]


def names_of(how: str) -> dict[str, str]:
    """Rows that tell actions, by their names in a table."""
    return {f"{inputs}, {fit}": row_name(inputs, how, fit) for inputs, fit in product(INPUTS, FITS)}


def finding(told: Told) -> list[str]:
    """For how many labelled clips a regression without a model beats both models."""
    better = []
    for count in told.counts:
        regression, *plans = (told.of(row, count) for row in (REGRESSION, *MODELS))
        if regression and all(plans) and mean(regression) < min(map(mean, plans)):
            better.append(str(count))
    if not better:
        return []
    return [
        "**A linear regression from the difference of goal and start, without any model, errs less than the plans of",
        f"both models with {', '.join(better)} labelled clips.**",
        "",
    ]


def by_labels(told: Told, names: dict[str, str]) -> list[str]:
    """A table of errors by the number of labelled clips, if there are any."""
    table = [[name, *(cell(told.of(row, count)) for count in told.counts)] for name, row in names.items()]
    table = [row for row in table if any(row[1:])]
    return markdown_table(["labelled clips", *map(str, told.counts)], table) if table else []


def searches(told: Told) -> list[str]:
    """A table of plans by both searches, and of the ranks of their costs."""
    table, labels = [], [count or "all" for count in TRAINED]
    for row, clips in [*product((KNOWN, *SIMULATED), [NONE]), *product((*PLANS, REGRESSION), labels)]:
        ranks = told.of(row, clips, few=True, search=RANK, figure=RANK)
        cells = [
            cell(told.of(row, clips)),
            cell(told.of(row, clips, few=True)),
            cell(told.of(row, clips, few=True, search=told.large)),
            f"{mean(ranks):.2f}" if ranks else "",
        ]
        if any(cells):
            table.append([row, str(clips), *cells])
    head = ["plans", "labelled clips", told.small, f"{told.small}, few", f"{told.large}, few", RANK]
    return markdown_table(head, table)


def explained(told: Told) -> list[str]:
    """A table of R² by what the action is told from, if there are any."""
    names = list(dict.fromkeys(row["figure"] for row in told.rows if row["figure"].startswith("R²")))
    table = []
    for inputs, fit in product(INPUTS, FITS):
        found = [told.of(row_name(inputs, STEPS, fit), told.counts[-1], figure=name) for name in names]
        if found and all(found):
            table.append([f"{inputs}, {fit}", *(f"{mean(rows):.2f}" for rows in found)])
    return markdown_table(["from", *(name.removeprefix("R² ") for name in names)], table) if table else []


@svg
def curves(rows: list[dict], args: argparse.Namespace) -> Figure:
    """Error over that of staying, by labelled clips."""
    worlds = [world for world in WORLDS if any(row["world"] == world for row in rows)]
    fig = Figure(figsize=(5.6 * len(worlds), 4.6), layout="constrained")
    for ax, world in zip(fig.subplots(1, len(worlds), squeeze=False)[0], worlds, strict=True):
        told = Told(rows, world)
        for (row, name), (colour, line) in zip(CURVES.items(), STYLES, strict=True):
            points = [(i, share(found)) for i, count in enumerate(told.counts) if (found := told.of(row, count))]
            places, shares = zip(*points, strict=True) if points else ((), ())
            ax.plot(places, shares, color=colour, ls=line, marker="o", ms=3.5, label=name)
        for row, line in LEVELS.items():
            if found := told.of(row, NONE) or told.of(row, NONE, few=True):
                ax.axhline(share(found), color="0.5", lw=1, ls=line, label=row)
        ax.axhline(1, color="0.5", lw=0.8)
        ax.set_xticks(range(len(told.counts)), map(str, told.counts))
        ax.set_xlabel("labelled clips")
        ax.set_ylabel("error over that of staying")
        ax.set_title(f"{world}: {told.world.figure}")
        quiet(ax, grid="y")
    handles, labels = fig.axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=min(2 * len(worlds), 3), frameon=False)
    return fig


if __name__ == "__main__":
    main()
