"""Pseudo-labels: what is done in videos without actions, told by few labelled clips and by what a model infers.

As in VPT (arXiv 2206.11795): few labels teach a map that sees all that lies between a start and a goal, every z and the
change of the state, and so tells more of what was done there than start and goal alone. What it tells of many videos
then teaches maps that see no more than start and goal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from wildlam.config import RunConfig
from wildlam.distributed import Processes
from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.clips import LabelledClips
from wildlam.errors import WildlamError, named, option, videos_given_by
from wildlam.evaluation.clips import infer_latents
from wildlam.evaluation.intervals import numbered
from wildlam.evaluation.probes import standardiser
from wildlam.models import LatentActionModel
from wildlam.states.dataset import Clips
from wildlam.types import Encoder
from wildlam.workflows import durations
from wildlam.workflows.baseline import STATES
from wildlam.workflows.driven_run import DrivenRun
from wildlam.workflows.motions import (
    STATES_FOR_COMPONENTS,
    Components,
    Motions,
    leading_of,
    motions_of,
    sums_between,
)
from wildlam.workflows.open_run import load_clips
from wildlam.workflows.span_map import SpanMap

TRANSITIONS = 16384
"""Of videos without labels that are given pseudo-labels, about."""
BATCH = 32
"""Clips that are encoded at once."""


def clips_like_labelled(folder: Path, of_run: RunConfig, encoder: Encoder, size: int, seed: int) -> Clips:
    """Clips of videos without labels, as long as labelled ones, ``size`` a batch.

    Raises:
        WildlamError: the encoder makes a state of several frames, or something is wrong with the videos.
    """
    check_films_like_labelled(encoder, "unlabelled")
    data = replace(of_run.data, path=folder, cache=None, mixture={}, frames=STATES)
    like = replace(of_run, data=data, training=replace(of_run.training, batch_size=size), seed=seed)
    with named(videos_given_by(option("unlabelled"))):
        before = partial(durations.announce_encoding, like, encoder)
        return load_clips(like, encoder, Processes(0, 1, encoder.device), before)


def check_films_like_labelled(encoder: Encoder, given: str) -> None:
    """Refuse an encoder that sees clips otherwise than videos; ``given``: the option to leave out."""
    if encoder.spec.frames_per_state > 1:
        raise WildlamError(
            f"{encoder.spec.name} makes a state of {encoder.spec.frames_per_state} frames, which labelled clips show "
            f"doubled and films do not: their latent actions last longer; leave {option(given)} out"
        )


@dataclass(frozen=True)
class Films:
    """What is seen of videos without labels.

    Attributes:
        see: principal components of their states.
        states: those of their clips, ``float64 [F, T, K]``.
        latents: latent actions between these, ``float64 [F, T - 1, Z]``.
        recordings: number of the recording that each clip is of, ``[F]``.
    """

    see: Components
    states: Tensor
    latents: Tensor
    recordings: Tensor


def films_of(folder: Path, run: DrivenRun) -> Films:
    """See some clips of videos without labels as a run does; see ``clips_like_labelled``."""
    model, clips = run.model, clips_like_labelled(folder, run.config, run.encoder, BATCH, seed=0)
    first = clips.batches(0, STATES_FOR_COMPONENTS // (BATCH * STATES))
    see = leading_of(torch.cat([clips.states(batch)[0].cpu().bfloat16() for batch in first]))
    states, latents, names = list[Tensor](), list[Tensor](), list[str]()
    batches = TRANSITIONS // (BATCH * (STATES - 1))
    for batch in tqdm(clips.batches(0, batches), "pseudo-labels", batches, unit="batch"):
        (seen,) = clips.states(batch)
        states.append(see(seen.cpu()))
        latents.append(infer_latents(model, seen).double().cpu())
        names += batch.names
    known = clips.manifest.recordings_of(names)
    return Films(see, torch.cat(states), torch.cat(latents), numbered([known[name] for name in names]))


@dataclass(frozen=True)
class PseudoLabels:
    """What is done in videos without labels, and in the labelled clips that tell it.

    Attributes:
        films: the videos, by what few labelled clips tell.
        labelled: these clips, in the same components.
        relabel: the videos again, by what some of the labelled clips tell, which are given by number.
        mean: whether the mean action is told from both states, not the sum from their change.
        explained: R² of each action over as many steps as a plan has, in recordings that were not fitted to, ``[A]``.
    """

    films: Motions
    labelled: Motions
    relabel: Callable[[Tensor], Motions]
    mean: bool
    explained: Tensor

    def facts(self, space: ActionSpace) -> dict[str, Any]:
        """What a result says of them: how many clips, and R² of each action; see ``explained``."""
        r_squared = dict(zip(space.action_names, self.explained.tolist(), strict=True))
        return {"clips": len(self.films.states), "r squared": r_squared}


Parts = list[tuple[Tensor, bool]]
"""What is seen of pairs of states, ``[C, P, F]`` each, and whether its components have one scale for all."""
Looked = tuple[Motions, list[Parts]]
"""Videos in which nothing is known to be done yet, and what each map sees of them."""


@dataclass(frozen=True)
class Labeller:
    """What few labelled clips tell of videos.

    Attributes:
        labelled: these clips.
        latents: latent actions between their states.
        mean: see ``PseudoLabels``.
        explained: likewise.
    """

    labelled: Motions
    latents: Tensor
    mean: bool
    explained: Tensor

    def look(self, films: Films) -> Looked:
        """What is seen of videos, which ``taught_by`` tells of."""
        there = Motions(films.see, films.states, torch.empty(0), self.labelled.horizon, films.recordings)
        return there, _seen(there, films.latents, self.mean)

    def taught_by(self, some: Tensor | None = None) -> Callable[[Looked], Motions]:
        """Tells what is done in videos, by some of the labelled clips, given by number, or by all."""
        some = torch.arange(len(self.latents)) if some is None else some
        maps = _maps(self.labelled, self.latents, self.mean, some)

        def tell(looked: Looked) -> Motions:
            there, parts = looked
            told = [fitted(see(part), there.spans) for (fitted, see), part in zip(maps, parts, strict=True)]
            return replace(there, done=torch.stack(told).mean(dim=0))

        return tell


def fit_labeller(model: LatentActionModel, few: LabelledClips, see: Components, horizon: int) -> Labeller:
    """Learn to tell what is done in videos without labels.

    By linear maps to the sum of the actions, one from the sum of z and the change of the state, one from that change
    alone, whose mean is taken, as each errs in its own way; or, where that misses less of labelled recordings
    that were not fitted to, by one from the mean z and both states to the mean action, as before a camera that moves.

    Args:
        model: model that infers z.
        few: the labelled clips, four at least.
        see: principal components of states.
        horizon: most steps between two states.
    """
    labelled, z = motions_of(few, horizon, see), infer_latents(model, few.states).double().cpu()

    def missed(mean: bool) -> Tensor:
        every = [fitted.missed()[:, labelled.longest] for fitted, _ in _maps(labelled, z, mean, torch.arange(len(few)))]
        return torch.stack(every).mean(dim=0)

    best, off = min(
        ((mean, missed(mean)) for mean in (False, True)),
        key=lambda one: float((one[1] / labelled.varied).square().mean()),
    )
    varied = labelled.done[:, labelled.longest].flatten(0, 1).var(dim=0).clamp(min=1e-18)
    explained = 1 - off.square().mean(dim=(0, 1)) / varied
    return Labeller(labelled, z, best, explained.float())


def pseudo_labels(model: LatentActionModel, few: LabelledClips, films: Films, horizon: int) -> PseudoLabels:
    """Tell what is done in videos without labels; see ``fit_labeller``."""
    labeller = fit_labeller(model, few, films.see, horizon)
    looked = labeller.look(films)  # once: cross-validation labels them again and again

    def relabel(some: Tensor) -> Motions:
        return labeller.taught_by(some)(looked)

    return PseudoLabels(labeller.taught_by()(looked), labeller.labelled, relabel, labeller.mean, labeller.explained)


def _maps(
    labelled: Motions, latents: Tensor, mean: bool, some: Tensor
) -> list[tuple[SpanMap, Callable[[Parts], Tensor]]]:
    """Maps that some of the clips teach, and what makes of all that is seen of pairs what each of them takes."""
    found: list[tuple[SpanMap, Callable[[Parts], Tensor]]] = []
    for own in _seen(labelled, latents, mean):
        see = partial(_scaled, [standardiser(part[some], together) for part, together in own])
        told = labelled.spans, labelled.done[some], labelled.recordings[some]
        found.append((SpanMap(see(own)[some], *told, mean), see))
    return found


def _scaled(scales: list[Callable[[Tensor], Tensor]], parts: Parts) -> Tensor:
    return torch.cat([scale(part) for scale, (part, _) in zip(scales, parts, strict=True)], dim=-1)


def _seen(motions: Motions, latents: Tensor, mean: bool) -> list[Parts]:
    """What each map sees of all between the states of each pair."""
    z, ends = sums_between(latents, motions.pairs), motions.ends
    if mean:
        return [[(z / motions.spans[:, None], False), (ends.flatten(-2), True)]]
    change = ends[..., 1, :] - ends[..., 0, :], True
    return [[(z, False), change], [change]]
