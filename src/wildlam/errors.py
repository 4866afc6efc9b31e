"""The errors that a user can mend, and how they name the fields of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_OPTIONS: ContextVar[Mapping[str, str | None]] = ContextVar("options", default={})  # noqa: B039 (never changed)


class WildlamError(Exception):
    """An error the user can mend: its one-line message names the thing that is wrong and the remedy."""


def option(field: str) -> str | None:
    """How a message names a field, such as ``data.path``: the option by which the command that runs takes it.

    Unless ``named`` says otherwise it is that of `wildlam train`, ``--data.path``; None if the command takes no such.
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
    return {"data.path": given, "data.cache": None, "data.on_error": None}
