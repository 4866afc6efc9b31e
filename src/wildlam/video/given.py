"""Videos as they are given from Python: a file, an array, a tensor, a list of pictures, or a batch of videos."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.video.decode import Backend, VideoInfo, decode_at, decode_grid, probe
from wildlam.video.files import AnyFile
from wildlam.video.geometry import square
from wildlam.video.sampling import SLOW
from wildlam.video.timeline import known_plain

log = logging.getLogger(__name__)

AnyVideo: TypeAlias = Any
"""A path; ``uint8 [T, H, W, 3]`` or ``[T, 3, H, W]`` as array or tensor; a list of pictures (PIL's, or such arrays
without ``T``); or a batch, ``[B, T, ...]``. All but files need their frames per second as well."""

FORMS = (
    "a path, uint8 [T, H, W, 3] or [T, 3, H, W] (array or tensor), a list of pictures, or a batch of videos [B, T, ...]"
)
EARLY = 1e-6
"""Seconds before its time that a picture is on display, for rounding."""


@dataclass(frozen=True)
class VideoFile:
    """A video in a file.

    Attributes:
        path: the file, or what else of files can be decoded.
    """

    path: AnyFile

    def __str__(self) -> str:
        return str(self.path)

    def breaks(self) -> list[float]:
        """Times in seconds at which its timestamps jump; no clip crosses one."""
        return list(self._info.breaks)

    def seconds(self) -> float:
        """How long it lasts, up to its first break."""
        return min([self._info.duration, *self._info.breaks])

    def grid(self, fps: float, size: int, backend: Backend) -> Iterator[tuple[Tensor, Tensor]]:
        """One after another, times ``[1]`` and frames ``uint8 [1, 3, size, size]`` at ``fps``; see ``decode_grid``."""
        _warn_of_repetitions(self, self._info.fps, fps)
        return decode_grid(self.path, fps, size, backend, chunk=1)

    def first(self, count: int, fps: float, size: int, backend: Backend) -> Tensor:
        """The first frames at ``fps``, ``uint8 [count, 3, size, size]``."""
        times = [k / fps for k in range(count)]
        return decode_at(self.path, times, size, backend, known_plain(self._info.odd))

    @cached_property
    def _info(self) -> VideoInfo:
        return probe(self.path)


@dataclass(frozen=True)
class Pictures:
    """A video in memory.

    Attributes:
        name: name of the video in errors.
        frames: ``uint8 [T, H, W, 3]``.
        fps: frames per second.
    """

    name: str
    frames: Tensor
    fps: float

    def __str__(self) -> str:
        return self.name

    def breaks(self) -> list[float]:
        """None: every frame follows on the one before."""
        return []

    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.frames) / self.fps

    def grid(self, fps: float, size: int, backend: Backend) -> Iterator[tuple[Tensor, Tensor]]:
        """As ``VideoFile.grid``; the backend makes no difference."""
        _warn_of_repetitions(self, self.fps, fps)
        k = 0
        while (shown := int((k / fps + EARLY) * self.fps)) < len(self.frames):
            yield torch.tensor([k / fps], dtype=torch.float64), square(self.frames[shown], 0, size)[None]
            k += 1

    def first(self, count: int, fps: float, size: int, backend: Backend) -> Tensor:
        """As ``VideoFile.first``."""
        grid = self.grid(fps, size, backend)
        return torch.cat([next(grid)[1] for _ in range(count)])


def _warn_of_repetitions(video: VideoFile | Pictures, own: float, fps: float) -> None:
    if own < SLOW * fps:
        check = "; check fps=" if isinstance(video, Pictures) else ""
        log.warning(
            "%s has %.4g frames/s, fewer than the %g that the model takes: of %s pictures %s are repetitions, and the "
            "actions to these are those of standing still%s",
            video, own, fps, f"{video.seconds() * fps:,.0f}", f"{video.seconds() * (fps - own):,.0f}", check,
        )  # fmt: skip


Given: TypeAlias = VideoFile | Pictures


def given_videos(videos: Mapping[str, AnyVideo], fps: float | None = None) -> dict[str, Given | list[Given]]:
    """The videos in what is given; a list for a batch.

    Args:
        videos: videos in any form, by the names that errors give them.
        fps: frames per second of those that are no files.

    Raises:
        WildlamError: one is something else, there is no ``fps`` for it, or ``fps`` is for none.
    """
    if fps is not None and all(_is_path(video) for video in videos.values()):
        raise WildlamError(f"fps is for arrays and pictures; {' and '.join(map(str, videos.values()))} says its own")
    return {name: _given(video, fps, name) for name, video in videos.items()}


def _given(video: AnyVideo, fps: float | None, name: str) -> Given | list[Given]:
    if isinstance(video, VideoFile | Pictures):
        return video
    if _is_path(video):
        return VideoFile(Path(video))
    frames = _frames(video, name)
    if fps is None:
        raise WildlamError(f"{name}: {_kind(video)} does not say its frames per second; give fps=")
    if not isinstance(fps, int | float) or not 0 < fps < float("inf"):
        raise WildlamError(f"fps must be a positive number of frames per second, got {fps!r}")
    if frames.dim() == 4:
        return Pictures(name, frames, fps)
    return [Pictures(f"{name}[{i}]", one, fps) for i, one in enumerate(frames)]


def _frames(video: AnyVideo, name: str) -> Tensor:
    """``uint8 [T, H, W, 3]``, or of a batch ``[B, T, H, W, 3]``."""
    if isinstance(video, Image):
        raise WildlamError(f"{name} is one picture; give a list of them")
    if isinstance(video, list | tuple):
        if video and all(map(_is_path, video)):
            raise WildlamError(f"{name} is a list of paths; give one video at a time, or their pictures opened")
        return torch.stack(_alike([_picture(one, f"{name}[{i}]", name) for i, one in enumerate(video)], name))
    if not isinstance(video, np.ndarray | Tensor):
        raise WildlamError(f"{name} is {_kind(video)}; give {FORMS}")
    array = _bytes(video, name)
    shape = list(array.shape)
    if array.dim() not in (4, 5):
        raise WildlamError(f"{name} has shape {shape}{_missing_axis(shape)}; give {FORMS}")
    return _channels_last(array, name)


def _picture(picture: Any, name: str, of: str) -> Tensor:
    """``uint8 [H, W, 3]``."""
    if isinstance(picture, Image):
        return torch.from_numpy(np.array(picture.convert("RGB")))
    if _is_path(picture):
        raise WildlamError(f"{name} is a path among pictures; give pictures alone, opened")
    if not isinstance(picture, np.ndarray | Tensor):
        raise WildlamError(f"{name} is {_kind(picture)}; give a list of pictures (PIL's, or uint8 [H, W, 3])")
    array = _bytes(picture, name)
    if array.dim() in (4, 5):
        raise WildlamError(f"{of} is a list of videos; give one at a time, or a batch of equally long ones: stack them")
    if array.dim() != 3:
        raise WildlamError(f"{name} has shape {list(array.shape)}; give a picture, uint8 [H, W, 3]")
    return _channels_last(array, name)


def _alike(pictures: list[Tensor], name: str) -> list[Tensor]:
    if not pictures:
        raise WildlamError(f"{name} is an empty list; give its pictures")
    for i, picture in enumerate(pictures):
        if picture.shape != pictures[0].shape:
            sizes = " and ".join("x".join(map(str, one.shape[:2])) for one in (pictures[0], picture))
            raise WildlamError(f"{name}: pictures 0 and {i} are of different sizes ({sizes}); give all the same")
    return pictures


def _bytes(array: np.ndarray | Tensor, name: str) -> Tensor:
    """The array as a tensor on the CPU, if it can hold pictures."""
    kind = str(array.dtype).removeprefix("torch.")
    if kind != "uint8":
        floating = kind.startswith(("float", "bfloat"))
        remedy = "multiply values from 0 to 1 by 255, round and convert them" if floating else "convert them"
        raise WildlamError(f"{name} holds {kind}, pictures are uint8, 0 to 255; {remedy}")
    if 0 in array.shape:
        raise WildlamError(f"{name} has shape {list(array.shape)}: it holds no picture")
    return array.detach().cpu() if isinstance(array, Tensor) else torch.from_numpy(np.ascontiguousarray(array))


def _channels_last(array: Tensor, name: str) -> Tensor:
    if array.shape[-1] == 3:
        return array
    if array.shape[-3] == 3:
        return array.movedim(-3, -1)
    shape = list(array.shape)
    if 4 in (shape[-1], shape[-3]):
        remedy = "; leave out the fourth channel (alpha)"
    elif 1 in (shape[-1], shape[-3]):
        remedy = "; repeat the grey channel three times"
    else:
        remedy = ""
    raise WildlamError(f"{name} has shape {shape}, without an axis of 3 colours, first or last of each picture{remedy}")


def _missing_axis(shape: list[int]) -> str:
    if len(shape) != 3:
        return ""
    return ", one picture" if 3 in (shape[0], shape[-1]) else ", without colours"


def _is_path(video: AnyVideo) -> bool:
    return isinstance(video, str | os.PathLike)


def _kind(video: AnyVideo) -> str:
    if isinstance(video, np.ndarray | Tensor):
        return "an array" if isinstance(video, np.ndarray) else "a tensor"
    return f"of type {type(video).__name__}"
