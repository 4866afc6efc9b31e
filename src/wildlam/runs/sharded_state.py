"""Training's state in parts, as the processes hold it: files of safetensors by ``torch.distributed.checkpoint``.

Apart from `checkpoints`, and imported when it is needed, as PyTorch's module takes a second to import.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

# PyTorch's advice on what it takes for granted where there is but one process.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")


def read(folder: Path, placed: Callable[[str, Tensor], Tensor] | None) -> dict[str, Tensor]:
    """Read all tensors of a folder.

    Args:
        folder: folder of the files.
        placed: gives for a name, and an empty whole tensor of its shape, the tensor to read into, which may lie
            elsewhere or be in parts.

    Raises:
        OSError, SafetensorError, ValueError, KeyError: the files are missing or damaged.
    """
    reader = HuggingFaceStorageReader(str(folder))
    tensors = {
        name: torch.empty(about.size, dtype=about.properties.dtype)
        for name, about in reader.read_metadata().state_dict_metadata.items()
        if isinstance(about, TensorStorageMetadata)
    }
    if placed is not None:
        tensors = {name: placed(name, tensor) for name, tensor in tensors.items()}
    if tensors:
        try:
            dcp.load(tensors, storage_reader=reader, no_dist=not dist.is_initialized())
        except dcp.CheckpointException as error:  # no Exception by PyTorch's definition
            raise OSError(str(error)) from error
    return tensors


def write(tensors: dict[str, Tensor], folder: Path, group: dist.ProcessGroup | None) -> Callable[[], None]:
    """Begin to write this process's parts in the background; the tensors are copied at once.

    Args:
        tensors: whole or in parts.
        folder: folder for the files.
        group: all processes, in a group of their own; None where there is but one.

    Returns:
        A function that waits until the files are there (in the first process: those of all), and raises OSError or
        SafetensorError if they cannot be written.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    written = dcp.async_save(tensors, storage_writer=writer, process_group=group, no_dist=group is None)
    assert isinstance(written, Future)

    def wait() -> None:
        try:
            written.result()
        except dcp.CheckpointException as error:
            raise OSError(str(error)) from error

    return wait
