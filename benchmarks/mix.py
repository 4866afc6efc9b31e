"""One model for all worlds: is z an action on the arm, on drives and among movers at once? docs/results/mix.md

    python benchmarks/mix.py [--forms Transformer "Split, place" ...] [--seeds 0 1 2]

Models of several forms are trained without labels on one mix of films, a third of the clips of each world: the arm and
the drives of ``diagnose.py``, and films of movers (``wildlam collect movers``); all are made if they are not there.
Each model is judged on held-out films: how well does it predict a step of each world, what does z say there, and does
the error rise at a cut? What does a linear probe tell of the true actions (movers that are alone)? On the arm, how well
are they told from the z of start and goal (as in ``codes.py``)? And in composed scenes, is a motion local, as it is and
transferred to another scene?

What mix.json holds is not done again, and a training that was cut off goes on; to do all of it again, give another
``--out`` and ``--work``. A model takes about half an hour on one core.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from codes import COUNTS, DEARER, DRAWS, HALVES, HELD_OUT, told_by
from common import spread
from diagnose import WORLDS
from rungs import SPAN, Ladder, ladder_of, row_name
from worlds import FPS, MOVERS, Rows, add_training, film, films, machines, trained

from wildlam.encoders import Lite0
from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.leakage import leakage
from wildlam.evaluation.locality import KINDS as SHARES
from wildlam.evaluation.locality import Locality, locality
from wildlam.evaluation.one_step import one_step
from wildlam.evaluation.probes import probes
from wildlam.models import LatentActionModel, ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.models.inverse_dynamics import Split, Transformer
from wildlam.report.text import markdown_table
from wildlam.states.dataset import Clips
from wildlam.workflows.evaluate import backgrounds, labelled_clips
from wildlam.workflows.open_run import inferred

PARTS = ("arm", "nav", MOVERS)
PLAIN = ModelConfig(idm=Transformer(), place=False, bottleneck=Noisy(dim=48, beta=1e-4))
CHEAP = replace(PLAIN, bottleneck=Noisy(dim=48, beta=3e-5))
WIDE = replace(PLAIN, bottleneck=Noisy(dim=128, beta=1e-4), place=True)
WIDEST = replace(PLAIN, bottleneck=Noisy(dim=192, beta=1e-4), place=True)
LOCAL = replace(PLAIN, idm=Split(), bottleneck=Noisy(dim=256, beta=1e-4), place=True)
FORMS = {
    "Transformer": PLAIN,
    "Transformer, place": replace(PLAIN, place=True),
    "Transformer, place, 3e-5": replace(CHEAP, place=True),
    "Transformer, place, 128 dimensions": WIDE,
    "Split, dearer": replace(PLAIN, idm=DEARER),
    "Split, dearer, place": replace(PLAIN, idm=DEARER, place=True),
    "Split, dearer, place, 3e-5": replace(CHEAP, idm=DEARER, place=True),
    # A nat of the linear half costs 3e-5, one of the transformer's 2e-4, as it does above at 1e-4.
    "Split, dearer, place, 3e-5 and 2e-4": replace(CHEAP, idm=replace(DEARER, surcharge=20 / 3), place=True),
    "Split, dearer, place, 128 dimensions": replace(WIDE, idm=DEARER),
    "Split, dearer, place, 128 dimensions, 96 linear": replace(WIDE, idm=replace(DEARER, linear=0.75)),
    "Split, dearer, place, 128 dimensions, 96 linear, dropped": replace(
        WIDE, idm=replace(DEARER, linear=0.75, dropped=0.5)
    ),
    "Split, dearer, place, 128 dimensions, dropped": replace(WIDE, idm=replace(DEARER, dropped=0.5)),
    "Split, dearer, place, 192 dimensions, dropped": replace(WIDEST, idm=replace(DEARER, dropped=0.5)),
    "Split, place, 192 dimensions": replace(WIDEST, idm=HALVES),
    "Split, place, 192 dimensions, dropped more": replace(WIDEST, idm=replace(HALVES, dropped=0.8)),
    "Transformer, local, 256 dimensions": replace(LOCAL, idm=Transformer(local=0.5)),
    "Split, local, 256 dimensions": LOCAL,
    "Split, local, 256 dimensions, never dropped": replace(LOCAL, idm=Split(dropped=0.0)),
}
SCENES = 64
SCENE = "composed scenes"
ERROR, NATS, CUT = "one-step error", "nats", "cut"
KEYS = ("form", "seed")
ABOUT = {
    "one-step error": "of its own z; in brackets that of a copy of the last state.",
    "cut": "error at a cut over that without one; the paper's lie above 2. In brackets that of a copy.",
    "start and goal": "error of the sum of actions that a ridge tells from z of the two alone, by labelled clips.",
    "R²": "of the true actions of held-out films by a linear probe of z, from at most 256 labelled clips.",
    "share": "of the change at the two discs of a composed scene, that at the one that moves: .5 is blind to place. "
    "By its *own* z; *transferred* from another scene; *other side*: from one in which the other moves (0 is best).",
    "slope": "how far the transferred change moves with the place of the source's.",
    "size": "of the transferred change, over that of the true one.",
    "local alone": "the same when all but the local dimensions of z are zero.",
}


def main() -> None:
    args = parsed()
    rows = Rows(args.out / "mix.json", {name: getattr(args, name) for name in ("size", "steps", "batch")}, KEYS)
    film(args, PARTS)
    encoder = Lite0().build()
    for seed, form in product(args.seeds, args.forms):
        if not rows.has(form=form, seed=seed):
            part = {"form": form, "seed": seed}
            name = f"{form.replace(', ', '_')}_{seed}"
            model, clips = trained(args, encoder, FORMS[form], PARTS, args.work / "mix", name, seed)
            found = [part | row for row in measured(model, clips, films(args, "arm"))]
            (args.out / "mix.md").write_text(text(rows.add(found), args))
    (args.out / "mix.md").write_text(text(rows.read(), args))
    print((args.out / "mix.md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training(parser, steps=1600, batch=32)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    return parser.parse_args()


def measured(model: LatentActionModel, clips: Clips, arm: Path) -> Iterator[dict]:
    """All figures of a model: of each world, of the arm's labelled clips, and of composed scenes."""
    held_out = inferred(clips, model, clips.held_out)
    for world in PARTS:
        some = held_out.where(torch.tensor([source == world for source in held_out.sources]))
        yield from ({"world": world, **row} for row in predicted(model, some))
    for labelled in labelled_clips(model, held_out, clips):
        (world,) = set(labelled.held_out.sources)
        for name, r2 in probes(**vars(labelled)).r_squared("linear z").items():
            if name != "mean":
                yield {"world": world, "figure": f"R² {name}", "value": r2.mean}
    yield from decoded(ladder_of(model, clips.encoder, FPS, arm, WORLDS["arm"], HELD_OUT, 1))
    frames, recordings = backgrounds(held_out, clips)
    yield from local(locality(model, clips.encoder, frames, scenes=SCENES, recordings=recordings))
    if cells := model.world_model.cells:
        alone = LocalAlone(model, cells.everywhere)
        found = locality(alone, clips.encoder, frames, scenes=SCENES, recordings=recordings)
        yield from (
            {**row, "figure": f"{row['figure']}, local alone"} for row in local(found) if "true" not in row["figure"]
        )


class LocalAlone(torch.nn.Module):
    """A model whose latent actions are their local dimensions alone, the others zero; for ``locality``."""

    def __init__(self, model: LatentActionModel, everywhere: int) -> None:
        super().__init__()
        self.model, self.everywhere = model, everywhere
        self.predict = model.predict

    def infer(self, states: torch.Tensor) -> torch.Tensor:
        z = self.model.infer(states)
        return torch.cat((torch.zeros_like(z[..., : self.everywhere]), z[..., self.everywhere :]), dim=-1)


@torch.no_grad()
def predicted(model: LatentActionModel, clips: InferredClips) -> Iterator[dict]:
    """Errors of a step and at a cut, and what z says, of one world's clips."""
    errors, cuts = one_step(model, clips), leakage(model, clips).per_clip
    device = next(model.parameters()).device
    nats = torch.cat([model.nats(clips.states[part].to(device).float()).mean(dim=-1) for part in clips.batches()])
    yield {"figure": ERROR, "value": errors.estimate("idm").mean, "copy": errors.estimate("copy").mean}
    yield {"figure": NATS, "value": float(nats.mean())}
    ratios = (cuts.estimate(one, over=other).mean for one, other in (("cut", "plain"), ("cut_copy", "plain_copy")))
    yield {"figure": CUT} | dict(zip(("value", "copy"), ratios, strict=True))


def decoded(ladder: Ladder) -> Iterator[dict]:
    """Errors of the arm's displacement told from z of start and goal: means over draws of labelled clips."""
    for count in COUNTS:
        found = [row for draw in DRAWS for row in ladder.told(count, draw, ["z"], ["linear"])]
        errors = [row["value"] for row in found if row["row"] == row_name("z", SPAN, "linear") and not row["few"]]
        yield {"world": "arm", "figure": told_by(SPAN, count), "value": statistics.mean(errors)}


def local(found: Locality) -> Iterator[dict]:
    """Where the change falls in composed scenes."""
    for kind in SHARES:
        share = found.share(kind)
        yield {"world": SCENE, "figure": f"share, {kind}", "value": share.mean if share else 0.5}
    for kind in ("true", "transferred"):
        yield {"world": SCENE, "figure": f"slope, {kind}", "value": found.slope(kind).mean}
    effect = found.summary()["effect"]["transferred"]
    yield {"world": SCENE, "figure": "size, transferred", "value": effect["mean"] if effect else 0.0}


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown."""
    lines = [
        "# One model for all worlds",
        "",
        f"Made by `python benchmarks/mix.py` on {machines(rows)}: models of size {args.size}, {args.steps} steps of",
        f"{args.batch} clips of 8 Lite0 states, a third of each world; z of 48 dimensions, noise at 1e-4 a nat (or",
        "as it says). *Split*: half of z by a linear map (or as it says), and half of the transitions are predicted in",
        "training from one half alone; *dearer*: none are, and a nat of the transformer's half costs twice as much;",
        "*dropped more*: four fifths are. *local*: half of the transformer's dimensions belong to the cells of a 4 x 4",
        "map; of Split 96 are linear, 64 of the whole, 96 local. Means over seeds (smallest to largest; where these",
        "are missing, of one seed).",
        "Forms and seeds that are missing here have not been run.",
        "",
        *(f"- *{name}*: {about}" for name, about in ABOUT.items()),
    ]
    for world in (*PARTS, SCENE):
        lines += ["", f"## {world}", "", *table([row for row in rows if row["world"] == world])]
    return "\n".join([*lines, ""])


def table(rows: list[dict]) -> list[str]:
    forms = [form for form in FORMS if any(row["form"] == form for row in rows)]
    figures = list(dict.fromkeys(row["figure"] for row in rows))
    seeds = [str(len({row["seed"] for row in rows if row["form"] == form})) for form in forms]
    body = [
        [form, count, *(cell(rows, form, figure) for figure in figures)]
        for form, count in zip(forms, seeds, strict=True)
    ]
    return markdown_table(["form", "seeds", *figures], body)


def cell(rows: list[dict], form: str, figure: str) -> str:
    own = [row for row in rows if row["form"] == form and row["figure"] == figure]
    if not own:
        return ""
    copy = f" [{statistics.mean(row['copy'] for row in own):.3f}]" if "copy" in own[0] else ""
    return spread([row["value"] for row in own]) + copy


if __name__ == "__main__":
    main()
