"""Evaluate a trained run and write the results: ``wildlam eval`` and the end of training."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor

from wildlam import __version__
from wildlam.config import RunConfig, config_from, read_config
from wildlam.distributed import processes
from wildlam.episodes.action_spaces import SPACES
from wildlam.episodes.poses import true_actions
from wildlam.errors import WildlamError, named, option, videos_given_by, videos_of
from wildlam.evaluation import kept
from wildlam.evaluation.clips import InferredClips, spread
from wildlam.evaluation.horizon import SECONDS
from wildlam.evaluation.leakage import cut_at
from wildlam.evaluation.locality import SCENES
from wildlam.evaluation.one_step import error_table
from wildlam.evaluation.suite import Labelled, evaluate_all
from wildlam.evaluation.verdict import Verdict, verdict_of
from wildlam.fileio import read_json, write_atomically, writing
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder
from wildlam.report.html import error_table as table_of_errors
from wildlam.report.html import verdict_box
from wildlam.report.pages.pictures import Painter
from wildlam.report.pages.run import write_run_report
from wildlam.runs.folder import Run
from wildlam.states.dataset import Clips, held_out_size
from wildlam.types import Encoder, settle_path_lists, settle_paths
from wildlam.video.config import DataConfig
from wildlam.video.files import Location, location
from wildlam.video.manifest import Manifest
from wildlam.workflows import durations
from wildlam.workflows.decoder import find_decoder, has_decoder, load_decoder
from wildlam.workflows.evaluation_parts import parts_of_evaluation
from wildlam.workflows.open_run import check_encoder, inferred, load_clips, load_model, open_run
from wildlam.workflows.prior import load_own_prior

log = logging.getLogger(__name__)

BASELINE = "deterministic"
"""Name of the folder, in a run's, of the model trained without latent actions."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Which run, on which videos.

    Args:
        run: the run folder.
        data: another folder of videos, or a URL; its held-out clips are used. The run's own if not given.
        bounds: other runs on the same encoder to compare rollouts with, such as one trained without a limit.
        kept: take evaluations that the folder keeps, of the same weights and clips, and compute only what is missing.
    """

    run: Path
    data: Location | None = None
    bounds: list[Path] = field(default_factory=list)
    kept: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.data, str):
            object.__setattr__(self, "data", location(self.data))
        settle_paths(self, "run", "data")
        settle_path_lists(self, "bounds")


@dataclass(frozen=True)
class EvaluateResult:
    """Results on held-out clips. In a notebook, the verdict and the table of errors.

    Attributes:
        folder: where ``results.json`` and ``report.html`` lie: the run folder, or for other videos one in it.
        results: what ``results.json`` holds: ``all`` and ``sources`` are one-step errors by method, ``evaluations`` all
            other figures.
    """

    folder: Path
    results: dict[str, Any] = field(repr=False)

    @property
    def verdict(self) -> Verdict:
        """The verdict on the latent actions, in words."""
        return verdict_of(self.folder)

    def _repr_html_(self) -> str:
        return verdict_box(self.verdict) + table_of_errors(self.results)


def evaluate(config: EvaluateConfig | str | Path | None = None, /, **keywords: Any) -> EvaluateResult:
    """Evaluate a trained run on held-out clips, of its own videos or of others, and write results and report.

    Args:
        config: what to do, or a path, that of ``run``.
        keywords: fields of ``EvaluateConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: something is wrong with the run, the videos or the disk.
    """
    config = config_from(EvaluateConfig, config, keywords)
    started, data = time.monotonic(), config.data
    run = Run.open(config.run)
    for bound in config.bounds:
        Run.open(bound)  # now, and not after an hour of encoding
    of_run, folder = read_config(run.path / "config.yaml"), run.path
    if data is not None:
        # Other videos are of other sources, of which the run's mixture knows nothing.
        of_run = replace(of_run, data=replace(of_run.data, path=data, cache=None, mixture={}))
        folder = _folder_for(run, data)
    with processes() as team, named(videos_given_by(option("data")) if data else videos_of(run.path)):
        encoder = open_run(config.run, team.device).encoder
        again = config.kept and (folder / kept.FILE).is_file()
        announce = partial(_announce_parts, run, of_run, encoder, config.bounds, again)
        clips = load_clips(of_run, encoder, team, announce)
        folder.mkdir(exist_ok=True)
        evaluate_run(run, folder, clips, started, config.bounds, data, again)
    return EvaluateResult(folder, read_json(folder / "results.json"))


def _folder_for(run: Run, data: Path) -> Path:
    """Where the results on other videos go: by the name of their folder, and by its path where that name is taken."""
    folder = run.path / f"on-{data.resolve().stem}"
    known = folder / "results.json"
    if known.is_file() and read_json(known).get("data") != str(data.resolve()):
        return run.path / f"{folder.name}-{hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:6]}"
    return folder


def evaluate_run(
    run: Run,
    folder: Path,
    clips: Clips,
    started: float,
    others: Sequence[Path] = (),
    data: Path | None = None,
    again: bool = False,
) -> None:
    """Evaluate the best checkpoints, which are those that ``wildlam.load`` gives; ``again``, only what is not kept."""
    spec, config = clips.encoder.spec, read_config(run.path / "config.yaml")
    model, bounds = _models(run, clips.encoder, others)
    held_out = inferred(clips, model, clips.held_out)
    frames, decoder = _frames(held_out, clips, config.data), _decoder(run, clips.encoder)
    # Errors in pixels would be above all those of a decoder that was trained on other videos.
    judged = decoder if has_decoder(run.path) else None
    try:
        labelled = labelled_clips(model, held_out, clips)
    except WildlamError as error:  # no reason to lose everything else
        log.warning("the true actions are left out: %s", error)
        labelled = []
    shown, prior = backgrounds(held_out, clips), load_own_prior(run.path, clips.encoder, model)
    keys = kept.keys(
        model,
        held_out,
        version=__version__,
        encoder=spec.fingerprint,
        bounds=bounds,
        decoder=judged,
        backgrounds=shown,
        labelled=labelled,
        prior=prior,
    )
    known = kept.read(folder, keys) if again else {}
    found = evaluate_all(
        model,
        clips.encoder,
        held_out,
        bounds=bounds,
        pixels=(judged, frames) if judged else None,
        after_cut=_after_cut(held_out, clips, config.data) if spec.context == "clip" else None,
        backgrounds=shown,
        labelled=labelled,
        prior=prior,
        kept=known,
    )
    seconds = round(time.monotonic() - started, 1)
    if known.keys() == keys.keys() and (folder / "results.json").is_file():  # what it took when it was evaluated
        seconds = read_json(folder / "results.json").get("seconds", seconds)
    summary = {
        "seconds": seconds,
        "seed": run.facts["seed"],
        "videos": str(clips.manifest.root),
        "data": str((data or config.data.path).resolve()),
        "clips": len(held_out),
        "bounds": [str(path) for path in others],
        **error_table(found.one_step),
        "evaluations": found.summary(),
    }
    log.info("writing the report %s", folder / "report.html")  # drawing its figures takes many seconds
    with writing(
        f"the results to {folder}", f"make room there or make it writable, then: wildlam eval {quote(str(run.path))}"
    ):
        write_atomically(folder / "results.json", json.dumps(summary, indent=2))
        write_atomically(folder / "evaluations.json", json.dumps(found.per_clip()))
        kept.write(folder, found, keys)
        painter = Painter(decoder, frames, config.data.fps, own=judged is not None) if decoder else None
        write_run_report(run, folder, model, clips.manifest, found, summary, painter)


def _decoder(run: Run, encoder: Encoder) -> Decoder | None:
    """What paints the run's states, if anything does."""
    if find_decoder(run.path, encoder.spec) is None:
        return None
    return load_decoder(run.path, encoder.spec, encoder.device)


def _models(
    run: Run, encoder: Encoder, others: Sequence[Path]
) -> tuple[LatentActionModel, dict[str, LatentActionModel]]:
    """The model of a run and those that its rollouts are compared with, by their bottlenecks."""
    spec, device = encoder.spec, encoder.device
    model = load_model(run, read_config(run.path / "config.yaml"), spec).to(device)
    bounds = {}
    for path in [*others, *([run.path / BASELINE] if (run.path / BASELINE / "config.yaml").is_file() else [])]:
        other = Run.open(path)
        check_encoder(other, spec)
        settings = read_config(other.path / "config.yaml")
        name = type(settings.model.bottleneck).__name__.lower()
        if name in bounds:
            raise WildlamError(f"{path}: a second {name} model, besides {run.path}; give one of each kind")
        bounds[name] = load_model(other, settings, spec).to(device)
    return model, bounds


def _announce_parts(
    run: Run,
    config: RunConfig,
    encoder: Encoder,
    others: Sequence[Path],
    again: bool,
    rows: Manifest,
    frames: float | None,
) -> None:
    """Print how long it takes to encode what is not yet, and to evaluate, but not ``again``: most is kept."""
    if frames is None:  # of the held-out clips alone
        clips, states = held_out_size(rows, config.data, encoder.spec, SECONDS)
        frames = clips * states * encoder.spec.frames_per_state
    parts = [durations.encoding(config, encoder, rows, frames)] if frames > durations.FEW_FRAMES else []
    models, decoder = _models(run, encoder, others), _decoder(run, encoder)
    judged = []
    if not again:
        own = has_decoder(run.path)
        judged = parts_of_evaluation(config, encoder, rows, *models, decoder=decoder, measured=own)
    durations.announce([*parts, *judged])


def _frames(held_out: InferredClips, clips: Clips, data: DataConfig) -> Callable[..., Tensor]:
    """The frames of some states of a clip, ``uint8 [states * frames_per_state, 3, S, S]``."""
    spec = clips.encoder.spec
    offsets = torch.arange(spec.frames_per_state, dtype=torch.float64) / data.fps

    def frames(clip: int, states: slice = slice(None)) -> Tensor:
        times = (held_out.times[clip, states, None] + offsets).flatten().tolist()
        return clips.manifest.frames(held_out.names[clip], times, spec.image_size, data.backend)

    return frames


def _after_cut(held_out: InferredClips, clips: Clips, data: DataConfig) -> Callable[[list[int]], Tensor]:
    """States after a cut, for an encoder that looks back: the cut is made in pixels."""
    cut, partners, frames = cut_at(held_out), held_out.partners, _frames(held_out, clips, data)

    def after_cut(chosen: list[int]) -> Tensor:
        spliced = [torch.cat([frames(i, slice(0, cut)), frames(partners[i], slice(cut, cut + 1))]) for i in chosen]
        return clips.encoder.encode(torch.stack(spliced))[:, -1]

    return after_cut


def backgrounds(held_out: InferredClips, clips: Clips) -> tuple[Tensor, list[str]]:
    """First frames of clips spread over all held-out videos, ``uint8 [n, 3, S, S]``, and the recording of each."""
    chosen = spread(len(held_out), SCENES)
    size = clips.encoder.spec.image_size
    frames = [clips.manifest.frames(held_out.names[i], [float(held_out.times[i, 0])], size) for i in chosen]
    return torch.cat(frames), [held_out.recordings[i] for i in chosen]


def labelled_clips(model: LatentActionModel, held_out: InferredClips, clips: Clips) -> list[Labelled]:
    """Clips with true actions, where a source has them in both splits, for each kind of action."""
    batches, root = clips.labelled(), clips.manifest.root
    if not batches:
        return []
    train, found = inferred(clips, model, batches), []
    for space in SPACES.values():
        actions, known = true_actions(held_out, root, space)
        of_train = true_actions(train, root, space)
        if known.any() and of_train[1].any():
            found.append(Labelled(train, of_train[0], held_out.where(known), actions[known], list(space.action_names)))
    return found
