"""Configurations from the command line and YAML: ``--a.b=c`` overrides, and errors of one line (jsonargparse)."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import typing
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import jsonargparse
import yaml

from wildlam.config.names import CHOSEN, RENAMED
from wildlam.config.wording import complaint
from wildlam.errors import WildlamError
from wildlam.video.files import Location, location

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

Config = TypeVar("Config", bound="DataclassInstance")

jsonargparse.typing.register_type(
    Location,
    serializer=str,
    deserializer=location,
    deserializer_exceptions=ValueError,
    type_check=lambda value, _: hasattr(value, "joinpath"),
)


class Parser(jsonargparse.ArgumentParser):
    """Argument parser whose errors are one line with the key, the problem and the nearest valid key."""

    def __init__(self, *args: Any, keys: Iterable[str] = (), says_renamed: bool = True, **kwargs: Any) -> None:
        """``keys`` are valid ones that the parser does not know until a class is chosen.

        With ``says_renamed`` whoever gives a key by its old name reads the new one.
        """
        # Without abbreviations: a key of a later version must not change what an old command means.
        super().__init__(*args, allow_abbrev=False, formatter_class=HelpFormatter, **kwargs)
        self.keys = set(keys)
        self.says_renamed = says_renamed
        self.brief: Container[str] | None = None

    def show_only(self, keys: Container[str]) -> None:
        """Let ``--help`` show these keys alone, and add ``--help-all``, which shows all."""
        self.add_argument("--help-all", action=HelpAll, help="show every key that this command takes, and exit")
        self.brief = keys

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """The help text, of the keys that ``show_only`` names."""
        known = {action: action.help for action in self._actions}
        for action in self._actions:
            if "--print_config" in action.option_strings:
                action.help = "print the whole configuration, as --config takes it, and exit"
            elif action.help == "Path to a configuration file.":  # of a group: --training FILE
                action.help = "YAML file with the keys of this group"
            if self.brief is not None and not isinstance(action, ALWAYS_SHOWN) and action.dest not in self.brief:
                action.help = argparse.SUPPRESS
        try:
            return super().format_help(*args, **kwargs)
        finally:
            for action, text in known.items():
                action.help = text

    def parse_args(self, args: Sequence[str] | None = None, *others: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Take options by their old names, too, and lists of names as ``--angles waist elbow``."""
        if args is not None:
            args = list(self._in_brackets([self._renamed_option(argument) for argument in args]))
        return super().parse_args(args, *others, **kwargs)

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Any:
        """Take keys by their old names, too, and refuse a value where keys belong, such as ``training: 5``, which would
        count for nothing."""
        try:
            tree = yaml.safe_load(content)
        except yaml.YAMLError:
            tree = None  # said better by what follows
        self._check_groups(tree, "")
        if isinstance(tree, dict) and not RENAMED.keys().isdisjoint(tree):
            content = yaml.safe_dump({self._renamed(key): value for key, value in tree.items()}, sort_keys=False)
        return super().parse_string(content, *args, **kwargs)

    def _in_brackets(self, args: Iterable[str]) -> Iterator[str]:
        """Names behind a key that is a list of them, as such a list."""
        names: list[str] | None = None
        for argument in args:
            if names is not None and not argument.startswith("-") and not (names and names[0].startswith("[")):
                names.append(argument)
                continue
            yield from _bracketed(names)
            option, has_value, value = argument.partition("=")
            is_list = getattr(self._option_string_actions.get(option), "_typehint", None) == list[str]
            names = ([value] if has_value else []) if is_list else None
            yield option if is_list else argument
        yield from _bracketed(names)

    def _renamed_option(self, argument: str) -> str:
        option, *value = argument.split("=", 1)
        key = option.removeprefix("--")
        return "=".join([f"--{self._renamed(key)}", *value]) if option != key else argument

    def _renamed(self, key: str) -> str:
        """The name that a key has now, if this parser has that key."""
        new = RENAMED.get(key, key)
        if new == key or f"--{new}" not in self._option_string_actions:
            return key
        if self.says_renamed:
            log.warning("%s is called %s now; the old name will go", key, new)
        return new

    def get_defaults(self, *args: Any, **kwargs: Any) -> jsonargparse.Namespace:
        """Name the default choices without the values of their keys, or another choice would inherit those."""
        defaults = super().get_defaults(*args, **kwargs)
        for key in CHOSEN:
            if defaults.get(key) is not None:  # elsewhere the name may be that of a folder
                defaults[key].pop("init_args", None)
        return defaults

    def _check_groups(self, tree: Any, prefix: str) -> None:
        for name, value in tree.items() if isinstance(tree, dict) else ():
            key = f"{prefix}{name}"
            below = sorted(k for k in self.keys if k.startswith(f"{key}."))
            if isinstance(value, dict):
                self._check_groups(value, f"{key}.")
            elif value is not None and below and key not in CHOSEN:
                self.error(f"{key}: expected keys below it, such as {below[0]}, got {value!r}")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise WildlamError in place of printing the usage and leaving."""
        if not self.exit_on_error:
            super().error(message, ex)
        options = {option.lstrip("-"): option for option in self._option_string_actions}
        positional = {action.dest for action in self._actions if not action.option_strings}
        shown = {key: f"--{key}" for key in self.keys - positional} | options
        raise WildlamError(complaint(message, self.keys | options.keys() | positional, shown))


def _bracketed(names: list[str] | None) -> Iterator[str]:
    """Names as one argument; they may be so already."""
    if names:
        yield names[0] if names[0].startswith("[") else json.dumps(names)


class HelpAll(argparse.Action):
    """Shows the help of every key."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: Any, *_: Any) -> None:
        """Show it and leave."""
        parser.brief = None
        parser.print_help()
        parser.exit()


ALWAYS_SHOWN = (argparse._HelpAction, HelpAll)


class HelpFormatter(jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions, shows defaults that are set, and hides types."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = (action.help or "").rstrip(".").replace("``", "`")  # as descriptions write it
        if action.dest in CHOSEN and dataclasses.is_dataclass(getattr(action, "_typehint", None)):
            return f"{text}; --{action.dest}.help NAME shows the keys of one"
        has_default = action.option_strings and action.default not in (None, argparse.SUPPRESS)
        return text + (" (default: %(default)s)" if has_default else "")


def keys_of(cls: type, prefix: str = "") -> Iterator[str]:
    """All keys of a configuration such as ``RunConfig``, those of every choice by name included."""
    hints = typing.get_type_hints(cls)
    for part in dataclasses.fields(cls):
        key, kind = prefix + part.name, hints[part.name]
        yield key
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            for sub in (kind, *type.__subclasses__(kind)):
                yield from keys_of(sub, f"{key}.")


def run_parser(**kwargs: Any) -> Parser:
    """Make a parser of all of ``RunConfig``'s keys, with ``--config`` for a YAML file."""
    from wildlam.config.run import RunConfig

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
        parsed = {part.name: values[part.name] for part in dataclasses.fields(cls) if part.name not in given}
        return cls(**parsed, **given)
    except ValueError as error:
        raise WildlamError(str(error)) from error
