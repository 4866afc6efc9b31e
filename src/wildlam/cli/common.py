"""Helpers of all commands: parsers, and the printing of runs and results."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wildlam.config import Parser
    from wildlam.runs.folder import Run

Arguments = Sequence[str]
Command = Callable[[Arguments], int | None]

RUN_USAGE = "wildlam {} --data.path PATH [--config FILE] [--KEY VALUE ...]"


def about(name: str, function: Command) -> dict[str, Any]:
    """A parser's name and description: the command's own docstring."""
    return {"prog": f"wildlam {name}", "description": inspect.getdoc(function)}


def make_parser(name: str, function: Command, **kwargs: Any) -> Parser:
    """Make the parser of a command, such as ``"decoder train"``, that ``function`` runs."""
    from wildlam.config import Parser

    return Parser(**about(name, function), **kwargs)


def own_run(text: str | Path) -> Path:
    """The type of an argument that names a run to write to; see ``wildlam.pretrained.own_run``."""
    from wildlam import pretrained

    return pretrained.own_run(text)


OWN_RUN_HELP = "run folder, or hf:user/name[@revision] for one on the Hub, which is copied to runs/name first"


def command(*words: object) -> str:
    """A ``wildlam`` command that can be pasted into a shell."""
    return shlex.join(["wildlam", *map(str, words)])


def summary(run: Run) -> str:
    """Summary of a run as text: configuration, progress and results."""
    from wildlam.config import read_config

    facts, metrics = run.facts, run.metrics()
    encoder, torch = facts["encoder"], facts["versions"]["torch"]
    config = read_config(run.path / "config.yaml")
    model = config.model
    choices = [model.size, model.idm, *(["place"] if model.place else []), model.bottleneck, model.consistency]
    lines = [
        f"run        {run.path}",
        f"command    {facts['command']}",
        f"started    {facts['started']} on {facts['machine']}, torch {torch}, seed {facts['seed']}",
        f"videos     {config.data.path}, {config.data.frames} frames at {config.data.fps:g} frames/s",
        f"encoder    {encoder['name']}, {encoder['grid']} tokens of width {encoder['width']}",
        f"model      {', '.join(map(str, choices))}",
        f"steps      {metrics[-1]['step'] if metrics else 0} of {config.training.steps}",
    ]
    if (run.path / "results.json").is_file():
        lines += ["", *results(run.path)]
    return "\n".join(lines)


def results(folder: Path) -> list[str]:
    """The results in a folder: a table with a row for each source, and the verdict.

    Raises:
        WildlamError: they are damaged, or of something else.
    """
    from wildlam.errors import WildlamError
    from wildlam.evaluation.one_step import METHODS
    from wildlam.evaluation.verdict import verdict_of
    from wildlam.fileio import read_json
    from wildlam.report.text import text_table

    file = folder / "results.json"
    found = read_json(file)
    try:
        present = [method for method in METHODS if method in found["all"]]
        rows = {**(found["sources"] if len(found["sources"]) > 1 else {}), "all": found["all"]}
        table = text_table(present, {name: [f"{row[m]:.4f}" for m in present] for name, row in rows.items()}, 15)
        clips, verdict = found["clips"], verdict_of(folder).lines
    except (KeyError, TypeError, ValueError) as error:
        raise WildlamError(
            f"{file} is not what an evaluation wrote ({type(error).__name__}: {error}); restore it, or make it anew: "
            f"wildlam eval {shlex.quote(str(folder))}"
        ) from error
    return [
        f"Held-out one-step L1 error (lower is better), {clips} clips:",
        *table,
        "; ".join(f"{method}: {METHODS[method]}" for method in present),
        "",
        *verdict,
        *(["", f"report     {report}"] if (report := folder / "report.html").is_file() else []),
    ]


def finished(path: Path) -> None:
    """Print the summary of a run, once for all processes."""
    from wildlam.distributed import is_main_process
    from wildlam.runs.folder import Run

    if is_main_process():
        print(summary(Run.open(path)))
