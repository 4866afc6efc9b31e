"""A run of the training loop on made-up states: ``tiny_run.py OUT STEPS [--resume] [--pause SECONDS]``."""

import argparse
import time
from pathlib import Path

import torch

from wildlam.distributed import processes
from wildlam.models import ModelConfig, transformer
from wildlam.models.bottlenecks import Noisy, Unconstrained
from wildlam.models.inverse_dynamics import Transformer
from wildlam.models.transformer import Size
from wildlam.runs.folder import Run
from wildlam.training import TrainingConfig, fit, optimizers
from wildlam.types import StateBatch

BATCH = 8


class MadeUpStates:
    """States that step by random vectors; a batch is a function of the step."""

    def __init__(self, rank=0, world_size=1, poison=None):
        share = BATCH // world_size
        self.share, self.poison = slice(rank * share, (rank + 1) * share), poison

    def batch(self, step):
        generator = torch.Generator().manual_seed(step)
        states = torch.randn(BATCH, 4, 4, 6, generator=generator).cumsum(dim=1)
        if step == self.poison:
            states[2] = float("nan")
        names = [f"clip {step}.{i}" for i in range(BATCH)]
        return StateBatch(states[self.share], names[self.share], ["made up"] * len(names[self.share]), [0.5] * BATCH)


def tiny_fit(
    out,
    steps,
    *,
    resume=False,
    pause=0.0,
    poison=None,
    evaluate=None,
    bottleneck=None,
    until=None,
    prepare=None,
    **training,
):
    """Train a model of milliseconds; ``pause`` seconds pass before each step, and after that ``until`` no more come."""
    transformer.SIZES["tiny"] = Size(width=16, depth=2, heads=1)
    with processes() as team:
        source = MadeUpStates(team.rank, team.world_size, poison)
        torch.manual_seed(0)
        model = ModelConfig(idm=Transformer(), place=False, bottleneck=bottleneck or Noisy(dim=4)).build(6, (2, 2))

        def batches(start):
            for step in range(start, until or steps):
                time.sleep(pause)
                yield source.batch(step)

        config = TrainingConfig(
            **{"steps": steps, "batch_size": BATCH, "log_every": 1, "save_every": 5, "eval_every": 5, **training}
        )
        run = Run(out)
        run.path.mkdir(parents=True, exist_ok=True)
        return fit(
            model,
            batches,
            prepare or (lambda batch: (batch.states,)),
            config,
            run,
            team,
            resume=resume,
            evaluate=evaluate,
            score="error",
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--ema", type=float, default=0.0)
    parser.add_argument("--shard", type=int, default=1)
    parser.add_argument("--until", type=int, help="break off after this step")
    parser.add_argument("--quiet", action="store_true", help="without noise, which belongs to a process")
    parser.add_argument("--exact", action="store_true", help="likewise, and in float64")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    exact = {"bottleneck": Unconstrained(dim=4)} if arguments.exact or arguments.quiet else {}
    if arguments.exact:
        exact["precision"] = "fp32"
        # Muon's rounding too: where an error is about 0 the last bit of a sum turns the sign of a gradient.
        torch.set_default_dtype(torch.float64)
        torch.Tensor.float = torch.Tensor.bfloat16 = torch.Tensor.double
        optimizers.fast_dtype = lambda device: torch.float64  # bfloat16 where the processor has instructions for it
    tiny_fit(
        arguments.out,
        arguments.steps,
        resume=arguments.resume,
        pause=arguments.pause,
        ema=arguments.ema,
        shard=arguments.shard,
        until=arguments.until,
        keep=100,
        evaluate=lambda model: {"error": float(sum(p.sum() for p in model.parameters()))},
        **exact,
    )
