"""Small signatures of films, to find copies of a film, re-encoded or not.

The first frame's look, 64 bytes, is taken while a video is indexed, which decodes that frame anyway. Only where the
looks and durations of two videos agree are more of their frames decoded. These must agree too, and what *changes*
between them must correlate: films of a fixed camera share all but that. Where nothing moves, films cannot be compared.
"""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

SIDE = 8
"""Cells along each side of a look."""
_NEAR = 12  # grey levels by which cells may differ, each frame's mean set aside: scaling and coding blur edges
_MOVES = 1.5  # grey levels, root mean square over all cells, that must change for films to be compared
_CORRELATION = 0.9


def look(frame: VideoFrame, turns: int) -> bytes:
    """The mean grey levels of a frame's 8 x 8 cells, upright.

    Args:
        frame: the frame as stored.
        turns: quarter turns anticlockwise that put it upright.
    """
    # Without threads, which take longer to start, of the scaler and of torch, than all the rest of indexing a file.
    grey = VideoReformatter().reformat(frame, 64, 64, "gray", threads=1).to_ndarray()
    cells = np.rint(grey.reshape(SIDE, 64 // SIDE, SIDE, 64 // SIDE).mean((1, 3))).astype(np.uint8)
    return np.ascontiguousarray(np.rot90(cells, turns)).tobytes()


def cells_of(looks: list[bytes]) -> np.ndarray:
    """Looks as ``int16 [V, 64]``, each less its mean: a change of colour space shifts all cells alike."""
    cells = np.frombuffer(b"".join(looks), np.uint8).reshape(len(looks), -1).astype(np.int16)
    return cells - cells.mean(1, keepdims=True).round().astype(np.int16)


def near(some: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Which of the cells ``[V, C]`` are near those of ``one`` ``[C]`` or ``[V, C]``: ``bool [V]``."""
    return np.abs(some - one).max(axis=-1) <= _NEAR


def same_film(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the cells of frames at the same moments of two films, ``[M, C]``, show the same motion."""
    changes = [film - film.mean(0) for film in (one, other)]
    strengths = [float(np.sqrt((change**2).mean())) for change in changes]
    if min(strengths) < _MOVES:
        return False
    return float((changes[0] * changes[1]).mean()) >= _CORRELATION * strengths[0] * strengths[1]
