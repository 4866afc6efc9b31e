"""Estimated times of a command's parts on this machine, measured on a few steps before it begins.

The measurement changes neither results nor random numbers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from wildlam.config import RunConfig
from wildlam.episodes.clips import AT_ONCE, Cut, encode_places
from wildlam.report.text import text_rows
from wildlam.training import TrainingConfig
from wildlam.training.optimizers import MuonAdamW, gradient_norm
from wildlam.training.parallel import recompute
from wildlam.types import Encoder, EncoderSpec
from wildlam.video.decode import VideoError, decode_grid
from wildlam.video.index import cores
from wildlam.video.loader import decode_windows
from wildlam.video.manifest import Manifest
from wildlam.video.sampling import Draws

log = logging.getLogger(__name__)

BUDGET = 1.5
"""Seconds of measurement after which no larger step is tried."""
PATIENCE = 15.0
"""Seconds of a first step beyond which it counts as the measurement."""
FRAMES = 16
"""Frames that are encoded to time an encoder that takes any number of them."""

SHORT = 3.0
"""Seconds up to which a command is not announced."""
FEW_FRAMES = 16
"""Frames up to which encoding is not announced; an estimate from the videos' durations may be off by as many."""
FEW_STEPS = 4
"""Steps up to which a training is not announced, as measuring takes two or three; five of a decoder may take long."""


@dataclass(frozen=True)
class Part:
    """A part of a command.

    Attributes:
        name: name of the part.
        amount: number of what is done, with its unit.
        seconds: time that it takes on this machine; None where that was not measured.
    """

    name: str
    amount: str
    seconds: float | None


def announce(parts: Sequence[Part]) -> None:
    """Log the parts of a command with their times, unless the sum is short."""
    if sum(part.seconds or 0.0 for part in parts) > SHORT:
        log.info("\n".join(["On this machine, by a few steps measured now:", *lines(parts)]))


def lines(parts: Sequence[Part]) -> list[str]:
    """A line for each part, and one for their sum."""
    measured = [part.seconds for part in parts if part.seconds is not None]
    more = "" if len(measured) == len(parts) else ", and what is not measured"
    times = ["not measured" if part.seconds is None else in_words(part.seconds) for part in parts]
    rows = [(f"  {part.name}", [part.amount, time]) for part, time in zip(parts, times, strict=True)]
    first = max([14, *(len(name) + 1 for name, _ in rows)])
    *of_parts, all_parts = text_rows([*rows, ("  all", ["", in_words(sum(measured))])], first, 24)
    return [*of_parts, all_parts + more]


def in_words(seconds: float) -> str:
    """A time as text, in a readable unit."""
    for unit, of_seconds in (("hours", 3600), ("minutes", 60), ("s", 1)):
        if seconds >= of_seconds:
            return f"{seconds / of_seconds:,.1f} {unit}"
    return f"{1000 * seconds:.3g} ms"


def step_seconds(config: RunConfig, spec: EncoderSpec, device: torch.device, clips: int) -> float:
    """Seconds of an optimiser step of a latent action model; see ``fit_seconds``."""
    shape = config.data.frames // spec.frames_per_state, spec.tokens, spec.width
    return fit_seconds(
        lambda: config.model.build(spec.width, spec.grid),
        lambda count: (torch.randn(count, *shape, device=device),),
        config.training,
        clips,
        device,
    )


def fit_seconds(
    build: Callable[[], nn.Module],
    inputs: Callable[[int], tuple[Tensor, ...]],
    training: TrainingConfig,
    clips: int,
    device: torch.device,
) -> float:
    """Seconds of an optimiser step on ``clips`` clips, in the parts that the configuration says.

    What ``torch.compile`` gains is not counted, nor what sharing gradients among processes takes.

    Args:
        build: a model whose ``forward`` returns a ``types.Loss``.
        inputs: what that takes of a number of clips, made up.
        training: how to train.
        clips: clips of this process.
        device: device to train on.
    """
    part = max(clips // training.accumulate, 1)
    with aside(device):
        model = build().to(device).train()
        if training.recompute:
            recompute(model)
        optimizer = MuonAdamW(model, training.optimizer)

        def gradients(count: int) -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=training.bf16(device)):
                loss = model(*inputs(count)).total
            loss.backward()

        def update(_: int) -> None:
            gradient_norm(model.parameters(), training.optimizer.clip)
            optimizer.step()
            optimizer.zero_grad()

        return training.accumulate * scaled_seconds(gradients, part, device) + scaled_seconds(update, 1, device)


def scaled_seconds(step: Callable[[int], object], whole: int, device: torch.device) -> float:
    """Seconds of ``step(whole)``, measured on ever more than one, up to the whole, as far as ``BUDGET`` allows.

    The first time takes longer, for what is set up once, and counts only if there is no patience for another. What each
    one more takes is read off the last two steps, as a part of every step is the same for few and many.
    """
    first = seconds_of(partial(step, 1), device)
    if first > PATIENCE:
        return first * whole
    measured: list[tuple[int, float]] = []
    count, spent = 1, 0.0
    while True:
        measured.append((count, seconds_of(partial(step, count), device)))
        spent += measured[-1][1]
        is_enough = spent > BUDGET and (len(measured) > 1 or 4 * spent > PATIENCE)
        if count == whole or is_enough:
            break
        count = min(whole, 4 * count)
    return _extended(measured, whole)


def _extended(measured: Sequence[tuple[int, float]], whole: int) -> float:
    """Seconds of the whole by those of smaller counts.

    One more is taken for half its share of the last measured step at least, and for its share at most: two steps tell a
    slope badly where something else keeps the machine busy.
    """
    count, took = measured[-1]
    share = slope = took / count
    if len(measured) > 1:
        before, took_before = measured[-2]
        slope = (took - took_before) / (count - before)
    return took + (whole - count) * min(max(slope, share / 2), share)


def encode_seconds(encoder: Encoder, frames: int) -> float:
    """Seconds to encode a frame of video, in clips of ``frames`` where the encoder looks at a clip as a whole."""
    spec, device = encoder.spec, encoder.device
    frames = frames if spec.context == "clip" else FRAMES
    size = (1, frames, 3, spec.image_size, spec.image_size)
    with aside(device):
        video = torch.randint(256, size, dtype=torch.uint8)
        return scaled_seconds(lambda _: encoder.encode(video), 1, device) / frames


def decode_seconds(rows: Manifest, config: RunConfig, size: int) -> float | None:
    """Seconds to decode a frame of the first video that can be, on all cores; None if none of the first can."""
    for video in islice(rows, 3):
        began = time.monotonic()
        try:
            file, data = rows.file(video.path, video.offset, video.size), config.data
            decoded = decode_grid(file, data.fps, size, data.backend, chunk=64, plain=video.plain)
            times, _ = next(iter(decoded))
        except (VideoError, StopIteration):  # reported when it is used
            continue
        return (time.monotonic() - began) / len(times) / cores()
    return None


def announce_encoding(config: RunConfig, encoder: Encoder, rows: Manifest, frames: float | None) -> None:
    """Log the estimated time of encoding ``frames`` frames of videos, unless None."""
    if frames and frames > FEW_FRAMES:
        announce([encoding(config, encoder, rows, frames)])


def encoding(config: RunConfig, encoder: Encoder, rows: Manifest, frames: float) -> Part:
    """Estimated time of decoding and encoding ``frames`` frames of videos."""
    decode = decode_seconds(rows, config, encoder.spec.image_size)
    per_frame = None if decode is None else decode + encode_seconds(encoder, config.data.frames)
    return Part(
        "encode",
        f"{frames / encoder.spec.frames_per_state:,.0f} states",
        None if per_frame is None else frames * per_frame,
    )


def drawing(config: RunConfig, encoder: Encoder, rows: Manifest, clips: int) -> Part:
    """Decode and encode ``clips`` training clips from all over the videos, as at each step where none are stored.

    The frames between a keyframe and a clip are decoded too, so that this takes longer than as many frames of a film.
    """
    data, size = config.data, encoder.spec.image_size
    draws = Draws(rows.split("train"), data.frames, data.fps, data.mixture)
    windows = draws.windows(np.random.default_rng(0), clips)

    def decode(count: int) -> Tensor:
        return decode_windows(rows, windows[-count:], data.frames, data.fps, size, data.backend).video

    try:
        # By as many processes at a time; that they work while the model does is not counted on.
        decoding = scaled_seconds(decode, clips, encoder.device) / max(min(data.workers, cores()), 1)
        with aside(encoder.device):
            video = decode(1)
            encoding = scaled_seconds(lambda n: encoder.encode(video.expand(n, -1, -1, -1, -1)), clips, encoder.device)
    except VideoError:  # reported where it is read
        return Part("encode", f"{clips} clips", None)
    return Part("encode", f"{clips} clips", decoding + encoding)


def labelled(cuts: Sequence[Cut], encoder: Encoder) -> list[Part]:
    """Estimated time of encoding the labelled clips without cached states, if there are more than a few."""
    places = [place for cut in cuts if not cut.is_kept for place in cut.places]
    if sum(len(frames) for _, frames in places) <= FEW_FRAMES:
        return []
    few = places[len(places) // 2 :][:AT_ONCE]  # in the middle of a film frames are as hard to find as on average
    return [
        many(
            "encode",
            f"{len(places):,} labelled clips",
            len(places),
            lambda count: encode_places(few[:count], encoder),
            AT_ONCE,
            encoder.device,
        )
    ]


def many(name: str, amount: str, count: int, step: Callable[[int], object], at_once: int, device: torch.device) -> Part:
    """Estimated time of ``count`` repetitions, given a ``step`` of up to ``at_once`` of them."""
    together = min(at_once, count)
    with aside(device):
        took = scaled_seconds(step, together, device)
    return Part(name, amount, took * count / together)


def training(
    config: RunConfig, encoder: Encoder, clips: int, steps: int, online: Part | None = None, name: str = "train"
) -> Part:
    """Train for ``steps`` steps, of ``clips`` clips of this process each; ``online`` if these are encoded at each step.

    A model in parts is not measured: it may not fit into one process.
    """
    seconds = None
    if config.training.shard == 1 and (online is None or online.seconds is not None):
        per_step = step_seconds(config, encoder.spec, encoder.device, clips)
        seconds = steps * (per_step + (online.seconds or 0.0 if online else 0.0))
    return Part(name, f"{steps:,} steps", seconds)


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds of a step, until the device is done with it."""
    began = time.monotonic()
    step()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return max(time.monotonic() - began, 1e-9)


@contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """Restore the state of the random number generators afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield
