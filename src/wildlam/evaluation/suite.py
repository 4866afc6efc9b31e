"""All evaluations of a model, on one pass of encoding and inference."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from torch import Tensor
from tqdm import tqdm

from wildlam.errors import WildlamError
from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.cycle import Cycle, cycle
from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.latent_space import LatentSpace, latent_space, umap_to_compile
from wildlam.evaluation.leakage import Leakage, leakage
from wildlam.evaluation.locality import SCENES, Locality, locality
from wildlam.evaluation.one_step import one_step
from wildlam.evaluation.pixel_rollout import PixelRollout, pixel_rollout
from wildlam.evaluation.probes import Probes, probes, summary_of_all
from wildlam.evaluation.rollout import Rollout, rollout
from wildlam.models import LatentActionModel
from wildlam.models.decoder import Decoder
from wildlam.models.priors import LatentPrior
from wildlam.types import Encoder

log = logging.getLogger(__name__)


class Summarised(Protocol):
    """A result that reports its figures."""

    def summary(self) -> dict[str, Any]:
        """Figures for ``results.json``."""
        ...


@dataclass
class Labelled:
    """Clips with true actions, for the probes: ``actions`` are ``[clips, T - 1, A]``."""

    train: InferredClips
    train_actions: Tensor
    held_out: InferredClips
    held_out_actions: Tensor
    action_names: list[str]


@dataclass
class Evaluations:
    """Results of ``evaluate_all``; None where the data does not allow an evaluation."""

    clips: InferredClips
    labelled: Sequence[Labelled]
    one_step: PerClip
    rollout: Rollout
    pixel_rollout: PixelRollout | None
    leakage: Leakage | None
    cycle: Cycle | None
    locality: Locality | None
    probes: list[Probes]
    latent_space: LatentSpace

    def summary(self) -> dict[str, Any]:
        """Figures with their intervals, for ``results.json``."""
        parts: dict[str, Summarised | None] = {name: getattr(self, name) for name in SUMMARISED}
        errors = {method: asdict(self.one_step.estimate(method)) for method in self.one_step.values}
        summaries = {name: part.summary() if part else None for name, part in parts.items()}
        return {"one_step": errors, **summaries, "probes": summary_of_all(self.probes)}

    def per_clip(self) -> dict[str, Any]:
        """Values of every clip, for ``evaluations.json``."""
        space = self.latent_space
        parts: dict[str, PerClip | Any] = {
            "one_step": self.one_step,
            "rollout": self.rollout.per_clip,
            "pixel_rollout": self.pixel_rollout and self.pixel_rollout.per_clip,
            "leakage": self.leakage and self.leakage.per_clip,
            "cycle": self.cycle and self.cycle.per_clip,
            "locality": self.locality and self.locality.scenes,
            **{"probes" if i == 0 else f"probes_{i}": found.squared_errors for i, found in enumerate(self.probes)},
            "traversals": space.traversal,
            "sampling": space.sampling and space.sampling.told_apart,
            **{f"sampling_of_prior_{name}": test.told_apart for name, test in space.of_prior.items()},
        }
        return {name: part.to_json() for name, part in parts.items() if part is not None}


SUMMARISED = ("rollout", "pixel_rollout", "leakage", "cycle", "locality", "latent_space")


def evaluate_all(
    model: LatentActionModel,
    encoder: Encoder,
    clips: InferredClips,
    *,
    bounds: dict[str, LatentActionModel],
    pixels: tuple[Decoder, Callable[[int], Tensor]] | None,
    after_cut: Callable[[list[int]], Tensor] | None,
    backgrounds: tuple[Tensor, Sequence[str]],
    labelled: Sequence[Labelled],
    prior: LatentPrior | None = None,
    kept: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Evaluations:
    """Run every evaluation that the data allows.

    Args:
        model: the model, in evaluation mode.
        encoder: encoder of its states.
        clips: held-out ones, with the latent actions that the model infers.
        bounds: models to compare with: ``deterministic``, ``unconstrained``.
        pixels: a decoder, and what gives the frames of a clip (see ``pixel_rollout``), if there is one.
        after_cut: see ``leakage``.
        backgrounds: frames ``uint8 [n, 3, S, S]`` for the scenes of ``locality``, and the recording of each.
        labelled: clips with true actions, for each kind of action that there is.
        prior: prior of the model's latent actions, if there is one.
        kept: evaluations by name that need not be computed again.
        progress: show a progress bar.
    """
    found: dict[str, Any] = {**(kept or {})}
    counting = replace(clips, counted=lambda count: bar.update(count))

    def scenes_done(scenes: float) -> None:  # as many clips as there are take the place of all scenes
        bar.update(int(len(clips) * scenes) // SCENES)

    steps: dict[str, Callable[[], Any]] = {
        **clip_by_clip(model, counting, found, bounds, after_cut),
        "pixel_rollout": lambda: (
            pixel_rollout(model, pixels[0], counting, pixels[1]) if pixels and len(clips) > 1 else None
        ),
        "locality": lambda: (
            locality(model, encoder, backgrounds[0], recordings=backgrounds[1], count=scenes_done)
            if min(encoder.spec.grid) > 1
            else None
        ),
        "probes": lambda: [found for clips in labelled if (found := _probes(clips))],
        "latent_space": lambda: latent_space(model, clips, prior=prior),
    }
    with tqdm(desc="evaluating", total=len(steps) * len(clips), unit="clip", miniters=1, disable=not progress) as bar:
        for done, (name, step) in enumerate(steps.items(), 1):
            if name in found:
                bar.update(done * len(clips) - bar.n)
                continue
            waits = name == "latent_space" and umap_to_compile()
            bar.set_postfix_str(name.replace("_", " ") + (": UMAP compiles, about half a minute" if waits else ""))
            found[name] = step()
            bar.update(done * len(clips) - bar.n)  # what does not go clip by clip
    return Evaluations(clips, labelled, **found)


def clip_by_clip(
    model: LatentActionModel,
    clips: InferredClips,
    found: dict[str, Any],
    bounds: dict[str, LatentActionModel],
    after_cut: Callable[[list[int]], Tensor] | None = None,
) -> dict[str, Callable[[], Any]]:
    """The evaluations that take longer the more clips there are; ``found`` is to hold what those before found."""
    bare, pairs = bounds.get("deterministic"), len(clips) > 1
    return {
        "one_step": lambda: one_step(model, clips, bare),
        "rollout": lambda: rollout(model, clips, bounds),
        "leakage": lambda: leakage(model, clips, after_cut, bare) if pairs else None,
        "cycle": lambda: cycle(model, clips, found["rollout"]) if pairs else None,
    }


def _probes(labelled: Labelled) -> Probes | None:
    try:
        return probes(**vars(labelled))
    except WildlamError as error:
        log.warning("the probes of %s are left out: %s", ", ".join(labelled.action_names), error)
        return None
