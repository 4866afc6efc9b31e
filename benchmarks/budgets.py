"""What ``adaptive.py`` measures: what models of things that move spend on clips, and what they make of it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import torch

from wildlam.config import RunConfig
from wildlam.distributed import Processes
from wildlam.episodes.movers import read_truth
from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.cycle import cycle
from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.leakage import leakage
from wildlam.evaluation.one_step import one_step
from wildlam.evaluation.rollout import rollout
from wildlam.evaluation.spending import spending
from wildlam.models import LatentActionModel, ModelConfig
from wildlam.models.bottlenecks import Adaptive, BottleneckConfig, Deterministic, Noisy
from wildlam.models.inverse_dynamics import Transformer
from wildlam.runs.folder import Run
from wildlam.states.dataset import Clips
from wildlam.training import TrainingConfig
from wildlam.workflows.open_run import OpenRun, inferred, load_clips, load_model
from wildlam.workflows.train import fit_run
from wildlam.worlds.movers import collect_movers

SECONDS, SEED = 8.0, 10
"""Length of the films and their seed."""
TOLERANCES = (0.0, 0.01, 0.02, 0.05, 0.1)
LIMITS: dict[str, type[Noisy] | type[Adaptive]] = {"Noisy": Noisy, "Adaptive": Adaptive}
FIXED, NONE = "fixed", "none"
ALL = "all"
THIRDS = ("calm", "middle", "busy")
WHOLE, NEEDED = "whole", "needed"
"""How many dimensions are kept: all, or as many as a transition needs; else their number, or a tolerance in words."""
SEEN = 0.3
"""Least share of a mover that must be visible, at some moment of a clip, for it to be one of those in it."""

Figures = dict[str, tuple[PerClip, str, str | None]]
"""By name: values of clips, which of them, and over which."""


@dataclass(eq=False)
class Study:
    """Films of movers, and the models that are trained on them.

    Attributes:
        args: the command's arguments.
        opened: a run with a fixed price; its encoder and clips are those of all.
    """

    args: argparse.Namespace
    opened: OpenRun

    @cached_property
    def films(self) -> Path:
        """Folder of the films, which are made if they are not there."""
        out = self.args.work / "videos" / f"movers_{self.args.episodes}"
        collect_movers(out, episodes=self.args.episodes, seconds=SECONDS, seed=SEED)
        return out

    @property
    def team(self) -> Processes:
        return Processes(0, 1, self.opened.encoder.device)

    def config(self, bottleneck: BottleneckConfig, seed: int) -> RunConfig:
        steps = self.args.steps
        often = max(steps // 4, 1)
        training = TrainingConfig(steps=steps, batch_size=self.args.batch, eval_every=often, save_every=often)
        return replace(
            self.opened.config,
            data=replace(self.opened.config.data, path=self.films.absolute(), cache=None, mixture={}),
            model=ModelConfig(size=self.args.size, idm=Transformer(), bottleneck=bottleneck),
            training=training,
            action_free=False,
            seed=seed,
        )

    @cache  # noqa: B019, it lives as long as the program
    def clips(self, seed: int) -> Clips:
        return load_clips(self.config(Noisy(), seed), self.opened.encoder, self.team)

    def trained(self, bottleneck: BottleneckConfig, seed: int, clips: Clips) -> LatentActionModel:
        """A model, trained if it is not there."""
        config, spec = self.config(bottleneck, seed), clips.encoder.spec
        price = f"_{bottleneck.beta:g}" if isinstance(bottleneck, Noisy | Adaptive) else ""
        name = f"{type(bottleneck).__name__}{price}_seed{seed}"
        sizes = f"{self.args.size}_{self.args.dim}_{self.args.steps}x{self.args.batch}_{self.args.episodes}"
        run = Run(self.args.work / "adaptive" / sizes / name)
        fit_run(config, run, clips, self.team, True, name)
        return load_model(run, config, spec).to(self.team.device)

    # What is measured

    def fixed(self) -> list[dict]:
        """Of each held-out clip: what happens in it, and the nats that the run spends on it."""
        bare, clips = self._bare(self.args.seeds[0])
        errors, spent = one_step(bare, clips).values, spending(self.opened.model(), clips).values
        rows = []
        for i, true in enumerate(happening(clips, self.films)):
            figures = {"copy": errors["copy"][i], "without z": errors["idm"][i], "nats": spent["nats"][i]}
            clip = {"clip": f"{clips.names[i]} at {float(clips.times[i, 0]):.2f} s"}
            rows.append(true | clip | {name: float(value) for name, value in figures.items()})
        return rows

    def bare(self, seed: int) -> list[dict]:
        """Rows of a model without latent actions."""
        model, clips = self._bare(seed)
        cuts = leakage(model, clips).per_clip
        found = {"error": (one_step(model, clips), "idm", None), "cut": (cuts, "cut", "plain")}
        return rows_of(found, self.groups(seed), WHOLE)

    def limited(self, limit: str, price: float, seed: int) -> list[dict]:
        """Rows of a model with a limit; of ``Adaptive`` also within other tolerances, and cut at each width."""
        clips = self.clips(seed)
        model = self.trained(LIMITS[limit](dim=self.args.dim, beta=price), seed, clips)
        held_out, groups = inferred(clips, model, clips.held_out), self.groups(seed)
        cuts, unrolled = leakage(model, held_out).per_clip, rollout(model, held_out)
        found = told(model, held_out) | {
            "cut": (cuts, "cut", "plain"),
            "cycle": (cycle(model, held_out, unrolled).per_clip, "cycled", "original"),
        }
        if limit != "Adaptive":
            return rows_of(found, groups, WHOLE)
        rows = rows_of(found, groups, NEEDED)
        groups = {name: groups[name] for name in (ALL, *THIRDS)}
        for width in model.bottleneck.widths:
            rows += rows_of(told(model, cut(model, held_out, width), width), groups, str(width))
        for tolerance in TOLERANCES:
            model.bottleneck.tolerance = tolerance
            rows += rows_of(told(model, cut(model, held_out)), groups, within(tolerance))
        return rows

    @cache  # noqa: B019
    def groups(self, seed: int) -> dict[str, list[bool]]:
        """The held-out clips: all, thirds by the error of the model without latent actions, and by how much moves."""
        model, clips = self._bare(seed)
        ranks = one_step(model, clips).values["idm"].argsort().argsort()
        third = (len(THIRDS) * ranks // len(clips)).tolist()
        movers = [true["movers"] for true in happening(clips, self.films)]
        return {
            ALL: [True] * len(clips),
            **{name: [one == i for one in third] for i, name in enumerate(THIRDS)},
            **{f"{count} moving": [one == count for one in movers] for count in sorted(set(movers))},
        }

    def _bare(self, seed: int) -> tuple[LatentActionModel, InferredClips]:
        clips = self.clips(seed)
        model = self.trained(Deterministic(dim=self.args.dim), seed, clips)
        return model, inferred(clips, model, clips.held_out)


def told(model: LatentActionModel, clips: InferredClips, dims: int | None = None) -> Figures:
    """One-step errors with the latent actions of the clips, and what these spend."""
    errors, spent = one_step(model, clips), spending(model, clips, dims)
    found: Figures = {name: (spent, name, None) for name in spent.values}
    return found | {"error": (errors, "idm", None)}


def cut(model: LatentActionModel, clips: InferredClips, dims: int | None = None) -> InferredClips:
    """The clips with latent actions of so many dimensions; of as many as are needed if not given."""
    device = next(model.parameters()).device
    parts = [model.infer(clips.states[part].to(device).float(), dims).cpu() for part in clips.batches()]
    return replace(clips, z=torch.cat(parts).detach())


def rows_of(figures: Figures, groups: dict[str, list[bool]], kept: str) -> list[dict]:
    rows = []
    for group, chosen in groups.items():
        for name, (values, top, over) in figures.items():
            value = values.where(chosen).estimate(top, over=over).mean
            rows.append({"kept": kept, "group": group, "figure": name, "value": value, "clips": sum(chosen)})
    return rows


def happening(clips: InferredClips, root: Path) -> list[dict]:
    """How many things move in each clip, and before what background."""
    found, truths = [], {name: read_truth(root / name) for name in set(clips.names)}
    for name, times in zip(clips.names, clips.times, strict=True):
        truth = truths[name]
        first, last = (round(float(times[i]) * float(truth.fps)) for i in (0, -1))
        seen = truth.visible[first : last + 1] >= SEEN
        found.append({"movers": int(seen.any(axis=0).sum()), "background": str(truth.background)})
    return found


def within(tolerance: float) -> str:
    return f"within {100 * tolerance:g} %"
