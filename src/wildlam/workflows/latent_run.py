"""Planning in latent space: a run with a prior of its latent actions, and a decoder of them; no controller."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from wildlam.episodes.clips import LabelledClips, cut_clips
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.episodes.pairing import TOLERANCE
from wildlam.errors import WildlamError, option
from wildlam.models.priors import LatentPrior
from wildlam.planning.dynamics import FromPrior
from wildlam.planning.protocols.protocol import PlanningProtocol
from wildlam.types import check_choice
from wildlam.workflows import durations
from wildlam.workflows.action_decoder import ActionDecoder, fit_action_decoder
from wildlam.workflows.baseline import STATES, VALIDATION_EVERY, check_clips
from wildlam.workflows.driven_run import DrivenRun, Scales
from wildlam.workflows.open_run import open_run
from wildlam.workflows.planners import Planned, plan_latent
from wildlam.workflows.prior import PRICE, find_prior, load_prior

SearchSpace = Literal["actions", "latent"]


class SearchConfig(Protocol):
    """What configurations of plans and of the closed loop have in common; see ``PlanConfig``."""

    @property
    def plan_in(self) -> SearchSpace: ...  # noqa: D102

    @property
    def controller(self) -> Path | None: ...  # noqa: D102

    @property
    def prior(self) -> Path | None: ...  # noqa: D102

    @property
    def labelled(self) -> Path | None: ...  # noqa: D102

    @property
    def clips(self) -> int | None: ...  # noqa: D102

    @property
    def unlikely(self) -> float: ...  # noqa: D102


def check_search(config: SearchConfig) -> None:
    """Refuse what is out of its range, or for another space than that to plan in.

    Raises:
        ValueError: naming the field.
    """
    check_choice("plan_in", config.plan_in, get_args(SearchSpace))
    check_clips(config.clips)
    if not isinstance(config.unlikely, int | float) or not 0 <= config.unlikely < float("inf"):
        raise ValueError(f"{option('unlikely')} must not be negative, got {config.unlikely!r}")
    idle = ("controller",) if config.plan_in == "latent" else ("prior", "labelled", "clips")
    if given := next((name for name in idle if getattr(config, name) is not None), None):
        raise ValueError(
            f"{option(given)} does nothing where {option('plan_in')} is {config.plan_in}; leave it out, or give "
            f"another {option('plan_in')}"
        )


@dataclass
class LatentRun(DrivenRun):
    """A run, a prior of its latent actions, and a decoder of them; ``place`` is the folder of the labelled videos.

    Attributes:
        prior: the prior.
        prior_folder: its folder.
        decoder: from latent actions to real ones.
        unlikely: price of a nat of what the prior finds unlikely, as a share of the distance from start to goal.
    """

    prior: LatentPrior
    prior_folder: Path
    decoder: ActionDecoder
    unlikely: float

    given_by = "labelled"
    learner = "the decoder of latent actions"

    @property
    def dynamics(self) -> FromPrior:
        """See ``DrivenRun``."""
        return FromPrior(self.model, self.prior)

    @property
    def scales(self) -> Scales:
        """See ``DrivenRun``."""
        return self.decoder

    @property
    def facts(self) -> dict[str, Any]:
        """See ``DrivenRun``."""
        explained = zip(self.space.action_names, self.decoder.explained.tolist(), strict=True)
        return {
            "prior": str(self.prior_folder),
            "labelled": str(self.place),
            "unlikely": self.unlikely,
            "decoder": {
                "clips": self.decoder.clips,
                "sees state": self.decoder.sees_state,
                "r squared": dict(explained),
                "covariance": self.decoder.covariance.tolist(),
            },
        }

    def __str__(self) -> str:
        return f"prior {self.prior_folder}, decoder of {self.decoder.clips} labelled clips of {self.place}"

    def plan(self, clips: LabelledClips, how: PlanningProtocol, seed: int = 0) -> Planned:
        """Plan in latent space by the search of a protocol; see ``plan_latent``."""
        how = how.in_base_space(self.prior.base)
        return plan_latent(self.dynamics, self.decoder, clips, how, self.unlikely, seed, self.bf16)


def load_latent_run(
    path: Path,
    labelled: Path,
    *,
    prior: Path | None = None,
    clips: int | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    unlikely: float = PRICE,
) -> LatentRun:
    """Load a run's model and a prior of it, and fit a decoder to labelled clips.

    Args:
        path: the run folder.
        labelled: labelled videos.
        prior: folder of the prior; that of the run if not given.
        clips: training clips of 8 states to fit to; all if not given.
        seed: seed of the choice of clips.
        tolerance: see ``PlanConfig``.
        unlikely: see ``LatentRun``.

    Raises:
        WildlamError: there is no prior, it belongs to another model, or something is wrong with the labelled videos.
    """
    opened = open_run(path)
    encoder, model = opened.encoder, opened.model()
    place = find_prior(prior or opened.run.path)
    found = load_prior(place, encoder, model)
    cut = cut_clips(
        read_episodes(labelled, tolerance),
        encoder,
        "train",
        states=STATES,
        fps=opened.config.data.fps,
        cache=cache_folder(labelled),
    )
    wanted = VALIDATION_EVERY if clips is None else clips
    if wanted > len(cut.places):
        raise WildlamError(
            f"{labelled} holds {len(cut.places)} training clips of {STATES} states, {wanted} are needed; give other "
            f"{option('labelled')}"
        )
    durations.announce(durations.labelled([cut], encoder))
    decoder = fit_action_decoder(model, cut.encoded(encoder).few(clips, seed), found.read)
    return LatentRun(
        opened.run, opened.config, encoder, model, labelled, decoder.space, found, place, decoder, unlikely
    )
