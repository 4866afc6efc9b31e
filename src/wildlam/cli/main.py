"""Entry point: finds the command, runs it, and turns errors and interrupts into a line and an exit status.

A command parses its arguments, calls one function of the library and prints what came of it. It imports what it needs
when it is called, so that ``wildlam --help`` answers at once; and what works, with PyTorch, after its arguments are
parsed, so that ``wildlam COMMAND --help`` does, too, where the keys are not those of models.
"""

from __future__ import annotations

import difflib
import logging
import os
import shlex
import signal
import sys

from wildlam import __version__
from wildlam.cli import act, app, completion, data, learn, look, share
from wildlam.cli.common import Arguments, Command
from wildlam.errors import WildlamError, fields_as_options
from wildlam.runs.command import started_by

GROUPS: dict[str, dict[str, Command]] = {
    "data": {
        "index": data.run_index,
        "data": data.run_data,
        "encode": data.run_encode,
        "store": data.run_store,
        "collect": data.run_collect,
    },
    "learn": {
        "train": learn.run_train,
        "sweep": learn.run_sweep,
        "decoder": learn.run_decoder,
        "controller": learn.run_controller,
        "prior": learn.run_prior,
    },
    "look": {
        "eval": look.run_evaluate,
        "infer": look.run_infer,
        "show": look.run_show,
        "report": look.run_report,
        "transfer": look.run_transfer,
        "search": look.run_search,
        "app": app.run_app,
    },
    "act": {"plan": act.run_plan, "play": act.run_play, "policy": act.run_policy, "demo": act.run_demo},
    "share": {"push": share.run_push, "export": share.run_export},
}
STARTS = (
    "start with:",
    "  wildlam app                     a model that comes along, in the browser; pip install 'wildlam[app]'",
    "  wildlam demo                    learn from films made for it;             pip install 'wildlam[worlds]'",
    "  wildlam demo --pretrained       plan with the model that comes along;     pip install 'wildlam[worlds,plan]'",
    "  wildlam train --data.path DIR   learn from your own videos;               needs nothing more",
)
COMMANDS: dict[str, Command] = {name: function for group in GROUPS.values() for name, function in group.items()}


def main(argv: Arguments | None = None) -> int:
    """Run ``wildlam COMMAND ...``; return the exit status.

    0; 1 if some of many files could not be used; 2 for an error that the user can fix; 130 if interrupted by Ctrl-C,
    143 by SIGTERM, as shells have it (128 and the signal's number).
    """
    if completion.is_asked():
        completion.complete(COMMANDS)
        return 0
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"wildlam {__version__}")
        return 0
    if not sys.stderr.isatty():  # a log file: no new line ten times a second. tqdm reads this when it is imported
        os.environ.setdefault("TQDM_MININTERVAL", "30")

    ended_by = signal.SIGINT

    def terminate(*_: object) -> None:
        """End as Ctrl-C does, so that what is done is kept and the simulators' processes end too."""
        nonlocal ended_by
        ended_by = signal.SIGTERM
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("wildlam").setLevel(logging.INFO)  # others speak up when something is wrong
    try:
        command = COMMANDS.get(argv[0])
        if command is None:
            near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
            raise WildlamError(f"unknown command {argv[0]!r}; {hint}")
        with fields_as_options(), started_by(shlex.join(["wildlam", *argv])):
            status = command(argv[1:])
    except WildlamError as error:
        if _prints(error):
            print(f"wildlam: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        if os.environ.get("RANK", "0") != "0":  # under torchrun the first process says it for all
            return 128 + ended_by
        anew = argv[0] in ("plan", "play") or "--estimate" in argv
        remedy = str(interrupt) or f"the same command {'starts over' if anew else 'resumes from what was finished'}"
        print(f"wildlam: interrupted; {remedy}", file=sys.stderr)
        return 128 + ended_by
    except Exception as error:
        if _prints(error):
            raise
        return 2
    return status or 0


def _prints(error: Exception) -> bool:
    """Whether this process prints an error, of those that ``torchrun`` started."""
    if "TORCHELASTIC_ERROR_FILE" not in os.environ:
        return True
    from wildlam.distributed import prints

    return prints(error)


def _usage() -> str:
    lines = [
        f"wildlam {__version__}: learn the action space of unlabelled video",
        "",
        "usage: wildlam COMMAND [--help] ...",
    ]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:10} {(function.__doc__ or '').splitlines()[0]}" for name, function in commands.items()]
    return "\n".join([*lines, "", *STARTS])
