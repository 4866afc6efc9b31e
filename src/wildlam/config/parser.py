"""Configurations from the command line and YAML: ``--a.b=c`` overrides, and errors of one line (jsonargparse)."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import jsonargparse
import yaml

from wildlam.config.run import CHOSEN_BY_NAME, RunConfig
from wildlam.encoders import EncoderConfig
from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import BottleneckConfig
from wildlam.video.files import Location, location

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")

jsonargparse.set_parsing_settings(subclasses_enabled=[EncoderConfig, BottleneckConfig])
jsonargparse.typing.register_type(
    Location,
    serializer=str,
    deserializer=location,
    deserializer_exceptions=ValueError,
    type_check=lambda value, _: hasattr(value, "joinpath"),
)


class Parser(jsonargparse.ArgumentParser):
    """Argument parser whose complaint is one line that names the key, what is wrong and the nearest valid one."""

    def __init__(self, *args: Any, keys: Iterable[str] = (), **kwargs: Any) -> None:
        """``keys`` are valid ones that the parser does not know until a class is chosen."""
        # Without abbreviations: a key of a later version must not change what an old command means.
        super().__init__(*args, allow_abbrev=False, formatter_class=HelpFormatter, **kwargs)
        self.keys = set(keys)

    def get_defaults(self, *args: Any, **kwargs: Any) -> jsonargparse.Namespace:
        """Name the default choices without the values of their keys, or another choice would inherit those."""
        defaults = super().get_defaults(*args, **kwargs)
        for key in CHOSEN_BY_NAME:
            if key in defaults:
                defaults[key].pop("init_args", None)
        return defaults

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> jsonargparse.Namespace:
        """Refuse a value where keys belong, such as ``training: 5``, which would count for nothing."""
        try:
            tree = yaml.safe_load(Path(cfg_path).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            tree = None  # said better by what follows
        self._check_groups(tree, "")
        return super().parse_path(cfg_path, *args, **kwargs)

    def _check_groups(self, tree: Any, prefix: str) -> None:
        for name, value in tree.items() if isinstance(tree, dict) else ():
            key = f"{prefix}{name}"
            below = sorted(k for k in self.keys if k.startswith(f"{key}."))
            if isinstance(value, dict):
                self._check_groups(value, f"{key}.")
            elif value is not None and below and key not in CHOSEN_BY_NAME:
                self.error(f"{key}: expected keys below it, such as {below[0]}, got {value!r}")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise WildlamError in place of printing the usage and leaving."""
        if not self.exit_on_error:
            super().error(message, ex)
        keys = self.keys | {option.lstrip("-") for option in self._option_string_actions}
        raise WildlamError(complaint(message, keys))


class HelpFormatter(jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions; of defaults it shows those that say something, of types none."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").rstrip(".")
        if action.dest in CHOSEN_BY_NAME:
            return f"{text}; --{action.dest}.help NAME shows the keys of one"
        has_default = action.option_strings and action.default not in (None, argparse.SUPPRESS)
        return text + (" (default: %(default)s)" if has_default else "")


def complaint(message: str, keys: set[str]) -> str:
    """jsonargparse's error message in plain words, on one line, with the nearest valid key or class."""
    line = " ".join(message.split())
    for pattern, plain in REWORDED:
        line = re.sub(pattern, plain, line)
    if match := re.match(r"(\S+): there is no (\S+)", line):
        return f"{line}; choose {_by_likeness(match[2], CHOSEN_BY_NAME[match[1]].__subclasses__())}"
    if match := re.match(r"unknown key (\S+)\.(\w+) of (\w+)", line):
        classes = {cls.__name__: cls for cls in CHOSEN_BY_NAME[match[1]].__subclasses__()}
        return f"{line}; choose {_by_likeness(match[2], dataclasses.fields(classes[match[3]]))}"
    if match := re.match(r"the following arguments are required: (.*)", line):
        words = [f"--{word}" if word in keys else word.upper() for word in match[1].split(", ")]
        return f"{' and '.join(words)} must be given"
    match = re.match(r"(?:unknown key|unrecognized arguments:) -*([\w.]+)", line)
    near = (_ending_in(match[1], keys) or _near(match[1], keys)) if match else []
    return f"{line}; did you mean {' or '.join(near)}?" if near else line


REWORDED = [
    (r"the following arguments are required: (\w+\.\w+)", r"--\1 is required"),
    (r'Parser key "([\w.]+)":', r"\1:"),
    (r"Expected a <class '(\w+)'>\. Got value: (.*)", r"expected \1, got \2"),
    (r"Expected a typing\.Literal\[(.*?)\]\. Got value: (.*)", r"choose one of \1; got \2"),
    (r"Expected a dot import path string: (\S+)", r"there is no \1"),
    (r"^(\S+): Problem with given class_path '[\w.]+\.(\w+)': Option '(\w+)' .*", r"unknown key \1.\3 of \2"),
    (r"^(\S+): Problem with given class_path '[\w.]+': (\w+: )", r"\1.\2"),
    (r"^Option '([\w.]+)' is not accepted", r"unknown key \1"),
    (r"^Group '([\w.]+)' does not accept option '([\w.]+)'", r"unknown key \1.\2"),
    (r' in "<unicode string>",', ","),
]
"""Regular expressions for jsonargparse's messages, and what to say instead."""


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


def keys_of(cls: type, prefix: str = "") -> Iterator[str]:
    """All keys of a configuration such as ``RunConfig``, those of every encoder and bottleneck included."""
    hints = typing.get_type_hints(cls)
    for part in dataclasses.fields(cls):
        key, kind = prefix + part.name, hints[part.name]
        yield key
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            for sub in (kind, *type.__subclasses__(kind)):
                yield from keys_of(sub, f"{key}.")


def run_parser(**kwargs: Any) -> Parser:
    """Make a parser of all of ``RunConfig``'s keys, with ``--config`` for a YAML file."""
    parser = Parser(keys=keys_of(RunConfig), **kwargs)
    parser.add_argument(
        "--config", action="config", help="YAML file with any of the keys below; later arguments override it"
    )
    parser.add_class_arguments(RunConfig)
    return parser


def to_config(cls: type[Config], parser: Parser, namespace: jsonargparse.Namespace, **given: Any) -> Config:
    """Build the configuration that was parsed by a parser with all of its keys but those ``given``.

    Raises:
        WildlamError: a value is out of its range.
    """
    try:
        values = parser.instantiate(namespace)
        told = {part.name: values[part.name] for part in dataclasses.fields(cls) if part.name not in given}
        return cls(**told, **given)
    except ValueError as error:
        raise WildlamError(str(error)) from error
