"""Does a search by action find what a person means? docs/results/search_precision.md

    python benchmarks/search_precision.py --run RUN --sources arm nav [--out docs/results]

Where true actions are known (NAME.poses.csv), the transitions of a run's held-out videos are asked for among those of
all other videos. A hit counts if its true action is among the 2 % of theirs that are nearest to the one that was asked
for, each component in its own deviations; precision@10 is the share of the ten nearest that count. Beside latent
actions stand what needs no model of actions: the difference of the encoder's two states, and optical flow (DIS, of
OpenCV) on a grid, each by cosine and by Euclidean distance; and chance.

The run must have its videos; states come from its feature store. What search_precision.json holds of a source is made
anew.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from worlds import Rows, machines, weights_of

from wildlam.distributed import Processes
from wildlam.episodes.poses import actions_at, has_poses, read_poses
from wildlam.errors import WildlamError
from wildlam.evaluation.clips import spread
from wildlam.evaluation.intervals import PerClip, interval_text
from wildlam.models import LatentActionModel
from wildlam.report.text import markdown_table
from wildlam.states import dataset
from wildlam.states.sequences import Sequences
from wildlam.states.store import FeatureStore
from wildlam.video.manifest import Manifest
from wildlam.workflows.open_run import OpenRun, open_run
from wildlam.workflows.video_transitions import transitions

SHARE, NEAREST = 0.02, 10
"""Of the actions, those near enough to count; how many hits are judged."""
VIDEOS, QUERIES = 300, 500
"""Of a source, at most."""
SIDE, CELLS = 128, 8
"""Side of the pictures that flow is taken of, and of the grid that it is averaged on."""
CHANCE = "chance"
ABOUT = {
    "z, cosine": "what `wildlam search` does.",
    "z, whitened": "Euclidean distance after each principal component of z is divided by its deviation, 64 of them.",
}


@dataclass
class Known:
    """Transitions whose true actions are known.

    Attributes:
        features: what they can be compared by, by name, each ``[n, F]``.
        actions: true actions ``[n, A]``, in deviations.
        video: numbers of their videos ``[n]``.
        names: names of the videos.
        held_out: whether each video is, ``bool [videos]``.
    """

    features: dict[str, Tensor]
    actions: Tensor
    video: Tensor
    names: list[str]
    held_out: Tensor


def main() -> None:
    args = parsed()
    opened = open_run(args.run)
    rows = Rows(args.out / "search_precision.json", {"share": SHARE, "nearest": NEAREST}, ("source", "method"))
    team = Processes(0, 1, opened.encoder.device)
    manifest = dataset.shared_index(opened.config.data, team)
    store = dataset.encode(opened.config.data, opened.encoder, manifest, team)
    weights = weights_of(args.run)
    for source in args.sources:
        known = collected(opened, manifest, store, source, args.videos)
        found = rows.add([{"source": source, "weights": weights, **row} for row in judged(known, args.queries)])
        (args.out / "search_precision.md").write_text(text(found))
    print((args.out / "search_precision.md").read_text())


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a trained run")
    parser.add_argument("--sources", nargs="+", required=True, help="sources of its videos whose actions are known")
    parser.add_argument("--videos", type=int, default=VIDEOS, help="of each source, at most")
    parser.add_argument("--queries", type=int, default=QUERIES, help="of each source, at most")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for what is found")
    return parser.parse_args()


def collected(opened: OpenRun, manifest: Manifest, store: FeatureStore, source: str, most: int) -> Known:
    """The transitions of some videos of a source, held-out ones and others in their proportion.

    Raises:
        WildlamError: there is none with poses.
    """
    of_source = [video for video in manifest if video.source == source and has_poses(manifest.file(video.path))]
    if not of_source:
        raise WildlamError(f"{manifest.root}: no videos with poses in source {source!r}")
    videos = [of_source[i] for i in spread(len(of_source), most)]
    model, sequences = opened.model(), store.sequences()
    of = {stored.path: number for number, stored in enumerate(sequences.of())}
    parts: dict[str, list[Tensor]] = {"z": [], "difference of states": [], "optical flow": [], "actions": []}
    numbers: list[Tensor] = []
    for number, video in enumerate(tqdm(videos, desc=source, unit="video")):
        times, states = _states(store, sequences, of[video.path])
        pairs = torch.stack([states[:-1], states[1:]], dim=1)
        parts["z"].append(_z(model, pairs, times))
        parts["difference of states"].append((pairs[:, 1] - pairs[:, 0]).flatten(1).half())
        parts["optical flow"].append(flows(manifest.frames(video.path, times.tolist(), SIDE)))
        space, poses = read_poses(manifest.file(video.path))  # type: ignore[arg-type]
        parts["actions"].append(torch.from_numpy(actions_at(space, poses, times)).float())
        numbers.append(torch.full((len(pairs),), number))
    joined = {name: torch.cat(some) for name, some in parts.items()}
    actions = joined.pop("actions")
    held_out = torch.tensor([video.split == "held_out" for video in videos])
    names = [video.path for video in videos]
    return Known(joined, actions / actions.std(dim=0).clamp(min=1e-6), torch.cat(numbers), names, held_out)


def _states(store: FeatureStore, sequences: Sequences, number: int) -> tuple[np.ndarray, Tensor]:
    rows = sequences.first[number] + np.arange(sequences.length[number])
    return sequences.times[rows], store.read(rows).float()


def _z(model: LatentActionModel, pairs: Tensor, times: np.ndarray) -> Tensor:
    device = next(model.parameters()).device
    return torch.from_numpy(transitions(model, pairs.to(device), times[:-1], times[1:]).z)


def flows(frames: Tensor) -> Tensor:
    """Optical flow from frame to frame, averaged on a grid: ``uint8 [T, 3, S, S]`` to ``[T - 1, 2 · CELLS²]``."""
    import cv2

    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames.permute(0, 2, 3, 1).numpy()]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = [torch.from_numpy(dis.calc(one, other, None)) for one, other in pairwise(grey)]
    return torch.nn.functional.adaptive_avg_pool2d(torch.stack(found).permute(0, 3, 1, 2), CELLS).flatten(1)


def judged(known: Known, most: int) -> Iterator[dict]:
    """Precision@10 of each way to compare transitions, as rows."""
    askable = torch.nonzero(known.held_out[known.video])[:, 0]
    asked = askable[spread(len(askable), most)]
    other = known.video[asked][:, None] != known.video[None]
    apart = torch.cdist(known.actions[asked], known.actions).masked_fill(~other, torch.inf)
    near = apart <= apart.kthvalue(max(round(SHARE * len(known.video)), 1), dim=1).values[:, None]
    values, actions = {}, {}
    for name, distances in _distances(known, asked):
        hits = distances.masked_fill(~other, torch.inf).topk(NEAREST, dim=1, largest=False).indices
        values[name] = near.gather(1, hits).float().mean(dim=1)
        actions[name] = apart.gather(1, hits).mean(dim=1)
    counts = other.sum(dim=1)
    values[CHANCE] = near.sum(dim=1) / counts
    actions[CHANCE] = apart.masked_fill(~other, 0.0).sum(dim=1) / counts
    names = [known.names[number] for number in known.video[asked].tolist()]
    tables = [PerClip(of, names, [""] * len(names)) for of in (values, actions)]
    for name in values:
        precision, distance = (table.estimate(name) for table in tables)
        yield {
            "method": name,
            "precision": [precision.mean, precision.low, precision.high],
            "action distance": [distance.mean, distance.low, distance.high],
            "queries": len(asked),
            "transitions": len(known.video),
        }


def _distances(known: Known, asked: Tensor) -> Iterator[tuple[str, Tensor]]:
    """By each way, how far the transitions that are asked for are from all, ``[asked, n]``."""
    for name, feature in known.features.items():
        feature = feature.float()
        unit = torch.nn.functional.normalize(feature, dim=1)
        yield f"{name}, cosine", torch.cdist(unit[asked], unit)
        yield f"{name}, Euclidean", torch.cdist(feature[asked], feature)
        if name == "z":
            white = whitened(feature)
            yield "z, whitened", torch.cdist(white[asked], white)


def whitened(z: Tensor, components: int = 64) -> Tensor:
    """The first principal components of latent actions ``[n, Z]``, each over its deviation."""
    centred = z - z.mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(z))
    kept = min(components, z.shape[1])
    return centred @ vectors[:, -kept:] / values[-kept:].clamp(min=1e-8).sqrt()


def text(rows: list[dict]) -> str:
    """The results in Markdown."""
    sources = sorted({row["source"] for row in rows})
    of = {(row["source"], row["method"]): row for row in rows}
    methods = list(dict.fromkeys(row["method"] for row in rows))
    methods = sorted(methods, key=lambda name: (name == CHANCE, not name.startswith("z"), name))

    def table(figure: str) -> list[str]:
        cells = [[_cell(of.get((source, method)), figure) for source in sources] for method in methods]
        lines = ([method, *row] for method, row in zip(methods, cells, strict=True))
        return markdown_table(["compared by", *sources], lines)

    counts = "; ".join(_counts(of[source, CHANCE]) for source in sources)
    return "\n".join(
        [
            "# Does a search find the same action?",
            "",
            "Written by `python benchmarks/search_precision.py --run RUN --sources ...`, whose first lines say what is "
            f"done. Queries: {counts}. {machines(rows)}. In brackets, 95 % intervals over the queries' videos.",
            "",
            f"Precision@{NEAREST}: share of the {NEAREST} nearest whose true action is among the {SHARE:.0%} nearest.",
            "",
            *table("precision"),
            "",
            "Mean distance of their true actions from the one that was asked for, in deviations (lower is better).",
            "",
            *table("action distance"),
            "",
            *(f"- *{name}*: {words}" for name, words in ABOUT.items()),
            "",
        ]
    )


def _counts(row: dict) -> str:
    return (
        f"{row['source']} {row['queries']} among {row['transitions']:,} transitions, by the weights `{row['weights']}`"
    )


def _cell(row: dict | None, figure: str) -> str:
    return interval_text(*row[figure]) if row else "—"


if __name__ == "__main__":
    main()
