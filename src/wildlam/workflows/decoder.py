"""Train a decoder for the encoder of a run, and load it: ``wildlam decoder train``."""

from __future__ import annotations

import copy
import functools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import torch
import yaml
from torch import Tensor

from wildlam.config import RunConfig, config_from, read_as
from wildlam.distributed import default_device
from wildlam.errors import WildlamError, named, option, videos_of
from wildlam.evaluation.pixels import pixel_metrics
from wildlam.fileio import writing
from wildlam.models.decoder import Decoder, DecoderConfig, shrink
from wildlam.models.perceptual import PerceptualConfig, PerceptualMetric
from wildlam.pretrained import tiny_decoder
from wildlam.report.pages.decoded import CLIPS, FROM, informative_clips, painted, write_decoded_page
from wildlam.report.strips import Strip, draw_strips, picture_strips
from wildlam.runs.command import records_call
from wildlam.runs.folder import Run
from wildlam.states.dataset import index_videos
from wildlam.training import TrainingConfig
from wildlam.training.optimizers import OptimizerConfig
from wildlam.types import Encoder, EncoderSpec, VideoBatch
from wildlam.video.config import DataConfig
from wildlam.video.loader import ClipSource, decode_windows, prefetch
from wildlam.video.manifest import Manifest
from wildlam.video.sampling import eval_windows
from wildlam.workflows import durations
from wildlam.workflows.auxiliary import claimed, fit_auxiliary, load_best, remaining_training
from wildlam.workflows.open_run import open_run

log = logging.getLogger(__name__)

FOLDER = "decoder"
"""Name of the decoder's folder in a run's."""

HELD_OUT_CLIPS = 16
"""Held-out clips of all sources together that are decoded while training; each source gives one at least."""


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """Model and training of a decoder, for the encoder and videos of a given run.

    Args:
        decoder: size and loss.
        perceptual: loss added to L1; it is also reported while training.
        training: steps, batch, precision, optimiser. Paper: 90,000 steps, 12,000 of them warm-up, of 512 clips, and
            AdamW at 3e-4; ours suits a laptop's few steps.
        seed: seed of the initialisation, the order of the data and the choice of frames.
    """

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            steps=400,
            batch_size=16,
            optimizer=OptimizerConfig(adamw_lr=3e-3, weight_decay=0.01, warmup=12 / 90),
        )
    )
    seed: int = 0


@records_call
def train_decoder(path: Path | str, config: DecodingConfig | None = None, /, **keywords: Any) -> Path:
    """Train a decoder for the encoder of a run, on the run's videos; an interrupted training is resumed.

    Args:
        path: the run folder.
        config: the decoder's configuration; the defaults if not given.
        keywords: fields of ``DecodingConfig``, in its place or to replace what it says.

    Returns:
        The decoder's folder, ``path/decoder``: a run folder of its own.

    Raises:
        WildlamError: it holds a decoder of another configuration, or something is wrong with the videos or the disk.
    """
    config = config_from(DecodingConfig, config, keywords)
    opened = open_run(Path(path))
    encoder = opened.encoder
    config = replace(config, training=config.training.settled(encoder.device))
    run = claimed(opened.run.path / FOLDER, config, "decoder")
    perceptual = config.perceptual.build(encoder.device)
    torch.manual_seed(config.seed)
    try:
        model = config.decoder.build(encoder.spec, perceptual)
    except ValueError as error:
        raise WildlamError(str(error)) from error
    data = opened.config.data
    with named(videos_of(opened.run.path)):
        manifest = index_videos(data)
    durations.announce(_parts(run, config, opened.config, encoder, model, perceptual, manifest))
    few = [
        (
            encoder.encode(batch.video),
            shrink(batch.video.to(encoder.device), config.decoder.image_size),
            batch.sources[0],
        )
        for batch in held_out_clips(manifest, data, encoder.spec.image_size)
    ]
    source = ClipSource(
        manifest.split("train"),
        frames=data.frames,
        fps=data.fps,
        size=encoder.spec.image_size,
        batch=config.training.batch_size,
        seed=config.seed,
        backend=data.backend,
        on_error=data.on_error,
        mixture=data.mixture,
    )

    def prepare(batch: VideoBatch) -> tuple[Tensor, Tensor]:
        return encoder.encode(batch.video), batch.video.to(encoder.device)

    def held_out(current: torch.nn.Module) -> dict[str, float]:
        assert isinstance(current, Decoder)
        metrics = [_judged(current, states, truth, perceptual) for states, truth, _ in few]
        sources = [source for _, _, source in few]
        found = {name: torch.cat([part[name] for part in metrics]) for name in metrics[0]}
        means = {name: values.mean().item() for name, values in found.items()}
        for source in sorted(set(sources)):
            own = torch.tensor([s == source for s in sources])
            means |= {f"{source}/{name}": values[own].mean().item() for name, values in found.items()}
        return means

    fit_auxiliary(
        run,
        config,
        model,
        encoder,
        lambda start: prefetch(source, start, config.training.steps, data.workers),
        prepare,
        evaluate=held_out,
        score="l1",
        title="decoder",
    )
    return run.path


def _judged(decoder: Decoder, states: Tensor, truth: Tensor, perceptual: PerceptualMetric | None) -> dict[str, Tensor]:
    return pixel_metrics(decoder.decode(states), truth, perceptual)


def _parts(
    run: Run,
    config: DecodingConfig,
    of_run: RunConfig,
    encoder: Encoder,
    model: Decoder,
    perceptual: PerceptualMetric | None,
    rows: Manifest,
) -> list[durations.Part]:
    """Estimated time of training, of which the clips of each step are decoded and encoded, and of its evaluations."""
    spec, frames, device = encoder.spec, of_run.data.frames, encoder.device
    small = config.decoder.image_size

    def inputs(count: int) -> tuple[Tensor, ...]:
        video = torch.randint(256, (count, frames, 3, spec.image_size, spec.image_size), dtype=torch.uint8)
        return torch.randn(count, frames // spec.frames_per_state, spec.tokens, spec.width).to(encoder.device), video

    @torch.no_grad()
    def judge(clips: int) -> None:
        for _ in range(clips):  # one by one, as they are
            states = torch.randn(1, frames // spec.frames_per_state, spec.tokens, spec.width, device=device)
            _judged(beside, states, torch.rand(1, frames, 3, small, small, device=device), perceptual)

    online = partial(durations.drawing, of_run, encoder, rows, config.training.batch_size)
    parts = remaining_training(run, config, lambda: copy.deepcopy(model), inputs, device, online)
    if parts:
        beside = copy.deepcopy(model).to(device).eval()
        times = math.ceil(config.training.steps / config.training.eval_every)
        amount, clips = f"{times} times {HELD_OUT_CLIPS} clips", times * HELD_OUT_CLIPS
        parts.append(durations.many("judge", amount, clips, judge, 4, device))
    return parts


def find_decoder(run: Path, spec: EncoderSpec, given: Path | None = None) -> Path | None:
    """The folder of the decoder that paints the states of a run, if there is one.

    A decoder is of an encoder, and not of a world model: a run without one has that of wildlam-tiny, if its encoder is
    the same.

    Args:
        run: the run folder.
        spec: specification of its encoder.
        given: folder of a decoder, or of a run with one, that is taken whatever the run has.
    """
    if given is not None:
        return given / FOLDER if (given / FOLDER).is_dir() else given
    return run / FOLDER if has_decoder(run) else tiny_decoder(spec.fingerprint)


def has_decoder(run: Path) -> bool:
    """Whether a run has a decoder of its own, of which there is a checkpoint at least."""
    return any((run / FOLDER / "checkpoints").glob("step_*"))


def load_decoder(
    run: Path, spec: EncoderSpec, device: torch.device | str | None = None, given: Path | None = None
) -> Decoder:
    """Load the best checkpoint of the decoder that ``find_decoder`` finds, ready to decode the states of a run.

    Args:
        run: the run folder.
        spec: specification of its encoder.
        device: device to put it on; the accelerator where there is one, else the CPU, by default.
        given: folder of a decoder, or of a run with one, that is taken whatever the run has.

    Raises:
        WildlamError: there is none, or it was trained on another encoder's states.
    """
    found = find_decoder(run, spec, given)
    none = (
        f"{given or run} has no decoder; train one with `wildlam decoder train`, or give as {option('decoder')} a run "
        "that has one"
    )
    if found is None or not (found / "config.yaml").is_file():
        raise WildlamError(none)
    try:
        is_decoder = "decoder" in yaml.safe_load((found / "config.yaml").read_text())
    except (yaml.YAMLError, TypeError) as error:
        raise WildlamError(f"{found / 'config.yaml'} is damaged; restore it, or train the decoder again") from error
    if not is_decoder:
        raise WildlamError(none)
    if given is None and not has_decoder(run):
        _say_whose(run)
    model = read_as(DecodingConfig, found / "config.yaml").decoder.build(spec)
    return load_best(Run(found), model, spec, torch.device(device or default_device()))


@functools.cache  # a command may load it more than once
def _say_whose(run: Path) -> None:
    train = f"wildlam decoder train {quote(str(run))}"
    log.info("pictures by wildlam-tiny's decoder; `%s` trains one on these videos", train)


def held_out_clips(
    manifest: Manifest, data: DataConfig, size: int, clips: int = HELD_OUT_CLIPS
) -> Iterator[VideoBatch]:
    """About ``clips`` held-out clips, the same ones every time, one at least of each source, video by video."""
    rows = manifest.split("held_out")
    sources = rows.sources()[0]
    windows = eval_windows(rows, data.frames, data.fps, max(clips // len(sources), 1))
    for window in windows:
        yield decode_windows(rows, [window], data.frames, data.fps, size, data.backend)


@torch.no_grad()
def decoded_strips(path: Path, clips: int = CLIPS, decoder: Path | None = None) -> list[Strip]:
    """Held-out clips of a run as pictures: the truth, and decoded the true states and those that the run predicts.

    Args:
        path: the run folder.
        clips: how many, spread over the sources.
        decoder: folder of a decoder, or of a run with one of the same encoder; see ``find_decoder`` if not given.

    Raises:
        WildlamError: there is no decoder, or it belongs to another encoder.
    """
    trained = open_run(path)
    spec, data, model = trained.encoder.spec, trained.config.data, trained.model()
    painter = load_decoder(path, spec, trained.encoder.device, decoder)
    strips = []
    with named(videos_of(trained.run.path)):
        manifest = index_videos(data)
    batches = list(held_out_clips(manifest, data, spec.image_size, FROM * clips))
    names, sources = ([getattr(batch, of)[0] for batch in batches] for of in ("names", "sources"))
    for i in informative_clips(lambda i: batches[i].video[0], names, sources, -(-clips // len(set(sources)))):
        batch = batches[i]
        states = trained.encoder.encode(batch.video)
        seconds = [batch.starts[0] + k / data.fps for k in range(data.frames)]
        rows = painted(model, painter, states, model.infer(states), batch.video, known=1)
        strips.append(Strip(batch.names[0], {row: pictures.numpy() for row, pictures in rows.items()}, seconds))
    return strips[:clips]


def write_decoded(path: Path, output: Path | None = None, clips: int = CLIPS, decoder: Path | None = None) -> Path:
    """Write ``decoded_strips`` as a page (.html) or as one picture (.svg, .png, .pdf).

    Args:
        path: the run folder.
        output: the file; ``path/decoded.html`` if not given.
        clips: how many.
        decoder: folder of a decoder, or of a run with one; see ``find_decoder`` if not given.

    Raises:
        WildlamError: as ``decoded_strips``, or the file cannot be written, or is of another kind.
    """
    output = output or path / "decoded.html"
    if clips < 1:
        raise WildlamError(f"{option('clips')} must be at least 1, got {clips}")
    if output.suffix not in (".html", ".svg", ".png", ".pdf"):
        raise WildlamError(f"{output}: give a name that ends in .html, .svg, .png or .pdf")
    strips = decoded_strips(path, clips, decoder)
    with writing(output, f"choose another {option('output')}"):
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.suffix == ".html":
            write_decoded_page(output, Run.open(path), strips)
        elif output.suffix == ".svg":
            output.write_bytes(picture_strips(strips))
        else:
            draw_strips(strips).savefig(output, dpi=110)
    return output
