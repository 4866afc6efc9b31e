"""The configuration of a run, and how configurations are read and written."""

from wildlam.config.file import differences, dump_config, read_as, read_config
from wildlam.config.keywords import config_from
from wildlam.config.parser import Parser, run_parser, to_config
from wildlam.config.run import RunConfig, without_actions

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
