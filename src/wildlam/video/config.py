"""Configuration of the videos and of the clips that are cut from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wildlam.types import settle_paths
from wildlam.video.files import Location, location


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Videos to train on, and how clips are cut from them.

    Args:
        path: folder of videos and tar shards of videos (searched at any depth), a manifest (.parquet) or a list of
            videos (.csv, .txt); also a URL such as s3://bucket/videos.
        frames: video frames in a clip.
        fps: frames per second at which clips are sampled.
        held_out: share of the videos, in (0, 1), that is kept from training for evaluation.
        on_error: raise on a video that cannot be used, or skip it (counted and reported).
        max_bad: share of the videos that on_error=skip may leave out, from 0 to 1.
        exclude: patterns of paths below the folder, or of file names, that are left out, such as ["*.gif", "raw/*"].
        backend: library that decodes; both give the same frames.
        workers: processes that prepare batches ahead of training; 0 for one thread of the training process.
        cache: folder for what is derived from the videos (manifest, features); <path>/.wildlam if not given.
        store: encode all videos once into a feature store; false to decode and encode clips at every step.
        cuts: look for cuts (pip install 'wildlam[cuts]'; all frames are decoded once), and take no clip across one.
        mixture: share of the training clips that comes from each source, such as {droid: 0.2}; sources not named divide
            the rest as their footage does. By default all footage is seen equally often.
    """

    path: Location
    frames: int = 8
    fps: float = 4.0
    held_out: float = 0.1
    on_error: Literal["raise", "skip"] = "raise"
    max_bad: float = 0.1
    exclude: list[str] = field(default_factory=list)
    backend: Literal["pyav", "torchcodec"] = "pyav"
    workers: int = 2
    cache: Path | None = None
    store: bool = True
    cuts: bool = False
    mixture: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A URL's path (universal-pathlib) is no os.PathLike.
        if not isinstance(self.path, str) and not hasattr(self.path, "joinpath"):
            raise ValueError(f"data.path must be a path or a URL, got {self.path!r}")
        object.__setattr__(self, "path", location(self.path))
        settle_paths(self, "cache")
        if self.frames < 2:
            raise ValueError(f"data.frames is {self.frames}: an action needs two frames at least")
        if not 0 < self.fps < float("inf"):
            raise ValueError(f"data.fps is {self.fps}: give a positive number of frames per second")
        if not 0 < self.held_out < 1:
            raise ValueError(f"data.held_out is {self.held_out}: give a share between 0 and 1, such as 0.1")
        if self.on_error not in ("raise", "skip"):
            raise ValueError(f"data.on_error is {self.on_error!r}: choose raise or skip")
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"data.max_bad is {self.max_bad}: give a share between 0 and 1, such as 0.1")
        if self.backend not in ("pyav", "torchcodec"):
            raise ValueError(f"data.backend is {self.backend!r}: choose pyav or torchcodec")
        if self.workers < 0:
            raise ValueError(f"data.workers is {self.workers}: give 0 or a number of processes")
        shares = self.mixture.values()
        if not all(0 < share <= 1 for share in shares) or sum(shares) > 1 + 1e-6:
            raise ValueError(f"data.mixture is {self.mixture}: give shares above 0 that add up to at most 1")

    @property
    def cache_folder(self) -> Path:
        """The folder for what is derived from the videos."""
        from wildlam.video.manifest import cache_folder

        return cache_folder(self.path, self.cache)
