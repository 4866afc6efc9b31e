"""Helpers of all commands: parsers, and the printing of runs and results."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
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


def check_run(text: str) -> None:
    """Refuse what is no run at once: what a command does with one imports PyTorch, which takes seconds.

    Raises:
        WildlamError: it is no folder of a run, nor named as one that comes with the package or lies on the Hub.
    """
    if text != "tiny" and not text.startswith("hf:"):
        from wildlam.runs.check import check_run_folder

        check_run_folder(Path(text))


def run_before(given: Sequence[str], run: str | None, usage: str) -> tuple[str, list[Path]]:
    """The run and the videos that are given one behind the other, or videos alone where the run is given by ``--run``.

    Args:
        given: the arguments.
        run: what ``--run`` says, if it is given.
        usage: how the command is used, for errors.

    Raises:
        WildlamError: there are no videos, or the run is given behind them.
    """
    from wildlam.errors import WildlamError

    run, *videos = given if run is None and given else (run or "", *given)
    if not (run and videos):
        raise WildlamError(f"give a run and videos: {usage}")
    if not _is_run(run) and (behind := next(filter(_is_run, videos), None)):
        raise WildlamError(f"{behind} is a run, and {run} is none; the run comes first: {usage}")
    check_run(run)
    return run, [Path(video) for video in videos]


def _is_run(text: str) -> bool:
    return text == "tiny" or text.startswith("hf:") or (Path(text) / "config.yaml").is_file()


OWN_RUN_HELP = "run folder, or hf:user/name[@revision] for one on the Hub, which is copied to runs/name first"


def training_arguments(
    name: str, function: Command, argv: Arguments, config: type, whose: str, out: str | None = None, **given: Any
) -> tuple[Any, Any]:
    """Parse a command that trains something for a run: the arguments, and the configuration that they make.

    Args:
        name: name of the command, such as ``"prior train"``.
        function: see ``make_parser``.
        argv: its arguments.
        config: class of the configuration.
        whose: what of the run is used, in words.
        out: folder in the run's that is written to by default, where another can be said.
        given: fields of the configuration that are not asked for.
    """
    from wildlam.config import to_config

    parser = make_parser(name, function)
    parser.add_argument("--config", action="config", help="YAML file with any of the keys below")
    parser.add_argument("run", type=own_run, help=f"{OWN_RUN_HELP}; {whose}")
    if out:
        parser.add_argument("--out", type=Path, help=f"folder to write to; RUN/{out} by default")
    parser.add_class_arguments(config, skip=set(given))
    args = parser.parse_args(list(argv))
    return args, to_config(config, parser, args, **given)


def run_part(name: str, function: Command, argv: Arguments, parts: Mapping[str, Command], usage: str, say: str) -> None:
    """Run the part of a command that its first argument names, such as ``train``.

    Args:
        name: name of the command.
        function: see ``make_parser``.
        argv: its arguments.
        parts: what runs each part, by its name.
        usage: how the command is used, for its help.
        say: what to say in the place of anything else.

    Raises:
        WildlamError: the first argument names none.
    """
    from wildlam.errors import WildlamError

    if argv and argv[0] in ("-h", "--help"):
        make_parser(name, function, usage=f"wildlam {name} {usage} [--help]").parse_args(["--help"])
    elif not argv or argv[0] not in parts:
        raise WildlamError(f"say {say}")
    else:
        parts[argv[0]](argv[1:])


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
