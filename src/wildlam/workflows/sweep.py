"""A grid of runs: every limit on the latent action at several strengths, both bounds, several seeds (arXiv 2601.05230).

Each run is an ordinary run folder, trained in a process of its own, so that one which runs out of memory does not end
the others. Finished runs are kept, and interrupted ones are resumed.
"""

from __future__ import annotations

import logging
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from wildlam.config import Parser, RunConfig, config_from, differences, dump_config, run_parser, to_config
from wildlam.distributed import Processes, default_device
from wildlam.errors import WildlamError
from wildlam.fileio import locked, read_json, write_atomically, writing
from wildlam.models.bottlenecks import BottleneckConfig, Deterministic, Unconstrained
from wildlam.report.html import figure, paragraph
from wildlam.report.pages.sweep import write_sweep_report
from wildlam.runs.command import current_command, records_call
from wildlam.video.manifest import Manifest
from wildlam.workflows.open_run import load_clips
from wildlam.workflows.train import announce_parts, train

log = logging.getLogger(__name__)

OUT = Path("runs/sweep")

PROGRAM = str(Path(sys.executable).with_name("wildlam"))

MADE_BY = "# Made by: "
"""Prefix of the command in the first line of ``sweep.yaml``."""


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A base configuration, and what varies from run to run.

    Args:
        run: what all runs share. Of its bottleneck the width ``dim`` is taken; its seed and baseline are not used.
        limits: class of bottleneck to its keys: one has a list of values, the strengths, the others have one value.
        bounds: also train Deterministic and Unconstrained.
        seeds: each setting is trained with each.
    """

    run: RunConfig
    limits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bounds: bool = True
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])

    @property
    def out(self) -> Path:
        """The sweep's folder."""
        return self.run.out or OUT

    @property
    def made_by(self) -> str:
        """The command that started it."""
        first = (self.out / "sweep.yaml").read_text().partition("\n")[0]
        return first.removeprefix(MADE_BY) if first.startswith(MADE_BY) else shlex.join(_command(self))

    def grid(self) -> list[GridRun]:
        """All runs, seed by seed, so that an unfinished sweep holds whole pictures.

        Raises:
            WildlamError: a class, key or value of ``limits`` is not valid, two runs are the same, or there is none.
        """
        dim = self.run.model.bottleneck.dim
        settings: list[tuple[str, BottleneckConfig]] = []
        if self.bounds:
            settings += [("", Deterministic(dim=dim)), ("", Unconstrained(dim=dim))]
        settings += self._limited()
        runs = [GridRun(self, key, limit, seed) for seed in self.seeds for key, limit in settings]
        if not runs:
            raise WildlamError("the sweep has no runs; give `limits` (or `bounds: true`) and at least one of `seeds`")
        names = [run.name for run in runs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise WildlamError(
                f"the sweep holds {twice} twice; give each strength in `limits` and each of `seeds` once"
            )
        return runs

    def _limited(self) -> Iterator[tuple[str, BottleneckConfig]]:
        """The key that sets the strength and the bottleneck, for each strength of each limit."""
        parser = run_parser()
        for name, keys in self.limits.items():
            lists = [key for key, value in keys.items() if isinstance(value, list)] if isinstance(keys, dict) else []
            if len(lists) != 1 or not keys[lists[0]]:
                raise WildlamError(
                    f"limits.{name}: give one key a list of strengths, such as `Noisy: {{beta: [0.001]}}`"
                )
            for value in keys[lists[0]]:
                chosen = {"dim": self.run.model.bottleneck.dim, **keys, lists[0]: value}
                bottleneck = {"class_path": name, "init_args": chosen}
                try:
                    parsed = parser.parse_object({"data": {"path": ""}, "model": {"bottleneck": bottleneck}})
                    yield lists[0], to_config(RunConfig, parser, parsed).model.bottleneck
                except WildlamError as error:
                    raise WildlamError(f"limits: {error}") from None


@dataclass(frozen=True)
class GridRun:
    """One run of a sweep; ``key`` names the strength of its limit, empty for a bound."""

    sweep: SweepConfig
    key: str
    limit: BottleneckConfig
    seed: int

    @property
    def bottleneck(self) -> str:
        """Name of the limit's class."""
        return type(self.limit).__name__

    @property
    def strength(self) -> float | None:
        """Value of the key, ``None`` for a bound."""
        return getattr(self.limit, self.key) if self.key else None

    @property
    def name(self) -> str:
        """Folder of the run, in the sweep's."""
        strength = f"-{self.strength:g}" if self.key else ""
        return f"{self.bottleneck}{strength}/seed{self.seed}"

    @property
    def config(self) -> RunConfig:
        """Configuration of the run."""
        base = self.sweep.run
        model = replace(base.model, bottleneck=self.limit)
        return replace(base, model=model, action_free=False, seed=self.seed, out=self.path)

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.sweep.out / self.name

    @property
    def is_finished(self) -> bool:
        """Whether it has been trained and evaluated."""
        try:
            return "all" in read_json(self.path / "results.json")
        except WildlamError:  # not there, or damaged: to be evaluated again
            return False

    @property
    def failed(self) -> Path:
        """File that says why the last attempt failed."""
        return self.path / "failed.txt"

    @property
    def failure(self) -> str | None:
        """Why the last attempt failed."""
        return self.failed.read_text() if not self.is_finished and self.failed.is_file() else None


@dataclass(frozen=True)
class SweepResult:
    """Results of a sweep. Printed, its findings; in a notebook, the figure, too.

    Attributes:
        folder: where ``report.html``, ``sweep.svg``, ``sweep.md`` and the runs' folders lie.
        findings: conclusions, in words.
        rows: what is known of each run.
        failed: why a run failed, by its name; the same call tries it again.
        figure: error against strength, as SVG.
    """

    folder: Path
    findings: list[str]
    rows: list[dict[str, Any]] = field(repr=False)
    failed: dict[str, str]
    figure: bytes = field(repr=False)

    def __str__(self) -> str:
        return "\n".join([*self.findings, "", f"report     {self.folder / 'report.html'}"])

    def _repr_html_(self) -> str:
        words = "".join(paragraph(finding) for finding in self.findings)
        return words + figure(self.figure, "Error against strength of each limit", wide=True)


@records_call
def sweep(config: SweepConfig | None = None, /, **keywords: Any) -> SweepResult:
    """Train and evaluate every run of a grid that is not finished, each in a process of its own, and compare all.

    Args:
        config: what all runs share, and what varies.
        keywords: fields of ``SweepConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: what is wrong with the configuration, the data or the folder; a run that fails is listed in
            the result.
    """
    config = _settled(config_from(SweepConfig, config, keywords))
    train_all(config)
    findings = report_sweep(config)
    return SweepResult(
        config.out,
        findings,
        read_json(config.out / "sweep.json")["runs"],
        {run.name: run.failure for run in config.grid() if run.failure},
        (config.out / "sweep.svg").read_bytes(),
    )


def sweep_parser(**kwargs: Any) -> Parser:
    """Make a parser of a run's keys and of the three that say what varies."""
    parser = run_parser(**kwargs)
    parser.add_argument(
        "--limits",
        type=dict[str, dict[str, Any]],
        default={},
        help="bottleneck to its keys, one of them with a list of strengths: {Noisy: {beta: [0.01, 0.001]}}",
    )
    parser.add_argument("--bounds", type=bool, default=True, help="also train Deterministic and Unconstrained")
    parser.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="each setting is trained with each")
    return parser


def to_sweep_config(parser: Parser, namespace: jsonargparse.Namespace) -> SweepConfig:
    """Build the ``SweepConfig`` that was parsed; paths become absolute, so that it can be used from elsewhere.

    Raises:
        WildlamError: a value is out of its range.
    """
    run = to_config(RunConfig, parser, namespace)
    return _settled(SweepConfig(run=run, limits=namespace.limits, bounds=namespace.bounds, seeds=namespace.seeds))


def _settled(sweep: SweepConfig) -> SweepConfig:
    """The sweep with absolute paths, if all of its runs are valid."""
    run = sweep.run
    if run.seed:
        raise WildlamError(f"seed: a sweep takes several; give --seeds [{run.seed}]")
    cache = run.data.cache and run.data.cache.absolute()
    data = replace(run.data, path=run.data.path.absolute(), cache=cache)
    sweep = replace(sweep, run=replace(run, data=data, out=(run.out or OUT).absolute()))
    sweep.grid()
    return sweep


def claim(sweep: SweepConfig) -> None:
    """Write ``sweep.yaml`` into the sweep's folder, or check that the one there says the same.

    Raises:
        WildlamError: the folder holds a run or another sweep, or cannot be written.
    """
    varied = {"limits": dict(sweep.limits), "bounds": sweep.bounds, "seeds": list(sweep.seeds)}
    text = dump_config(sweep.run) + yaml.safe_dump(varied, sort_keys=False)
    path = sweep.out / "sweep.yaml"
    if (sweep.out / "config.yaml").exists():
        raise WildlamError(f"{sweep.out} holds a run; give another --out")
    with writing(path, "choose another --out"):
        if not path.exists():
            sweep.out.mkdir(parents=True, exist_ok=True)
            write_atomically(path, f"{MADE_BY}{current_command()}\n{text}")
            return
        known = path.read_text()
    try:
        other = next((d for d in differences(known, text) if d[0] != "out"), None)
    except yaml.YAMLError as error:
        raise WildlamError(f"{path} is damaged; restore it, or give another --out") from error
    if other:
        key, had, given = other
        raise WildlamError(f"{sweep.out} holds a sweep with {key} {had}, not {given}; give another --out")


def read_sweep(folder: Path) -> SweepConfig:
    """Read the configuration of a sweep from its folder, which may have moved.

    Raises:
        WildlamError: it is none.
    """
    path = folder / "sweep.yaml"
    if not path.is_file():
        raise WildlamError(f"{folder} is not the folder of a sweep: it has no sweep.yaml")
    parser = sweep_parser(prog=str(path))
    sweep = to_sweep_config(parser, parser.parse_path(path))
    return replace(sweep, run=replace(sweep.run, out=folder.absolute()))


def train_one(sweep: SweepConfig, index: int) -> None:
    """Train and evaluate run ``index`` of the grid, unless it is finished.

    Raises:
        WildlamError: there is no such run, or it failed.
    """
    grid = sweep.grid()
    if not 0 <= index < len(grid):
        raise WildlamError(f"only {index}: the sweep has {len(grid)} runs, 0 to {len(grid) - 1}")
    run = grid[index]
    try:
        claim(sweep)
        encode_once(sweep)
        run.path.mkdir(parents=True, exist_ok=True)
        with locked(run.path, "training"):
            if run.is_finished:
                log.info("%s is finished", run.name)
                return
            run.failed.unlink(missing_ok=True)
            try:
                train(run.config, resume=True)
            except Exception as error:
                reason = str(error) if isinstance(error, WildlamError) else f"{type(error).__name__}: {error}"
                write_atomically(run.failed, reason.partition("\n")[0])
                raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None  # its remedy, `train --resume`, would finish this run alone


def train_all(sweep: SweepConfig, start: Callable[[SweepConfig, int], int] | None = None) -> None:
    """Train and evaluate all runs that are not finished, one after another; a failure does not stop the others.

    Args:
        sweep: its configuration.
        start: trains a run of the grid by its index and returns 0 if that went well; in a new process by default.

    Raises:
        WildlamError: what is wrong with the data or the folder, and so with every run.
    """
    start = start or _in_new_process
    claim(sweep)
    grid = sweep.grid()
    waiting = [index for index, run in enumerate(grid) if not run.is_finished]
    encode_once(sweep, len(waiting))
    began = time.monotonic()
    for done, index in enumerate(waiting):
        run = grid[index]
        place = len(grid) - len(waiting) + done + 1
        log.info("Run %d of %d, %s; %s", place, len(grid), run.name, _left(grid, time.monotonic() - began))
        run.failed.unlink(missing_ok=True)
        status = start(sweep, index)
        if not run.is_finished and not run.failed.is_file():
            run.path.mkdir(parents=True, exist_ok=True)
            how = f"killed by signal {-status}, perhaps out of memory" if status < 0 else f"ended with status {status}"
            write_atomically(run.failed, how)


def encode_once(sweep: SweepConfig, runs: int = 0) -> None:
    """Index and encode the videos, which all runs share; of several processes one does it and the others wait.

    Before that, the time of this and of training ``runs`` runs is logged, if there are any.

    Raises:
        WildlamError: whatever is wrong with the videos or the encoder.
    """
    with locked(sweep.out, "encoding videos", file=sweep.out / ".encode.lock"):
        device = default_device()
        encoder = sweep.run.encoder.build(device)

        def before(rows: Manifest, frames: float | None) -> None:
            trainings = {"train": (sweep.run, runs * sweep.run.training.steps)}
            announce_parts(sweep.run, encoder, rows, frames, trainings, runs=runs)

        load_clips(sweep.run, encoder, Processes(0, 1, device), before if runs else None)


def report_sweep(sweep: SweepConfig) -> list[str]:
    """Write the report of what is finished; see ``write_sweep_report``."""
    return write_sweep_report(sweep.out, sweep.grid(), sweep.run.data.path.name, sweep.made_by)


def slurm_script(sweep: SweepConfig) -> str:
    """A job-array script with a task for each run."""
    report = shlex.join([PROGRAM, "report", str(sweep.out)])
    return f"""#!/bin/bash
# Adapt these lines to your cluster, then submit with sbatch. The first task encodes the videos, the others wait for it.
# Submitted again, it trains what failed; finished tasks end at once. When all have ended, the figure and the table:
#   {report}
#SBATCH --job-name=wildlam-sweep
#SBATCH --array=0-{len(sweep.grid()) - 1}
#SBATCH --cpus-per-task=8
#SBATCH --gpus=1
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={shlex.quote(str(sweep.out / "slurm-%a.log"))}

cd {shlex.quote(str(Path.cwd()))} || exit
exec {shlex.join(_command(sweep))} --only "$SLURM_ARRAY_TASK_ID"
"""


def _command(sweep: SweepConfig) -> list[str]:
    return [PROGRAM, "sweep", "--config", str(sweep.out / "sweep.yaml")]


def _in_new_process(sweep: SweepConfig, index: int) -> int:
    return subprocess.run([*_command(sweep), "--only", str(index)]).returncode


def _left(grid: list[GridRun], passed: float) -> str:
    """How long the sweep has taken in this process, and what it will take by the mean of the finished runs."""
    seconds = [read_json(run.path / "results.json")["seconds"] for run in grid if run.is_finished]
    text = f"{passed / 60:.0f} min gone"
    if not seconds:
        return text
    return f"{text}, about {(len(grid) - len(seconds)) * sum(seconds) / len(seconds) / 60:.0f} min left"
