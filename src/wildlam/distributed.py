"""Processes and devices: the same code on one core, one GPU, or under ``torchrun`` on many."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor

from wildlam.errors import WildlamError

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

WAIT = 5.0
"""Seconds to wait for other processes of this machine to report the same error."""


@dataclass(frozen=True)
class Processes:
    """This process's place among all: its rank, how many there are, and its device."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def from_main(self, number: int) -> int:
        """The main process's number, in every process."""
        shared = torch.tensor(int(number), device=self.device)
        if self.world_size > 1:
            dist.broadcast(shared, src=0)
        return int(shared)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a value over all processes, in every process."""
        if self.world_size > 1:
            dist.all_reduce(value)
        return value / self.world_size

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()


def default_device() -> torch.device:
    """The accelerator of this machine where there is one, else the CPU."""
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        return torch.device(accelerator.type, int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def processes() -> Iterator[Processes]:
    """Join the other processes if ``torchrun`` started this one (gloo on CPU, nccl on CUDA); leave at the end."""
    device = default_device()
    if device.type != "cpu":
        torch.accelerator.set_device_index(device.index)
    if not dist.is_torchelastic_launched():
        yield Processes(0, 1, device)
        return
    # The others wait while the main process indexes and encodes, which may take hours; a process that dies is noticed
    # by torchrun, not by this timeout.
    timeout = timedelta(days=7)
    dist.init_process_group(
        backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=timeout, **_meeting(timeout)
    )
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), device)
        dist.barrier()  # who leaves early closes connections that others may be using still
    finally:
        dist.destroy_process_group()


def _meeting(timeout: timedelta) -> dict[str, Any]:
    """Where processes that ``torchrun`` started again find each other, should the default be the wrong place.

    ``torchrun`` keeps one store over restarts, in which the addresses of processes that are gone still lie. On one
    machine all know the number of the restart and set those apart by it; on several, give every ``torchrun``
    ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1``, and each restart has a store of its own.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or os.environ.get("GROUP_WORLD_SIZE") != "1":
        return {}
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    server = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(*server, world, is_master=False, timeout=timeout)
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    return {"store": dist.PrefixStore(f"attempt {attempt}", store), "rank": rank, "world_size": world}


def restarted() -> bool:
    """Whether ``torchrun --max-restarts`` started this process again, after one of them failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def job() -> str | None:
    """The name of the job that ``torchrun`` was given (``--rdzv-id``), the same on all machines and after restarts."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name == "none" else name


def is_main_process() -> bool:
    """Whether this process is the first of those that ``torchrun`` started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def prints(error: Exception) -> bool:
    """Whether this process is the one that prints an error that ends it.

    Under ``torchrun`` a user's mistake raises in all processes, or in one, whose exit breaks the connections of the
    others. Each process writes its error to the file that ``torchrun`` reads (``TORCHELASTIC_ERROR_FILE``). The first
    of those with the same error prints it; errors that only follow from it are not printed.
    """
    own = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if own is None:
        return True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends the others once one has ended: this one is about to
    folder, rank = Path(own).parent.parent, int(os.environ["LOCAL_RANK"])
    if isinstance(error, WildlamError):
        printed = rank > 0 and _reported(folder, lambda other, message: other < rank and message == str(error))
        _report(Path(own), rank, str(error))
    else:
        printed = _reported(folder, lambda other, _: other != rank)
        if printed:
            _report(Path(own), rank, None)
    return not printed


def _reported(folder: Path, such: Callable[[int, str], bool]) -> bool:
    """Whether another process has reported an error for which ``such`` holds, given its local rank and its message."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        for path in folder.glob("*/error.json"):
            try:
                word = json.loads(path.read_text()).get("wildlam")
            except ValueError:  # half written
                continue
            if word and word["error"] is not None and such(word["rank"], word["error"]):
                return True
        time.sleep(0.05)
    return False


def _report(path: Path, rank: int, error: str | None) -> None:
    """Write an error in the form that ``torchrun`` reads; it prints the ``py_callstack`` when it ends."""
    extra = {"py_callstack": "the error that wildlam printed above", "timestamp": str(int(time.time()))}
    message = {"message": "WildlamError", "extraInfo": extra}
    path.write_text(json.dumps({"message": message, "wildlam": {"rank": rank, "error": error}}))


def in_parts(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether this is one process's part of a tensor; asked without the second that importing DTensor takes."""
    return hasattr(tensor, "placements")


def sum_over_processes(x: Tensor) -> Tensor:
    """Sum a tensor over all processes, differentiably: every process's loss depends on every process's tensor."""
    return _SumOverProcesses.apply(x) if dist.is_initialized() else x


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce whose gradient is the all-reduced gradient."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient
