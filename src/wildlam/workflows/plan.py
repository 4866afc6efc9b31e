"""Plan in held-out episodes by a protocol and evaluate the plans: ``wildlam plan``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from wildlam.config import config_from
from wildlam.episodes.clips import Cut, LabelledClips, cut_clips
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.episodes.vectors import described
from wildlam.errors import WildlamError, option
from wildlam.evaluation.intervals import PerClip
from wildlam.fileio import ensure_writable, write_atomically, writing
from wildlam.models import LatentActionModel
from wildlam.planning.cost import Cost, GoalCost
from wildlam.planning.dynamics import Dynamics, FromPrior
from wildlam.planning.protocols.protocol import PlanningProtocol, ProtocolName, SolverName, protocol
from wildlam.planning.references import known_goal, mean_plan, no_move, random_plans
from wildlam.report.pages.plan import figures_of, table_of_plans, write_plan_report
from wildlam.report.text import text_of_figures
from wildlam.types import Encoder, check_choice, check_count, settle_path_lists, settle_paths
from wildlam.workflows import durations
from wildlam.workflows.baseline import load_labelled_model
from wildlam.workflows.driven_run import DrivenRun
from wildlam.workflows.goal_cloning import PSEUDO_CLONING, fit_goal_cloning
from wildlam.workflows.goal_regression import fit_goal_regression, in_equal_steps
from wildlam.workflows.latent_run import DrivingConfig, LatentRun, labelled_like, load_driven
from wildlam.workflows.motions import motions_of
from wildlam.workflows.planners import (
    AT_ONCE,
    Guide,
    Planned,
    judged,
    off_by_component,
    off_by_step,
    plan_clips,
    plan_simulated,
    simulator_costs,
    states_unjudged,
)
from wildlam.workflows.pseudo_labels import PseudoLabels, films_of, pseudo_labels

EPISODES = 64
OWN_ROWS = (
    "latent",
    "no move",
    "mean",
    "known goal",
    "random",
    "regression",
    "cloning",
    PSEUDO_CLONING,
    "guide",
    "simulator",
    "inferred",
    "goal",
)
"""Rows of the tables of plans and of the closed loop; no baseline may have such a name."""
FEW_CANDIDATES = 1000  # judged by a model before they are measured
FAR_OFF = 10.0
"""Ratio of motions to those that a model was trained on, beyond which their units must differ."""


@dataclass(frozen=True, kw_only=True)
class PlanConfig(DrivingConfig):
    """What to plan, with which models, and how.

    Args:
        data: labelled videos; plans are made in held-out ones.
        protocol: how plans are made and evaluated: recon (on the ground) or droid.
        labelled: labelled videos that linear maps are fitted to, to plan in latent, with a guide or with controls;
            ``data`` if not given.
        baselines: folders of world models trained on real actions, to compare with.
        episodes: held-out clips to plan in, spread over them by chance.
        samples: candidates of an iteration; by default 300 (droid), 120 (recon).
        iterations: how often candidates are drawn; by default 15 (droid), 1 (recon).
        solver: solver of the droid protocol: cem (the protocol's), icem (with coloured noise) or mppi (path integrals).
        simulator: plan with the simulator that filmed the episodes, too, in place of the model (the upper bound) and in
            place of the controller.
        seed: seed of the candidates and of the choice of clips.
        out: folder for the results; RUN/plan-PROTOCOL, or RUN/plan-PROTOCOL-latent, if not given.
    """

    data: Path
    protocol: ProtocolName = "recon"
    baselines: list[Path] = field(default_factory=list)
    episodes: int = EPISODES
    samples: int | None = None
    iterations: int | None = None
    solver: SolverName = "cem"
    simulator: bool = False
    out: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        settle_paths(self, "data", "out")
        settle_path_lists(self, "baselines")
        check_choice("protocol", self.protocol, get_args(ProtocolName))
        check_choice("solver", self.solver, get_args(SolverName))
        for name in ("episodes", "samples", "iterations"):
            if (value := getattr(self, name)) is not None or name == "episodes":
                check_count(name, value)
        if not isinstance(self.tolerance, int | float) or not 0 < self.tolerance < float("inf"):
            raise ValueError(f"{option('tolerance')} must be a positive number of seconds, got {self.tolerance!r}")


@dataclass(frozen=True)
class PlanResult:
    """Plans and their errors. Printed, it is a table; in a notebook too.

    Attributes:
        folder: where ``plans.json`` and ``report.html`` lie.
        protocol: protocol by which plans were made.
        seed: seed of the candidates and of the choice of clips.
        rows: figures of each episode, by model and by what models are compared with.
        plans: planned actions ``[C, H, A]`` by model, on the CPU.
        unjudged: what the plans are not judged by, and why, if anything.
    """

    folder: Path
    protocol: ProtocolName
    seed: int
    rows: dict[str, PerClip] = field(repr=False)
    plans: dict[str, Tensor] = field(repr=False)
    unjudged: str | None = field(default=None, repr=False)

    @property
    def figures(self) -> list[str]:
        """Names of the figures in the table; lower is better."""
        return figures_of(self.rows)

    def __str__(self) -> str:
        amount = next(iter(self.rows.values())).amount
        return "\n".join(
            [
                f"{self.protocol} protocol, on {amount} held out, seed {self.seed} (lower is better):",
                *text_of_figures(self.rows, self.figures),
                *([self.unjudged] if self.unjudged else []),
                "",
                f"plans      {self.folder / 'plans.json'}",
                f"report     {self.folder / 'report.html'}",
            ]
        )

    def _repr_html_(self) -> str:
        return table_of_plans(self.rows, self.figures)


def _parts(
    cut: Cut,
    dynamics: Mapping[str, Dynamics],
    how: PlanningProtocol,
    episodes: int,
    driven: DrivenRun,
    simulator: bool,
) -> list[durations.Part]:
    """Estimated time of encoding the clips and of planning with each model, from one iteration on random states."""
    encoder, width = driven.encoder, len(cut.space.action_names)
    spec, device = encoder.spec, encoder.device
    parts, amount = durations.labelled([cut], encoder), f"{episodes} episodes"
    if episodes * how.iterations * how.samples <= FEW_CANDIDATES:
        return parts

    def planned(one: Dynamics, count: int) -> None:
        given = one.prior.base if isinstance(one, FromPrior) else width
        states = torch.randn(count, 2, spec.tokens, spec.width, device=device)
        cost = GoalCost(one, states[:, :1], torch.empty(count, 0, given, device=device), states[:, 1], driven.bf16)
        cost(torch.zeros(count, how.samples, how.horizon, given, device=device))

    def simulated(cost: Cost, samples: int) -> None:
        cost(torch.zeros(1, samples, how.horizon, width))

    iterations = episodes * how.iterations
    for label, one in dynamics.items():
        parts.append(durations.many(label, amount, iterations, partial(planned, one), AT_ONCE, device))
    if simulator:
        first = cut.with_states(torch.zeros(1, how.horizon + 1, spec.tokens, spec.width))
        candidates = iterations * how.samples
        for label, model in _simulators(driven).items():
            with simulator_costs(first, encoder, model, driven.bf16) as costs:
                act = partial(simulated, costs(0))
                parts.append(durations.many(label, amount, candidates, act, how.samples, device))
    return parts


def _simulators(driven: DrivenRun) -> dict[str, LatentActionModel | None]:
    """What plans in the simulator, by the names of their rows: see ``plan_simulated``."""
    return {"simulator": None, "inferred": driven.model}


def plan(config: PlanConfig | str | Path | None = None, /, **keywords: Any) -> PlanResult:
    """Plan in held-out episodes with a run's model and its controller, and with baselines.

    Writes ``plans.json`` and ``report.html`` to a folder.

    Args:
        config: what to do, or a path, that of ``run``.
        keywords: fields of ``PlanConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: something is missing, out of its range, or does not fit together.
    """
    config = config_from(PlanConfig, config, keywords)
    driven = load_driven(config, config.labelled or config.data, config.tolerance, config.reading)
    opened, encoder, space, fps = driven.run, driven.encoder, driven.space, driven.config.data.fps
    reading = driven.reads(config.reading, config.data)
    found = read_episodes(config.data, config.tolerance, reading)
    if (there := found[0].space_at(fps)) != space:
        raise WildlamError(
            f"{config.data} holds {described(there)}, those of {driven.place} are {described(space)}; give other "
            f"{option('data')} or another {option(driven.given_by)}"
        )
    dynamics = dynamics_of(driven, config.baselines)
    _check_units(found, fps, {**dynamics, "latent": driven.scales}, driven.learner)
    how = protocol(config.protocol, found, fps, encoder.device, config.samples, config.iterations, config.solver)
    folder = ensure_writable(config.out or opened.path / f"plan-{config.protocol}{config.ending}")
    cut = held_out_cut(found, encoder, how.horizon + 1, fps, config.data)
    episodes = min(config.episodes, len(cut.places))
    labelled, films = None, films_of(config.unlabelled, driven) if config.unlabelled else None
    if config.guided:
        labelled = labelled_like(config, driven, config.labelled or config.data)
    durations.announce(_parts(cut, dynamics, how, episodes, driven, config.simulator))
    clips = cut.encoded(encoder).few(config.episodes, config.seed)
    pseudo = None
    if labelled is not None and films is not None:
        pseudo = pseudo_labels(driven.model, labelled, films, how.horizon)
    rows, plans, unlearnt = _planned(config, driven, dynamics, how, clips, labelled, pseudo)
    _write(config, driven, how, clips, folder, rows, plans, unlearnt, pseudo)
    actions = {label: one.actions for label, one in plans.items()}
    return PlanResult(folder, config.protocol, config.seed, rows, actions, states_unjudged(space))


def _planned(
    config: PlanConfig,
    driven: DrivenRun,
    dynamics: Mapping[str, Dynamics],
    how: PlanningProtocol,
    clips: LabelledClips,
    labelled: LabelledClips | None,
    pseudo: PseudoLabels | None,
) -> tuple[dict[str, PerClip], dict[str, Planned], dict[str, Tensor]]:
    """The figures of every row of the table, the plans of the models, the run's guided if it is said so, and those that
    take no model.
    """
    seed, bf16 = config.seed, driven.bf16
    if config.simulator:
        from wildlam.worlds.simulators import check_films

        check_films(clips)  # before an hour of plans
    unlearnt = {"no move": no_move(clips)} if clips.space.zero_stays else {"mean": mean_plan(clips, how)}
    if config.protocol == "recon":  # the other protocol's candidates lie about staying
        unlearnt |= {"mean": mean_plan(clips, how), "known goal": known_goal(clips, how, seed)}
    unlearnt["random"] = random_plans(clips, how, seed)
    guide = guide_of_others = None
    if labelled is not None and config.guide is not None:
        guide = Guide(fit_goal_regression(labelled, how.horizon, driven.model, pseudo), config.guide)
        guide_of_others = Guide(guide.regression.without_model, config.guide)
        told = {"regression": guide_of_others.regression(clips), "guide": guide.regression(clips)}
        unlearnt |= {name: in_equal_steps(sums, how.horizon) for name, sums in told.items()}
    if labelled is not None and config.controls:
        if clips.space.zero_stays and "regression" not in unlearnt:  # where a guide has fitted it
            sums = fit_goal_regression(labelled, how.horizon)(clips)
            unlearnt["regression"] = in_equal_steps(sums, how.horizon)
        unlearnt["cloning"] = fit_goal_cloning(motions_of(labelled, how.horizon), seed)(clips)
        if pseudo is not None:
            unlearnt[PSEUDO_CLONING] = fit_goal_cloning(pseudo.films, seed)(clips)
    rows = {label: judged(actions, clips, how) for label, actions in unlearnt.items()}
    plans = {}
    for label, one in dynamics.items():
        if label == "latent" and isinstance(driven, LatentRun):
            plans[label] = driven.plan(clips, how, seed)
        else:
            guides = guide if label == "latent" else guide_of_others
            plans[label] = plan_clips(one, clips, how, seed, bf16, guide=guides)
    if config.simulator:
        for label, model in _simulators(driven).items():
            plans[label] = plan_simulated(clips, how, driven.encoder, model, seed, bf16)
    return rows | {label: one.per_clip for label, one in plans.items()}, plans, unlearnt


def _write(
    config: PlanConfig,
    driven: DrivenRun,
    how: PlanningProtocol,
    clips: LabelledClips,
    folder: Path,
    rows: Mapping[str, PerClip],
    plans: Mapping[str, Planned],
    unlearnt: Mapping[str, Tensor],
    pseudo: PseudoLabels | None,
) -> None:
    """Write ``plans.json`` and ``report.html``."""
    actions = {**unlearnt, **{label: one.actions for label, one in plans.items()}}
    components = {label: off_by_component(one, clips) for label, one in actions.items()}
    by_step = {label: off_by_step(one, clips) for label, one in actions.items()}
    name, solver, amount = config.protocol, config.solver, next(iter(rows.values())).amount
    record = {
        "protocol": name,
        "episodes": len(clips),
        "seed": config.seed,
        "data": str(config.data),
        **driven.facts,
        "guide": config.guide,
        "controls": config.controls,
        "unlabelled": config.unlabelled and str(config.unlabelled),
        "pseudo-labels": pseudo and pseudo.facts(driven.space),
        "baselines": [str(folder) for folder in config.baselines],
        "samples": how.samples,
        "iterations": how.iterations,
        "solver": solver if name == "droid" else None,
        "action_names": driven.space.action_names,
        "units": driven.space.units,
        "fps": clips.fps,
        "summary": {label: row.summary() for label, row in rows.items()},
        "components": components,
        "steps": by_step,
        "per episode": {label: {k: v.tolist() for k, v in row.values.items()} for label, row in rows.items()},
        "plans": {label: one.actions.tolist() for label, one in plans.items()},
        "true": clips.actions.tolist(),
        "clips": [{"video": e.name, "frames": frames.tolist()} for e, frames in clips.places],
    }
    with writing(f"to {folder}", f"give another {option('out')}"):
        write_atomically(folder / "plans.json", json.dumps(record))
        write_plan_report(
            folder / "report.html",
            f"Plans by the {name} protocol: {driven.run.path.name}",
            clips,
            rows,
            {label: one.actions.numpy() for label, one in plans.items()},
            components,
            by_step,
            states_unjudged(driven.space),
            "rpe" if name == "recon" else figures_of(rows)[0],
            f"{driven.run.facts['encoder']['name']} states, {amount} held out of {config.data}, "
            f"{driven}, {how.samples} candidates drawn {how.iterations} time(s)"
            f"{f' ({solver})' if name == 'droid' else ''}, seed {config.seed}",
        )


def dynamics_of(driven: DrivenRun, baselines: Sequence[Path]) -> dict[str, Dynamics]:
    """The models that plan: ``latent``, and baselines by the names of their folders.

    Raises:
        WildlamError: a baseline is none, takes other actions than the controller, or is given twice.
    """
    dynamics = {"latent": driven.dynamics}
    places, remedy = [folder.absolute() for folder in baselines], f"give other {option('baselines')}"
    for folder in places:
        if places.count(folder) > 1:
            raise WildlamError(f"{folder} is given twice; {remedy}")
        model, space = load_labelled_model(folder, driven.encoder)
        if space != driven.space:
            raise WildlamError(
                f"{folder} takes {described(space)}, {driven.learner} {described(driven.space)}; {remedy}"
            )
        dynamics[next(name for name in _names(folder) if name not in {*OWN_ROWS, *dynamics})] = model
    return dynamics


def _names(folder: Path) -> Iterator[str]:
    """Names of folders in a table, with as many parent folders as make them distinct."""
    for n in range(len(folder.parts)):
        yield "/".join(folder.parts[-n - 1 :])


def _check_units(episodes: Sequence[Episode], fps: float, models: Mapping[str, Any], learner: str) -> None:
    """Refuse models trained on far larger or smaller motions, such as metres in place of map units."""
    space = episodes[0].space_at(fps)
    actions = np.concatenate([one.actions(run) for one in episodes for run in one.sampled(fps)[0] if len(run) > 1])
    here = float(np.linalg.norm(actions[:, : space.position].std(axis=0)))
    for label, model in models.items():
        label = learner if label == "latent" else label
        learnt = float(model.action_std[: space.position].norm())
        if not 1 / FAR_OFF < here / learnt < FAR_OFF:
            raise WildlamError(
                f"displacements of these data vary by {here:.3g} a step, those that {label} was trained on by "
                f"{learnt:.3g}: they are in other units, or of another rate; give other {option('data')}, or what "
                "was trained on data like these"
            )


def held_out_cut(episodes: Sequence[Episode], encoder: Encoder, states: int, fps: float, data: Path) -> Cut:
    """Held-out clips of so many states, whose states are cached next to the data."""
    return cut_clips(episodes, encoder, "held_out", states=states, fps=fps, cache=cache_folder(data))
