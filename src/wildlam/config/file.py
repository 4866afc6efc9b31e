"""Configurations as files: written whole when a run begins, read back by whatever uses it."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from wildlam.config.names import RENAMED
from wildlam.config.parser import Config, Parser, keys_of, to_config
from wildlam.config.run import CHOSEN_BY_NAME, RunConfig
from wildlam.errors import WildlamError, fields_as_options
from wildlam.fileio import followed
from wildlam.video.files import is_remote

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


BEFORE = {"idm": {"class_path": "Transformer"}, "place": False}
"""Keys of a model, in files of before there were any; they stood for something else than what is the default now."""
BEFORE_OF_SPLIT = {"local": 0.0}
"""Those of its inverse dynamics model, if that is Split."""
BEFORE_OF_CONTROLLER = {"start": "network"}
"""Those of a controller."""


def read_config(path: Path) -> RunConfig:
    """Read the resolved configuration of a run; videos in its folder are found where that lies now.

    Raises:
        WildlamError: it is damaged, of another version, or of something else than a run.
    """
    remedy = "give the folder of a run, not of a controller or a decoder, or restore the file"
    config = read_as(RunConfig, path, remedy)
    was, now, data = _folder_of(config), path.parent.absolute(), config.data
    if was is None or was == now:
        return config
    cache = data.cache and followed(data.cache, was, now)
    return replace(config, data=replace(data, path=followed(data.path, was, now), cache=cache))


def _folder_of(config: RunConfig) -> Path | None:
    """Where a run lay when it was trained, if its videos lay in it; ``out`` may be relative to any folder."""
    out, videos = config.out, config.data.path
    if out is None or is_remote(videos):
        return None
    end = tuple(part for part in Path(os.path.normpath(out)).parts if part != os.pardir)
    return next((folder for folder in videos.parents if end and folder.parts[-len(end) :] == end), None)


def read_as(cls: type[Config], path: Path, remedy: str = "restore the file") -> Config:
    """Read a resolved configuration, such as that of a decoder; ``remedy`` is what the error says to do.

    Raises:
        WildlamError: it is damaged, or of another version.
    """
    try:
        with fields_as_options(False):  # the file has keys
            return _parsed(cls, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, WildlamError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise WildlamError(f"{path}: {what}{' Or' if str(what).endswith('?') else ';'} {remedy}") from error


@functools.lru_cache(maxsize=64)  # a command reads the same few files over and over
def _parsed(cls: type[Config], text: str) -> Config:
    if not text.strip():
        raise WildlamError("the file is empty")
    parser = Parser(keys=keys_of(cls), says_renamed=False)
    parser.add_class_arguments(cls)
    config = to_config(cls, parser, parser.parse_string(_with_choices(text)))
    # A file cut short is valid YAML too, of a run with other settings; but its last key, or newline, is missing. Keys
    # between may be missing: the file may be older than they are.
    plain = _plain(config)
    known, tree = dict(_leaves(plain)), yaml.safe_load(text)
    if not text.endswith("\n") or list(plain)[-1] not in tree or any(known[k] != v for k, v in _leaves(tree)):
        raise WildlamError("not the whole configuration, as training wrote it")
    return config


def _with_choices(text: str) -> str:
    """A configuration with what its model, or its controller, was before one could choose."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError:  # the parser says what is wrong
        return text
    if isinstance(tree, dict) and isinstance(tree.get("controller"), dict):
        return yaml.safe_dump(tree | {"controller": BEFORE_OF_CONTROLLER | tree["controller"]}, sort_keys=False)
    if not isinstance(tree, dict) or not isinstance(tree.get("model"), dict):
        return text
    model = BEFORE | tree["model"]
    if isinstance(model["idm"], dict) and model["idm"].get("class_path") == "Split":
        given = model["idm"].get("init_args")
        model["idm"] = model["idm"] | {"init_args": BEFORE_OF_SPLIT | (given or {})}
    return yaml.safe_dump(tree | {"model": model}, sort_keys=False)


def dump_config(config: DataclassInstance) -> str:
    """The configuration as YAML that ``read_as`` and ``--config`` take."""
    return yaml.safe_dump(_plain(config), sort_keys=False)


def differences(known: str, given: str) -> Iterator[tuple[str, Any, Any]]:
    """Differences of two configurations in YAML: dotted key, first value, second value."""
    one, other = (dict(_leaves(yaml.safe_load(text))) for text in (known, given))
    for key in one | other:
        if one.get(key) != other.get(key):
            yield key, one.get(key), other.get(key)


def _leaves(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict):
        # Before version 0.1, classes were named with their modules.
        yield RENAMED.get(key, key), tree.rpartition(".")[2] if key.endswith(".class_path") else tree
        return
    for name, value in tree.items():
        yield from _leaves(value, f"{key}.{name}" if key else name)


def _plain(value: Any) -> Any:
    if hasattr(value, "joinpath"):  # a path, or a URL that behaves like one
        return str(value)
    if not dataclasses.is_dataclass(value):
        return value
    parts = {part.name: _plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, tuple(CHOSEN_BY_NAME.values())):
        return {"class_path": type(value).__name__, "init_args": parts}
    return parts
