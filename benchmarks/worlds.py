"""What the studies of the worlds share: their films, the model that is studied, and rows that outlive a machine."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from common import machine

from wildlam.config import RunConfig, read_config
from wildlam.distributed import Processes
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.fileio import read_json, write_atomically
from wildlam.models import LatentActionModel, ModelConfig
from wildlam.pretrained import unpack
from wildlam.runs.folder import Run
from wildlam.states.dataset import Clips
from wildlam.training import TrainingConfig
from wildlam.types import Encoder
from wildlam.video.config import DataConfig
from wildlam.workflows.auxiliary import weights_fingerprint
from wildlam.workflows.open_run import load_clips, load_model
from wildlam.workflows.train import fit_run
from wildlam.worlds.arm import collect_arm
from wildlam.worlds.movers import collect_movers
from wildlam.worlds.pusht_films import collect_pusht
from wildlam.worlds.walkers import collect_nav

MOVERS = "movers"
FILMS: dict[str, tuple[Callable[..., object], int, float]] = {
    "arm": (collect_arm, 480, 8.0),
    "nav": (collect_nav, 568, 16.0),
    MOVERS: (collect_movers, 480, 8.0),
    "cameras": (partial(collect_arm, cameras="many"), 480, 8.0),
    "mover": (partial(collect_movers, movers=[1]), 480, 8.0),
    "pusht": (collect_pusht, 240, 20.0),
}
"""Who films a world, how often and for how many seconds; the first three as in ``examples/tiny/train.sh``.

In *cameras* the arm does the same as in *arm*, film by film, seen from other places. In films of a single *mover* its
true motion is a label where it is always seen. wildlam-tiny has never seen *pusht*.
"""
FPS = 4.0
"""States a second."""
SEED = 10
"""Of the films, likewise."""


def add_arguments(parser: argparse.ArgumentParser, worlds: Iterable[str]) -> None:
    """Add ``--run``, ``--work`` and ``--worlds``, all of them by default."""
    parser.add_argument("--run", type=Path, help="a run that was trained on both worlds; wildlam-tiny if not given")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/worlds"), help="folder for films and for all that is trained on them"
    )
    parser.add_argument("--worlds", nargs="+", choices=list(worlds), default=list(worlds))


def add_training(parser: argparse.ArgumentParser, steps: int, batch: int) -> None:
    """Add what ``trained`` takes, ``--seeds`` and ``--out``."""
    parser.add_argument("--work", type=Path, default=Path("runs/worlds"), help="folder for films and models")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", default="nano", help="of the models")
    parser.add_argument("--steps", type=int, default=steps, help="training steps of each")
    parser.add_argument("--batch", type=int, default=batch, help="clips of a step")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for what is found")


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


def trained(
    args: argparse.Namespace,
    encoder: Encoder,
    model: ModelConfig,
    worlds: Sequence[str],
    folder: Path,
    name: str,
    seed: int,
    fps: float = FPS,
) -> tuple[LatentActionModel, Clips]:
    """A model, trained without labels on the films of some worlds if it is not there, and the clips of these.

    It lies in ``folder`` by its ``name``, under the ``size``, ``steps`` and ``batch`` that ``args`` give. Each world
    gives as many clips as another; the states of all are kept in one place.
    """
    often = max(args.steps // 4, 1)
    videos = args.work.absolute() / "videos"
    config = RunConfig(
        data=DataConfig(
            path=videos,
            fps=fps,
            exclude=[f"{other.name}/*" for other in videos.iterdir() if other.is_dir() and other.name not in worlds],
            cache=args.work.absolute() / "cache",
            mixture=dict.fromkeys(worlds, 1 / len(worlds)) if len(worlds) > 1 else {},
            workers=0,
        ),
        encoder=Lite0(),
        model=replace(model, size=args.size),
        training=TrainingConfig(steps=args.steps, batch_size=args.batch, eval_every=often, save_every=often, keep=1),
        action_free=False,
        seed=seed,
    )
    config = replace(config, training=config.training.settled(encoder.device))
    team = Processes(0, 1, encoder.device)
    clips = load_clips(config, encoder, team)
    run = Run(folder / f"{args.size}_{args.steps}x{args.batch}" / name)
    fit_run(config, run, clips, team, resume=True, title=name)
    return load_model(run, config, encoder.spec).to(encoder.device), clips


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
