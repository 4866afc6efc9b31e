"""Configurations from Python: a workflow is called with one, or with its keywords."""

from __future__ import annotations

import dataclasses
import difflib
import os
import types
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from wildlam.errors import WildlamError
from wildlam.types import check_choice
from wildlam.video.files import Location

Config = TypeVar("Config")

KINDS: dict[Any, tuple[type, ...]] = {bool: (bool,), int: (Integral,), float: (Real,), str: (str, os.PathLike)}
"""What is taken for a field of these types: NumPy's numbers are numbers, and a path is a text."""


EXAMPLES = {
    "EncoderConfig": "wildlam.Lite0(image_size=64)",
    "InverseDynamicsConfig": "wildlam.models.inverse_dynamics.Linear()",
    "BottleneckConfig": "wildlam.Sparse(dim=32)",
    "PriorConfig": "wildlam.models.priors.Gaussian(components=32)",
    "ConsistencyConfig": "wildlam.models.consistency.Additive(weight=0.05)",
}
"""How one of several classes is given from Python, for each of ``CHOSEN_BY_NAME``, by its name."""


def config_from(cls: type[Config], config: Config | str | Path | None, keywords: Mapping[str, Any]) -> Config:
    """The configuration that a workflow is called with.

    Args:
        cls: its class, a dataclass.
        config: one that is made; keywords replace what it says. A path is that of its ``run`` or, if it has none, its
            ``path``.
        keywords: fields by name. Of a field that is a configuration itself, a mapping of its fields will do, such as
            ``training={"steps": 100}``; an encoder and a bottleneck as in ``config.yaml``, with ``class_path``.

    Raises:
        WildlamError: something else is given, a keyword is unknown or missing, or a value is of another type than its
            field or out of its range.
    """
    kinds = get_type_hints(cls)
    first = next((name for name in ("run", "path") if kinds.get(name) in (Path, Location)), None)
    if isinstance(config, str | Path) and first is not None:
        if first in keywords:
            raise WildlamError(f"{first} is given twice, as {str(config)!r} and {str(keywords[first])!r}; give one")
        config, keywords = None, {first: config, **keywords}
    if config is not None and not isinstance(config, cls):
        article = "an" if cls.__name__[0] in "AEIOU" else "a"
        raise WildlamError(f"give {article} {cls.__name__}, or its keywords ({', '.join(_names(cls))}); got {config!r}")
    return _made(cls, config, keywords, "")


def _made(cls: type[Config], config: Config | None, keywords: Mapping[str, Any], prefix: str) -> Config:
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := next((name for name in keywords if name not in fields), None):
        near = difflib.get_close_matches(unknown, fields, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(_names(cls))}"
        raise WildlamError(f"{cls.__name__} has no {unknown}; {hint}")
    known = {} if config is None else {name: getattr(config, name) for name in fields}
    missing = [name for name, field in fields.items() if name not in {**known, **keywords} and _is_required(field)]
    if missing:
        raise WildlamError(f"{cls.__name__} needs {' and '.join(missing)}")
    hints = get_type_hints(cls)
    try:
        values = {
            name: _settled(prefix + name, hints[name], value, known.get(name))
            for name, value in {**known, **keywords}.items()
        }
        return cls(**values)
    except ValueError as error:
        raise WildlamError(str(error)) from error


def _settled(key: str, kind: Any, value: Any, made: Any) -> Any:
    """What a field of some type holds; a mapping replaces fields of the configuration that was made before."""
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return _checked(key, kind, value)
    if isinstance(value, kind):
        return _made(type(value), value, {}, f"{key}.")
    classes = {sub.__name__: sub for sub in type.__subclasses__(kind)}
    if not classes:
        if isinstance(value, Mapping):
            return _made(kind, made, value, f"{key}.")
        raise ValueError(f"{key} must be {kind.__name__}(...) or a dict of its fields, got {value!r}")
    if isinstance(value, Mapping) and value.keys() <= {"class_path", "init_args"}:  # as in config.yaml
        name, arguments = str(value.get("class_path")).rpartition(".")[2], value.get("init_args") or {}
        if name in classes and isinstance(arguments, Mapping):
            return _made(classes[name], None, arguments, f"{key}.")
    raise ValueError(f"{key} must be {' or '.join(classes)}, such as {EXAMPLES[kind.__name__]}, got {value!r}")


def _checked(key: str, kind: Any, value: Any) -> Any:
    """A plain value, if it is of the field's type; paths are settled by their configurations.

    Raises:
        ValueError: it is not, naming the field.
    """
    if get_origin(kind) is types.UnionType:  # X | None
        return None if value is None else _checked(key, get_args(kind)[0], value)
    if get_origin(kind) is Literal:
        check_choice(key, value, get_args(kind))
    if get_origin(kind) is list and get_args(kind)[0] in KINDS:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{key}: expected a list of {get_args(kind)[0].__name__}, got {value!r}")
        return [_checked(key, get_args(kind)[0], one) for one in value]
    if get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{key}: expected a dict, got {value!r}")
        return {name: _checked(f"{key}.{name}", get_args(kind)[1], one) for name, one in value.items()}
    if kind not in KINDS:
        return value
    if not isinstance(value, KINDS[kind]) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{key}: expected {kind.__name__}, got {value}")
    return kind(value)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]
