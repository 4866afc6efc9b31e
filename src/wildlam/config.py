"""The configuration of a run, and how it is read: dataclasses, a YAML file, ``--a.b=c`` overrides (jsonargparse)."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import yaml

from wildlam.data.clips import DataConfig
from wildlam.encoders import EncoderConfig, Lite0
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import BottleneckConfig
from wildlam.training import TrainingConfig
from wildlam.types import WildlamError

jsonargparse.set_parsing_settings(subclasses_enabled=[EncoderConfig, BottleneckConfig])


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


class Parser(jsonargparse.ArgumentParser):
    """Argument parser whose complaint about a key or value names the nearest valid one."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise WildlamError with one line in place of printing the usage and leaving."""
        line = " ".join(message.split())
        raise WildlamError(line + suggestion(line, [*self._option_string_actions, *known_words()]))


def suggestion(message: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` for the first word in ``message`` that is unknown but near to a known one, or nothing."""
    known = {word.lstrip("-") for word in known}
    words = known | {word.rsplit(".", 1)[-1] for word in known}
    for word in re.findall(r"[\w.-]+", message):
        word = word.lstrip("-").rstrip(".")
        whole = sorted(key for key in known if key.endswith("." + word))
        if message.startswith("unrecognized") and word not in known and whole:
            return f"; did you mean {' or '.join(whole)}?"
        near = [] if word in words else difflib.get_close_matches(word, words, n=1, cutoff=0.8)
        if near:
            return f"; did you mean {near[0]}?"
    return ""


def known_words() -> set[str]:
    """All keys of ``RunConfig``, and the names of the encoders and bottlenecks."""
    classes = {cls.__name__ for base in (EncoderConfig, BottleneckConfig) for cls in base.__subclasses__()}
    return classes | set(_keys(RunConfig, ""))


def _keys(cls: type, prefix: str) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for part in dataclasses.fields(cls):
        key, kind = prefix + part.name, hints[part.name]
        yield key
        if dataclasses.is_dataclass(kind):
            for sub in (kind, *type.__subclasses__(kind)):
                yield from _keys(sub, key + ".")


def run_parser(**kwargs: Any) -> Parser:
    """Make a parser of all of ``RunConfig``'s keys, with ``--config`` for a YAML file."""
    parser = Parser(**kwargs)
    parser.add_argument(
        "--config", action="config", help="YAML file with any of the keys below; later arguments override it"
    )
    parser.add_class_arguments(RunConfig)
    return parser


def to_run_config(parser: Parser, namespace: jsonargparse.Namespace) -> RunConfig:
    """Build the ``RunConfig`` that was parsed.

    Raises:
        WildlamError: a value is out of its range.
    """
    try:
        values = parser.instantiate(namespace)
    except ValueError as error:
        raise WildlamError(str(error)) from error
    return RunConfig(**{part.name: values[part.name] for part in dataclasses.fields(RunConfig)})


def read_config(path: Path) -> RunConfig:
    """Read the resolved configuration of a run.

    Raises:
        WildlamError: it is damaged, or of another version.
    """
    parser = run_parser(prog=str(path))
    return to_run_config(parser, parser.parse_path(path))


def dump_config(config: RunConfig) -> str:
    """The configuration as YAML that ``read_config`` and ``--config`` take."""
    return yaml.safe_dump(_plain(config), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if not dataclasses.is_dataclass(value):
        return value
    parts = {part.name: _plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, (EncoderConfig, BottleneckConfig)):
        return {"class_path": f"{type(value).__module__}.{type(value).__name__}", "init_args": parts}
    return parts
