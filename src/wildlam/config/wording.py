"""How the command line words errors: jsonargparse's messages in plain words.

The one place that knows jsonargparse's wording; ``tests/config/test_wording.py`` compares it with the version that is
installed, and ``pyproject.toml`` keeps out those that nobody has compared.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any


def complaint(message: str, keys: set[str], shown: Mapping[str, str]) -> str:
    """jsonargparse's error message in plain words, on one line, with the nearest valid key or class.

    Args:
        message: the message.
        keys: those that are valid, options without their dashes and positional arguments among them.
        shown: options as they are written on the command line, by their keys.
    """
    line = " ".join(message.split())
    for pattern, plain in REWORDED:
        line = re.sub(pattern, plain, line)
    if match := re.match(r"(\S+): there is no (\S+)", line):
        return f"{line}; choose {_by_likeness(match[2], _classes(match[1]))}"
    if match := re.match(r"unknown key (\S+)\.(\w+) of (\w+)", line):
        classes = {cls.__name__: cls for cls in _classes(match[1])}
        return f"{line}; choose {_by_likeness(match[2], dataclasses.fields(classes[match[3]]))}"
    if match := re.match(r"the following arguments are required: (.*)", line):
        words = [shown.get(word, word.upper()) for word in match[1].split(", ")]
        return f"{' and '.join(words)} must be given"
    match = re.match(r"(?:unknown key|unrecognized arguments:) -*([\w.-]+)", line)
    key = match[1].replace("-", "_") if match else ""
    near = (_ending_in(key, keys) or _near(key, keys)) if match else []
    if line.startswith("unrecognized arguments"):  # of the command line; other keys may be those of a file
        near = [shown.get(one, one) for one in near]
    return f"{line}; did you mean {' or '.join(near)}?" if near else line


REWORDED = [
    (r"the following arguments are required: (\w+\.\w+)", r"--\1 is required"),
    (r'Parser key "([\w.]+)":', r"\1:"),
    (r"Expected a <class '(\w+)'>\. Got value: (.*)", r"expected \1, got \2"),
    (r"Expected a typing\.Literal\[(.*?)\]\. Got value: (.*)", r"choose one of \1; got \2"),
    (
        r"Does not validate against any of the Union subtypes Subtypes: "
        r"\[<class '(?:\w+\.)*(\w+)'>, <class 'NoneType'>\] Errors: .* Given value: (.*)",
        r"expected \1, got \2",
    ),
    (r"Expected a dot import path string: (\S+)", r"there is no \1"),
    (r"^(\S+): Problem with given class_path '[\w.]+\.(\w+)': Option '(\w+)' .*", r"unknown key \1.\3 of \2"),
    (r"^(\S+): Problem with given class_path '[\w.]+': (\w+: )", r"\1.\2"),
    (r"^Option '([\w.]+)' is not accepted", r"unknown key \1"),
    (r"^Group '([\w.]+)' does not accept option '([\w.]+)'", r"unknown key \1.\2"),
    (r' in "<unicode string>",', ","),
]
"""Regular expressions for jsonargparse's messages, and what to say instead."""


def _classes(key: str) -> list[type]:
    """Those that a key's value is one of."""
    from wildlam.config.run import CHOSEN_BY_NAME

    return type.__subclasses__(CHOSEN_BY_NAME[key])


def _by_likeness(name: str, choices: Iterable[Any]) -> str:
    """The names of classes or fields, those most like ``name`` first."""
    names = [getattr(choice, "name", None) or choice.__name__ for choice in choices]
    return " or ".join(difflib.get_close_matches(name, names, n=len(names), cutoff=0))


def _ending_in(key: str, keys: set[str]) -> list[str]:
    return sorted(k for k in keys if k == key or k.endswith(f".{key}"))


def _near(key: str, keys: set[str]) -> list[str]:
    """The key most like this one, as a whole or by its last part alone."""
    whole = difflib.get_close_matches(key, keys, n=1, cutoff=0.8)
    last = difflib.get_close_matches(key.rsplit(".", 1)[-1], {k.rsplit(".", 1)[-1] for k in keys}, n=1, cutoff=0.5)
    return whole or [k for name in last for k in _ending_in(name, keys)]
