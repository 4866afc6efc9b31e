"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wildlam.evaluation.intervals import TOO_FEW, PerClip, interval_text


def text_table(head: Sequence[str], rows: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """Lines of a table: the names of its rows in full, then columns of ``width`` characters."""
    return text_rows([("", head), *rows.items()], max([20, *(len(name) + 1 for name in rows)]), width)


def text_rows(rows: Iterable[tuple[str, Sequence[str]]], first: int, width: int) -> list[str]:
    """Lines of a table without a heading: names in ``first`` characters, then columns of ``width``, flush right."""
    return [f"{name:{first}}" + "".join(f"{cell:>{width}}" for cell in cells) for name, cells in rows]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


def text_of_figures(rows: Mapping[str, PerClip], figures: Sequence[str]) -> list[str]:
    """Lines of a table of some figures of each model: the mean, with its interval if there are enough clips."""

    def text(row: PerClip, name: str) -> str:
        of = row.estimate(name)
        return interval_text(of.mean, of.low, of.high, ".3g") if row.is_enough else f"{of.mean:.3g}"

    table = text_table(figures, {label: [text(row, name) for name in figures] for label, row in rows.items()}, 28)
    return table if all(row.is_enough for row in rows.values()) else [*table, TOO_FEW]


def figure_line(name: str, figure: str, more: str = "") -> str:
    """A line of a list of figures below a heading: the name, the figure flush right, its unit or a remark."""
    return text_rows([(f"  {name}", [figure])], 26, 12)[0] + more
