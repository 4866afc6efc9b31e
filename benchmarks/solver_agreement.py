"""Does our cross-entropy method find plans as good as that of ``stable-worldmodel``, on the same cost?

    python benchmarks/solver_agreement.py --out build/solver_agreement.json [--run runs/demo] [--data runs/demo/videos]

The run must have a controller (``wildlam controller train RUN --data DATA``). Both solvers plan in the same held-out
clips by the DROID protocol's numbers (with fewer candidates), three seeds each. Agreement is asked for in cost: the
difference of the means over clips against the spread over seeds. ``stable-worldmodel`` is installed aside, into
``build/aside``, without what it depends on; of it the solver alone is imported.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import gymnasium
import torch
from common import finish, row
from torch import Tensor

from wildlam.episodes.formats import read_episodes
from wildlam.planning.cost import GoalCost
from wildlam.planning.dynamics import Controlled
from wildlam.planning.protocols.droid import ELITES, HORIZON
from wildlam.planning.solvers.base import Prior
from wildlam.planning.solvers.cem import cem
from wildlam.workflows.controller import load_controlled
from wildlam.workflows.plan import held_out_cut

ASIDE = Path("build/aside")
CLIPS, SAMPLES, ITERATIONS, SEEDS = 8, 128, 8, 3


class Costable:
    """What their solver asks for: a cost of candidates, which are in units of the actions' deviations."""

    def __init__(self, cost: GoalCost, std: Tensor) -> None:
        self.cost, self.std = cost, std

    def get_cost(self, info: dict[str, Any], candidates: Tensor) -> Tensor:
        return self.cost(candidates * self.std)


def their_solver() -> Any:
    """The class ``CEMSolver``, without importing what the rest of its package needs."""
    if not (ASIDE / "stable_worldmodel").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(ASIDE)]
        subprocess.run([*command, "stable-worldmodel==0.1.1", "loguru"], check=True)
    sys.path.append(str(ASIDE))
    package = types.ModuleType("stable_worldmodel")
    package.__path__ = [str(ASIDE / "stable_worldmodel")]
    sys.modules["stable_worldmodel"] = package
    return importlib.import_module("stable_worldmodel.solver.cem").CEMSolver


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the results")
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--data", type=Path, default=Path("runs/demo/videos"))
    parser.add_argument("--controller", type=Path, help="its folder; RUN/controller by default")
    args = parser.parse_args()
    solver = their_solver()
    driven = load_controlled(args.run, args.controller)
    fps = driven.config.data.fps
    cut = held_out_cut(read_episodes(args.data), driven.encoder, HORIZON + 1, fps, args.data)
    clips = cut.encoded(driven.encoder).few(CLIPS, 0)
    states, std = clips.states.float(), driven.controller.action_std
    cost = GoalCost(Controlled(driven.model, driven.controller), states[:, :1], clips.actions[:, :0], states[:, -1])
    width = len(std)
    prior = Prior(torch.zeros(HORIZON, width), std.expand(HORIZON, -1))
    ours, theirs = [], []
    for seed in range(SEEDS):
        generator = torch.Generator().manual_seed(seed)
        settings = {"samples": SAMPLES, "elites": ELITES, "iterations": ITERATIONS}
        ours.append(float(cem(cost, prior, batch=CLIPS, generator=generator, **settings).cost.mean()))
        other = solver(
            Costable(cost, std), batch_size=CLIPS, num_samples=SAMPLES, n_steps=ITERATIONS, topk=ELITES, seed=seed
        )
        space = gymnasium.spaces.Box(-10, 10, (CLIPS, width))
        other.configure(action_space=space, n_envs=CLIPS, config=types.SimpleNamespace(horizon=HORIZON, action_block=1))
        plan = other.solve({"clip": torch.arange(CLIPS)})["actions"] * std
        theirs.append(float(cost(plan[:, None]).mean()))
    spread = max(statistics.stdev(ours), statistics.stdev(theirs))
    still = float(cost(torch.zeros(CLIPS, 1, HORIZON, width)).mean())
    rows = [
        row("CEM on one cost: cost of staying", still, ""),
        row("CEM on one cost: cost of our plans, mean over seeds", statistics.mean(ours), ""),
        row("CEM on one cost: cost of stable-worldmodel's plans", statistics.mean(theirs), ""),
        row("CEM on one cost: standard deviation over seeds, the larger", spread, ""),
        row(
            "CEM on one cost: difference over that deviation",
            abs(statistics.mean(ours) - statistics.mean(theirs)) / spread,
            "x",
            2.0,
            at_most=True,
        ),
        row(
            "CEM on one cost: our cost over theirs",
            statistics.mean(ours) / statistics.mean(theirs),
            "x",
            1.01,
            at_most=True,
        ),
    ]
    finish(rows, args.out)


if __name__ == "__main__":
    main()
