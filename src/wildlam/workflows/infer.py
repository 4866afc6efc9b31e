"""Use a trained run: load it and infer the latent actions of a video file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from wildlam.config import RunConfig
from wildlam.errors import WildlamError
from wildlam.evaluation.rollout import SECONDS
from wildlam.fileio import writing
from wildlam.models import LatentActionModel
from wildlam.types import Encoder
from wildlam.video.decode import decode_grid
from wildlam.video.files import names_tar
from wildlam.video.frames import SLACK, breaks_of
from wildlam.video.index import find_videos
from wildlam.workflows.decoder import load_decoder
from wildlam.workflows.open_run import open_run
from wildlam.workflows.transfer import Transfer, transfer

FRAMES_AT_ONCE = 64
"""Video frames encoded at once where states do not depend on a clip."""


@dataclass
class LatentActions:
    """The latent actions of one video.

    Attributes:
        z: ``float32 [T - 1, Z]``; ``z[t]`` leads from the state at ``start[t]`` to that at ``end[t]``.
        start: timestamps in seconds, ``float64 [T - 1]``.
        end: likewise.
    """

    z: Tensor
    start: np.ndarray
    end: np.ndarray

    def save(self, path: Path) -> tuple[Path, Path]:
        """Write ``path`` with ``.npz`` and with ``.parquet`` after it; return both paths.

        Raises:
            WildlamError: the files cannot be written.
        """
        arrays = {"start": self.start, "end": self.end, "z": self.z.numpy()}
        stem = path.with_suffix("") if path.suffix in (".npz", ".parquet") else path  # the name itself may have dots
        npz, parquet = (path.with_name(stem.name + suffix) for suffix in (".npz", ".parquet"))
        with writing(f"{npz} and {parquet}", "choose another --output"):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(npz, **arrays)  # type: ignore[arg-type]
            pq.write_table(pa.table(arrays | {"z": list(self.z.numpy())}), parquet)
        return npz, parquet


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


@dataclass
class Trained:
    """A trained latent action model and the encoder of its states."""

    model: LatentActionModel
    encoder: Encoder
    config: RunConfig
    path: Path

    def encode(self, video: str | Path) -> Iterator[tuple[np.ndarray, Tensor]]:
        """States of a video file, sampled as in training.

        Yields:
            Timestamps ``[T]`` and states ``[T, N, D]`` of clips that overlap by one state. They are as long as in
            training for an encoder whose states depend on the clip before them; the last one may be shorter, and the
            last one before a break in the video's timestamps, which no clip crosses.

        Raises:
            VideoError: the file cannot be decoded.
        """
        spec, data = self.encoder.spec, self.config.data
        step = spec.frames_per_state
        length = data.frames if spec.context == "clip" else FRAMES_AT_ONCE
        clip: list[tuple[Tensor, Tensor]] = []
        breaks = list(breaks_of(video))
        for frame in decode_grid(video, data.fps, spec.image_size, data.backend, chunk=1):
            if breaks and frame[0].item() + SLACK >= breaks[0]:
                breaks.pop(0)
                usable = len(clip) // step * step
                if usable > step:
                    yield self._states(clip[:usable])
                clip = []
            clip.append(frame)
            if len(clip) == length:
                yield self._states(clip)
                clip = clip[-step:]
        usable = len(clip) // step * step
        if usable > step:
            yield self._states(clip[:usable])

    def _states(self, clip: list[tuple[Tensor, Tensor]]) -> tuple[np.ndarray, Tensor]:
        times, frames = (torch.cat(parts) for parts in zip(*clip, strict=True))
        return times[:: self.encoder.spec.frames_per_state].numpy(), self.encoder.encode(frames[None])[0]

    @torch.no_grad()
    def infer(self, video: str | Path) -> LatentActions:
        """Infer the latent action of every transition of a video file.

        Raises:
            VideoError: the file cannot be decoded.
            WildlamError: it is too short for one transition.
        """
        z, start, end = [], [], []
        for times, states in self.encode(video):
            z.append(self.model.infer(states[None])[0].float().cpu())
            start.append(times[:-1])
            end.append(times[1:])
        if not z:
            rate = self.config.data.fps
            raise WildlamError(f"{video}: too short, at {rate:g} frames/s it holds no transition between two states")
        return LatentActions(torch.cat(z), np.concatenate(start), np.concatenate(end))

    def transfer(
        self, source: str | Path, target: str | Path, *, seconds: float = SECONDS, decoder: str | Path | None = None
    ) -> Transfer:
        """Apply what happens at the beginning of one video to another.

        Args:
            source: video whose latent actions are inferred.
            target: video that they are applied to.
            seconds: how long.
            decoder: folder of a decoder, or of a run with one of the same encoder; that of this run if not given.

        Raises:
            VideoError: a file cannot be decoded.
            WildlamError: it is too short, or there is no decoder.
        """
        return transfer(
            self.model,
            self.encoder,
            load_decoder(Path(decoder or self.path), self.encoder.spec, self.encoder.device),
            Path(source),
            Path(target),
            data=self.config.data,
            seconds=seconds,
        )


def load(run: str | Path) -> Trained:
    """Load a run folder: its best checkpoint and its encoder, ready to infer.

    Raises:
        WildlamError: it is no run folder, or holds no checkpoint that fits.
    """
    opened = open_run(run)
    return Trained(opened.model(), opened.encoder, opened.config, opened.run.path)
