"""The rungs of the ladder of ``diagnose.py``: what is computed in one world for one seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import product
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor

from wildlam.encoders.base import fast_dtype
from wildlam.episodes.clips import LabelledClips, cut_clips
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.evaluation.clips import infer_latents
from wildlam.evaluation.components import leading_directions
from wildlam.evaluation.probes import fit_clips, fit_mlp, fit_ridge, standardiser
from wildlam.models import LatentActionModel
from wildlam.models.priors import LatentPrior, PriorConfig
from wildlam.planning.cost import GoalCost
from wildlam.planning.dynamics import Dynamics, FromPrior
from wildlam.planning.protocols.protocol import PlanningProtocol, ProtocolName, protocol
from wildlam.planning.references import candidates, known_goal, no_move
from wildlam.types import Encoder
from wildlam.workflows.action_decoder import fit_action_decoder
from wildlam.workflows.baseline import STATES
from wildlam.workflows.motions import COMPONENTS, pairs_within, some_states, sums_between
from wildlam.workflows.open_run import OpenRun
from wildlam.workflows.plan import held_out_cut
from wildlam.workflows.planners import AT_ONCE, judged, plan_clips, plan_simulated, search_latent, simulator_costs
from wildlam.workflows.prior import PRICE

MLP_ROWS = 20_000
"""Transitions, and spans of several, that a network is fitted to, at most; a linear map sees all."""
RANKED = 300
"""Candidates of an episode whose costs are compared with their true errors."""

INPUTS = {
    "difference": ("difference",),
    "difference, each scaled": ("each scaled",),
    "difference and state": ("difference", "state"),
    "z": ("z",),
    "z and state": ("z", "state"),
}
"""What an action is told from, of a transition or of a span of several."""
SCALED = ("z", "each scaled")
"""Whose dimensions are standardised each; principal components by one factor for all, or the last would be noise."""
FITS = ("linear", "MLP")
STEPS, SPAN = "steps", "start and goal"
"""Each true transition is seen, or the start and the goal alone."""

Search = tuple[int, int]
"""Candidates of an iteration, and how often they are drawn."""


@dataclass(frozen=True)
class World:
    """A world whose plans can be judged.

    Attributes:
        protocol: protocol that judges them.
        figure: its figure.
        unit: unit of that.
        searches: the smaller search first.
        simulated: whether plans can be made in its simulator.
    """

    protocol: ProtocolName
    figure: str
    unit: str
    searches: tuple[Search, ...]
    simulated: bool = True


@dataclass(eq=False)
class Ladder:
    """One world's labelled films and the run that is diagnosed.

    Attributes:
        world: how plans are judged.
        model: model of the run.
        encoder: encoder of its states.
        train: labelled clips to fit to, all there are.
        held_out: clips to plan in.
        how: the world's protocol with a search.
        episodes: held-out clips that each seed draws.
        slow: of these, those that slow plans are made in, about.
        bf16: see ``GoalCost``.
    """

    world: World
    model: LatentActionModel
    encoder: Encoder
    train: LabelledClips
    held_out: LabelledClips
    how: Callable[[Search], PlanningProtocol]
    episodes: int
    slow: int
    bf16: bool = True

    @property
    def horizon(self) -> int:
        """Steps of a plan."""
        return self.held_out.actions.shape[1]

    @property
    def every(self) -> int:
        """One in so many episodes is one of the slow plans'."""
        return max(self.episodes // self.slow, 1)

    def clips(self, seed: int) -> LabelledClips:
        """The held-out episodes of a seed; those of ``wildlam plan``."""
        return self.held_out.few(self.episodes, seed)

    def few(self, clips: LabelledClips) -> LabelledClips:
        """Those of a seed's episodes that slow plans are made in."""
        return clips.choose(range(0, len(clips), self.every))

    def rows(self, plans: Tensor, clips: LabelledClips, few: bool = False) -> list[dict]:
        """Mean errors of plans ``[C, H, A]``, and those of staying in the same episodes.

        They are of all of a seed's episodes and of those of slow plans; of these alone, if the plans are ``few``.
        """
        if not few:
            return [*self._row(plans, clips, False), *self._row(plans[:: self.every], self.few(clips), True)]
        return self._row(plans, clips, True)

    def _row(self, plans: Tensor, clips: LabelledClips, few: bool) -> list[dict]:
        value, still = (float(self._errors(of, clips).mean()) for of in (plans, no_move(clips)))
        return [{"figure": "error", "few": few, "episodes": len(clips), "value": value, "still": still}]

    def _errors(self, plans: Tensor, clips: LabelledClips) -> Tensor:
        return judged(plans, clips).values[self.world.figure]

    # What tells an action, without a plan

    def told(
        self, count: int, seed: int, inputs: Sequence[str] = tuple(INPUTS), fits: Sequence[str] = FITS
    ) -> list[dict]:
        """Tell the actions of held-out episodes by maps fitted to ``count`` labelled clips, 0 for all: rows of each."""
        rows = []
        for seen, how, fit in product(inputs, (STEPS, SPAN), fits):
            told = self._told(seen, how, fit, count, seed)
            if how == SPAN:
                own = self.rows((told / self.horizon).expand(-1, self.horizon, -1), self.clips(seed))
            else:
                own = self._row(told, self.clips(seed), few=False)
                own += [] if count else _explained(told, self.clips(seed))
            rows += [{**row, "row": row_name(seen, how, fit)} for row in own]
        return rows

    def _told(self, inputs: str, how: str, fit: str, count: int, seed: int) -> Tensor:
        """Actions ``[C, H, A]``, or their sums ``[C, 1, A]``."""
        few, y = self._labelled(inputs, how, count, seed)
        if fit == "MLP":
            kept = _some_pairs(len(y), y.shape[1], seed)
            few, y = [part[:, kept] for part in few], y[:, kept]
        scales = [
            standardiser(part.double(), together=name not in SCALED)
            for name, part in zip(INPUTS[inputs], few, strict=True)
        ]

        def scaled(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat([scale(part.double()) for scale, part in zip(scales, parts, strict=True)], dim=-1)

        predict = fit_clips(scaled(few), y, partial(fit_mlp, seed=seed) if fit == "MLP" else fit_ridge)
        seen = self._held_out(how, seed)
        return predict(scaled([seen[name] for name in INPUTS[inputs]])).float()

    def _labelled(self, inputs: str, how: str, count: int, seed: int) -> tuple[list[Tensor], Tensor]:
        """What is seen ``[C, P, F]`` of each input, and what was done ``[C, P, A]``, of some training clips."""
        parts = [replace(self.train, states=self._of_train[how][name]) for name in INPUTS[inputs]]
        few = [part.few(count or None, seed) for part in parts]
        pairs = _steps(STATES - 1) if how == STEPS else pairs_within(STATES, self.horizon)
        return [part.states for part in few], sums_between(few[0].actions, pairs)

    @cached_property
    def _of_train(self) -> dict[str, dict[str, Tensor]]:
        spans = self._parts(self.train, pairs_within(STATES, self.horizon))
        return {SPAN: spans, STEPS: {name: part[:, : STATES - 1] for name, part in spans.items()}}

    @cache  # noqa: B019, a ladder lives as long as the study
    def _held_out(self, how: str, seed: int) -> dict[str, Tensor]:
        return self._parts(self.clips(seed), _steps(self.horizon) if how == STEPS else [(0, self.horizon)])

    def _parts(self, clips: LabelledClips, pairs: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
        """What is seen of pairs of states, ``[C, P, F]`` each."""
        components = torch.stack([self._reduce(clip) for clip in clips.states])
        start, end = ([pair[side] for pair in pairs] for side in (0, 1))
        return {
            "difference": components[:, end] - components[:, start],
            "each scaled": components[:, end] - components[:, start],
            "state": components[:, start],
            "z": torch.cat([infer_latents(self.model, clips.states[:, pair]).cpu() for pair in pairs], dim=1),
        }

    @cached_property
    def _reduce(self) -> Callable[[Tensor], Tensor]:
        """From states ``[T, N, D]`` to their principal components ``[T, COMPONENTS]``."""
        flat = some_states(self.train.states)
        mean, directions = leading_directions(flat, min(COMPONENTS, len(flat)))
        return lambda states: (states.flatten(1).float() - mean) @ directions

    # Plans

    def known_goal(self, search: Search, seed: int) -> list[dict]:
        """Plan by the goal's pose: what search alone loses."""
        clips = self.clips(seed)
        return self.rows(known_goal(clips, self.how(search), seed), clips)

    def simulated(self, search: Search, seed: int, inferred: bool) -> list[dict]:
        """Plan in the simulator or, ``inferred``, with the model and latent actions of what the simulator shows."""
        clips, model = self.few(self.clips(seed)), self.model if inferred else None
        plans = plan_simulated(clips, self.how(search), self.encoder, model, seed, self.bf16, progress=False).actions
        return self.rows(plans, clips, few=True)

    def planned(self, dynamics: Dynamics, search: Search, seed: int) -> list[dict]:
        """Plan with a world model of real actions: in all episodes, if the search is the smaller one."""
        clips, few = self._planned_in(search, seed)
        plans = plan_clips(dynamics, clips, self.how(search), seed, self.bf16, progress=False).actions
        return self.rows(plans, clips, few)

    def planned_in_z(self, config: PriorConfig, search: Search, counts: Sequence[int], seed: int) -> list[dict]:
        """Plan among what a prior finds likely, and decode by linear maps of so many labelled clips, 0 for all."""
        clips, few = self._planned_in(search, seed)
        prior = self._prior(config)
        dynamics, rows = FromPrior(self.model, prior), []
        z, states, _ = search_latent(dynamics, clips, self.how(search), PRICE, seed, self.bf16, progress=False)
        for count in counts:
            decode = fit_action_decoder(self.model, self.train.few(count or None, seed), prior.read)
            rows += [{**row, "clips": count or "all"} for row in self.rows(decode(z, states), clips, few)]
        return rows

    @torch.no_grad()
    def _prior(self, config: PriorConfig) -> LatentPrior:
        """A prior of the labelled films, of which no label is used; it is not trained."""
        prior = config.build(self.model.state_shape, self.model.bottleneck)
        flat = some_states(self.train.states)
        prior.see_by(*leading_directions(flat, min(config.components, len(flat) - 1)))
        read = torch.stack([prior.read(clip[:-1]) for clip in self.train.states])
        prior.fit(read.flatten(0, 1), infer_latents(self.model, self.train.states).cpu().flatten(0, 1))
        return prior.to(self.encoder.device).eval().requires_grad_(False)

    def _planned_in(self, search: Search, seed: int) -> tuple[LabelledClips, bool]:
        """The episodes that a search plans in, and whether they are few."""
        few = search != self.world.searches[0]
        return self.few(self.clips(seed)) if few else self.clips(seed), few

    # Costs

    def rank(self, dynamics: Dynamics, seed: int) -> list[dict]:
        """Rank correlation of a world model's cost with the true error of candidates."""
        clips, drawn = self._drawn(seed)
        costs = []
        for states, some in zip(clips.states.split(AT_ONCE), drawn.split(AT_ONCE), strict=True):
            known, tried = states.to(self.encoder.device).float(), some.to(self.encoder.device)
            cost = GoalCost(dynamics, known[:, :1], tried[:, 0, :0], known[:, -1], self.bf16)
            costs.append(cost(tried).cpu())
        return self._ranked(torch.cat(costs), clips, drawn)

    def rank_simulated(self, seed: int, inferred: bool) -> list[dict]:
        """The same of the simulator's cost, see ``simulated``."""
        clips, drawn = self._drawn(seed)
        with simulator_costs(clips, self.encoder, self.model if inferred else None, self.bf16) as costs:
            return self._ranked(torch.cat([costs(i)(drawn[i : i + 1]) for i in range(len(clips))]), clips, drawn)

    def _drawn(self, seed: int) -> tuple[LabelledClips, Tensor]:
        clips = self.few(self.clips(seed))
        return clips, candidates(clips, self.how(self.world.searches[0]), RANKED, seed)

    def _ranked(self, costs: Tensor, clips: LabelledClips, drawn: Tensor) -> list[dict]:
        found = []
        for i, (of_episode, tried) in enumerate(zip(costs, drawn, strict=True)):
            errors = self._errors(tried, clips.choose([i] * len(tried)))
            told = of_episode.std() > 0  # a cost that is the same for all ranks nothing
            found.append(float(spearmanr(of_episode.numpy(), errors.numpy()).statistic) if told else 0.0)
        return [{"figure": "rank", "few": True, "episodes": len(clips), "value": sum(found) / len(found)}]


def open_ladder(opened: OpenRun, films: Path, world: World, episodes: int, slow: int) -> Ladder:
    """The ladder of a run in a world whose labelled films lie in a folder."""
    bf16 = opened.config.training.precision == "bf16" and fast_dtype(opened.encoder.device) == torch.bfloat16
    sizes = (episodes, slow)
    return ladder_of(opened.model(), opened.encoder, opened.config.data.fps, films, world, *sizes, bf16=bf16)


def ladder_of(
    model: LatentActionModel,
    encoder: Encoder,
    fps: float,
    films: Path,
    world: World,
    episodes: int,
    slow: int,
    bf16: bool = False,
) -> Ladder:
    """The ladder of a model, see ``open_ladder``."""
    found = read_episodes(films)

    def how(search: Search) -> PlanningProtocol:
        return protocol(world.protocol, found, fps, encoder.device, *search)

    train = cut_clips(found, encoder, "train", states=STATES, fps=fps, cache=cache_folder(films))
    held_out = held_out_cut(found, encoder, how(world.searches[0]).horizon + 1, fps, films)
    return Ladder(world, model, encoder, train.encoded(encoder), held_out.encoded(encoder), how, episodes, slow, bf16)


def _steps(count: int) -> list[tuple[int, int]]:
    return [(i, i + 1) for i in range(count)]


def _explained(told: Tensor, clips: LabelledClips) -> list[dict]:
    """R² of each action, told for every step ``[C, H, A]``."""
    residual = (told - clips.actions).square().sum(dim=(0, 1))
    total = (clips.actions - clips.actions.mean(dim=(0, 1))).square().sum(dim=(0, 1))
    explained = zip(clips.space.action_names, (1 - residual / total.clamp(min=1e-30)).tolist(), strict=True)
    return [{"figure": f"R² {name}", "few": False, "episodes": len(clips), "value": r2} for name, r2 in explained]


def _some_pairs(clips: int, pairs: int, seed: int) -> Tensor:
    """Which pairs of every clip a network is fitted to."""
    order = torch.randperm(pairs, generator=torch.Generator().manual_seed(seed))
    return order[: max(MLP_ROWS // clips, 1)].sort().values


def row_name(inputs: str, how: str, fit: str) -> str:
    return f"{inputs}, {how}, {fit}"
