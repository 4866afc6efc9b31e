"""A table of transitions with their latent actions, where the nearest are found: a Lance dataset with an index.

**Distance.** One minus the cosine of two latent actions: 0 means the same direction. Of the distances that were tried
it alone does well on the arm and on walks alike (docs/search.md).

**Scale.** Up to ``INDEXED_FROM`` rows each query reads all latent actions, and is exact. From there on Lance's IVF_RQ
holds a bit of each dimension of a rotated z (RaBitQ, arXiv 2405.12497), and what seems nearest is compared exactly. A z
whose width RaBitQ does not take has partitions alone. Latent actions are kept in float32: in float16 they take half the
room, and an index of them much longer to make.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import lance
import numpy as np
import pyarrow as pa

from wildlam.errors import WildlamError, option
from wildlam.fileio import followed, read_json, write_atomically
from wildlam.states.layout import is_lances, quoted, reason
from wildlam.video.files import Location, is_remote
from wildlam.workflows.search_filter import Filter, Hit, Transition

INDEXED_FROM = 100_000
"""Rows from which on there is an index; a query of fewer takes some milliseconds without one."""
TRAINED_AGAIN = 2
"""An index is trained anew when the rows are so many times as many as when it was trained."""
ROWS_FOR_PARTITION = 40
"""There are ``sqrt(rows / 40)`` partitions: most of the time that an index takes is that of finding each row's, which
grows with their number."""
PARTITIONS = 32
"""Partitions that a query reads at least; more of them if a filter leaves too few rows."""
REFINED = 2
"""Rows that are compared exactly for each one that is fetched."""
_TRAINING = {"sample_rate": 64, "max_iters": 10}
"""Of the partitions' centres: rows for each, and rounds. Lance's own, 256 and 50, take many times as long."""
COLUMNS = ["video", "source", "start", "end", "speed"]
"""What is told of a transition, besides z and the state of the file."""
VERSION = 1
_LANCE_FORMAT: Literal["2.1"] = "2.1"
_FRAGMENTS = 512  # from which on they are made fewer, which writes all rows anew
_KEPT = timedelta(hours=1)  # for so long older versions can be read
_RANKS = 1001  # quantiles of the speed that are kept


class SearchIndex:
    """Transitions on disk and their latent actions; see the module's docstring. ``open`` one, or ``create`` it.

    Attributes:
        folder: its folder.
        weights: fingerprint of the model whose latent actions they are.
        root: folder of the videos, as text.
        manifest: manifest of the videos.
    """

    def __init__(self, folder: Path, about: dict[str, Any], dataset: lance.LanceDataset):
        self.folder, self.dataset, self._about = folder, dataset, about
        self._unsettled: dict[str, list] | None = None
        self.weights: str = about["weights"]
        self.root: str = about["root"]
        self.manifest = Path(about["manifest"])
        if "folder" in about and "://" not in self.root:  # a run that was moved or copied has its own videos with it
            was, now = Path(about["folder"]).parent, folder.absolute().parent
            self.root = str(followed(Path(self.root), was, now))
            self.manifest = followed(self.manifest, was, now)
        self.size = int(about["size"])
        """Side of the pictures that are shown."""

    @classmethod
    def create(cls, folder: Path, *, weights: str, dim: int, root: str, manifest: Path, size: int) -> SearchIndex:
        """An index for a model and a folder of videos: the one that is there, or a new one without rows.

        One of a folder that is gone follows the videos to the new folder.

        Args:
            folder: its folder.
            weights: fingerprint of the model.
            dim: width Z of its latent actions.
            root: folder of the videos.
            manifest: their manifest.
            size: side of the pictures that are shown, in pixels.

        Raises:
            WildlamError: the one that is there is of another model or folder, or damaged; or it cannot be written.
        """
        places = {"root": root, "manifest": str(manifest), "folder": str(folder.absolute())}
        if (folder / "index.json").is_file():
            index = cls.open(folder, weights)
            if index.root != root and ("://" in index.root or Path(index.root).exists()):
                raise WildlamError(
                    f"{folder} is an index of {index.root}, not of {root}; give another {option('out')}, or delete it"
                )
            if not places.items() <= index._about.items():  # something was moved
                index._say(**places)
            return cls.open(folder, weights)
        about = {"version": VERSION, "weights": weights, "size": size, **places}
        kinds = {"start": pa.float64(), "end": pa.float64(), "speed": pa.float32()}
        columns = {name: kinds.get(name, pa.string()) for name in COLUMNS}
        columns |= {"size": pa.int64(), "mtime_ns": pa.int64(), "z": pa.list_(pa.float32(), dim)}
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            table, schema = str(folder / "index.lance"), pa.schema(list(columns.items()))
            mode = "overwrite" if (folder / "index.lance").is_dir() else "create"  # an interrupted call left one
            dataset = lance.write_dataset([], table, schema=schema, mode=mode, data_storage_version=_LANCE_FORMAT)
            # This last: without it, what is here is not taken for an index.
            write_atomically(folder / "index.json", json.dumps(about))
        return cls(folder, about, dataset)

    @classmethod
    def open(cls, folder: Path | str, weights: str | None = None) -> SearchIndex:
        """Open an index; with ``weights``, only if it is of the model with this fingerprint.

        Raises:
            WildlamError: there is none, it is damaged, or it is of another model.
        """
        folder = Path(folder)
        if not (folder / "index.json").is_file():
            raise WildlamError(f"{folder} has no search index; build one with `wildlam search build`")
        about = read_json(folder / "index.json")
        if about.get("version") != VERSION or not {"weights", "root", "manifest", "size"} <= about.keys():
            raise WildlamError(
                f"{folder}: not a search index of version {VERSION}; delete the folder and build it again"
            )
        if weights is not None and about["weights"] != weights:
            raise WildlamError(
                f"{folder} holds latent actions of another run, or of this one before more training; delete the folder "
                f"and build it again, or give another {option('out')}"
            )
        with _reading(folder):
            return cls(folder, about, lance.dataset(str(folder / "index.lance")))

    def __len__(self) -> int:
        """Number of transitions."""
        return self.dataset.count_rows()

    def is_of(self, videos: Location) -> bool:
        """Whether a folder is that of its videos."""
        if is_remote(videos):
            return str(videos).rstrip("/") == self.root.rstrip("/")
        return Path(self.root).resolve() == videos.resolve()

    @property
    def dim(self) -> int:
        """Width Z of latent actions."""
        return self.dataset.schema.field("z").type.list_size

    @property
    def indexed(self) -> bool:
        """Whether there is an index over the latent actions."""
        return "trained" in self._about

    @property
    def settled(self) -> bool:
        """Whether the rows are ready to be searched, as far as their number shows; see ``settle``."""
        return self._about.get("settled") == len(self)

    def videos(self) -> dict[str, tuple[int, int]]:
        """The videos whose transitions are there, with their size in bytes and time of change in ns."""
        with _reading(self.folder):
            found: dict[str, tuple[int, int]] = {}
            for batch in self.dataset.scanner(columns=["video", "size", "mtime_ns"]).to_batches():
                found |= {
                    name: (size, changed) for name, size, changed in zip(*map(pa.Array.to_pylist, batch), strict=True)
                }
            return found

    def append(self, rows: pa.Table) -> None:
        """Add transitions, with all columns of the table, at once or not at all.

        Raises:
            WildlamError: they cannot be written; what was there before stays.
        """
        with _writing(self.folder):
            self.dataset = lance.write_dataset(
                rows.cast(self.dataset.schema), self.dataset, mode="append", data_storage_version=_LANCE_FORMAT
            )

    def delete(self, videos: Sequence[str]) -> None:
        """Remove all transitions of some videos.

        Raises:
            WildlamError: the table cannot be written.
        """
        for first in range(0, len(videos), 1000):
            names = ", ".join(map(quoted, videos[first : first + 1000]))
            with _writing(self.folder):
                self.dataset.delete(f"video IN ({names})")

    def settle(self) -> None:
        """Make the rows ready to be searched, after some were added or removed: speeds are ranked, z is indexed.

        Raises:
            WildlamError: the table cannot be written.
        """
        count = len(self)
        with _writing(self.folder):
            if len(self.dataset.get_fragments()) > _FRAGMENTS:
                self.dataset.optimize.compact_files()
            if count >= INDEXED_FROM:
                self._settle_index(count)
            # An index that is open elsewhere goes on reading the version that it was opened at.
            self.dataset.cleanup_old_versions(older_than=_KEPT)
        self._say(settled=count, **self._of_rows())

    def _of_rows(self) -> dict[str, list]:
        """Quantiles of the speed, and the sources in order."""
        with _reading(self.folder):
            known = self.dataset.to_table(columns=["speed", "source"])
        ranks = np.quantile(known["speed"].to_numpy(), np.linspace(0, 1, _RANKS)).tolist() if len(known) else []
        return {"speeds": ranks, "sources": sorted(known["source"].unique().to_pylist())}

    def _settle_index(self, count: int) -> None:
        if count >= TRAINED_AGAIN * self._about.get("trained", 0):
            kind = "IVF_RQ" if self.dim % 8 == 0 and self.dim >= 64 else "IVF_FLAT"
            size = round(math.sqrt(ROWS_FOR_PARTITION * count))
            self.dataset = self.dataset.create_index(
                "z", kind, name="z", metric="cosine", replace=True, target_partition_size=size, **_TRAINING
            )
            for column, of_column in (("video", "BTREE"), ("source", "BITMAP"), ("speed", "BTREE")):
                self.dataset.create_scalar_index(column, of_column, name=column, replace=True)
            self._say(trained=count)
        else:
            self.dataset.optimize.optimize_indices()

    def _say(self, **news: Any) -> None:
        self._about |= news
        with _writing(self.folder):
            write_atomically(self.folder / "index.json", json.dumps(self._about))

    def of_video(self, video: str) -> list[Transition]:
        """The transitions of a video, in order of time; none if it is not there."""
        with _reading(self.folder):
            found = self.dataset.scanner(columns=COLUMNS, filter=f"video = {quoted(video)}").to_table()
        return [Transition(**row) for row in found.sort_by("start").to_pylist()]

    def find(self, video: str, seconds: float) -> tuple[Transition, np.ndarray]:
        """The transition of a video that lasts at a moment, and its latent action ``float32 [Z]``.

        Raises:
            WildlamError: the video is not there, or no transition of it lasts then.
        """
        found = self.of_video(video)
        if not found:
            raise WildlamError(
                f"{self.folder} has no video {video!r}; give its path relative to {self.root}, or that of any file; "
                "`wildlam search build` adds new videos"
            )
        for one in found:
            if one.start <= seconds < one.end:
                return one, self.vectors([one])[0]
        raise WildlamError(
            f"{video}: no transition at {seconds:g} s; there are some from {found[0].start:.2f} to "
            f"{found[-1].end:.2f} s"
        )

    def held(self, transitions: Sequence[Transition]) -> list[Transition]:
        """Those of some transitions that are in this index, such as of a group's that was saved from other videos."""
        there = self._places(transitions, [])[0]
        return [one for one in transitions if (one.video, one.start) in there]

    def vectors(self, transitions: Sequence[Transition]) -> np.ndarray:
        """Latent actions of transitions of this index, ``float32 [n, Z]``.

        Raises:
            WildlamError: one is not there.
        """
        place, rows = self._places(transitions, ["z"])
        if gone := next((one for one in transitions if (one.video, one.start) not in place), None):
            raise WildlamError(f"{self.folder} has no transition {gone} any more; look for others")
        return _vectors(rows["z"].take(pa.array([place[one.video, one.start] for one in transitions])))

    def _places(
        self, transitions: Sequence[Transition], columns: list[str]
    ) -> tuple[dict[tuple[str, float], int], pa.Table]:
        """All rows of the videos of some transitions, and the number of each by video and start."""
        videos = sorted({one.video for one in transitions})
        where = f"video IN ({', '.join(map(quoted, videos))})" if videos else "false"
        with _reading(self.folder):
            rows = self.dataset.scanner(columns=["video", "start", *columns], filter=where).to_table()
        keys = zip(rows["video"].to_pylist(), rows["start"].to_pylist(), strict=True)
        return {key: row for row, key in enumerate(keys)}, rows

    def nearest(
        self, z: np.ndarray, count: int, only: Filter | None = None, *, distinct_videos: bool = False
    ) -> list[Hit]:
        """The transitions whose latent actions are nearest to ``z``, the nearest first.

        Args:
            z: ``float [Z]``; or several, ``[K, Z]``, of which the one nearest to a transition counts.
            count: how many, at most.
            only: which ones may be found; all if not given.
            distinct_videos: at most one of each video.

        Raises:
            WildlamError: z is of another width, not finite or zero, or the table is damaged.
        """
        z = np.asarray(z, dtype=np.float32)
        if z.shape[-1:] != (self.dim,) or z.ndim > 2 or not z.size:
            raise WildlamError(f"a latent action of shape {list(z.shape)}; those of {self.folder} are [{self.dim}]")
        lengths = np.linalg.norm(z, axis=-1, keepdims=True)
        if not np.isfinite(z).all() or not lengths.all():
            raise WildlamError("this latent action is zero or not finite, and has no direction; ask for another")
        asked, only = np.atleast_2d(z / lengths), only or Filter()
        # Most filters leave many: the nearest of all are tried first, since that needs no look at the other columns.
        some = 4 * count + 32
        for at_most, where in ((some, None), (some, only), (16 * some, only), (256 * some, only)):
            found, all_of_them = self._nearest_to_any(asked, at_most, where)
            hits = only.first(found, count, self._speeds(only), distinct_videos)
            if len(hits) == count or (where is only and all_of_them):
                break
        return hits

    def _nearest_to_any(self, asked: np.ndarray, count: int, only: Filter | None) -> tuple[list[Hit], bool]:
        """The transitions nearest to any of ``[K, Z]``, from ``count`` that are nearest to each, the nearest first; and
        whether these are all that there are.
        """
        of_each = [self._nearest(z, count, only) for z in asked]
        cut = [found[-1].distance for found in of_each if len(found) == count]
        until = min(cut, default=np.inf)  # of what is farther, some may be missing
        nearest: dict[tuple[str, float], Hit] = {}
        for hit in sorted((hit for found in of_each for hit in found), key=lambda hit: hit.distance):
            if hit.distance <= until:
                nearest.setdefault((hit.video, hit.start), hit)
        return list(nearest.values()), not cut

    def _nearest(self, z: np.ndarray, count: int, only: Filter | None) -> list[Hit]:
        where = self._where(only) if only else None
        near: dict[str, Any] = {"column": "z", "q": z, "k": count, "metric": "cosine"}
        if self.indexed:
            near |= {"minimum_nprobes": PARTITIONS, "refine_factor": REFINED}
        with _reading(self.folder):
            found = self.dataset.scanner(
                columns=[*COLUMNS, "_distance"], nearest=near, filter=where, prefilter=where is not None
            ).to_table()
        return [
            Hit(**{name: row[name] for name in COLUMNS}, distance=row["_distance"], rank=self.rank_of(row["speed"]))
            for row in found.to_pylist()
        ]

    def _where(self, only: Filter) -> str | None:
        """The filter as Lance takes it."""
        parts = []
        if only.sources:
            parts.append(f"source IN ({', '.join(map(quoted, only.sources))})")
        low, high = self._speeds(only)
        parts += [f"speed >= {low!r}"] if low > -np.inf else []
        parts += [f"speed <= {high!r}"] if high < np.inf else []
        parts += [f"start >= {only.after!r}"] if only.after > 0 else []
        parts += [f"end <= {only.before!r}"] if only.before < np.inf else []
        if only.without:
            parts.append(f"video NOT IN ({', '.join(map(quoted, sorted(only.without)))})")
        if only.moments is not None:  # and some more, which are told apart later
            videos, starts = {video for video, _ in only.moments}, {start for _, start in only.moments}
            parts.append(f"video IN ({', '.join(map(quoted, sorted(videos)))})" if videos else "false")
            parts += [f"start IN ({', '.join(map(repr, sorted(starts)))})"] if starts else []
        return " AND ".join(parts) or None

    def _speeds(self, only: Filter) -> tuple[float, float]:
        ranks = np.linspace(0, 1, _RANKS)
        low = -np.inf if only.min_speed == 0 else float(np.interp(only.min_speed, ranks, self._quantiles))
        high = np.inf if only.max_speed == 1 else float(np.interp(only.max_speed, ranks, self._quantiles))
        return low, high

    @property
    def _quantiles(self) -> list[float]:
        return self._known["speeds"] or [0.0] * _RANKS

    @property
    def _known(self) -> dict[str, list]:
        """What ``settle`` wrote; of an index whose first build was interrupted, what it would write."""
        if "speeds" not in self._about:
            if self._unsettled is None:
                self._unsettled = self._of_rows()
            return self._unsettled
        return self._about

    def rank_of(self, speed: float) -> float:
        """Share of all transitions that are slower than this."""
        return float(np.interp(speed, self._quantiles, np.linspace(0, 1, _RANKS)))

    @property
    def sources(self) -> list[str]:
        """Names of the sources, in order."""
        return self._known["sources"]


def _vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Latent actions of a column, ``float32 [n, Z]``."""
    flat = column.combine_chunks()
    return np.array(flat.flatten()).reshape(len(flat), -1)  # a copy: Arrow's own cannot be written to


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Raise a WildlamError for what Lance raises on damaged files."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, WildlamError) or not is_lances(error):
            raise
        raise WildlamError(
            f"{folder}: the search index is damaged ({reason(error)}); delete the folder and build it again"
        ) from error


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Raise a WildlamError for what goes wrong while the index is written."""
    try:
        yield
    except OSError as error:
        raise WildlamError(
            f"{folder}: cannot be written to ({reason(error)}); make room, or choose another {option('out')}, and run "
            "again: what is there is kept"
        ) from error
