"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def text_table(head: Sequence[str], rows: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """Lines of a table: the names of its rows in full, then columns of ``width`` characters."""
    first = max([20, *(len(name) + 1 for name in rows)])
    lines = {"": head, **rows}
    return [f"{name:{first}}" + "".join(f"{cell:>{width}}" for cell in cells) for name, cells in lines.items()]
