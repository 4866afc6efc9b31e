"""The report of episodes in a simulator: a table, and films next to the goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from wildlam.evaluation.intervals import PerClip
from wildlam.planning.mpc import Trace
from wildlam.report.html import Section, paragraph, table, video, write_report
from wildlam.report.pages.evaluation import intervals
from wildlam.report.pages.plan import cells_of, explained

SHOWN = 12
"""Episodes in a film."""
IN_A_ROW = 4


def grid(goals: Sequence[Trace], traces: Sequence[Trace]) -> list[np.ndarray]:
    """Frames of one film: for each episode the current picture and the goal, four episodes in a row."""
    blank = np.zeros_like(np.concatenate([traces[0].frames[0]] * 2, axis=1))
    film = []
    for t in range(len(traces[0].frames)):
        pairs = [
            np.concatenate([one.frames[t], goal.frames[-1]], axis=1) for goal, one in zip(goals, traces, strict=True)
        ]
        in_a_row = min(IN_A_ROW, len(pairs))
        pairs += [blank] * (-len(pairs) % in_a_row)
        rows = [np.concatenate(pairs[i : i + in_a_row], axis=1) for i in range(0, len(pairs), in_a_row)]
        film.append(np.concatenate(rows, axis=0))
    return film


def table_of_episodes(rows: Mapping[str, PerClip]) -> str:
    """A table of the figures of episodes by model, as HTML."""
    return table(_cells(rows), caption=intervals(rows["no move"]))


def _cells(rows: Mapping[str, PerClip]) -> dict[str, dict[str, str | None]]:
    return cells_of(rows, list(rows["no move"].values))


def write_play_report(
    path: Path, title: str, rows: Mapping[str, PerClip], films: Mapping[str, bytes], words: str, subtitle: str
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: its heading.
        rows: figures by model.
        films: films of each model that plans.
        words: what counts as success, and what was found.
        subtitle: what all of it was made with.
    """
    pictures = ""
    for label, film in films.items():
        shown = rows[label].values["success"][:SHOWN].bool().tolist()
        ends = ", ".join("reached" if success else "missed" for success in shown)
        about = f"{label}: of each episode left what is seen, right the goal; row by row: {ends}"
        pictures += video(film, about, about)
    write_report(
        path,
        title,
        Section(
            "Episodes",
            paragraph(words) + table_of_episodes(rows) + explained(_cells(rows)),
        ),
        Section("Films", pictures),
        subtitle=subtitle,
    )
