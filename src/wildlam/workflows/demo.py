"""The demo: collect an unlabelled mix of videos, learn its latent actions, and report."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from wildlam.config import RunConfig, without_actions
from wildlam.distributed import default_device
from wildlam.errors import WildlamError, check_packages, option
from wildlam.planning.protocols.protocol import ProtocolName
from wildlam.pretrained import unpack
from wildlam.training import TrainingConfig
from wildlam.types import check_count
from wildlam.video.config import DataConfig
from wildlam.workflows import durations
from wildlam.workflows.durations import Part
from wildlam.workflows.evaluate import evaluate
from wildlam.workflows.plan import PlanResult, plan
from wildlam.workflows.train import check_out, train
from wildlam.worlds.doom import DEMO_LEVELS
from wildlam.worlds.movers import collect_movers
from wildlam.worlds.recorder import WORKERS
from wildlam.worlds.sample_films import collect_sample_films
from wildlam.worlds.walkers import collect_doom, collect_nav

OUT = Path("runs/demo")
EPISODES = 240
SECONDS = 16.0
"""Length of each walk through a Doom level."""
STEPS = 360
COMPANY = (0, 2, 3)
"""Movers in a film: none alone, as these come with poses, and the folder's actions would be of two kinds."""
OF_MOVERS = 0.3
"""Share of the clips that are of movers, without which no model learns that a motion belongs to a place."""

PRETRAINED_OUT = Path("runs/tiny")
PRETRAINED_EPISODES = 24
PRETRAINED_SEED = 1000
"""Added to the seed of the films: no seed of training comes near."""
FEW_FILMS = 4
"""Number of films up to which their time is not estimated."""
PLANNED = 16
"""Number of held-out episodes that are planned in."""


def demo(out: Path, *, episodes: int, steps: int, seed: int) -> Path:
    """Train on videos that are collected first. An interrupted demo is resumed.

    Args:
        out: folder of the run; the videos go to ``out/videos``.
        episodes: walks through Doom levels, 16 s each; half as many films of movers, half as long, are made beside.
        steps: training steps.
        seed: seed of the films and of the training.

    Returns:
        The run folder.

    Raises:
        WildlamError: fewer than one walk or step, ``out`` holds a run of another configuration, or a simulator is
            missing.
    """
    check_packages("the demo", {"worlds": ("vizdoom", "skvideo")})
    videos = out / "videos"
    # What is impossible is refused before anything is filmed.
    try:
        check_count("episodes", episodes)
        check_count("steps", steps)
        config = demo_config(videos, out, steps, seed)
    except ValueError as error:
        raise WildlamError(str(error)) from error
    check_out(config, resume=True)
    movers = max(episodes // 2, 2)  # of which one is held out
    filming = [
        _filming("film walks", collect_doom, videos / "doom", episodes, SECONDS),
        _filming("film movers", collect_movers, videos / "movers", movers, SECONDS / 2),
    ]
    if films := [part for part in filming if part]:
        durations.announce([*films, *_learning(config, episodes * SECONDS + movers * SECONDS / 2)])
    collect_sample_films(videos / "filmed")
    collect_doom(videos / "doom", episodes=episodes, seconds=SECONDS, seed=seed)
    collect_movers(videos / "movers", episodes=movers, seconds=SECONDS / 2, seed=seed, movers=COMPANY)
    return train(config, resume=True).folder


def demo_pretrained(out: Path, *, episodes: int, seed: int) -> list[PlanResult]:
    """Evaluate the packaged model and plan with it in films of both worlds, without training.

    Args:
        out: folder of the run; the videos go to ``out/videos``.
        episodes: films of each world; their levels and seeds are not those that it was trained on.
        seed: seed of the films, plans and episodes.

    Returns:
        What was planned: by the RECON protocol in ``nav``, by DROID's in ``arm``.

    Raises:
        WildlamError: fewer films than levels, or a simulator or evo is missing.
    """
    worlds = ("vizdoom", "gymnasium", "gymnasium_robotics", "mujoco")
    check_packages("the demo of wildlam-tiny", {"worlds": worlds, "plan": ("evo",)})  # before the films
    from wildlam.worlds.arm import collect_arm

    if episodes < len(DEMO_LEVELS):
        raise WildlamError(
            f"{option('episodes')} must be at least {len(DEMO_LEVELS)}, one walk in each level, got {episodes}"
        )
    videos = out / "videos"
    filmed = {"nav": (collect_nav, SECONDS), "arm": (collect_arm, SECONDS / 2)}
    films = [_filming(f"film {name}", collect, videos / name, episodes, s) for name, (collect, s) in filmed.items()]
    if parts := [part for part in films if part]:
        durations.announce([*parts, Part("evaluate", "estimated when it starts", None), Part("plan", "likewise", None)])
    collect_nav(videos / "nav", episodes=episodes, seconds=SECONDS, seed=PRETRAINED_SEED + seed)
    collect_arm(videos / "arm", episodes=episodes, seconds=SECONDS / 2, seed=PRETRAINED_SEED + seed)
    run = unpack(out, videos)
    evaluate(run=run)
    protocols: tuple[tuple[ProtocolName, str], ...] = (("recon", "nav"), ("droid", "arm"))
    return [
        plan(
            run=run,
            protocol=name,
            data=videos / world,
            controller=run / f"controller_{world}",
            episodes=min(PLANNED, episodes),
            samples=64 if name == "droid" else None,  # fewer than the protocol's: a second each
            iterations=6 if name == "droid" else None,
            seed=seed,
        )
        for name, world in protocols
    ]


def _filming(name: str, collect: Callable[..., list[Path]], folder: Path, episodes: int, seconds: float) -> Part | None:
    """Estimated time of the films that a folder lacks, if they are more than a few: one is made and thrown away."""
    missing = episodes - sum(1 for _ in folder.rglob("*.mp4"))
    if missing <= FEW_FILMS:
        return None
    with TemporaryDirectory() as elsewhere:
        began = time.monotonic()
        collect(Path(elsewhere), episodes=1, seconds=seconds, progress=False)
        took = time.monotonic() - began
    return Part(name, f"{missing} films", took * missing / WORKERS)


def _learning(config: RunConfig, seconds: float) -> list[Part]:
    """Estimated times of training before there are videos; ``train`` estimates again when there are."""
    encoder = config.encoder.build(default_device())
    frames, steps = seconds * config.data.fps, config.training.steps
    parts = [
        Part(
            "encode",
            f"{frames / encoder.spec.frames_per_state:,.0f} states",
            frames * durations.encode_seconds(encoder, config.data.frames),
        )
    ]
    if steps > durations.FEW_STEPS:
        for name, of in {"train": config, "baseline": without_actions(config)}.items():
            if of:
                parts.append(durations.training(of, encoder, of.training.batch_size, steps, name=name))
    return [*parts, Part("evaluate", "and report", None)]


def demo_config(videos: Path = OUT / "videos", out: Path = OUT, steps: int = STEPS, seed: int = 0) -> RunConfig:
    """The demo's configuration: the defaults, but for a mix in which movers have their share."""
    return RunConfig(
        data=DataConfig(path=videos, mixture={"movers": OF_MOVERS}),
        training=TrainingConfig(steps=steps),
        seed=seed,
        out=out,
    )
