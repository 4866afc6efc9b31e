"""Errors that a user can fix, and how they name the fields of a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path

_OPTIONS: ContextVar[Mapping[str, str | None]] = ContextVar("options", default={})  # noqa: B039 (never changed)
_OF_VIDEOS = ("path", "cache", "frames", "fps", "on_error", "max_bad", "exclude")
_prefix = ""  # of the process and no ContextVar: threads, which decode and write, begin with an empty context


class WildlamError(Exception):
    """An error that the user can fix: a one-line message with the problem and the remedy."""


def check_packages(what: str, extras: Mapping[str, Sequence[str]]) -> None:
    """Refuse to begin where packages are missing, and name them all at once.

    Args:
        what: what needs them, such as "ONNX".
        extras: modules, by the extra of this package that brings them.

    Raises:
        WildlamError: some are not installed.
    """
    lacking = {extra: [module for module in modules if find_spec(module) is None] for extra, modules in extras.items()}
    if missing := [module for modules in lacking.values() for module in modules]:
        brought_by = ",".join(extra for extra, modules in lacking.items() if modules)
        raise WildlamError(f"{what} needs {in_words(missing)}: pip install 'wildlam[{brought_by}]'")


def in_words(names: Iterable[str]) -> str:
    """Names as a sentence has them: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def option(field: str) -> str | None:
    """What a message calls a field of a configuration, or a keyword, such as ``data.path``.

    From Python it is the field itself; while a command runs, its option: ``--data.path``, unless ``named`` says
    otherwise. None if the command has no such option.
    """
    return _OPTIONS.get().get(field, f"{_prefix}{field}")


def shows_options() -> bool:
    """Whether messages of this process show options in place of fields; see ``fields_as_options``."""
    return bool(_prefix)


@contextmanager
def fields_as_options(shown: bool = True) -> Iterator[None]:
    """Let ``option`` give the command line's options in all threads of this process; or fields again."""
    global _prefix
    before, _prefix = _prefix, "--" if shown else ""
    try:
        yield
    finally:
        _prefix = before


@contextmanager
def named(options: Mapping[str, str | None]) -> Iterator[None]:
    """Let messages of this context call fields so, each None if there is no such field or option."""
    before = _OPTIONS.set(options)
    try:
        yield
    finally:
        _OPTIONS.reset(before)


def videos_of(run: Path) -> dict[str, str | None]:
    """Names, for ``named``, where videos are those of a run, which its configuration names."""
    keys = {f"data.{name}": f"data.{name} in {run / 'config.yaml'}" for name in ("path", "cache")}
    return {**dict.fromkeys(f"data.{name}" for name in _OF_VIDEOS), **keys}


def videos_given_by(given: str | None) -> dict[str, str | None]:
    """Names, for ``named``, where videos are given by the field or option ``given`` alone."""
    return {**dict.fromkeys(f"data.{name}" for name in _OF_VIDEOS), "data.path": given}
