"""The command line, ``wildlam COMMAND ...``."""

from wildlam.cli.main import COMMANDS, GROUPS, main

__all__ = ["COMMANDS", "GROUPS", "main"]
