"""Infer the latent actions of video files and write them: ``wildlam infer``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wildlam.config import config_from
from wildlam.errors import WildlamError
from wildlam.pretrained import run_path
from wildlam.progress import up_to
from wildlam.report.html import table
from wildlam.types import settle_path_lists, settle_paths
from wildlam.video.files import names_tar
from wildlam.video.index import find_videos
from wildlam.video.opening import check_file, declared_seconds
from wildlam.workflows.trained import LatentActions, Trained, check_kind, load


@dataclass(frozen=True, kw_only=True)
class InferConfig:
    """Which videos, by which run.

    Args:
        run: the run folder, or the text ``"tiny"`` for the model that comes with the package.
        videos: video files, and folders of them (searched at any depth).
        output: where to write, without suffix, or of several videos the folder; the videos' names, here, if not given.
        dims: how many leading dimensions of latent actions to keep, of a run whose bottleneck is Adaptive; as many as
            each transition needs if not given.
    """

    run: Path
    videos: list[Path]
    output: Path | None = None
    dims: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.run, str):
            object.__setattr__(self, "run", run_path(self.run))
        settle_paths(self, "run", "output")
        settle_path_lists(self, "videos")
        if not self.videos:
            raise ValueError("videos is empty; give video files, or folders of them")


@dataclass(frozen=True)
class Inferred:
    """The result for one video.

    Attributes:
        video: its file.
        actions: its latent actions; None if it could not be used.
        files: where they are written, as .npz and .parquet.
        error: why the video could not be used; empty if it could.
    """

    video: Path
    actions: LatentActions | None
    files: tuple[Path, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class InferResult:
    """Latent actions of videos. In a notebook, a table.

    Attributes:
        actions: latent actions of each video, by its name.
        files: where they are written, as .npz and .parquet, by video.
        failed: why a video could not be used, by video.
    """

    actions: dict[Path, LatentActions]
    files: dict[Path, tuple[Path, ...]] = field(repr=False)
    failed: dict[Path, str]

    def _repr_html_(self) -> str:
        rows: dict[str, dict[str, str]] = {}
        for video, actions in self.actions.items():
            rows[str(video)] = {"latent actions": str(len(actions.z)), "files": ", ".join(map(str, self.files[video]))}
        for video, error in self.failed.items():
            rows[str(video)] = {"failed": error}
        return table(rows)


def infer(config: InferConfig | str | Path | None = None, /, **keywords: Any) -> InferResult:
    """Infer the latent action of every transition of video files, and write them as .npz and .parquet.

    ``wildlam.load(run).infer(video)`` does it for one video, of any form, and writes nothing.

    Args:
        config: what to do, or a path, that of ``run``.
        keywords: fields of ``InferConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: as ``infer_each``.
    """
    found = list(infer_each(config_from(InferConfig, config, keywords)))
    return InferResult(
        {one.video: one.actions for one in found if one.actions is not None},
        {one.video: one.files for one in found if one.files},
        {one.video: one.error for one in found if one.error},
    )


def infer_each(config: InferConfig) -> Iterator[Inferred]:
    """As ``infer``, video by video.

    Raises:
        WildlamError: there is one video alone, and it cannot be used; or something is wrong with the run, with where
            to write, or with the dimensions to keep.
    """
    places = outputs(config.videos, config.output)
    if len(places) == 1:  # before the model is loaded, which takes longer
        (video,) = places
        check_file(video)
        check_kind(places[video])
    trained = load(config.run)
    trained.model.check_dims(config.dims)
    sizes = {video: video.stat().st_size if video.exists() else 0 for video in places}
    with tqdm(total=sum(sizes.values()), desc="inferring", unit="B", unit_scale=True, miniters=1) as bar:
        for video, place in places.items():
            try:
                actions = _inferred(trained, video, config.dims, sizes[video], bar)
            except WildlamError as error:
                if len(places) == 1:
                    raise
                yield Inferred(video, None, error=str(error))
                continue
            yield Inferred(video, actions, actions.save(place))


def _inferred(trained: Trained, video: Path, dims: int | None, size: int, bar: tqdm) -> LatentActions:
    """The latent actions of a file; a bar moves on by its bytes, as how long all files last is not known."""
    count = up_to(bar, size)
    try:
        lasts = declared_seconds(video)
        return trained.infer(video, dims=dims, count=lambda seconds: count(size * seconds / lasts if lasts else 0))
    finally:
        count(size)


def outputs(given: Sequence[Path], out: Path | None = None) -> dict[Path, Path]:
    """Where the latent actions of each video go, without suffix.

    Args:
        given: video files, and folders that are searched at any depth. (Videos in tar shards are left out.)
        out: of one video its name, else a folder, where a video of a folder keeps its place below that; here if not
            given.

    Raises:
        WildlamError: a folder holds no video, or two videos would go to one place.
    """
    if len(given) == 1 and not given[0].is_dir():
        return {given[0]: out or Path(given[0].stem)}
    below: list[tuple[Path, Path]] = []
    for path in given:
        if path.is_dir():
            found = [Path(name) for name in find_videos(path) if not names_tar(name)]
            if not found:
                raise WildlamError(f"{path}: no videos found; give video files, or folders of them")
            below += [(path / name, name) for name in found]
        else:
            below.append((path, Path(path.name)))
    taken: dict[Path, Path] = {}
    for video, name in below:
        place = (out or Path()) / name.with_suffix("")
        other = taken.setdefault(place, video)
        if other != video:
            raise WildlamError(f"{other} and {video} would both go to {place}; infer them in two calls")
    return {video: place for place, video in taken.items()}
