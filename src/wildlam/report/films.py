"""Short films that loop: a strip of frames in one WebP picture, which the page's style moves through a window.

Of what every browser plays, that is the smallest for a handful of frames: half of a JPEG, a tenth of an animated PNG.
It can be paused, hundreds may play at once, and on paper the first frame stands.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

import numpy as np
from PIL import Image

QUALITY = 70
SECONDS_PER_FRAME = 0.3


def webp(picture: np.ndarray, quality: int = QUALITY) -> str:
    """A picture ``uint8 [H, W, 3]`` as the address of a WebP file that holds its bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="WEBP", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def film(frames: np.ndarray, alt: str, caption: str = "", below: str = "", kind: str = "") -> str:
    """A film that loops, and rests on its last frame.

    Args:
        frames: ``uint8 [F, 3, H, W]``; frames equal to the one before are left out.
        alt: what it shows, for those who cannot see it.
        caption: plain text below it.
        below: markup between the film and the caption.
        kind: class of the figure, for the style.
    """
    kept = [frames[0], *(new for old, new in pairwise(frames) if (old != new).any())]
    count, (height, width) = len(kept), kept[0].shape[1:]
    picture = webp(np.moveaxis(np.concatenate(kept, axis=2), 0, -1))
    moves = f"--n:{count};--k:{count - 1};--t:{(count + 1) * SECONDS_PER_FRAME:.1f}s;" if count > 1 else "--n:1;"
    image = f'<img alt="{escape(alt)}" src="{picture}" width="{width * count}" height="{height}">'
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    of_kind = f' class="{kind}"' if kind else ""
    return f'<figure{of_kind}><span class="frames" style="{moves}">{image}</span>{below}{words}</figure>\n'


def films(items: Iterable[str], size: str = "") -> str:
    """Films (or other figures) side by side, as many in a row as fit.

    Args:
        items: their markup.
        size: ``"moments"`` of a timeline, or ``"large"``.
    """
    return f'<div class="films{" " + size if size else ""}">\n{"".join(items)}</div>\n'


def sheet(rows: Sequence[np.ndarray]) -> str:
    """Frames of equal size, row by row, as one picture: each row ``uint8 [F, 3, H, W]``, the shorter ones padded."""
    longest = max(len(row) for row in rows)
    padded = [np.concatenate([row, np.repeat(row[-1:], longest - len(row), axis=0)]) for row in rows]
    lines = [np.concatenate(list(np.moveaxis(row, 1, -1)), axis=1) for row in padded]
    return webp(np.concatenate(lines, axis=0), quality=60)
