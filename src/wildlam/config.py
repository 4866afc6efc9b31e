"""The configuration of a run, and how it is read: dataclasses, a YAML file, ``--a.b=c`` overrides (jsonargparse)."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import jsonargparse
import yaml

from wildlam.encoders import EncoderConfig, Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import BottleneckConfig, Deterministic
from wildlam.training import TrainingConfig
from wildlam.video.files import Location, location
from wildlam.video.loader import DataConfig

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


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a training run.

    Args:
        data: the videos, and how clips are cut from them.
        encoder: frozen video encoder: Lite0 (offline), VJEPA2 or HFImage.
        model: inverse dynamics model, bottleneck and world model.
        training: steps, batch, precision, optimiser.
        baseline: also train a deterministic model (no latent action) of the same size for as long, to compare with.
        seed: of initialisation, order of the data and noise.
        out: folder of the run; runs/<name of the data folder>-<time> if not given.
    """

    data: DataConfig
    encoder: EncoderConfig = field(default_factory=Lite0)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    baseline: bool = True
    seed: int = 0
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        for key, choice in (("encoder", self.encoder), ("model.bottleneck", self.model.bottleneck)):
            if type(choice) is CHOSEN_BY_NAME[key]:
                raise ValueError(f"{key}: choose {' or '.join(cls.__name__ for cls in type(choice).__subclasses__())}")


def without_actions(config: RunConfig) -> RunConfig | None:
    """The model that a run trains beside its own, to compare with: without latent actions, else the same.

    None if it trains none: its own is such a one, or ``baseline`` is off.
    """
    if not config.baseline or isinstance(config.model.bottleneck, Deterministic):
        return None
    nothing = Deterministic(dim=config.model.bottleneck.dim)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, bottleneck=nothing))


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

CHOSEN_BY_NAME: dict[str, Any] = {"encoder": EncoderConfig, "model.bottleneck": BottleneckConfig}
"""Keys whose value is one of a class's subclasses."""


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


def read_config(path: Path) -> RunConfig:
    """Read the resolved configuration of a run.

    Raises:
        WildlamError: it is damaged, of another version, or of something else than a run.
    """
    return read_as(RunConfig, path, "give the folder of a run, not of a controller or a decoder, or restore the file")


def read_as(cls: type[Config], path: Path, remedy: str = "restore the file") -> Config:
    """Read a resolved configuration, such as that of a decoder; ``remedy`` is what the error says to do.

    Raises:
        WildlamError: it is damaged, or of another version.
    """
    parser = Parser(keys=keys_of(cls), prog=str(path))
    parser.add_class_arguments(cls)
    try:
        config = to_config(cls, parser, parser.parse_path(path))
    except WildlamError as error:
        raise WildlamError(f"{path}: {error}; {remedy}") from error
    # A file cut short is valid YAML too, of a run with other settings; but its last key, or newline, is missing. Keys
    # between may be missing: the file may be older than they are.
    text, plain = path.read_text(), _plain(config)
    known, tree = dict(_leaves(plain)), yaml.safe_load(text)
    if not text.endswith("\n") or list(plain)[-1] not in tree or any(known[k] != v for k, v in _leaves(tree)):
        raise WildlamError(f"{path}: not the whole configuration, as training wrote it; restore the file")
    return config


def dump_config(config: DataclassInstance) -> str:
    """The configuration as YAML that ``read_as`` and ``--config`` take."""
    return yaml.safe_dump(_plain(config), sort_keys=False)


def differences(known: str, given: str) -> Iterator[tuple[str, Any, Any]]:
    """Where two configurations in YAML differ: dotted key, the one's value, the other's."""
    one, other = (dict(_leaves(yaml.safe_load(text))) for text in (known, given))
    for key in one | other:
        if one.get(key) != other.get(key):
            yield key, one.get(key), other.get(key)


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict):
        yield key, tree
        return
    for name, value in tree.items():
        yield from _leaves(value, f"{key}.{name}" if key else name)


def _plain(value: Any) -> Any:
    if hasattr(value, "joinpath"):  # a path, or a URL that behaves like one
        return str(value)
    if not dataclasses.is_dataclass(value):
        return value
    parts = {part.name: _plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, (EncoderConfig, BottleneckConfig)):
        return {"class_path": f"{type(value).__module__}.{type(value).__name__}", "init_args": parts}
    return parts
