"""What the studies of the worlds share: their films, the model that is studied, and rows that outlive a machine."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from common import machine

from wildlam.config import read_config
from wildlam.errors import WildlamError
from wildlam.fileio import read_json, write_atomically
from wildlam.pretrained import unpack
from wildlam.runs.folder import Run
from wildlam.workflows.controller import weights_fingerprint
from wildlam.workflows.open_run import load_model
from wildlam.worlds.arm import collect_arm
from wildlam.worlds.walkers import collect_nav

FILMS = {
    "arm": (collect_arm, 480, 8.0),
    "nav": (collect_nav, 568, 16.0),
    "cameras": (partial(collect_arm, cameras="many"), 480, 8.0),
}
"""Who films a world, how often and for how many seconds, as in ``examples/tiny/train.sh``.

In *cameras* the arm does the same as in *arm*, film by film, seen from other places.
"""
SEED = 10
"""Of the films, likewise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--run``, ``--work`` and ``--worlds``."""
    parser.add_argument("--run", type=Path, help="a run that was trained on both worlds; wildlam-tiny if not given")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/worlds"), help="folder for films and for all that is trained on them"
    )
    parser.add_argument("--worlds", nargs="+", choices=FILMS, default=list(FILMS))


def prepare(args: argparse.Namespace) -> None:
    """Film what is missing of the worlds, and unpack wildlam-tiny if no run is given."""
    film(args, args.worlds)
    args.run = args.run or unpacked(args)


def film(args: argparse.Namespace, worlds: Iterable[str]) -> None:
    """Film what is missing of some worlds."""
    for world in worlds:
        collect, episodes, seconds = FILMS[world]
        collect(films(args, world), episodes=episodes, seconds=seconds, seed=SEED)


def unpacked(args: argparse.Namespace) -> Path:
    """Unpack wildlam-tiny; gives its folder."""
    return unpack(args.work / "tiny", args.work / "videos")


def films(args: argparse.Namespace, world: str) -> Path:
    return args.work / "videos" / world


class Rows:
    """The rows of a study, in a JSON file that several calls add to, on one machine or others.

    Args:
        file: the JSON file.
        of: what the study is of; rows of another one are not added to.
        keys: what names a part of the study; a part is added whole, in the place of its older rows.
    """

    def __init__(self, file: Path, of: dict, keys: Sequence[str]) -> None:
        self.file, self.of, self.keys = file, json.loads(json.dumps(of)), keys

    def read(self) -> list[dict]:
        """All rows so far; read anew, as another call may have added some."""
        if not self.file.is_file():
            return []
        found = read_json(self.file)
        if found.get("of") != self.of:
            raise WildlamError(
                f"{self.file} is of {found.get('of')}, this study is of {self.of}; give another --out, or remove it"
            )
        return found["rows"]

    def has(self, **part: object) -> bool:
        """Whether there are rows of such a part."""
        return any(all(row[key] == value for key, value in part.items()) for row in self.read())

    def add(self, rows: list[dict]) -> list[dict]:
        """Add the rows of one part or more, and give all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with alone(self.file.parent):
            return self._added(rows)

    def _added(self, rows: list[dict]) -> list[dict]:
        new = {self._part(row) for row in rows}
        kept = [row for row in self.read() if self._part(row) not in new]
        rows = sorted([*kept, *({"machine": machine(), **row} for row in rows)], key=self._order)
        write_atomically(self.file, json.dumps({"of": self.of, "rows": rows}, indent=1) + "\n")
        return rows

    def _part(self, row: dict) -> tuple:
        return tuple(row[key] for key in self.keys)

    def _order(self, row: dict) -> tuple:
        """Numbers by size, and before words."""
        return tuple((isinstance(value, str), value) for value in self._part(row))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait for other calls that are writing in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def weights_of(run: Path) -> str:
    """A hash of a run's weights."""
    config = read_config(run / "config.yaml")
    return weights_fingerprint(load_model(Run.open(run), config, config.encoder.build().spec))


def machines(rows: list[dict]) -> str:
    return "; ".join(sorted({row["machine"] for row in rows}))
