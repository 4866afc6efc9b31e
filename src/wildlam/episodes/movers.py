"""What is true of a film of movers: who is where in each frame, moving how, and what is seen of them.

The truth of ``film.mp4`` lies in ``film.truth.npz``, an archive of arrays without pickles, named as the attributes of
``Truth``. T is the number of frames, M that of movers, of cut-outs the farthest first; positions are in pixels to the
right of and below the picture's upper left corner, so that a pixel's middle is at a half.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from wildlam.errors import WildlamError


@dataclass(frozen=True)
class Truth:
    """The truth of a film of ``wildlam collect movers``.

    From frame to frame, ``position`` changes by ``velocity / fps`` (of the former frame) and the change of ``shift``.

    Attributes:
        fps: frames per second, ``float64 []``.
        background: ``still``, ``panning`` or ``shaking``, ``str []``.
        shapes: what is cut out, or which monster, ``str [M]``.
        radius: half the diameter, or a monster's height, at scale 1, pixels, ``float32 [M]``.
        position: middle of each in the picture, which may be outside it, ``float32 [T, M, 2]``.
        velocity: its own motion, over the background, pixels per second until the next frame, ``float32 [T, M, 2]``.
        angle: how far it is turned, clockwise, in degrees that go on beyond 360; 0 of monsters, ``float32 [T, M]``.
        scale: its size, ``float32 [T, M]``.
        visible: share of it that is in the picture and behind nothing, 0 to 1; of a monster 1 where any of it is,
            ``float32 [T, M]``.
        box: left, top, right and bottom (both excluded) of the pixels that it or its shadow can change, of a monster
            those where it is seen; all 0 where there are none, ``int16 [T, M, 4]``.
        shift: how far the background is from where it was in the first frame, pixels, ``float32 [T, 2]``.
    """

    fps: np.ndarray
    background: np.ndarray
    shapes: np.ndarray
    radius: np.ndarray
    position: np.ndarray
    velocity: np.ndarray
    angle: np.ndarray
    scale: np.ndarray
    visible: np.ndarray
    box: np.ndarray
    shift: np.ndarray


def truth_path(video: Path) -> Path:
    """Where the truth of a film of movers lies."""
    return video.with_suffix(".truth.npz")


def write_truth(video: Path, truth: Truth) -> None:
    """Write the truth beside its film, in a folder that is made if need be."""
    path = truth_path(video)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{one.name: getattr(truth, one.name) for one in fields(Truth)})


def read_truth(video: Path) -> Truth:
    """Read the truth beside a film of movers.

    Raises:
        WildlamError: it is missing or malformed, naming the file.
    """
    path = truth_path(video)
    try:
        with np.load(path, allow_pickle=False) as file:
            return Truth(**{one.name: file[one.name] for one in fields(Truth)})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WildlamError(f"cannot read the truth {path}: {error}; film it again: `wildlam collect movers`") from error
