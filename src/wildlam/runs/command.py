"""How what is running was started: by a command of ours, or by a function called from Python."""

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
    """The command, or the function of ours that was called first, as runs and sweeps record it."""
    return _COMMAND.get()


@contextmanager
def started_by(command: str) -> Iterator[None]:
    """Record this command for what is made while this is held."""
    before = _COMMAND.set(command)
    try:
        yield
    finally:
        _COMMAND.reset(before)


def records_call(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Record a call of this public function of ours, unless a command or another one made it."""

    @functools.wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        name = getattr(function, "__name__", "")
        with started_by(_COMMAND.get(f"wildlam.{name}(...) from Python")):
            return function(*args, **kwargs)

    return call
