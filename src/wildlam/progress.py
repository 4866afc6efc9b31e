"""Bars of progress: one piece of work moves a bar by its own share, however its steps add up."""

from __future__ import annotations

from collections.abc import Callable

from tqdm import tqdm

Count = Callable[[float], object]
"""Takes how much has been done since it was last called."""


def uncounted(_: float) -> None:
    """For who does not count."""


def up_to(bar: tqdm, most: float) -> Count:
    """A count of one piece of work, which moves a bar on by ``most`` altogether and never by more.

    What is done twice, or is longer than was told, leaves the bar where it is; at the end, ``count(most)`` gives it
    what is left.
    """
    left = most

    def count(amount: float) -> None:
        nonlocal left
        step = min(amount, left)
        left -= step
        bar.update(step)

    return count
