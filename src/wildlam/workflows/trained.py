"""A trained run, loaded to be used from Python: infer latent actions, transfer them, unroll them as pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from matplotlib.figure import Figure
from torch import Tensor

from wildlam.config import RunConfig
from wildlam.errors import WildlamError, option
from wildlam.evaluation.horizon import SECONDS
from wildlam.fileio import writing
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder
from wildlam.pretrained import named_on_hub, run_path
from wildlam.pretrained.hub import PREFIX
from wildlam.progress import Count, uncounted
from wildlam.report.html import figure
from wildlam.report.plots import latent_actions_figure, latent_actions_svg
from wildlam.states.encode import ON_CPU
from wildlam.types import Encoder
from wildlam.video.frames import SLACK
from wildlam.video.given import AnyVideo, Given, given_videos
from wildlam.workflows.decoded_films import DecodedRollout, Transfer, transfer_actions, unroll_actions
from wildlam.workflows.decoder import load_decoder
from wildlam.workflows.open_run import open_run

FRAMES_AT_ONCE = 64
"""Video frames encoded at once where states do not depend on a clip."""

OTHER_KINDS = (
    ".csv",
    ".tsv",
    ".txt",
    ".json",
    ".npy",
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".h5",
    ".hdf5",
    ".mat",
    ".xlsx",
)
"""Endings of files that hold figures, in which a name may not end lest it promise what is not written."""


@dataclass(repr=False)
class LatentActions:
    """The latent actions of one video.

    Attributes:
        z: ``float32 [T - 1, Z]``; ``z[t]`` leads from the state at ``start[t]`` to that at ``end[t]``.
        start: timestamps in seconds, ``float64 [T - 1]``.
        end: likewise.
        dims: how many leading dimensions of each are kept, the others being zero, ``int64 [T - 1]``; None where latent
            actions are always whole, as all but those of ``Adaptive`` are.
    """

    z: Tensor
    start: np.ndarray
    end: np.ndarray
    dims: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"LatentActions({len(self.z)} of width {self.z.shape[1]}, {self.start[0]:.2f} to {self.end[-1]:.2f} s)"

    def _repr_html_(self) -> str:
        return figure(latent_actions_svg(self.z.numpy(), self.start, self.end), repr(self), repr(self))

    def plot(self) -> Figure:
        """The actions over time, a row for each component, as a matplotlib figure."""
        return latent_actions_figure(self.z.numpy(), self.start, self.end)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each action: ``start``, ``end`` in seconds, ``dims`` if there are any,
        and ``z0``, ``z1``, ...

        Raises:
            WildlamError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise WildlamError("to_pandas needs pandas; pip install pandas, or use .z, .start and .end") from error
        columns = {f"z{i}": column for i, column in enumerate(self.z.numpy().T)}
        return pandas.DataFrame(self._common() | columns)

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write ``path`` with ``.npz`` and with ``.parquet`` after it; return both paths.

        Raises:
            WildlamError: the files cannot be written, or the path is that of a file of another kind, such as ``.csv``.
        """
        path = Path(path)
        check_kind(path)
        arrays = self._common() | {"z": self.z.numpy()}
        stem = path.with_suffix("") if path.suffix in (".npz", ".parquet") else path  # the name itself may have dots
        npz, parquet = (path.with_name(stem.name + suffix) for suffix in (".npz", ".parquet"))
        with writing(f"{npz} and {parquet}", f"choose another {option('output')}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(npz, **arrays)  # type: ignore[arg-type]
            pq.write_table(pa.table(arrays | {"z": list(self.z.numpy())}), parquet)
        return npz, parquet

    def _common(self) -> dict[str, np.ndarray]:
        """What is told of each action besides itself."""
        dims = {} if self.dims is None else {"dims": self.dims}
        return {"start": self.start, "end": self.end, **dims}


def check_kind(path: Path) -> None:
    """Refuse the name of a file of another kind than latent actions are written as.

    Raises:
        WildlamError: it ends so.
    """
    if path.suffix.lower() in OTHER_KINDS:
        raise WildlamError(
            f"{path}: latent actions are written as .npz and .parquet; leave {path.suffix} out, or make a table with "
            ".to_pandas()"
        )


@dataclass(repr=False)
class Trained:
    """A trained latent action model and the encoder of its states.

    Videos are given as a path, as ``uint8 [T, H, W, 3]`` or ``[T, 3, H, W]`` (array or tensor), as a list of pictures
    (PIL's or arrays), or as a batch of videos ``[B, T, ...]``, of which each method returns a list. All but files need
    ``fps``, their frames per second; frames are sampled, resized and cut to a square as those of files.
    """

    model: LatentActionModel
    encoder: Encoder
    config: RunConfig
    path: Path

    def __repr__(self) -> str:
        data, spec = self.config.data, self.encoder.spec
        return f"Trained({self.path}: {self.model!r} on {spec.name} states, clips of {data.frames} at {data.fps:g}/s)"

    def encode(self, video: AnyVideo, *, fps: float | None = None) -> Iterator[tuple[np.ndarray, Tensor]]:
        """States of a video, sampled as in training.

        Args:
            video: one, not a batch.
            fps: its frames per second, if it is no file.

        Yields:
            Timestamps ``[T]`` and states ``[T, N, D]`` of clips that overlap by one state. They are as long as in
            training for an encoder whose states depend on the clip before them; the last one may be shorter, and the
            last one before a break in the video's timestamps, which no clip crosses.

        Raises:
            VideoError: the file cannot be decoded.
            WildlamError: it is something else than a video.
        """
        given = given_videos({"video": video}, fps)["video"]
        if isinstance(given, list):
            raise WildlamError(f"video is a batch of {len(given)}; encode one at a time")
        return self._encode(given)

    def _encode(self, video: Given, count: Count = uncounted) -> Iterator[tuple[np.ndarray, Tensor]]:
        spec, data = self.encoder.spec, self.config.data
        step = spec.frames_per_state
        length = data.frames if spec.context == "clip" else FRAMES_AT_ONCE
        clip: list[tuple[Tensor, Tensor]] = []
        breaks = video.breaks()
        for frame in video.grid(data.fps, spec.image_size, data.backend):
            if breaks and frame[0].item() + SLACK >= breaks[0]:
                breaks.pop(0)
                usable = len(clip) // step * step
                if usable > step:
                    yield self._states(clip[:usable], count)
                clip = []
            clip.append(frame)
            if len(clip) == length:
                yield self._states(clip, count)
                clip = clip[-step:]
        usable = len(clip) // step * step
        if usable > step:
            yield self._states(clip[:usable], count)

    def _states(self, clip: list[tuple[Tensor, Tensor]], count: Count) -> tuple[np.ndarray, Tensor]:
        times, frames = (torch.cat(parts) for parts in zip(*clip, strict=True))
        spec, states = self.encoder.spec, []
        stamps = times[:: spec.frames_per_state].numpy()
        few = spec.context == "frame" and self.encoder.device.type == "cpu"
        for some in frames.split(ON_CPU * spec.frames_per_state if few else len(frames)):
            states.append(self.encoder.encode(some[None])[0])
            count((stamps[-1] - stamps[0]) * len(some) / len(frames))  # clips overlap by one state
        return stamps, torch.cat(states)

    @overload
    def infer(
        self, video: str | Path, *, fps: None = None, dims: int | None = None, count: Count = uncounted
    ) -> LatentActions: ...

    @overload
    def infer(
        self, video: AnyVideo, *, fps: float | None = None, dims: int | None = None, count: Count = uncounted
    ) -> Any: ...

    def infer(
        self, video: AnyVideo, *, fps: float | None = None, dims: int | None = None, count: Count = uncounted
    ) -> Any:
        """Infer the latent action of every transition of a video.

        Args:
            video: one video, in any of the forms that the class lists.
            fps: its frames per second, if it is no file.
            dims: how many leading dimensions of latent actions to keep, of a model whose bottleneck is ``Adaptive``; as
                many as each transition needs if not given.
            count: called with the seconds of it that are done since the last call, for a bar of progress.

        Returns:
            ``LatentActions``; of a batch, a list of them.

        Raises:
            VideoError: the file cannot be decoded.
            WildlamError: it is too short for one transition, or is something else than a video; or the model cannot
                keep so many dimensions.
        """
        self.model.check_dims(dims)
        given = given_videos({"video": video}, fps)["video"]
        if isinstance(given, list):
            return [self._infer(one, dims, count) for one in given]
        return self._infer(given, dims, count)

    @torch.no_grad()
    def _infer(self, video: Given, dims: int | None, count: Count) -> LatentActions:
        z, kept, start, end = [], [], [], []
        for times, states in self._encode(video, count):
            clip = states[None]
            if self.model.bottleneck.widths:
                kept.append(torch.full((1, len(states) - 1), dims) if dims else self.model.needed(clip))
            z.append(self.model.infer(clip, kept[-1] if kept else None)[0].float().cpu())
            start.append(times[:-1])
            end.append(times[1:])
        if not z:
            rate = self.config.data.fps
            raise WildlamError(f"{video}: too short, at {rate:g} frames/s it holds no transition between two states")
        told = torch.cat(kept, dim=1)[0].cpu().numpy() if kept else None
        return LatentActions(torch.cat(z), np.concatenate(start), np.concatenate(end), told)

    @overload
    def transfer(
        self,
        source: str | Path,
        target: str | Path,
        *,
        fps: None = None,
        seconds: float = SECONDS,
        decoder: str | Path | None = None,
        count: Count = uncounted,
    ) -> Transfer: ...

    @overload
    def transfer(
        self,
        source: AnyVideo,
        target: AnyVideo,
        *,
        fps: float | None = None,
        seconds: float = SECONDS,
        decoder: str | Path | None = None,
        count: Count = uncounted,
    ) -> Any: ...

    def transfer(
        self,
        source: AnyVideo,
        target: AnyVideo,
        *,
        fps: float | None = None,
        seconds: float = SECONDS,
        decoder: str | Path | None = None,
        count: Count = uncounted,
    ) -> Any:
        """Apply what happens at the beginning of one video to another.

        Args:
            source: video whose latent actions are inferred, in any of the forms that the class names.
            target: video that they are applied to, likewise. Of two batches, each source goes to its target; of one,
                the other video is used for all.
            fps: frames per second of those that are no files.
            seconds: how long.
            decoder: folder of a decoder, or of a run with one of the same encoder; if not given that of this run, or
                wildlam-tiny's where it has none and its encoder is the same.
            count: called with the share of a transfer that was done since the last call.

        Returns:
            ``Transfer``; of a batch, a list of them.

        Raises:
            VideoError: a file cannot be decoded.
            WildlamError: a video is too short or is something else, or there is no decoder.
        """
        given = given_videos({"source": source, "target": target}, fps)
        painter = self._decoder(decoder)

        def one(source: Given, target: Given) -> Transfer:
            return transfer_actions(
                self.model, self.encoder, painter, source, target, data=self.config.data, seconds=seconds, count=count
            )

        return _each(one, **given)

    def rollout(
        self, video: AnyVideo, actions: Any, *, fps: float | None = None, decoder: str | Path | None = None
    ) -> Any:
        """Predict what latent actions make of a video's beginning, and decode it.

        Args:
            video: whose first states are known to the model, in any of the forms that the class names: as many as in
                training beside so many actions, one at least, if it is long enough.
            actions: ``LatentActions``, or floats ``[H, Z]``; for a batch the same ones for all, a list of them, or
                ``[B, H, Z]``.
            fps: frames per second of a video that is no file.
            decoder: folder of a decoder, or of a run with one of the same encoder; if not given that of this run, or
                wildlam-tiny's where it has none and its encoder is the same.

        Returns:
            ``DecodedRollout``; of a batch, a list of them.

        Raises:
            VideoError: the file cannot be decoded.
            WildlamError: the video is too short or is something else, the actions are no such, or there is no decoder.
        """
        given = given_videos({"video": video}, fps)["video"]
        painter = self._decoder(decoder)

        def one(video: Given, actions: Tensor) -> DecodedRollout:
            return unroll_actions(self.model, self.encoder, painter, video, actions, self.config.data)

        return _each(one, video=given, actions=_given_actions(actions, isinstance(given, list)))

    def _decoder(self, decoder: str | Path | None) -> Decoder:
        return load_decoder(self.path, self.encoder.spec, self.encoder.device, Path(decoder) if decoder else None)


def _each(act: Callable[..., Any], **given: Any) -> Any:
    """Act on what is given; where some of it are lists, on their parts in parallel, to give a list."""
    lengths = {name: len(one) for name, one in given.items() if isinstance(one, list)}
    if not lengths:
        return act(**given)
    if len(set(lengths.values())) > 1:
        raise WildlamError(f"batches of different sizes: {', '.join(f'{n} in {name}' for name, n in lengths.items())}")
    count = next(iter(lengths.values()))
    parts = {name: one if isinstance(one, list) else [one] * count for name, one in given.items()}
    return [act(**dict(zip(parts, some, strict=True))) for some in zip(*parts.values(), strict=True)]


def _given_actions(actions: Any, batch: bool) -> Any:
    """Latent actions as tensors; those of a batch as a list."""
    if isinstance(actions, LatentActions):
        return actions.z
    if isinstance(actions, list | tuple) and batch:
        return [_given_actions(one, batch=False) for one in actions]
    if not isinstance(actions, np.ndarray | Tensor):
        raise WildlamError(f"actions is a {type(actions).__name__}; give LatentActions, or floats [H, Z]")
    z = actions if isinstance(actions, Tensor) else torch.from_numpy(np.ascontiguousarray(actions))
    return list(z) if batch and z.dim() == 3 else z


def load(run: str | Path) -> Trained:
    """Load a run folder: its best checkpoint and its encoder, ready to infer.

    Args:
        run: the folder; or the text ``"tiny"`` for the model that comes with the package; or ``"user/name"`` for one on
            the Hugging Face Hub, or ``"user/name@revision"``, where no folder is called so. (A folder of your own that
            is called tiny is ``Path("tiny")`` or ``"./tiny"``.)

    Raises:
        WildlamError: it is no run folder, or holds no checkpoint that fits; or it cannot be had from the Hub.
    """
    if not isinstance(run, str | os.PathLike):
        raise WildlamError(f"load takes a run folder, 'tiny', or 'user/name' of the Hub; got {run!r}")
    opened = open_run(run_path(f"{PREFIX}{run}" if named_on_hub(run) else run))
    return Trained(opened.model(), opened.encoder, opened.config, opened.run.path)
