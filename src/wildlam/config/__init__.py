"""The configuration of a run, and how configurations are read and written.

Each name is imported when it is first used: the configuration of a run takes all models and with them PyTorch, a
command's own arguments and its ``--help`` do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as below
    from wildlam.config.file import differences, dump_config, read_as, read_config
    from wildlam.config.keywords import config_from
    from wildlam.config.parser import Parser, run_parser, to_config
    from wildlam.config.run import RunConfig, without_actions

_MODULE_OF = {
    "Parser": "parser",
    "RunConfig": "run",
    "config_from": "keywords",
    "differences": "file",
    "dump_config": "file",
    "read_as": "file",
    "read_config": "file",
    "run_parser": "parser",
    "to_config": "parser",
    "without_actions": "run",
}

__all__ = [
    "Parser",
    "RunConfig",
    "config_from",
    "differences",
    "dump_config",
    "read_as",
    "read_config",
    "run_parser",
    "to_config",
    "without_actions",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value
