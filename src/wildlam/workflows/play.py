"""Closed loop in a simulator, towards goal images: ``wildlam play``."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from wildlam.config import config_from
from wildlam.episodes.action_spaces import PoseSpace
from wildlam.episodes.clips import encode_frames
from wildlam.episodes.vectors import described, few
from wildlam.errors import WildlamError, option
from wildlam.evaluation.intervals import PerClip
from wildlam.fileio import ensure_writable, write_atomically, writing
from wildlam.models.policy import Policy as GoalPolicy
from wildlam.planning.mpc import ITERATIONS, SAMPLES, Policy, Start, Trace, World, follow
from wildlam.planning.solvers.base import Prior
from wildlam.report.html import video
from wildlam.report.pages.plan import compared
from wildlam.report.pages.play import SHOWN, grid, table_of_episodes, write_play_report
from wildlam.report.text import text_of_figures
from wildlam.types import check_choice, check_count, settle_path_lists, settle_paths
from wildlam.video.write import mp4_bytes
from wildlam.workflows import durations
from wildlam.workflows.driven_run import DrivenRun
from wildlam.workflows.latent_run import DrivingConfig, labelled_like, load_driven
from wildlam.workflows.plan import dynamics_of
from wildlam.workflows.players import Players, first_action, parts, prior_of
from wildlam.workflows.policy import RealPolicy, decoded_policy, load_policy
from wildlam.workflows.pseudo_labels import films_of
from wildlam.worlds.simulators import SIMULATORS, chosen_cameras
from wildlam.worlds.simulators.base import Budget, Simulator

EPISODES = 50
AT_ONCE = 10
"""Episodes played together."""
ENDS = ("goal", "state")
"""Options of a start that is given, the end of the episode first."""
START = "start distance"
"""Figure that says nothing of a model."""
TRIES = 1000
SEEDS = 10_000
"""Distance of the episodes' seeds between two values of ``seed``, so that none is in both."""


@dataclass(frozen=True, kw_only=True)
class PlayConfig(DrivingConfig):
    """Which run acts in which simulator.

    Args:
        world: name of the simulator, a key of ``wildlam.worlds.simulators.SIMULATORS``: ``nav``, ``arm`` or ``pusht``.
        policy: folder of a policy (`wildlam policy train`): it acts by itself, and the run's model plans once more from
            what it would do. A linear map from labelled clips makes its latent actions real ones.
        labelled: labelled videos that linear maps are fitted to, to plan in latent, with a guide, with controls or with
            a policy.
        baselines: folders of world models trained on real actions, to compare with.
        cameras: of the arm, ``fixed`` (default) or ``many``: another camera for each episode, drawn as those of
            held-out films of ``wildlam collect arm --cameras many``.
        episodes: number of episodes.
        seed: seed of starts, goals and candidates.
        out: folder for the results; RUN/play-WORLD, or RUN/play-WORLD-latent, or -policy, if not given.
    """

    world: str
    baselines: list[Path] = field(default_factory=list)
    policy: Path | None = None
    cameras: str | None = None
    episodes: int = EPISODES
    out: Path | None = None

    @property
    def guided(self) -> bool:
        """See ``DrivingConfig``."""
        return super().guided or self.policy is not None

    @property
    def ending(self) -> str:
        """See ``DrivingConfig``."""
        return super().ending + ("-policy" if self.policy else "")

    def __post_init__(self) -> None:
        super().__post_init__()
        settle_paths(self, "policy", "out")
        settle_path_lists(self, "baselines")
        check_choice("world", self.world, list(SIMULATORS))
        check_count("episodes", self.episodes)
        for name in ("guide", "controls", "policy"):
            given = getattr(self, name)
            if given is not None and given is not False and self.labelled is None:  # a price may be 0
                raise ValueError(f"{option(name)} takes labelled videos to fit to; give {option('labelled')}, too")


@dataclass(frozen=True)
class PlayResult:
    """Episodes in a simulator, and how they ended. Printed, it is a table; in a notebook, a table and films.

    Attributes:
        folder: where ``play.json`` and ``report.html`` lie.
        world: the simulator.
        seed: seed of starts, goals and candidates.
        steps: of an episode.
        rows: figures of each episode, by model and by what models are compared with.
        films: films of the first episodes of each model that plans: MP4 files, as bytes.
    """

    folder: Path
    world: str
    seed: int
    steps: int
    rows: dict[str, PerClip] = field(repr=False)
    films: dict[str, bytes] = field(repr=False)

    def __str__(self) -> str:
        simulator, episodes = SIMULATORS[self.world], len(self.rows["no move"])
        return "\n".join(
            [
                f"{self.world}: {episodes} episodes of {self.steps} steps towards a goal image, seed {self.seed}; "
                f"success is {simulator.criterion}:",
                *text_of_figures(self.rows, [name for name in self.rows["no move"].values if name != START]),
                "",
                f"episodes   {self.folder / 'play.json'}",
                f"report     {self.folder / 'report.html'}",
            ]
        )

    def _repr_html_(self) -> str:
        films = [
            video(film, label, f"{label}: left what is seen, right the goal") for label, film in self.films.items()
        ]
        return "".join([table_of_episodes(self.rows), *films])


def play(config: PlayConfig | str | Path | None = None, /, **keywords: Any) -> PlayResult:
    """Let a run's model and baselines act in a simulator towards goal images.

    A goal is the picture after some repetitions of one action, drawn from those that it learnt from, far from the start
    and not near where the mean action leads; of PushT starts and goals are given (``worlds.pusht_tasks``). Then the
    episode is reset, and the model has twice as many steps.
    Writes ``play.json`` and ``report.html`` to a folder.

    Args:
        config: what to do, or a path, that of ``run``.
        keywords: fields of ``PlayConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: something is missing, out of its range, or does not fit together.
    """
    config = config_from(PlayConfig, config, keywords)
    simulator = SIMULATORS[config.world]
    simulator = replace(simulator, open=partial(simulator.open, **chosen_cameras(config.world, config.cameras)))
    driven = load_driven(config, config.labelled, config.tolerance, config.reading)
    fps = simulator.steps_a_second(driven.config.data.fps)
    simulator, budget = replace(simulator, open=partial(simulator.open, fps=fps)), simulator.budget(fps)
    _check_actions(driven, simulator, budget, fps)
    simulator = simulator.taking(driven.space)
    tasks = simulator.tasks(config.seed, config.episodes)
    policy = _policy_of(config.policy, driven) if config.policy else None
    folder = ensure_writable(config.out or driven.run.path / f"play-{config.world}{config.ending}")
    dynamics = dynamics_of(driven, config.baselines)
    between = simulator.space.between if isinstance(driven.space, PoseSpace) else None
    players = Players(driven, dynamics, prior_of(driven, budget), budget, between)
    _fit(config, players, policy)
    durations.announce(parts(players, simulator, config.episodes, AT_ONCE))
    traces, spent = _all_traces(players, simulator, config.episodes, config.seed, tasks)
    targets = np.stack([goal.poses[-1] for goal in traces["goal"]])
    rows = {label: judged(of, targets, simulator) for label, of in traces.items() if label != "goal"}
    with writing(f"to {folder}", f"give another {option('out')}"):
        record = _record(config, simulator, players, rows, traces, budget, spent)
        write_atomically(folder / "play.json", json.dumps(record))
        films = {
            label: mp4_bytes(grid(traces["goal"][:SHOWN], of[:SHOWN]), fps)
            for label, of in traces.items()
            if label not in ("goal", "no move", "random")
        }
        write_play_report(
            folder / "report.html",
            f"Closed loop in {config.world}: {driven.run.path.name}",
            rows,
            films,
            f"Success is {simulator.criterion}, in {budget.steps} steps. Goals lie {budget.away} steps away. "
            f"{compared(rows, dynamics, 'final distance', 'episode')}",
            f"{driven.run.facts['encoder']['name']} states, {driven}, {config.episodes} episodes, "
            f"seed {config.seed}" + (", a camera drawn for each" if config.cameras == "many" else ""),
        )
    return PlayResult(folder, config.world, config.seed, budget.steps, rows, films)


def _check_actions(driven: DrivenRun, simulator: Simulator, budget: Budget, fps: float) -> None:
    """Refuse what learnt another kind of action, or other units, than the simulator's at so many steps a second."""
    scales, space, another = driven.scales, driven.space, f"give another {option(driven.given_by)}"
    if not simulator.takes(space, fps):
        raise WildlamError(
            f"the world {simulator.name!r} takes actions {', '.join(simulator.space.action_names)}, {driven.learner} "
            f"was trained on {few(space.action_names)}; {another}, of {simulator.taken}"
        )
    mean, std = (one.double().cpu().numpy() for one in (scales.action_mean, scales.action_std))
    if found := simulator.other_units(space, mean, std, budget.away):
        raise WildlamError(f"{driven.learner} was trained in other units: {found}; {another}")


def _policy_of(folder: Path, driven: DrivenRun) -> GoalPolicy | RealPolicy:
    """Load a policy: of latent actions, or of the real ones that the run is driven by."""
    policy, space = load_policy(folder, driven.encoder, driven.model)
    if space is None:
        return policy
    if space != driven.space:
        raise WildlamError(
            f"{folder} does {described(space)}, those of {driven.place} are {described(driven.space)}; give another "
            f"{option('policy')}"
        )
    return RealPolicy(policy, driven.dynamics)


def _fit(config: PlayConfig, players: Players, policy: GoalPolicy | RealPolicy | None) -> None:
    """Fit to labelled clips what needs some."""
    if not config.guided:
        return
    assert config.labelled is not None
    driven = players.driven
    films = films_of(config.unlabelled, driven) if config.unlabelled else None
    clips = labelled_like(config, driven, config.labelled)
    players.fit(clips, films, config.guide, config.controls, config.seed)
    if policy is not None:
        real = policy if isinstance(policy, RealPolicy) else decoded_policy(policy, driven.model, clips)
        players.policy = real
        players.acts["policy"] = players.policy.act


def _all_traces(
    players: Players, simulator: Simulator, episodes: int, seed: int, tasks: list[Start] | None
) -> tuple[dict[str, list[Trace]], dict[str, float]]:
    """The trace of every episode to its goal, by each player, and of staying, and the milliseconds that each took for a
    step of an episode; ``AT_ONCE`` episodes at a time.
    """
    encoder, budget = players.driven.encoder, players.budget
    traces: dict[str, list[Trace]] = {label: [] for label in ("goal", "no move", *players.names)}
    spent = dict.fromkeys(players.names, 0.0)
    total = episodes * (budget.away + len(players.names) * budget.steps)
    with ExitStack() as stack, tqdm(total=total, desc="playing", unit="step") as bar:
        worlds = [
            stack.enter_context(simulator.open(i, size=encoder.spec.image_size)) for i in range(min(AT_ONCE, episodes))
        ]
        for first in range(0, episodes, AT_ONCE):
            own_seed = SEEDS * seed + first  # of these episodes alone
            some = worlds[: episodes - first]
            if tasks is None:
                starts, goals = _goals(some, simulator, players.prior, own_seed, budget)
            else:
                starts = [{"options": task} for task in tasks[first : first + len(some)]]
                goals = [_given(world, start) for world, start in zip(some, starts, strict=True)]
            bar.update(budget.away * len(some))
            traces["goal"] += goals
            images = np.stack([goal.frames[-1] for goal in goals])
            wanted = encode_frames(encoder, torch.from_numpy(images[:, None]).permute(0, 1, 4, 2, 3))[:, 0]
            for label, policy in players.towards(wanted.float(), own_seed).items():
                acted = _Counted(policy, bar)
                traces[label] += follow(some, starts, acted.act, budget.steps)
                spent[label] += acted.seconds
            traces["no move"] += [
                Trace(g.frames[:1].repeat(budget.steps + 1, 0), g.poses[:1].repeat(budget.steps + 1, 0), g.actions[:0])
                for g in goals
            ]
    return traces, {label: 1000 * seconds / (episodes * budget.steps) for label, seconds in spent.items()}


def _record(
    config: PlayConfig,
    simulator: Simulator,
    players: Players,
    rows: dict[str, PerClip],
    traces: dict[str, list[Trace]],
    budget: Budget,
    spent: dict[str, float],
) -> dict[str, Any]:
    """What ``play.json`` holds."""
    return {
        "world": config.world,
        **chosen_cameras(config.world, config.cameras),
        "episodes": config.episodes,
        "seed": config.seed,
        **players.driven.facts,
        "baselines": [str(folder) for folder in config.baselines],
        "guide": config.guide,
        "controls": config.controls,
        "policy": config.policy and str(config.policy),
        "unlabelled": config.unlabelled and str(config.unlabelled),
        "pseudo-labels": players.pseudo and players.pseudo.facts(players.driven.space),
        "milliseconds": spent,
        "samples": SAMPLES,
        "iterations": ITERATIONS,
        "steps": budget.steps,
        **simulator.facts,
        "summary": {label: row.summary() for label, row in rows.items()},
        "poses": {label: [trace.poses.tolist() for trace in of] for label, of in traces.items()},
        "actions": {label: [trace.actions.tolist() for trace in of] for label, of in traces.items()},
    }


def judged(traces: Sequence[Trace], targets: np.ndarray, simulator: Simulator) -> PerClip:
    """``success`` and ``final distance`` of each episode, and what else the simulator tells; targets ``[E, P]``."""
    values = simulator.figures(np.stack([trace.poses for trace in traces]), targets)
    names = [f"episode {i}" for i in range(len(traces))]
    return PerClip(
        {k: torch.from_numpy(v).float() for k, v in values.items()}, names, [simulator.space.name] * len(names)
    )


@dataclass
class _Counted:
    """A policy that moves a bar on, and the seconds that it has taken."""

    policy: Policy
    bar: tqdm
    seconds: float = 0.0

    def act(self, frames: list[np.ndarray], poses: list[np.ndarray], actions: list[np.ndarray]) -> np.ndarray:
        """See ``Policy``."""
        begun = time.perf_counter()
        chosen = self.policy(frames, poses, actions)
        self.seconds += time.perf_counter() - begun
        self.bar.update(len(chosen))
        return chosen


def _given(world: World, start: Start) -> Trace:
    """A start that is given with its goal: what is seen there and there."""
    (goal_frame, at_goal), (frame, at_start) = (world.reset(options={"state": start["options"][k]}) for k in ENDS)
    poses = np.stack([at_start["pose"], at_goal["pose"]])
    return Trace(np.stack([frame, goal_frame]), poses, np.empty((0, len(poses))))


def _goals(
    worlds: Sequence[World], simulator: Simulator, prior: Prior, seed: int, budget: Budget
) -> tuple[list[Start], list[Trace]]:
    """Starts, and the traces to goals, each by one drawn action that is repeated.

    A goal lies far from the start, and not near where the mean action leads: who always does what is usual fails.
    """
    rng = np.random.default_rng([seed, 1])
    mean, std = first_action(prior)
    starts: list[Start] = []
    goals = []

    def distances(way: Trace, goal: np.ndarray) -> np.ndarray:
        return np.linalg.norm((way.poses - goal)[:, : simulator.space.position], axis=-1)

    for world in worlds:
        for _ in range(TRIES):
            start, action = {"seed": int(rng.integers(2**31))}, mean + std * rng.normal(size=len(mean))
            (trace,) = follow([world], [start], lambda *_, a=action: a[None], budget.away)
            goal = trace.poses[-1]
            if distances(trace, goal)[0] < simulator.far:
                continue
            (usual,) = follow([world], [start], lambda *_: mean[None], budget.steps)
            if distances(usual, goal).min() > simulator.near:
                break
        else:
            raise WildlamError(
                f"no goal at least {simulator.far:g} {simulator.unit} from the start, and more than "
                f"{simulator.near:g} from where the mean action leads, was found in {TRIES} tries: the labelled videos "
                "hardly turn or stop"
            )
        starts.append(start)
        goals.append(trace)
    return starts, goals
