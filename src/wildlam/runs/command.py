"""The command or the Python function that started what is running, for the record."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

_COMMAND: ContextVar[str] = ContextVar("command", default="called from Python")


def current_command() -> str:
    """The ``wildlam`` command, or the public function called first, as runs and sweeps record it."""
    return _COMMAND.get()


@contextmanager
def started_by(command: str) -> Iterator[None]:
    """Record this command while the context is active."""
    before = _COMMAND.set(command)
    try:
        yield
    finally:
        _COMMAND.reset(before)


def records_call(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Make a public function record its own call, unless a command or another public function called it."""

    @functools.wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        name = getattr(function, "__name__", "")
        with started_by(_COMMAND.get(f"wildlam.{name}(...) from Python")):
            return function(*args, **kwargs)

    return call
