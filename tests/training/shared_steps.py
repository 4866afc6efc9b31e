"""Three training steps by however many processes were started together: ``shared_steps.py OUT --shard N [--compiled]``.

For each bottleneck, for some with accumulation too, and once with compiled blocks if asked for, the loss of each step,
the gradients of the first and the parameters after the last are written.
"""

import argparse

import torch
from safetensors.torch import save_file

from wildlam.distributed import processes
from wildlam.models import ModelConfig, bottlenecks, transformer
from wildlam.models.consistency import Additive, Composition
from wildlam.models.inverse_dynamics import Transformer
from wildlam.models.transformer import Size
from wildlam.training import optimizers
from wildlam.training.loop import _parts
from wildlam.training.optimizers import MuonAdamW, OptimizerConfig, gradient_norm
from wildlam.training.parallel import compile_blocks, parallelise, recompute, unsynchronised, whole
from wildlam.types import StateBatch

BATCH, STEPS = 8, 3


def steps(team, shard, accumulate, bottleneck, compiled=False, frames=4, **choices):
    """What is to be equal, by name; with blocks traced and computed again, if ``compiled``."""
    torch.manual_seed(0)
    choices = {"idm": Transformer(), "place": False} | choices  # Split drops by chance, which belongs to a process
    model = ModelConfig(bottleneck=getattr(bottlenecks, bottleneck)(dim=4), **choices).build(6, (2, 2))
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    if bottleneck == "Discrete":
        model.bottleneck.ready.fill_(1.0)  # codes are drawn from the first process's share otherwise
    if compiled:
        recompute(model)
        compile_blocks(model, backend="eager")
    parallel = parallelise(model, team, shard, bf16=False)
    optimizer = MuonAdamW(model, OptimizerConfig())
    found, size = {}, BATCH // team.world_size
    for step in range(STEPS):
        optimizer.set_progress(step, STEPS)
        states = torch.randn(BATCH, frames, 4, 6, generator=torch.Generator().manual_seed(step)).cumsum(dim=1)
        own = states[team.rank * size : (team.rank + 1) * size]
        parts = _parts(StateBatch(own, ["made up"] * size, ["made up"] * size, [0.0] * size), accumulate)
        total = torch.zeros(())
        for i, part in enumerate(parts):
            with unsynchronised(parallel, i + 1 == len(parts)):
                loss = parallel(part.states).total / len(parts)
                loss.backward()
            total += loss.detach()
        found[f"loss.{step}"] = team.mean(total)
        if step == 0:
            gradients = whole({name: p.grad for name, p in model.named_parameters()}, keep=True)
            found |= {f"gradient.{name}": gradient.clone() for name, gradient in gradients.items()}
        gradient_norm(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return found | {f"parameter.{name}": tensor for name, tensor in whole(model.state_dict(), keep=True).items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--shard", type=int, default=1)
    parser.add_argument("--compiled", action="store_true")
    args = parser.parse_args()
    # Odd numbers of matrices of a shape, and one alone, so that shares come out uneven.
    transformer.SIZES["tiny"] = Size(width=24, depth=3, heads=1)
    torch.set_num_threads(1)
    torch.randn_like = lambda x: torch.zeros_like(x)  # noise belongs to a process; without it all must agree
    # In float64, Muon's rounding too: where an error is about 0 the last bit of a sum turns the sign of a gradient.
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.bfloat16 = torch.Tensor.double
    optimizers.fast_dtype = lambda device: torch.float64  # bfloat16 where the processor has instructions for it
    with processes() as team:
        found = {
            f"{bottleneck}.{accumulate}.{name}": tensor
            for bottleneck in ("Unconstrained", "Noisy", "Sparse", "Discrete", "Deterministic")
            # Among several processes accumulation is another matter, but not for each bottleneck another one.
            for accumulate in ((1, 2) if team.world_size == 1 or bottleneck in ("Noisy", "Discrete") else (1,))
            for name, tensor in steps(team, args.shard, accumulate, bottleneck).items()
        }
        others = {
            "Place.1": {"place": True},
            # Of three states all are taken; of more, processes draw other ones than one alone does.
            "Additive.1": {"frames": 3, "consistency": Additive()},
            "Composition.1": {"frames": 3, "consistency": Composition()},
        } | ({"Noisy.compiled": {"compiled": True}} if args.compiled else {})
        for name, choices in others.items():
            found |= {f"{name}.{key}": tensor for key, tensor in steps(team, args.shard, 1, "Noisy", **choices).items()}
        if team.is_main:
            save_file({name: tensor.clone().contiguous() for name, tensor in found.items()}, args.out)
