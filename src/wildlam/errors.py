"""Errors that a user can fix, and how they name the fields of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_OPTIONS: ContextVar[Mapping[str, str | None]] = ContextVar("options", default={})  # noqa: B039 (never changed)


class WildlamError(Exception):
    """An error that the user can fix: a one-line message with the problem and the remedy."""


def option(field: str) -> str | None:
    """The option that a message shows for a field, such as ``data.path``: that of the running command.

    Unless set by ``named`` it is that of `wildlam train`, ``--data.path``; None if the command has none.
    """
    return _OPTIONS.get().get(field, f"--{field}")


@contextmanager
def named(options: Mapping[str, str | None]) -> Iterator[None]:
    """Let messages name fields by these options, each None if the command that runs lacks it."""
    before = _OPTIONS.set(options)
    try:
        yield
    finally:
        _OPTIONS.reset(before)


def videos_given_by(given: str) -> dict[str, str | None]:
    """Options, for ``named``, of a command to which videos are given by ``given`` alone."""
    lacking = ("cache", "on_error", "max_bad", "exclude")
    return {"data.path": given, **dict.fromkeys((f"data.{name}" for name in lacking), None)}
