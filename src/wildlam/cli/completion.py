"""Completion of commands and their options by the shell (argcomplete); docs/completion.md says how to switch it on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from wildlam.cli.common import Arguments, Command

ACTIONS = {"controller": ("train", "baseline"), "decoder": ("train", "show"), "prior": ("train",)}
"""Commands whose first word chooses the parser."""


def is_asked() -> bool:
    """Whether the shell calls for completions."""
    return "_ARGCOMPLETE" in os.environ


def complete(commands: Mapping[str, Command]) -> None:
    """Give the shell the completions at the cursor: commands, or the options of a command."""
    words = typed()
    if not words:
        _choose(commands)
    elif words[0] in ACTIONS and len(words) == 1:
        _choose(ACTIONS[words[0]], skipped=1)
    elif words[0] in commands:
        _skip(2 if words[0] in ACTIONS else 1)
        commands[words[0]](words[1:])  # its parser answers in place of parsing


def typed() -> Arguments:
    """The words before the cursor that are finished, without the program's name."""
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = line.split()
    return words[1:] if line.endswith(" ") else words[1:-1]


def _choose(words: Mapping[str, Command] | tuple[str, ...], skipped: int = 0) -> None:
    import argcomplete

    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("word", choices=list(words))
    _skip(skipped)
    argcomplete.autocomplete(parser, always_complete_options=False)


def _skip(words: int) -> None:
    """Take the program's name to be this many words longer."""
    os.environ["_ARGCOMPLETE"] = str(1 + words)
