"""Run commands, one after another, in a process that may crash or hang: a line of JSON in, a line of JSON out."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import selectors
import subprocess
import sys
from typing import Any


class Worker:
    """A process that runs commands of ours without loading everything anew for each."""

    def __init__(self, limit: float = 120.0) -> None:
        """``limit`` is what a command may take, in seconds."""
        self.limit, self.process = limit, None

    def run(self, arguments: list[str]) -> tuple[str, str]:
        """Run a command.

        Returns:
            ``"0"``, ``"2"`` (its exit code), ``"hang"`` or ``"crash"``, and what it printed.
        """
        if self.process is None:
            command = [sys.executable, "-m", "tests.faults.worker"]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            answered = bool(selector.select(self.limit))
        line = self.process.stdout.readline() if answered else ""
        if line:
            answer = json.loads(line)
            return str(answer["code"]), answer["printed"]
        self.process.kill()
        _, messages = self.process.communicate()
        self.process = None
        return ("crash" if answered else "hang"), messages

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.communicate()
            self.process = None


def serve() -> None:
    """Run the commands that come in."""
    from wildlam import cli

    out = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        printed = io.StringIO()
        for handler in logging.root.handlers[:]:  # it writes to what stderr was for the command before
            logging.root.removeHandler(handler)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = cli.main(json.loads(line))
        print(json.dumps({"code": code, "printed": printed.getvalue()}), file=out, flush=True)


if __name__ == "__main__":
    serve()
