"""Write the gradients of one batch, from however many processes ``torchrun`` started: ``ddp_gradients.py OUT``."""

import sys

import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

from wildlam.distributed import processes
from wildlam.models import ModelConfig, transformer
from wildlam.models.bottlenecks import Sparse
from wildlam.models.inverse_dynamics import Transformer
from wildlam.models.transformer import Size


def gradients(team):
    """By parameter, of this process's share of a batch, averaged over all; what DDP holds of the group is let go."""
    torch.manual_seed(0)
    model = ModelConfig(idm=Transformer(), place=False, bottleneck=Sparse(dim=4)).build(6, (2, 2))
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    states = torch.randn(16, 4, 4, 6, generator=torch.Generator().manual_seed(1))
    share = 16 // team.world_size
    parallel = DistributedDataParallel(model) if team.world_size > 1 else model
    parallel(states[team.rank * share : (team.rank + 1) * share]).total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


if __name__ == "__main__":
    transformer.SIZES["tiny"] = Size(width=16, depth=2, heads=1)
    torch.set_num_threads(1)
    with processes() as team:
        found = gradients(team)
        if team.is_main:
            save_file(found, sys.argv[1])
