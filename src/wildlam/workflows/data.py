"""Look at a labelled data set before anything is trained on it: ``wildlam data``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wildlam.config import config_from
from wildlam.episodes.formats import cache_folder, format_of, read_episodes
from wildlam.episodes.summary import SPLITS, Summary, summarise
from wildlam.episodes.vectors import ChoosesReading, UnknownRateError, described
from wildlam.errors import option
from wildlam.evaluation.clips import spread
from wildlam.fileio import writing
from wildlam.report.html import paragraph
from wildlam.report.pages.data import write_data_report
from wildlam.types import check_count, settle_paths
from wildlam.workflows.films import write_films


@dataclass(frozen=True, kw_only=True)
class PreviewConfig(ChoosesReading):
    """Which labelled data to look at, and how.

    Args:
        path: labelled data: LeRobot of any robot, RLDS, DROID, RECON, HDF5 of robomimic, LIBERO or ALOHA, Zarr of
            Diffusion Policy, or videos with poses or commands beside them.
        fps: states a second that the data are to be seen at: those of the run that is to be taught, its ``data.fps``.
        shown: number of episodes on the page.
        out: the page; PATH/.wildlam/data.html if not given.
        films: folder to write each episode to as a film of its own, with files of what was done beside it, to train
            on: for pictures that lie in tables, RLDS, HDF5 or Zarr. A call that is repeated goes on.
    """

    path: Path
    fps: float = 4.0
    shown: int = 6
    out: Path | None = None
    films: Path | None = None

    def __post_init__(self) -> None:
        settle_paths(self, "path", "out", "films")
        check_count("shown", self.shown)
        if not isinstance(self.fps, int | float) or not 0 < self.fps < float("inf"):
            raise ValueError(f"{option('fps')} must be a positive number, got {self.fps!r}")
        _ = self.reading  # refuses choices that there are not


@dataclass(frozen=True)
class Preview:
    """What a labelled data set holds. Printed, a summary.

    Attributes:
        format: name of the format.
        cameras: names of the cameras, where there are several.
        summary: figures.
        page: the page with films and curves.
        rated: whether the frames a second are known; where not, each frame is taken for a state.
        films: how many films were written.
    """

    format: str
    cameras: list[str]
    summary: Summary = field(repr=False)
    page: Path
    rated: bool = True
    films: int = 0

    @property
    def lines(self) -> list[str]:
        """What it holds, in words."""
        found = self.summary
        rates = ", ".join(f"{rate:g} a second ({count})" for rate, count in found.rates.items())
        counts = " and ".join(f"{found.episodes.get(split, 0)} {words}" for split, words in SPLITS.items())
        clips = " and ".join(f"{found.clips.get(split, 0)} {words}" for split, words in SPLITS.items())
        hours = f", {found.hours:.2f} hours" if self.rated else ""
        frames = (
            f"{rates}; seen at {', '.join(f'{rate:g}' for rate in found.fps)} states a second "
            f"({option('fps')}: that of the run to teach, 4 by default)"
            if self.rated
            else f"rate unknown, so each is taken for a state here; give {option('rate')}"
        )
        return [
            f"{sum(found.episodes.values())} episodes of {found.recordings} recordings ({self.format}){hours}; "
            f"{counts}",
            f"frames: {frames}",
            f"clips of {found.states} states: {clips}",
            f"actions: {described(found.space)}",
            f"idle: {found.idle:.0%} of the steps",
            *([f"cameras: {', '.join(self.cameras)}"] if self.cameras else []),
        ]

    def __str__(self) -> str:
        return "\n".join([*self.lines, *(f"odd: {line}" for line in self.summary.odd), f"page       {self.page}"])

    def _repr_html_(self) -> str:
        return "".join(map(paragraph, str(self).splitlines()))


def preview(config: PreviewConfig | str | Path | None = None, /, **keywords: Any) -> Preview:
    """Look at a labelled data set: episodes, rates, actions, what is odd; and write a page with some episodes.

    One of unknown rate is shown, too, frame by frame; to train on it, or to write its films, takes ``rate``.

    Args:
        config: what to look at, or a path, that of ``path``.
        keywords: fields of ``PreviewConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: something is wrong with the data, naming the file; or the page or films cannot be written.
    """
    config = config_from(PreviewConfig, config, keywords)
    rated, reading = True, replace(config.reading, finite=config.films is not None)
    try:
        episodes = read_episodes(config.path, config.tolerance, reading)
    except UnknownRateError:
        if config.films is not None:
            raise
        rated = False
        episodes = read_episodes(config.path, config.tolerance, replace(reading, rate=config.fps))
    form = format_of(config.path)
    summary = summarise(episodes, config.fps)
    page = config.out or cache_folder(config.path) / "data.html"
    cameras = form.names_of_cameras(config.path) if form.names_of_cameras else []
    found = Preview(form.name, cameras, summary, page, rated)
    some = [episodes[i] for i in spread(len(episodes), config.shown)]
    with writing(f"to {page}", f"give another {option('out')}"):
        write_data_report(page, f"Data: {config.path.name}", summary, found.lines, some, str(config.path), rated)
    if config.films is None:
        return found
    chosen = {"camera": config.camera, "actions": summary.space.name, "frames a second": round(episodes[0].rate, 6)}
    films = write_films(episodes, config.films, {"data": str(config.path.resolve())} | chosen)
    return replace(found, films=films)
