"""A model shared among processes: whole on each (DDP), in parts (FSDP2), or both (HSDP); and with less memory.

All of it is applied from outside; nothing in a model knows of it. Weights come together whole in checkpoints, and
optimiser state is written in parts that any number of processes can read, so that a run goes on with another number.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from wildlam.distributed import Processes, in_parts
from wildlam.errors import WildlamError
from wildlam.models.attention import frame_causal_blocks
from wildlam.types import Encoder

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def parallelise(model: nn.Module, processes: Processes, shard: int, bf16: bool) -> nn.Module:
    """Share a model among all processes.

    Args:
        model: the same in all of them, on their devices.
        processes: this one's place among all.
        shard: how many processes hold one copy of the model between them; 1 for a whole copy in each.
        bf16: gather parameters in bfloat16 (sums of gradients stay in float32).

    Returns:
        What to call in its place.

    Raises:
        WildlamError: the processes cannot be grouped so.
    """
    check_shard(shard, processes.world_size)
    if processes.world_size == 1:
        return model
    if shard == 1:
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    # Only now, as it takes a second to import.
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = _mesh(processes, shard)
    precision = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32 if bf16 else None
    )
    for block in blocks_of(model):
        fully_shard(block, mesh=mesh, mp_policy=precision)
    # What is left is small, and used from the first to the last operation. Its inputs are states, in float32.
    fully_shard(model, mesh=mesh, mp_policy=MixedPrecisionPolicy(cast_forward_inputs=False))
    return model


@contextlib.contextmanager
def encoder_in_parts(encoder: Encoder, processes: Processes, shard: int) -> Iterator[None]:
    """Keep an encoder in parts for as long as all processes encode equally often, as they do in training.

    Afterwards the main process, which evaluates alone, has it whole again; the others cannot encode any more.

    Args:
        encoder: the same in all processes.
        processes: this one's place among all.
        shard: see ``parallelise``.

    Raises:
        WildlamError: the processes cannot be grouped so.
    """
    check_shard(shard, processes.world_size)
    from torch.distributed.fsdp import fully_shard

    kept = copy.deepcopy(encoder.network).cpu() if processes.is_main else None
    mesh = _mesh(processes, shard)
    for part in (*blocks_of(encoder.network), encoder.network):
        fully_shard(part, mesh=mesh)
    yield
    if kept is not None:
        encoder.network = kept.to(encoder.device)


def check_shard(shard: int, processes: int) -> None:
    """Refuse to share a model among a number of processes that ``shard`` does not divide: WildlamError."""
    if shard > 1 and processes % shard:
        raise WildlamError(
            f"training.shard={shard} does not divide {processes} process(es); give --training.shard a divisor, or 1"
        )


def _mesh(processes: Processes, shard: int) -> DeviceMesh:
    """The processes, ``shard`` of which hold one copy between them."""
    from torch.distributed.device_mesh import init_device_mesh

    device, copies = processes.device.type, processes.world_size // shard
    if copies == 1:
        return init_device_mesh(device, (shard,), mesh_dim_names=("shard",))
    return init_device_mesh(device, (copies, shard), mesh_dim_names=("copy", "shard"))


def compile_blocks(model: nn.Module, **options: Any) -> None:
    """Compile each transformer block (those that are alike but once).

    Args:
        model: on its device.
        options: options of ``torch.compile``.
    """
    for block in blocks_of(model):
        block.compile(**options)


def use_flex_attention(model: nn.Module) -> None:
    """Let training use flex attention, which skips masked blocks: for GPUs."""
    for module in model.modules():
        if hasattr(module, "mask"):
            setattr(module, "mask", frame_causal_blocks)  # noqa: B010 (a module's attribute, for mypy)


def recompute(model: nn.Module) -> None:
    """Recompute each block in the backward pass (activation checkpointing)."""
    for block in blocks_of(model):
        forward = block.forward

        def again(*inputs: Any, forward: Callable[..., Any] = forward, **named: Any) -> Any:
            if not torch.is_grad_enabled():
                return forward(*inputs, **named)
            return checkpoint(forward, *inputs, use_reentrant=False, preserve_rng_state=False, **named)

        block.forward = again


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a model: what lies in its ``nn.ModuleList``s."""
    return [block for blocks in model.modules() if isinstance(blocks, nn.ModuleList) for block in blocks]


def unsynchronised(parallel: nn.Module, last: bool) -> AbstractContextManager[None]:
    """While gradients accumulate: sum them over processes only with the ``last`` part of a step."""
    if isinstance(parallel, DistributedDataParallel):
        return contextlib.nullcontext() if last else parallel.no_sync()
    synchronise = getattr(parallel, "set_requires_gradient_sync", None)  # of what FSDP shares
    if synchronise is not None:
        synchronise(last)
    return contextlib.nullcontext()


def whole(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """The tensors, those in parts put together, on the CPU: one after another, so that no GPU ever holds them all.

    Args:
        tensors: tensors of all processes, each of which gives its parts.
        keep: whether this process wants them; others get none.
    """
    found = {}
    for name, tensor in tensors.items():
        one = tensor.full_tensor() if in_parts(tensor) else tensor
        if keep:
            found[name] = one.cpu()
    return found
