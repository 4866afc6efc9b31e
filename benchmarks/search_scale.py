"""How fast is a search by action, and how much does it miss? docs/results/search_scale.md

    python benchmarks/search_scale.py [--rows 10000000] [--work runs/search_scale] [--out docs/results]

Synthetic latent actions, as many as ``--rows``, are written into a search index (as ``wildlam search build`` writes
those that it infers) and searched: for each of some queries, are the ten that are found those that a comparison with
all rows finds (recall@10), and how long does it take? Latent actions lie in clusters of very different sizes; within
these and between them their variance falls over the dimensions as that of a trained run's does. Queries are drawn
likewise, and are not in the index.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from common import machine, row, write
from tqdm import tqdm

from wildlam.fileio import read_json
from wildlam.report.text import markdown_table
from wildlam.workflows.search_filter import Filter
from wildlam.workflows.search_index import SearchIndex

CLUSTERS, WIDTH, SPREAD = 2000, 256, 0.7
"""Clusters of latent actions, their width, and how wide a cluster is of the distances between them."""
BLOCK, OF_VIDEO, SOURCES = 50_000, 100, 10
"""Rows that are made at once, and of a video; sources."""
NEAREST = 10
RATES = "rates.json"
"""How fast the index was built, beside it: with ``--keep`` a later call asks it alone."""


@dataclass
class Synthetic:
    """A distribution of latent actions."""

    centres: np.ndarray
    scales: np.ndarray
    rotation: np.ndarray
    shares: np.ndarray

    @classmethod
    def make(cls, width: int, clusters: int) -> Synthetic:
        rng = np.random.default_rng(0)
        # Variances fall about as slowly as those of the principal components of wildlam-tiny's z on walks.
        scales = ((1 + np.arange(width)) ** -0.35).astype(np.float32)
        rotation = np.linalg.qr(rng.normal(size=(width, width)))[0].astype(np.float32)
        centres = rng.normal(size=(clusters, width)).astype(np.float32) * scales
        shares = (1.0 + np.arange(clusters)) ** -0.7
        return cls(centres, scales, rotation, shares / shares.sum())

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Latent actions ``float32 [count, width]``."""
        rng = np.random.default_rng([1, seed])
        of = rng.choice(len(self.centres), count, p=self.shares)
        apart = rng.standard_normal((count, len(self.scales)), dtype=np.float32) * (SPREAD * self.scales)
        return (self.centres[of] + apart) @ self.rotation


def main() -> None:
    args = parsed()
    synthetic = Synthetic.make(args.width, args.clusters)
    queries = synthetic.draw(args.queries, 2**31)
    if not args.keep:
        shutil.rmtree(args.work, ignore_errors=True)
    root, manifest = "synthetic", args.work / "none.parquet"
    about = {"weights": "synthetic", "dim": args.width, "root": root, "manifest": manifest, "size": 0}
    index = SearchIndex.create(args.work, **about)
    truth = Truth(queries)
    rows = list(built(index, synthetic, truth, args.rows))
    rows += searched(index, queries, truth)
    args.out.mkdir(parents=True, exist_ok=True)
    write(rows, args.out / "search_scale.json")
    (args.out / "search_scale.md").write_text(text(rows, args))
    print((args.out / "search_scale.md").read_text())
    if not args.keep:
        shutil.rmtree(args.work)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=WIDTH, help="of latent actions")
    parser.add_argument("--clusters", type=int, default=CLUSTERS)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--work", type=Path, default=Path("runs/search_scale"), help="folder for the index")
    parser.add_argument("--keep", action="store_true", help="leave the index there, or search the one that is")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for what is found")
    return parser.parse_args()


class Truth:
    """The nearest rows of each query among all that were seen, by cosine."""

    def __init__(self, queries: np.ndarray) -> None:
        self.queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        self.near = np.full((len(queries), NEAREST), -np.inf, np.float32)
        self.rows = np.full((len(queries), NEAREST), -1)
        self.seen, self.seconds = 0, 0.0

    def see(self, z: np.ndarray) -> None:
        """Compare all queries with the next rows, ``float32 [n, width]``."""
        began = time.perf_counter()
        near = np.concatenate([self.near, self.queries @ (z / np.linalg.norm(z, axis=1, keepdims=True)).T], axis=1)
        rows = np.concatenate([self.rows, np.broadcast_to(self.seen + np.arange(len(z)), (len(near), len(z)))], axis=1)
        best = np.argpartition(-near, NEAREST, axis=1)[:, :NEAREST]
        self.near, self.rows = np.take_along_axis(near, best, 1), np.take_along_axis(rows, best, 1)
        self.seen += len(z)
        self.seconds += time.perf_counter() - began


def built(index: SearchIndex, synthetic: Synthetic, truth: Truth, count: int) -> Iterator[dict]:
    """Fill an index and make it ready, and tell how fast."""
    there, writing = len(index), 0.0
    for first in tqdm(range(0, count, BLOCK), desc="writing", unit="block"):
        z = synthetic.draw(min(BLOCK, count - first), first)
        truth.see(z)
        if first >= there:
            began = time.perf_counter()
            index.append(_rows(z, first))
            writing += time.perf_counter() - began
    began = time.perf_counter()
    kept = index.folder / RATES
    if not index.settled:
        index.settle()
        rates = [row("written", (count - there) / max(writing, 1e-9), "rows/s")]
        rates.append(row("made ready to be searched", count / (time.perf_counter() - began), "rows/s"))
        kept.write_text(json.dumps({"rates": rates}))
    yield from read_json(kept)["rates"]
    size = sum(file.stat().st_size for file in index.folder.rglob("*") if file.is_file())
    yield row("bytes of a row on disk, index included", size / count, "bytes")


def _rows(z: np.ndarray, first: int) -> pa.Table:
    """Rows of a table; what they are besides z follows from their numbers."""
    numbers = first + np.arange(len(z))
    videos = numbers // OF_VIDEO
    start = (numbers % OF_VIDEO) / 4.0
    return pa.table(
        {
            "video": [f"source_{video % SOURCES}/train/{video:07d}.mp4" for video in videos.tolist()],
            "source": [f"source_{video % SOURCES}" for video in videos.tolist()],
            "start": start,
            "end": start + 0.25,
            "speed": np.abs(z[:, :64]).mean(axis=1),
            "size": np.full(len(z), 1_000_000),
            "mtime_ns": np.zeros(len(z), np.int64),
            "z": pa.FixedSizeListArray.from_arrays(pa.array(z.reshape(-1)), z.shape[1]),
        }
    )


def searched(index: SearchIndex, queries: np.ndarray, truth: Truth) -> Iterator[dict]:
    """Search for each query, and tell how long it takes and what is missed."""
    index = SearchIndex.open(index.folder)
    began = time.perf_counter()
    index.nearest(queries[0], NEAREST)
    yield row("first query of a process", 1000 * (time.perf_counter() - began), "ms")
    found = 0
    times = []
    for query, right in zip(queries, truth.rows, strict=True):
        began = time.perf_counter()
        hits = index.nearest(query, NEAREST)
        times.append(1000 * (time.perf_counter() - began))
        found += len({_number(hit.video, hit.start) for hit in hits} & set(right.tolist()))
    yield row("recall@10", found / right.size / len(queries), "share", aim=0.95)
    yield row("query, median", statistics.median(times), "ms", aim=50, at_most=True)
    yield row("query, 95 % take at most", float(np.quantile(times, 0.95)), "ms", aim=50, at_most=True)
    yield row("comparison with all rows, of many queries at once", 1000 * truth.seconds / len(queries), "ms")
    filters = {
        "one source of ten": Filter(sources=[f"source_{SOURCES - 1}"]),
        "the faster half": Filter(min_speed=0.5),
        "the fastest hundredth": Filter(min_speed=0.99),
        "the first second": Filter(before=1.0),
    }
    for name, only in filters.items():
        times = []
        for query in queries[:50]:
            began = time.perf_counter()
            index.nearest(query, NEAREST, only)
            times.append(1000 * (time.perf_counter() - began))
        yield row(f"query, {name}, median", statistics.median(times), "ms")
    times = []
    for query in queries[:50]:
        began = time.perf_counter()
        index.nearest(query, NEAREST, distinct_videos=True)
        times.append(1000 * (time.perf_counter() - began))
    yield row("query, distinct videos, median", statistics.median(times), "ms")


def _number(video: str, start: float) -> int:
    return int(video.rsplit("/", 1)[1].removesuffix(".mp4")) * OF_VIDEO + round(start * 4)


def text(rows: list[dict], args: argparse.Namespace) -> str:
    def verdict(one: dict) -> str:
        if one["aim"] is None:
            return ""
        return f"{one['aim']:g}: {'met' if one['met'] else 'missed'}"

    lines = markdown_table(
        ["", "value", "unit", "aim"],
        ([one["name"], f"{one['value']:,.4g}", one["unit"], verdict(one)] for one in rows),
    )
    about = (
        f"{args.rows:,} synthetic latent actions of width {args.width} in {args.clusters:,} clusters, {args.queries} "
        f"queries; {machine()}. Written by `python benchmarks/search_scale.py --rows "
        f"{args.rows}`; what the words mean is said there and in [Search by action](../search.md)."
    )
    return "\n".join(["# Speed and recall of search", "", about, "", *lines, ""])


if __name__ == "__main__":
    main()
