"""Plan in held-out episodes by a protocol and judge the plans: the steps behind ``wildlam plan``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.clips import Cut, LabelledClips, cut_clips, encode_frames
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.episodes.pairing import TOLERANCE
from wildlam.errors import WildlamError
from wildlam.evaluation.intervals import PerClip
from wildlam.fileio import ensure_writable, read_json, write_atomically, writing
from wildlam.models import LatentActionModel
from wildlam.planning.cost import Cost, GoalCost, counted
from wildlam.planning.dynamics import Controlled, Dynamics
from wildlam.planning.protocols import droid, recon
from wildlam.planning.solvers.base import Plan, Prior, white_noise
from wildlam.planning.solvers.cem import cem
from wildlam.planning.solvers.icem import icem
from wildlam.planning.solvers.mppi import mppi
from wildlam.planning.trajectory_errors import trajectory_errors
from wildlam.report.pages.plan import write_plan_report
from wildlam.report.text import text_of_summary
from wildlam.types import Encoder, check_seed
from wildlam.workflows import durations
from wildlam.workflows.baseline import load_labelled_model
from wildlam.workflows.controller import ControlledRun, load_controlled

ProtocolName = Literal["droid", "recon"]
SolverName = Literal["cem", "icem", "mppi"]

EPISODES = 64
AT_ONCE = 8
"""Episodes planned together."""
OWN_ROWS = ("latent", "no move", "mean", "known goal", "random", "simulator", "inferred", "goal")
"""Of the tables of plans and of the closed loop; a baseline is called otherwise."""
PICTURES = 256
"""Pictures of a simulator encoded together."""
FEW_CANDIDATES = 1000
"""Judged by a model before they are measured."""
FAR_OFF = 10.0
"""How many times larger or smaller motions may be than those that a model learnt from, before units must differ."""


@dataclass(frozen=True)
class PlanningProtocol:
    """How plans are made and judged.

    Attributes:
        name: droid or recon.
        horizon: steps of a plan.
        samples: candidates of an iteration.
        iterations: how often they are drawn.
        prior: that candidates are drawn from.
        solve: from a cost, a number of episodes and a generator to their plans.
    """

    name: ProtocolName
    horizon: int
    samples: int
    iterations: int
    prior: Prior
    solve: Callable[[Cost, int, torch.Generator], Plan]

    def shown(self, episodes: int, progress: bool) -> dict[str, Any]:
        """What a bar counts: iterations, as a whole episode may take minutes."""
        return {"total": episodes * self.iterations, "unit": "iteration", "disable": not progress}


def protocol(
    name: ProtocolName,
    episodes: Sequence[Episode],
    fps: float,
    device: torch.device,
    samples: int | None = None,
    iterations: int | None = None,
    solver: SolverName = "cem",
) -> PlanningProtocol:
    """Set a protocol up by the poses of training episodes, the same for every model that it judges.

    Args:
        name: which.
        episodes: of one kind; those for training decide the prior.
        fps: steps per second.
        device: that plans are made on.
        samples: candidates of an iteration; the protocol's (300 and 120) if not given.
        iterations: how often candidates are drawn; the protocol's (15 and 1) if not given.
        solver: of the droid protocol, which is for the cross-entropy method.

    Raises:
        WildlamError: the episodes are of another kind, or too short; or the protocol has no choice of solvers.
    """
    if name == "recon":
        if solver != "cem":
            raise WildlamError(f"the recon protocol keeps the best of one draw; --solver {solver} is for droid")
        if episodes[0].space is not PLANAR:
            raise WildlamError("the recon protocol plans on the ground; for an arm give --protocol droid")
        totals = recon.prior_of_totals(episodes, fps).to(device)
        samples, iterations = samples or recon.SAMPLES, iterations or recon.ITERATIONS
        divided = partial(recon.plan_divided, samples=samples, iterations=iterations)
        return PlanningProtocol(
            name,
            recon.HORIZON,
            samples,
            iterations,
            totals,
            lambda cost, batch, g: divided(cost, totals, batch=batch, generator=g),
        )
    prior = droid.prior_of_actions(episodes, fps).to(device)
    samples, iterations = samples or droid.SAMPLES, iterations or droid.ITERATIONS
    solve: dict[SolverName, Callable[..., Plan]] = {
        "cem": partial(cem, elites=droid.ELITES),
        "icem": partial(icem, elites=droid.ELITES),
        "mppi": mppi,
    }
    return PlanningProtocol(
        name,
        droid.HORIZON,
        samples,
        iterations,
        prior,
        lambda cost, batch, g: solve[solver](
            cost, prior, batch=batch, samples=samples, iterations=iterations, generator=g
        ),
    )


@dataclass
class Planned:
    """Plans of one model in held-out clips.

    Attributes:
        actions: ``[C, H, A]``.
        per_clip: what each plan is judged by: ``displacement`` and, on the ground, ``ate`` and ``rpe``; its ``cost``
            and, in the same model, the ``true cost`` of what was really done.
    """

    actions: Tensor
    per_clip: PerClip

    def summary(self) -> dict[str, Any]:
        """Means with their intervals, over episodes."""
        return {name: asdict(self.per_clip.estimate(name)) for name in self.per_clip.values}


def plan_clips(
    dynamics: Dynamics,
    clips: LabelledClips,
    how: PlanningProtocol,
    seed: int = 0,
    bf16: bool = True,
    progress: bool = True,
) -> Planned:
    """Plan from the first state of each clip towards its last.

    Args:
        dynamics: world model that takes real actions.
        clips: of ``horizon + 1`` states.
        how: the protocol.
        seed: of the candidates; the same ones for every model.
        bf16: see ``GoalCost``.
        progress: show a progress bar.
    """
    generator, device = torch.Generator().manual_seed(seed), how.prior.mean.device
    actions, costs, true_costs = [], [], []
    with tqdm(desc=f"planning, {how.name}", **how.shown(len(clips), progress)) as bar:
        for of_clips, done in zip(clips.states.split(AT_ONCE), clips.actions.split(AT_ONCE), strict=True):
            states, true = of_clips.to(device).float(), done.to(device)
            cost = GoalCost(dynamics, states[:, :1], true[:, :0], states[:, -1], bf16)
            found = how.solve(counted(cost, bar, how.iterations), len(states), generator)
            actions.append(found.actions)
            costs.append(found.cost)
            true_costs.append(cost(true[:, None])[:, 0])
    planned = torch.cat(actions).cpu()
    costs_of_all = {"cost": torch.cat(costs).cpu(), "true cost": torch.cat(true_costs).cpu()}
    return Planned(planned, judged(planned, clips, costs_of_all))


def plan_simulated(
    clips: LabelledClips,
    how: PlanningProtocol,
    encoder: Encoder,
    model: LatentActionModel | None = None,
    seed: int = 0,
    bf16: bool = True,
    progress: bool = True,
) -> Planned:
    """Plan with the simulator that the clips were filmed in, in place of a world model: the upper bound.

    With a model, the simulator takes the place of the controller alone: of what is seen along a candidate latent
    actions are inferred, and the model unrolls these.

    Args:
        clips: of ``horizon + 1`` states, from films of ``wildlam collect``.
        how: the protocol.
        encoder: of the states that are compared.
        model: that latent actions are inferred by and for.
        seed: of the candidates.
        bf16: see ``GoalCost``.
        progress: show a progress bar.

    Raises:
        WildlamError: the clips are no such films, or the simulator is missing.
    """
    generator, found = torch.Generator().manual_seed(seed), []
    true_costs = []
    with (
        _simulated(clips, encoder, model, bf16) as costs,
        tqdm(desc=f"planning, {how.name}, simulator", **how.shown(len(clips), progress)) as bar,
    ):
        for i in range(len(clips)):
            cost = costs(i)
            found.append(how.solve(counted(cost, bar, how.iterations), 1, generator))
            true_costs.append(cost(clips.actions[i : i + 1, None])[:, 0])
    planned = torch.cat([one.actions for one in found]).cpu()
    told = {"cost": torch.cat([one.cost for one in found]).cpu(), "true cost": torch.cat(true_costs).cpu()}
    return Planned(planned, judged(planned, clips, told))


def _simulated(
    clips: LabelledClips, encoder: Encoder, model: LatentActionModel | None, bf16: bool
) -> AbstractContextManager[Callable[[int], Cost]]:
    """The simulator's costs of plans in each clip, by its index; see ``plan_simulated``."""
    from wildlam.worlds.simulator_cost import simulated_costs

    @torch.no_grad()
    def reinfer_end(states: Tensor) -> Tensor:
        assert model is not None
        states = states.to(encoder.device)
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=bf16):
            latent = model.infer(states)
            return model.rollout(states[:1, :1], latent[None])[0, :, -1].float().cpu()

    def encode(pictures: Tensor) -> Tensor:
        return torch.cat([encode_frames(encoder, part[:, None])[:, 0].cpu() for part in pictures.split(PICTURES)])

    return simulated_costs(clips, encode, encoder.spec.image_size, reinfer_end if model else None)


def _parts(
    cut: Cut,
    dynamics: Mapping[str, Dynamics],
    how: PlanningProtocol,
    episodes: int,
    driven: ControlledRun,
    simulator: bool,
) -> list[durations.Part]:
    """How long it takes to encode the clips and to plan with each model: an iteration on states made up is measured."""
    encoder, width = driven.encoder, len(cut.space.action_names)
    spec, device = encoder.spec, encoder.device
    parts, amount = durations.labelled([cut], encoder), f"{episodes} episodes"
    if episodes * how.iterations * how.samples <= FEW_CANDIDATES:
        return parts

    def planned(one: Dynamics, count: int) -> None:
        states = torch.randn(count, 2, spec.tokens, spec.width, device=device)
        cost = GoalCost(one, states[:, :1], torch.empty(count, 0, width, device=device), states[:, 1], driven.bf16)
        cost(torch.zeros(count, how.samples, how.horizon, width, device=device))

    def simulated(cost: Cost, samples: int) -> None:
        cost(torch.zeros(1, samples, how.horizon, width))

    iterations = episodes * how.iterations
    for label, one in dynamics.items():
        parts.append(durations.many(label, amount, iterations, partial(planned, one), AT_ONCE, device))
    if simulator:
        first = cut.with_states(torch.zeros(1, how.horizon + 1, spec.tokens, spec.width))
        candidates = iterations * how.samples
        for label, model in _simulators(driven).items():
            with _simulated(first, encoder, model, driven.bf16) as costs:
                act = partial(simulated, costs(0))
                parts.append(durations.many(label, amount, candidates, act, how.samples, device))
    return parts


def _simulators(driven: ControlledRun) -> dict[str, LatentActionModel | None]:
    """What plans in the simulator, by the names of their rows: see ``plan_simulated``."""
    return {"simulator": None, "inferred": driven.model}


def judged(planned: Tensor, clips: LabelledClips, more: dict[str, Tensor] | None = None) -> PerClip:
    """What plans ``[C, H, A]`` are judged by, per clip."""
    space = clips.space
    values = {"displacement": droid.displacement_error(planned, clips.actions, space.position), **(more or {})}
    if space is PLANAR:
        errors = []
        for actions, poses in zip(planned.double().numpy(), clips.poses.numpy(), strict=True):
            errors.append(trajectory_errors(space.integrate(poses[0], actions), poses))
        values |= {name: torch.tensor([e[name] for e in errors]) for name in errors[0]}
    return PerClip(values, clips.names, [space.name] * len(clips))


def no_move(clips: LabelledClips) -> PerClip:
    """Stay where one is."""
    return judged(torch.zeros_like(clips.actions), clips)


def mean_plan(clips: LabelledClips, how: PlanningProtocol) -> PerClip:
    """Do what training episodes do on average, whatever the goal, on the ground."""
    mean = how.prior.mean.cpu().expand(len(clips), -1, -1)
    return judged(recon.divided(mean)[:, 0], clips)


def random_plans(clips: LabelledClips, how: PlanningProtocol, seed: int = 0) -> PerClip:
    """One draw of the protocol's prior per clip."""
    mean, std = how.prior.per_episode(len(clips))
    drawn = how.prior.around(mean, std, white_noise(mean, 1, torch.Generator().manual_seed(seed)))[:, 0].cpu()
    return judged(recon.divided(drawn)[:, 0] if how.name == "recon" else drawn, clips)


def known_goal(clips: LabelledClips, how: PlanningProtocol, seed: int = 0) -> PerClip:
    """Plans of one whose cost is true: how far from the goal's pose candidates on the ground end.

    What is left of the error is due to the protocol: to few candidates, and to going in one curve where the truth did
    not. No model can plan much better.
    """
    unit = how.prior.std[-1].cpu().numpy()

    def cost(candidates: Tensor) -> Tensor:
        costs = np.zeros(candidates.shape[:2], np.float32)
        for (b, s), actions in zip(np.ndindex(*costs.shape), candidates.cpu().double().flatten(0, 1), strict=True):
            poses = clips.poses[b].numpy()
            end = clips.space.integrate(poses[0], actions.numpy())[-1]
            costs[b, s] = np.linalg.norm(clips.space.between(np.stack([poses[-1], end]))[0] / unit)
        return torch.from_numpy(costs).to(candidates.device)

    return judged(how.solve(cost, len(clips), torch.Generator().manual_seed(seed)).actions.cpu(), clips)


def plan(
    path: Path,
    name: ProtocolName,
    data: Path,
    *,
    controller: Path | None = None,
    baselines: Sequence[Path] = (),
    episodes: int = EPISODES,
    tolerance: float = TOLERANCE,
    samples: int | None = None,
    iterations: int | None = None,
    solver: SolverName = "cem",
    simulator: bool = False,
    seed: int = 0,
    out: Path | None = None,
) -> Path:
    """Plan in held-out episodes with a run's model and its controller, and with what to compare it with.

    Args:
        path: the run folder.
        name: the protocol.
        data: labelled videos; plans are made in held-out ones.
        controller: its folder; that of the run if not given.
        baselines: folders of world models trained on real actions.
        episodes: how many, spread over the clips by chance.
        tolerance: seconds that a recorded state may be away from every frame; see ``read_episodes``.
        samples: see ``protocol``.
        iterations: likewise.
        solver: likewise.
        simulator: plan with the simulator that filmed the episodes, too, in place of the model (the upper bound) and in
            place of the controller.
        seed: of candidates and of the choice of episodes.
        out: folder for what is found; ``path/plan-NAME`` if not given.

    Returns:
        That folder, with ``plans.json`` and ``report.html``.

    Raises:
        WildlamError: something is missing, or does not fit together.
    """
    for word, value in (("--episodes", episodes), ("--samples", samples), ("--iterations", iterations)):
        if value is not None and value < 1:
            raise WildlamError(f"{word} must be at least 1, got {value}")
    check_seed(seed)
    driven = load_controlled(path, controller)
    opened, encoder, space, fps = driven.run, driven.encoder, driven.space, driven.config.data.fps
    found = read_episodes(data, tolerance)
    if found[0].space is not space:
        raise WildlamError(
            f"{data} holds {found[0].space.name} actions, the controller's are {space.name}; give other --data or "
            "another --controller"
        )
    dynamics = dynamics_of(driven, baselines)
    scaled = {**dynamics, "latent": driven.controller}
    _check_units(found, fps, scaled)
    how = protocol(name, found, fps, encoder.device, samples, iterations, solver)
    folder = ensure_writable(out or opened.path / f"plan-{name}")
    cut = held_out_cut(found, encoder, how.horizon + 1, fps, data)
    durations.tell(_parts(cut, dynamics, how, min(episodes, len(cut.places)), driven, simulator))
    clips = cut.encoded(encoder).few(episodes, seed)
    if simulator:
        from wildlam.worlds.simulator_cost import check_films

        check_films(clips)  # before an hour of plans
    rows = {"no move": no_move(clips)}
    if name == "recon":  # the other protocol's candidates lie about staying
        rows |= {"mean": mean_plan(clips, how), "known goal": known_goal(clips, how, seed)}
    rows["random"] = random_plans(clips, how, seed)
    plans = {}
    for label, one in dynamics.items():
        plans[label] = plan_clips(one, clips, how, seed, driven.bf16)
        rows[label] = plans[label].per_clip
    if simulator:
        for label, model in _simulators(driven).items():
            plans[label] = plan_simulated(clips, how, encoder, model, seed, driven.bf16)
            rows[label] = plans[label].per_clip
    summary = {label: {k: asdict(row.estimate(k)) for k in row.values} for label, row in rows.items()}
    record = {
        "protocol": name,
        "episodes": len(clips),
        "seed": seed,
        "data": str(data),
        "controller": str(driven.place),
        "baselines": [str(folder) for folder in baselines],
        "samples": how.samples,
        "iterations": how.iterations,
        "solver": solver if name == "droid" else None,
        "units": space.action_names,
        "fps": clips.fps,
        "summary": summary,
        "per episode": {label: {k: v.tolist() for k, v in row.values.items()} for label, row in rows.items()},
        "plans": {label: one.actions.tolist() for label, one in plans.items()},
        "true": clips.actions.tolist(),
        "clips": [{"video": e.name, "frames": frames.tolist()} for e, frames in clips.places],
    }
    facts = opened.facts
    with writing(f"to {folder}", "give another --out"):
        write_atomically(folder / "plans.json", json.dumps(record))
        write_plan_report(
            folder / "report.html",
            f"Plans by the {name} protocol: {opened.path.name}",
            clips,
            rows,
            {label: one.actions.numpy() for label, one in plans.items()},
            "rpe" if name == "recon" else "displacement",
            f"{facts['encoder']['name']} states, {len(clips)} held-out episodes of {data}, controller {driven.place}, "
            f"{how.samples} candidates drawn {how.iterations} time(s){f' ({solver})' if name == 'droid' else ''}, "
            f"seed {seed}",
        )
    return folder


def table(folder: Path) -> str:
    """The summary of ``plans.json`` as text."""
    found = read_json(folder / "plans.json")
    figures = [name for name in ("displacement", "ate", "rpe") if name in found["summary"]["no move"]]
    lines = [
        f"{found['protocol']} protocol, {found['episodes']} held-out episodes, seed {found['seed']} (lower is better):",
        *text_of_summary(found["summary"], figures),
    ]
    return "\n".join([*lines, "", f"plans      {folder / 'plans.json'}", f"report     {folder / 'report.html'}"])


def dynamics_of(driven: ControlledRun, baselines: Sequence[Path]) -> dict[str, Dynamics]:
    """What plans: ``latent``, and world models of real actions by the names of their folders.

    Raises:
        WildlamError: a baseline is none, takes other actions than the controller, or is given twice.
    """
    dynamics: dict[str, Dynamics] = {"latent": Controlled(driven.model, driven.controller)}
    places = [folder.absolute() for folder in baselines]
    for folder in places:
        if places.count(folder) > 1:
            raise WildlamError(f"{folder} is given twice; give other --baselines")
        model, space = load_labelled_model(folder, driven.encoder)
        if space is not driven.space:
            raise WildlamError(
                f"{folder} takes {space.name} actions, the controller {driven.space.name}; give other --baselines"
            )
        dynamics[next(name for name in _names(folder) if name not in {*OWN_ROWS, *dynamics})] = model
    return dynamics


def _names(folder: Path) -> Iterator[str]:
    """What a folder may be called in a table: its name, with as many of those above it as it takes."""
    for n in range(len(folder.parts)):
        yield "/".join(folder.parts[-n - 1 :])


def _check_units(episodes: Sequence[Episode], fps: float, models: Mapping[str, Any]) -> None:
    """Refuse models that learnt from far larger or smaller motions: of metres in place of map units, say."""
    space = episodes[0].space
    actions = np.concatenate([space.between(one.poses[run]) for one in episodes for run in one.sampled(fps)[0]])
    here = float(np.linalg.norm(actions[:, : space.position].std(axis=0)))
    for label, model in models.items():
        label = "the controller" if label == "latent" else label
        learnt = float(model.action_std[: space.position].norm())
        if not 1 / FAR_OFF < here / learnt < FAR_OFF:
            raise WildlamError(
                f"displacements of these data vary by {here:.3g} a step, those that {label} learnt from by "
                f"{learnt:.3g}: they are in other units, or of another rate; give other --data, or what was trained "
                "on data like these"
            )


def held_out_cut(episodes: Sequence[Episode], encoder: Encoder, states: int, fps: float, data: Path) -> Cut:
    """Held-out clips of so many states, which are kept beside the data."""
    return cut_clips(episodes, encoder, "held_out", states=states, fps=fps, cache=cache_folder(data))
