"""A film of composed scenes: a thing moves in one scene, and its latent action is applied to another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wildlam.evaluation.locality import Locality
from wildlam.report.plots import glowing
from wildlam.video.write import side_by_side

BLINKS = 2.0
"""Frames per second: a scene before and after the motion, by turns."""
TIMES = 2
"""How often each scene is shown."""
MOVES = {"source": "a source", "target": "if it moved here"}
FALLS = {
    "true": "truth",
    "transferred": "z of the source",
    "other side": "z of the other disc",
}
"""Titles of the panels in which a change is laid over the target."""


def local_film(found: Locality, grid: tuple[int, int]) -> list[np.ndarray]:
    """The scenes that ``found`` keeps films of, as frames ``uint8 [H, W, 3]`` to be shown at ``BLINKS`` a second.

    Args:
        found: composed scenes, and where the changes fall in them.
        grid: height and width of the map of tokens.
    """
    panels: dict[str, list[Tensor]] = {title: [] for title in (*MOVES.values(), *FALLS.values())}
    for number, films in found.films.items():
        for name, title in MOVES.items():
            panels[title] += [films[name][0], films[name][-1]] * TIMES
        before = films["target"][0]
        for kind, title in FALLS.items():
            panels[title] += [before, _laid_over(before, found.maps[kind][number].unflatten(-1, grid))] * TIMES
    return side_by_side({title: torch.stack(frames) for title, frames in panels.items()})


def _laid_over(frame: Tensor, change: Tensor) -> Tensor:
    """A grey frame ``uint8 [3, S, S]`` under the map ``[h, w]``, which has a scale of its own."""
    picture = glowing(frame.movedim(0, -1).numpy(), change.numpy(), max(float(change.max()), 1e-12))
    return torch.from_numpy(picture).movedim(-1, 0)
