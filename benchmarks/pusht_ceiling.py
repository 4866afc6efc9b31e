"""What holds success back in PushT: docs/results/pusht_ceiling.md

    python benchmarks/pusht_ceiling.py [--seeds 0 1 2] [--clips 105 0]

Cloning takes no world model, so what it reaches tells what is to be had of actions, labels and states. *Replay*: the
true motions of the disc, of each half second, once more. *Poses*: a network sees where disc and T are, and shall be,
exactly or with a normal error of each coordinate, of so many pixels (of the T's angle as many hundredths of a radian),
that of the goal once an episode. *States*: it sees the states that all models of ``pusht.py`` see, through attention
over their tokens. Both learn what was done first between two moments at most five steps apart, from true labels of
clips of ``pusht.py``'s films, and act from its starts to its goals. *Read*: how exactly such a network of all labels
reads the poses from held-out states.

What pusht_ceiling.json holds is not done again; to do all of it again, give another ``--out``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from common import spread
from planning import ALL
from pusht import FILMS, FPS, SECONDS, SEED, WORK, WORLD
from torch import Tensor, nn
from tqdm import trange
from worlds import Rows, films, machines

from wildlam.encoders import Lite0
from wildlam.episodes.clips import LabelledClips, encode_frames, labelled_clips
from wildlam.episodes.formats import cache_folder, read_episodes
from wildlam.errors import WildlamError
from wildlam.models.policy import Policy, PolicyConfig
from wildlam.report.text import markdown_table
from wildlam.types import Encoder
from wildlam.workflows.baseline import STATES
from wildlam.worlds.pusht import RATE, TABLE, PushT, is_reached, off
from wildlam.worlds.pusht_films import collect_pusht
from wildlam.worlds.pusht_tasks import AWAY, EPISODES, fingerprint, tasks, ways

HORIZON = round(AWAY * FPS / RATE)
"""Steps to a goal."""
NOISE = [0.0, 5.0, 10.0, 20.0]
"""Pixels by which seen poses err; the T's angle by as many hundredths of a radian."""
STEPS = {"poses": 4000, "states": 2000}
"""Training steps of a network."""
PAIRS = {"poses": 512, "states": 32 * (STATES - 1)}
"""Pairs of states of a training step."""
WIDTH, LEARNING_RATE = 512, {"poses": 2e-3, "states": 1e-3}
Act = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]
"""From pictures and poses, and those of the goals, and the steps that are left to displacements of the disc."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the films")
    parser.add_argument("--clips", type=int, nargs="+", default=[105, ALL], help="labelled clips; 0: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of clips, networks and tasks")
    parser.add_argument("--films", type=int, default=FILMS, help="films in all, of which one of eight is held out")
    parser.add_argument("--episodes", type=int, default=EPISODES, help="episodes of a seed")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="folder for pusht_ceiling.json and .md")
    args = parser.parse_args()
    collect_pusht(films(args, WORLD), episodes=args.films, seconds=SECONDS, seed=SEED, distractors=0.0)
    encoder = Lite0().build("cpu")
    of = {"tasks": fingerprint(), "films": args.films, "episodes": args.episodes}
    rows = Rows(args.out / "pusht_ceiling.json", of, ("seen", "noise", "clips", "seed"))
    read = partial(
        labelled_clips, read_episodes(films(args, WORLD)), encoder, states=STATES, fps=FPS,
        cache=cache_folder(films(args, WORLD)),
    )  # fmt: skip
    train = read("train")
    parts = [("replay", 0.0, ALL)]
    parts += [("poses", noise, clips) for clips in args.clips for noise in (NOISE if clips == ALL else NOISE[:1])]
    parts += [("states", 0.0, clips) for clips in args.clips]
    if max(args.clips) > len(train):
        raise WildlamError(f"the films hold {len(train)} training clips, --clips asks for {max(args.clips)}")
    for seed in args.seeds:
        for seen, noise, clips in parts:
            part = {"seen": seen, "noise": noise, "clips": clips or "all", "seed": seed}
            if not rows.has(**part):
                done = success(args, seen, noise, train.few(clips or None, seed), encoder, seed)
                write(rows.add([part | {"success": done}]), args)
        part = {"seen": "read", "noise": 0.0, "clips": "all", "seed": seed}
        if not rows.has(**part):
            write(rows.add([part | errors_of_reading(train, read("held_out"), encoder, seed)]), args)
    write(rows.read(), args)
    print((args.out / "pusht_ceiling.md").read_text())


def success(
    args: argparse.Namespace, seen: str, noise: float, few: LabelledClips, encoder: Encoder, seed: int
) -> float:
    """Share of the tasks of a seed that are reached."""
    if seen == "replay":
        return replayed(args.episodes, seed)
    torch.manual_seed(seed)
    act = by_poses(few, noise, seed) if seen == "poses" else by_states(few, encoder, seed)
    given = tasks(seed, args.episodes)
    with ExitStack() as stack:
        worlds = [stack.enter_context(PushT(encoder.spec.image_size, FPS)) for _ in given]
        ends = [[world.reset(options={"state": task[end]}) for end in ("goal", "state")] for world, task in
                zip(worlds, given, strict=True)]  # fmt: skip
        goals, poses = (np.stack([one[k][1]["pose"] for one in ends]) for k in (0, 1))
        wanted, frames = (np.stack([one[k][0] for one in ends]) for k in (0, 1))
        reached = np.zeros(len(given), dtype=bool)
        for step in range(2 * HORIZON):
            moves = act(frames, poses, wanted, goals, max(1, HORIZON - step))
            for i, (world, move) in enumerate(zip(worlds, moves, strict=True)):
                for target in world.way(move):
                    world.command(target)
                    reached[i] |= bool(is_reached(world.pose, goals[i]))
            poses, frames = np.stack([world.pose for world in worlds]), np.stack([world.frame for world in worlds])
    return float(reached.mean())


def replayed(episodes: int, seed: int) -> float:
    """Success of the true displacements of each step, in the episodes that the tasks are of."""
    found: list[bool] = []
    with PushT(size=16, fps=FPS) as world:
        for way in islice(ways(seed), episodes):
            world.restore(way[0])
            reached = False
            for begin in range(0, AWAY, AWAY // HORIZON):
                for target in world.way(way[begin + AWAY // HORIZON, :2] - way[begin, :2]):
                    world.command(target)
                    reached |= bool(is_reached(world.pose, way[-1]))
            found.append(reached)
    return float(np.mean(found))


def by_poses(few: LabelledClips, noise: float, seed: int) -> Act:
    """Cloning of who sees poses, which err."""
    rng, deviation = np.random.default_rng(seed), noise * np.array([1, 1, 1, 1, 0.01])
    poses, scale = few.poses[..., :5].double().numpy(), float(few.actions.std())

    def see(starts: np.ndarray, ends: np.ndarray, steps: np.ndarray) -> Tensor:
        c, s = np.cos(starts[:, 4:]), np.sin(starts[:, 4:])
        x, y = (starts[:, :2] - starts[:, 2:4]).T[..., None]
        beside = np.concatenate([c * x + s * y, c * y - s * x], axis=1) / scale  # of the disc, as the T lies
        turn = np.remainder(ends[:, 4:] - starts[:, 4:] + np.pi, 2 * np.pi) - np.pi
        places = [
            np.concatenate([p[:, :4] / TABLE, np.cos(p[:, 4:]), np.sin(p[:, 4:])], axis=1) for p in (starts, ends)
        ]
        change = np.concatenate([(ends - starts)[:, :4] / scale, turn, steps[:, None] / HORIZON], axis=1)
        return torch.from_numpy(np.concatenate([*places, beside, change], axis=1)).float()

    def loss(chosen: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Tensor:
        clip, start, steps = chosen
        ends = poses[clip, start], poses[clip, start + steps]
        first, last = (one + rng.normal(size=one.shape) * deviation for one in ends)
        found = net(see(first, last, steps))
        return (found - few.actions[clip, start] / scale).square().mean()

    net = nn.Sequential(
        nn.Linear(20, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(),
        nn.Linear(WIDTH, 2),
    )  # fmt: skip
    learn(net, "poses", few, loss, seed)
    off_goal: list[np.ndarray] = []  # a goal is looked at once

    def act(_: np.ndarray, now: np.ndarray, __: np.ndarray, goals: np.ndarray, steps: int) -> np.ndarray:
        if not off_goal:
            off_goal.append(rng.normal(size=goals.shape) * deviation)
        seen = now + rng.normal(size=now.shape) * deviation, goals + off_goal[0]
        return scale * net(see(*seen, np.full(len(now), steps))).numpy()

    return act


def by_states(few: LabelledClips, encoder: Encoder, seed: int) -> Act:
    """Cloning of who sees states."""
    net = Policy(PolicyConfig(), encoder.spec, few.actions.shape[-1])
    net.fit_scales(few.actions)

    def loss(chosen: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Tensor:
        clip, start, steps = (torch.from_numpy(one) for one in chosen)
        of = few.states[clip, start].float(), few.states[clip, start + steps].float(), steps
        return net.errors(*of, few.actions[clip, start]).mean()

    learn(net, "states", few, loss, seed)

    def act(frames: np.ndarray, _: np.ndarray, wanted: np.ndarray, __: np.ndarray, steps: int) -> np.ndarray:
        video = torch.from_numpy(np.stack([frames, wanted], axis=1)).permute(0, 1, 4, 2, 3)
        now, goals = encode_frames(encoder, video).float().unbind(dim=1)
        return net.act(now, goals, torch.full((len(now),), float(steps))).numpy()

    return act


def learn(
    net: nn.Module,
    seen: str,
    few: LabelledClips,
    loss: Callable[[tuple[np.ndarray, np.ndarray, np.ndarray]], Tensor],
    seed: int,
) -> None:
    """Train a network on pairs of states that are drawn: clips, first states, and steps between."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE[seen], weight_decay=0.04, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE[seen], STEPS[seen])
    for _ in trange(STEPS[seen], desc=f"cloning by {seen}", unit="step", leave=False):
        steps = rng.integers(1, HORIZON + 1, PAIRS[seen])
        chosen = rng.integers(len(few), size=len(steps)), rng.integers(STATES - steps), steps
        optimizer.zero_grad()
        loss(chosen).backward()
        optimizer.step()
        schedule.step()
    net.eval().requires_grad_(False)


def errors_of_reading(train: LabelledClips, held_out: LabelledClips, encoder: Encoder, seed: int) -> dict[str, float]:
    """Errors (root mean square of a coordinate) of poses that a network of all labels reads from held-out states."""

    def told(clips: LabelledClips) -> Tensor:
        poses = clips.poses[..., :5].float()
        return torch.cat([poses[..., :4] / TABLE, poses[..., 4:].cos(), poses[..., 4:].sin()], dim=-1)

    torch.manual_seed(seed)
    net, poses = Policy(PolicyConfig(), encoder.spec, 6), told(train)
    net.fit_scales(poses)

    def loss(chosen: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Tensor:
        clip, start, steps = (torch.from_numpy(one) for one in chosen)
        seen = train.states[clip, start].float()
        return net.errors(seen, seen, steps, poses[clip, start]).mean()

    learn(net, "states", train, loss, seed)
    seen = held_out.states.flatten(0, 1).float()
    found = net.act(seen, seen, torch.ones(len(seen))).numpy()
    angle = np.arctan2(found[:, 5:], found[:, 4:5])
    away = off(np.concatenate([found[:, :4] * TABLE, angle], axis=1), held_out.poses[..., :5].flatten(0, 1).numpy())
    coordinates = {"disc": 2, "block": 2, "turn": 1}
    return {name: float(np.sqrt(np.square(away[name]).mean() / count)) for name, count in coordinates.items()}


def write(rows: list[dict], args: argparse.Namespace) -> None:
    (args.out / "pusht_ceiling.md").write_text(text(rows, args))


def text(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows as Markdown: mean over seeds (smallest to largest)."""
    lines = [
        "# What holds success back in PushT",
        "",
        f"Made by `python benchmarks/pusht_ceiling.py` on {machines(rows)}:",
        "cloning of true labels, without any world model, in the",
        f"{args.episodes} episodes a seed of [pusht.md](pusht.md) (tasks `{fingerprint()}`); mean over the seeds",
        "(smallest to largest).",
        "",
        "*replay*: the true displacements of the disc, step by step; *poses*: cloning that",
        "sees where disc and T are, each coordinate with a normal error of so many pixels (or hundredths of a radian),",
        "that of the goal once an episode; *states*: that sees the states of all models there, by attention over their",
        "tokens.",
        "",
    ]
    table = []
    for seen, noise, clips in dict.fromkeys((row["seen"], row["noise"], row["clips"]) for row in rows):
        own = [row for row in rows if (row["seen"], row["noise"], row["clips"]) == (seen, noise, clips)]
        if seen != "read":
            error = f"{noise:g}" if seen == "poses" else ""
            table.append([seen, error, str(clips), str(len(own)), spread([row["success"] for row in own])])
    lines += markdown_table(["acts by", "deviation, px", "labelled clips", "seeds", "success"], table)
    if read := [row for row in rows if row["seen"] == "read"]:
        disc, block, turn = (spread([row[name] for row in read]) for name in ("disc", "block", "turn"))
        lines += [
            "",
            "Poses, read from held-out states by attention, of all labels: each coordinate of the disc is off by",
        ]
        lines += [f"{disc} pixels, of the T by {block}, its angle by {turn} radians (root mean square)."]
        lines += ["Success needs disc and T together within 20 pixels."]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
