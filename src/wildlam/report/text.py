"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wildlam.evaluation.intervals import interval_text


def text_table(head: Sequence[str], rows: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """Lines of a table: the names of its rows in full, then columns of ``width`` characters."""
    first = max([20, *(len(name) + 1 for name in rows)])
    lines = {"": head, **rows}
    return [f"{name:{first}}" + "".join(f"{cell:>{width}}" for cell in cells) for name, cells in lines.items()]


def text_of_summary(summary: Mapping[str, Mapping[str, Any]], figures: Sequence[str]) -> list[str]:
    """Lines of a table of some figures of each model: the mean, with the interval about it."""
    cells = {
        label: [interval_text(of["mean"], of["low"], of["high"], ".3g") for of in (row[name] for name in figures)]
        for label, row in summary.items()
    }
    return text_table(figures, cells, 28)


def figure_line(name: str, figure: str, more: str = "") -> str:
    """A line of a list of figures below a heading: the name, the figure flush right, its unit or a remark."""
    return f"  {name:24}{figure:>12}{more}"
