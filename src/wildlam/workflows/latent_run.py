"""Planning in latent space: a run with a prior of its latent actions, and a decoder of them; no controller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from wildlam.episodes.clips import LabelledClips, cut_clips
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.episodes.pairing import TOLERANCE
from wildlam.episodes.vectors import FIRST, ChoosesReading, Reading, described
from wildlam.errors import WildlamError, option
from wildlam.models.priors import LatentPrior
from wildlam.planning.dynamics import FromPrior
from wildlam.planning.protocols.protocol import PlanningProtocol
from wildlam.types import Encoder, check_choice, check_seed, settle_paths
from wildlam.workflows import durations
from wildlam.workflows.action_decoder import ActionDecoder, fit_action_decoder
from wildlam.workflows.baseline import STATES, VALIDATION_EVERY, check_clips
from wildlam.workflows.controller import load_controlled
from wildlam.workflows.driven_run import DrivenRun, Scales
from wildlam.workflows.open_run import open_run
from wildlam.workflows.planners import Planned, plan_latent
from wildlam.workflows.prior import PRICE, find_prior, load_prior

SearchSpace = Literal["actions", "latent"]


@dataclass(frozen=True, kw_only=True)
class DrivingConfig(ChoosesReading):
    """What makes a run act, of plans and of the closed loop.

    What is read of labelled videos is what the controller learnt, or, to plan in latent, what is said.

    Args:
        run: the run folder.
        plan_in: space in which the run's model plans: actions, by its controller; or latent, by its prior
            (`wildlam prior train`), whose latent actions a linear map then decodes, without a controller.
        controller: folder of the controller, to plan in actions; that of the run if not given.
        prior: folder of the prior, to plan in latent; that of the run if not given.
        guide: price, such as 0.1, of leaving the motion that a linear map tells from start and goal, as a share of
            their distance for each of its deviations, squared; for a controller's plans. The map is fitted to few
            labelled clips, such as the controller's own, and is shown by itself, too. Baselines are guided as well, by
            a map that no latent action enters.
        controls: compare with what takes no world model, fitted to few labelled clips: a linear regression from start
            and goal to what is to be done, and goal-conditioned behaviour cloning by a small network.
        labelled: labelled videos that linear maps are fitted to, to plan in latent, with a guide or with controls.
        clips: clips of 8 states of these, of training films; all if not given.
        unlabelled: videos of the same body without actions, such as those that the run was trained on. They get
            pseudo-labels, by linear maps from what the run infers in them, fitted to the labelled clips. Cloning learns
            from these in a row of its own, and the guide, where they tell more than the clips alone.
        unlikely: price of a nat of what the prior finds unlikely, as a share of the distance from start to goal, to
            plan in latent.
        camera: name of the camera whose films are taken; the controller's, or the first that is not at a wrist, if not
            given.
        rate: frames a second as they were recorded, where the data do not say so (RLDS, Zarr and HDF5); as for the
            controller if not given.
        seed: seed of the candidates and of what is chosen by chance.
    """

    run: Path
    plan_in: SearchSpace = "actions"
    controller: Path | None = None
    prior: Path | None = None
    guide: float | None = None
    controls: bool = False
    labelled: Path | None = None
    clips: int | None = None
    unlabelled: Path | None = None
    unlikely: float = PRICE
    seed: int = 0

    def __post_init__(self) -> None:
        settle_paths(self, "run", "controller", "prior", "labelled", "unlabelled")
        check_choice("plan_in", self.plan_in, get_args(SearchSpace))
        check_clips(self.clips)
        check_seed(self.seed)
        _ = self.reading  # refuses choices that there are not
        if not isinstance(self.unlikely, int | float) or not 0 <= self.unlikely < float("inf"):
            raise ValueError(f"{option('unlikely')} must not be negative, got {self.unlikely!r}")
        if self.guide is not None:
            if not isinstance(self.guide, int | float) or not 0 <= self.guide < float("inf"):
                raise ValueError(f"{option('guide')} must be a number of at least 0, got {self.guide!r}")
            if self.plan_in != "actions":
                raise ValueError(
                    f"{option('guide')} is for plans in actions; leave it out, or give {option('plan_in')} actions"
                )
        idle = (
            ("controller",) if self.plan_in == "latent" else ("prior", *(() if self.guided else ("labelled", "clips")))
        )
        if given := next((name for name in idle if getattr(self, name) is not None), None):
            raise ValueError(
                f"{option(given)} does nothing where {option('plan_in')} is {self.plan_in}; leave it out, or give "
                f"another {option('plan_in')}"
            )
        if self.unlabelled is not None and self.guide is None and not self.controls:
            raise ValueError(
                f"{option('unlabelled')} is for a guide or for controls; give {option('guide')} or "
                f"{option('controls')}, too, or leave it out"
            )
        if self.plan_in == "actions" and replace(self.reading, camera=None, rate=None) != FIRST:
            said = next(
                one for one in ("actions", "block", "angles", "full_turn", "rotations", "units") if self._says(one)
            )
            raise ValueError(
                f"{option(said)} is for {option('plan_in')} latent, as a controller says itself what it learnt; leave "
                "it out"
            )

    def _says(self, name: str) -> bool:
        """Whether a choice is not the default."""
        return bool(getattr(self, name) != getattr(ChoosesReading(), name))

    @property
    def guided(self) -> bool:
        """Whether plans in actions need labelled clips, too."""
        return self.guide is not None or self.controls

    @property
    def ending(self) -> str:
        """Ending of the name of a folder of results."""
        return "-latent" if self.plan_in == "latent" else ""


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
        return plan_latent(self.dynamics, self.decoder, clips, how, self.unlikely, seed, self.bf16)


def load_driven(
    config: DrivingConfig, labelled: Path | None, tolerance: float = TOLERANCE, reading: Reading = FIRST
) -> DrivenRun:
    """Load a run and what makes it act.

    Args:
        config: which.
        labelled: labelled videos, to plan in latent.
        tolerance: largest time in seconds between a recorded state and the nearest frame of its film.
        reading: what of the labelled videos is read.

    Raises:
        WildlamError: something is missing or does not fit together.
    """
    if config.plan_in == "actions":
        controlled = load_controlled(config.run, config.controller)
        if config.guide is not None and not controlled.space.zero_stays:
            raise WildlamError(
                f"{option('guide')} is for actions that add up, recorded commands need not; leave it out"
            )
        return controlled
    if labelled is None:
        raise WildlamError(f"to plan in latent, {option('labelled')} must name labelled videos")
    opened = open_run(config.run)
    encoder, model = opened.encoder, opened.model()
    place = find_prior(config.prior or opened.run.path)
    prior = load_prior(place, encoder, model)
    clips = few_labelled(config, labelled, encoder, opened.config.data.fps, tolerance, reading)
    decoder = fit_action_decoder(model, clips, prior.read)
    parts = opened.run, opened.config, encoder, model, labelled, decoder.space
    return LatentRun(*parts, prior, place, decoder, config.unlikely)


class FewClips(Protocol):
    """Which labelled clips are taken."""

    @property
    def clips(self) -> int | None:
        """How many; all if not given."""
        ...

    @property
    def seed(self) -> int:
        """Seed of their choice."""
        ...


def few_labelled(
    config: FewClips, labelled: Path, encoder: Encoder, fps: float, tolerance: float, reading: Reading
) -> LabelledClips:
    """The labelled clips that linear maps are fitted to; see ``load_driven``."""
    episodes = read_episodes(labelled, tolerance, reading)
    cut = cut_clips(episodes, encoder, "train", states=STATES, fps=fps, cache=cache_folder(labelled))
    wanted = config.clips or VALIDATION_EVERY
    if wanted > len(cut.places):
        raise WildlamError(
            f"{labelled} holds {len(cut.places)} training clips of {STATES} states, {wanted} are needed; give other "
            f"{option('labelled')}"
        )
    durations.announce(durations.labelled([cut], encoder))
    return cut.encoded(encoder).few(config.clips, config.seed)


def labelled_like(config: DrivingConfig, driven: DrivenRun, labelled: Path) -> LabelledClips:
    """The labelled clips that a guide and controls are fitted to, of the actions that a run is driven by.

    Raises:
        WildlamError: they hold others; see ``few_labelled``, too.
    """
    reading, fps = driven.reads(config.reading, labelled), driven.config.data.fps
    clips = few_labelled(config, labelled, driven.encoder, fps, config.tolerance, reading)
    if clips.space != driven.space:
        raise WildlamError(
            f"{labelled} holds {described(clips.space)}, those of {driven.place} are {described(driven.space)}; give "
            f"other {option('labelled')}"
        )
    return clips
