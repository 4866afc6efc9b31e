"""Configurations from Python: a workflow is called with one, or with its keywords."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from wildlam.errors import WildlamError

Config = TypeVar("Config")


def config_from(cls: type[Config], config: Config | None, keywords: Mapping[str, Any]) -> Config:
    """The configuration that a workflow is called with.

    Args:
        cls: its class, a dataclass.
        config: one that is made; keywords replace what it says.
        keywords: fields by name. Of a field that is a configuration itself, a mapping of its fields will do, such as
            ``training={"steps": 100}``.

    Raises:
        WildlamError: something else is given, a keyword is unknown or missing, or a value is out of its range.
    """
    if config is not None and not isinstance(config, cls):
        raise WildlamError(f"give a {cls.__name__}, or its keywords ({_names(cls)}); got {config!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := next((name for name in keywords if name not in fields), None):
        near = difflib.get_close_matches(unknown, fields, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {_names(cls)}"
        raise WildlamError(f"{cls.__name__} has no {unknown}; {hint}")
    values = {name: _nested(cls, name, value, config) for name, value in keywords.items()}
    missing = [name for name, field in fields.items() if name not in values and _is_required(field)]
    if config is None and missing:
        raise WildlamError(f"{cls.__name__} needs {' and '.join(missing)}")
    try:
        return cls(**values) if config is None else dataclasses.replace(config, **values)  # type: ignore[type-var]
    except (TypeError, ValueError) as error:  # a TypeError compares a text, say, with a number
        raise WildlamError(str(error) if isinstance(error, ValueError) else f"{cls.__name__}: {error}") from error


def _nested(cls: type, name: str, value: Any, config: Any) -> Any:
    kind = get_type_hints(cls)[name]
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind) or isinstance(value, kind):
        return value
    made = getattr(config, name, None)
    subclasses = type.__subclasses__(kind)
    if isinstance(value, Mapping) and not subclasses:  # of several classes, which one is not said
        return config_from(kind, made, value)
    classes = [sub.__name__ for sub in subclasses] or [f"{kind.__name__}(...) or a dict of its fields"]
    raise WildlamError(f"{name} must be {' or '.join(classes)}, got {value!r}")


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _names(cls: type) -> str:
    return ", ".join(field.name for field in dataclasses.fields(cls))
