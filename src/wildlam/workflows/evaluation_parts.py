"""How long it takes to evaluate a model here: each part is measured on a few clips made up, before anything begins."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wildlam.config import RunConfig
from wildlam.evaluation.clips import BATCH, InferredClips, infer_clips
from wildlam.evaluation.horizon import SECONDS
from wildlam.evaluation.latent_space import embed
from wildlam.evaluation.locality import SCENES, SCENES_AT_ONCE, locality
from wildlam.evaluation.pixel_rollout import AT_ONCE as PIXELS_AT_ONCE
from wildlam.evaluation.pixel_rollout import CLIPS as PIXEL_CLIPS
from wildlam.evaluation.pixel_rollout import pixel_rollout
from wildlam.evaluation.probes import probes
from wildlam.evaluation.suite import clip_by_clip
from wildlam.evaluation.two_sample import TRANSITIONS
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder
from wildlam.report.pages.decoded import FROM
from wildlam.report.pages.pictures import Painter, pictures_section
from wildlam.report.pages.run import PICTURE, STRIPS_PER_SOURCE
from wildlam.report.plots import error_strip
from wildlam.states.dataset import LABELLED_CLIPS, held_out_size, labelled_size
from wildlam.types import Encoder, StateBatch
from wildlam.video.manifest import Manifest
from wildlam.video.sampling import eval_windows
from wildlam.workflows import durations
from wildlam.workflows.durations import Part

FEW_CLIPS = 16
"""Clips up to which an evaluation is not measured before it begins, but for UMAP."""
FIGURES = 8
"""Figures of a report besides those of clips."""
FILMS = 160
"""Transitions that play in a report, about; each takes about as long to read as a clip."""
AXES = 3
"""Dimensions of made-up actions."""
UMAP_COMPILES, UMAP_FITS = 6.0, 1.4e-3
"""UMAP compiles itself when a process first uses it, and then takes so long for each point: in times of its import.
That alone is measured (on a Xeon core it takes 3 s of 17 and 9 more for 2048 points), as the rest takes half a minute.
"""


def parts_of_evaluation(
    config: RunConfig,
    encoder: Encoder,
    rows: Manifest,
    model: LatentActionModel,
    bounds: dict[str, LatentActionModel],
    times: int = 1,
    decoder: Decoder | None = None,
    measured: bool = True,
) -> list[Part]:
    """How long it takes to evaluate a model ``times`` times, on clips made up; some tests take the same on any.

    Args:
        config: configuration of the run.
        encoder: encoder of its states.
        rows: its videos.
        model: model of the run, or one like it.
        bounds: see ``evaluate_all``.
        times: number of runs that are evaluated.
        decoder: what paints the run's states, where anything does.
        measured: whether errors in its pixels are measured, too.
    """
    spec, device = encoder.spec, encoder.device
    clips, states = held_out_size(rows, config.data, spec, SECONDS)
    made = partial(_made_up, config, encoder, model, states)
    parts = []
    if clips > FEW_CLIPS:
        for one in (model, *bounds.values()):
            one.to(device).eval()

        def judge(pairs: int) -> None:
            found: dict[str, Any] = {}
            for name, step in clip_by_clip(model, made(2 * pairs), found, bounds).items():
                found[name] = step()

        def compose(scenes: int) -> None:
            locality(model, encoder, torch.randint(256, (2, 3, spec.image_size, spec.image_size)).byte(), scenes=scenes)

        amount, pairs = f"{times * clips:,} clips", times * clips // 2
        parts.append(durations.many("evaluate", amount, pairs, judge, BATCH // 2, device))
        if min(spec.grid) > 1:
            amount = f"{times * SCENES:,} scenes"
            parts.append(durations.many("locality", amount, times * SCENES, compose, SCENES_AT_ONCE, device))
        if decoder is not None:
            in_pixels = _in_pixels(config, encoder, rows, model, decoder, made, clips, states, times)
            parts += in_pixels if measured else in_pixels[1:]
        if (labelled := labelled_size(rows, config.data)) > 1:
            few = partial(_made_up, config, encoder, model, config.data.frames // spec.frames_per_state)
            count = min(labelled, LABELLED_CLIPS)
            with durations.aside(device):  # at once, as much of it is the same for few
                took = durations.seconds_of(partial(_probe, few, count), device)
            parts.append(Part("probes", f"{times * labelled:,} clips", times * labelled / count * took))
        parts.append(_report(config, encoder, rows, clips, states, times))
    points = 2 * min(TRANSITIONS, clips * (states - 1))
    if seconds := umap_seconds(points, model.bottleneck.dim, times):
        parts.append(Part("UMAP", f"{times * points:,} points", seconds))
    return parts


def _made_up(
    config: RunConfig, encoder: Encoder, model: LatentActionModel, states: int, count: int, name: str = ""
) -> InferredClips:
    """Clips of ``states`` states that mean nothing, each of a recording of its own."""
    spec = encoder.spec
    names = [f"{name}{i}" for i in range(count)]
    seconds = torch.arange(states, dtype=torch.float64) * spec.frames_per_state / config.data.fps
    shown = torch.randn(count, states, spec.tokens, spec.width)
    batch = StateBatch(shown, names, ["made up"] * count, [0.0] * count, seconds.expand(count, -1))
    return infer_clips(model, [batch])


def _in_pixels(
    config: RunConfig,
    encoder: Encoder,
    rows: Manifest,
    model: LatentActionModel,
    decoder: Decoder,
    made: Callable[[int], InferredClips],
    clips: int,
    states: int,
    times: int,
) -> list[Part]:
    """Rollouts in pixels, and the report's pictures of some: strips and films."""
    spec, device, count = encoder.spec, encoder.device, times * min(PIXEL_CLIPS, clips)

    def frames(_: int) -> Tensor:
        shape = (states * spec.frames_per_state, 3, spec.image_size, spec.image_size)
        return torch.randint(256, shape, dtype=torch.uint8)

    def judge(few: int) -> None:
        pixel_rollout(model, decoder, made(few), frames)

    def draw() -> None:
        list(pictures_section(model, Painter(decoder, frames, config.data.fps), made(2)))

    sources = times * len(rows.split("held_out").sources()[0])
    pixels = durations.many("pixels", f"{count:,} clips", count, judge, PIXELS_AT_ONCE, device)
    with durations.aside(device):  # once, as that has set up what there is
        took = durations.seconds_of(draw, device)
    return [pixels, Part("pictures", f"of {sources:,} sources", sources * took)]


def _probe(made: Callable[..., InferredClips], clips: int) -> None:
    train, held_out = made(clips), made(2, "held out")
    width = train.z.shape[-1]
    directions = torch.randn(width, AXES) / width**0.5  # a little to be learnt: of nothing, fitting would end at once
    true = (clips.z @ directions + 2 * torch.randn(*clips.z.shape[:2], AXES) for clips in (train, held_out))
    probes(train, next(true), held_out, next(true), [str(i) for i in range(AXES)])


def _report(config: RunConfig, encoder: Encoder, rows: Manifest, clips: int, states: int, times: int) -> Part:
    """Look at some clips of each source and draw a few of them, and the other figures."""
    spec, data, held_out = encoder.spec, config.data, rows.split("held_out")
    strips = STRIPS_PER_SOURCE * len(held_out.sources()[0])
    seen, drawn = times * (min(FROM * strips, clips) + FILMS), times * (FIGURES + strips)
    windows = eval_windows(held_out, states * spec.frames_per_state, data.fps, 1)
    offsets = [i * spec.frames_per_state / data.fps for i in range(states)]

    def look(count: int) -> None:
        for i in range(count):
            window = windows[i % len(windows)]
            held_out.frames(window.video, [window.start + offset for offset in offsets], PICTURE)

    def draw(count: int) -> None:
        for _ in range(count):
            pictures = torch.randint(256, (states, 3, PICTURE, PICTURE), dtype=torch.uint8).numpy()
            errors = {name: torch.rand(states - 1, *spec.grid).numpy() for name in ("idm", "permuted", "copy")}
            error_strip(pictures, errors, seconds=offsets)

    cpu = torch.device("cpu")
    both = [durations.many("", "", n, step, 1, cpu).seconds for n, step in ((seen, look), (drawn, draw))]
    return Part("report", f"{drawn:,} figures", sum(seconds or 0.0 for seconds in both))


def umap_seconds(points: int, width: int, times: int) -> float:
    """Seconds of UMAP for as many points ``times`` times; none where it is not installed."""
    cpu = torch.device("cpu")
    if sys.modules.get("umap"):  # compiled already, most likely

        def fit(count: int) -> None:
            embed(torch.randn(32 * count, width), seed=0)

        with durations.aside(cpu):
            return times * durations.scaled_seconds(fit, math.ceil(points / 32), cpu)
    try:
        imported = durations.seconds_of(lambda: importlib.import_module("umap"), cpu)
    except ImportError:
        return 0.0
    return imported * (UMAP_COMPILES + times * points * UMAP_FITS)
