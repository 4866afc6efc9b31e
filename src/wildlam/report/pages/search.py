"""The page of a search by action: what was asked for and what was found, as pictures that move."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wildlam.report.html import Section, figure, gallery, paragraph, write_report
from wildlam.video.write import side_by_side

FRAME_MS, LAST_MS = 110, 700
"""How long a picture of the film is shown, and its last one."""
GAP = 2
"""Pixels beside each picture."""


@dataclass(frozen=True)
class Shown:
    """A transition on the page.

    Attributes:
        caption: what is said of it, plain text.
        frames: the pictures from the state before to the one after, ``uint8 [F, 3, H, W]``; None where they cannot be
            decoded, as ``caption`` says.
        link: URL of the film at that moment; none if empty.
    """

    caption: str
    frames: Tensor | None
    link: str = ""


def write_search_page(path: Path, title: str, asked: Sequence[Shown], hits: Sequence[Shown], subtitle: str) -> None:
    """Write the page.

    Args:
        path: the file.
        title: its heading.
        asked: transitions that stand for what was asked for; none of a latent action alone.
        hits: what was found, the nearest first.
        subtitle: below the heading.
    """
    nothing = paragraph("Nothing; ask for more speeds, moments or sources.")
    sections = [Section("Asked for", gallery([_figure(one) for one in asked]))] if asked else []
    found = Section("Found, the nearest first", gallery([_figure(one) for one in hits]) if hits else nothing)
    write_report(path, title, *sections, found, subtitle=subtitle)


def _figure(one: Shown) -> str:
    if one.frames is None:
        return paragraph(one.caption)
    return figure(
        strip(one.frames), f"before, after, and the film between them: {one.caption}", one.caption, link=one.link
    )


def strip(frames: Tensor) -> bytes:
    """Before, after, and the film between them side by side, as the bytes of a WebP that runs by itself.

    Args:
        frames: ``uint8 [F, 3, H, W]``.
    """
    frames = F.pad(frames, (GAP, GAP, 0, 0), value=255)
    panels = {"before": frames[:1].expand_as(frames), "after": frames[-1:].expand_as(frames), "film": frames}
    return _webp(side_by_side(panels))


def _webp(frames: Sequence[np.ndarray]) -> bytes:
    first, *others = map(Image.fromarray, frames)
    held = [FRAME_MS] * len(others) + [LAST_MS]
    file = io.BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=others, duration=held, loop=0, quality=60, method=2)
    return file.getvalue()
