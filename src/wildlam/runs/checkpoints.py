"""Checkpoints: atomic folders of safetensors, written while training goes on; the last few and the best are kept.

``checkpoints/step_00000500/`` holds ``model.safetensors`` (the whole weights to use), ``state/`` (what training needs
besides, in parts as the processes hold it, by ``torch.distributed.checkpoint``) and ``meta.json``, with the CRC-32 of
every file: safetensors has none, so a flipped bit would go unnoticed. Parts are read by any number of
processes. No random state is kept: the loop derives it from seed and step.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wildlam.distributed import Processes
from wildlam.errors import WildlamError, option
from wildlam.fileio import read_json, readable

MODEL, STATE = "model.safetensors", "state"
_REMEDY = "delete that checkpoint: the one before is used then, or training starts anew"


@dataclass(frozen=True)
class Checkpoint:
    """A folder with the state of a run after ``step`` steps.

    Attributes:
        path: the folder.
        step: steps done.
        score: held-out error; lower is better.
        crc: checksum of each file.
    """

    path: Path
    step: int
    score: float
    crc: dict[str, int]

    def model_tensors(self) -> dict[str, Tensor]:
        """The weights."""
        self._check(MODEL)
        path = self.path / MODEL
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise WildlamError(f"cannot read {path}: {error}; {_REMEDY}") from error

    def state_tensors(self, placed: Callable[[str, Tensor], Tensor] | None = None) -> dict[str, Tensor]:
        """What training needs besides the weights.

        Args:
            placed: gives for a name, and an empty whole tensor of its shape, the tensor to read into, which may lie
                elsewhere or be in parts.
        """
        folder = self.path / STATE
        for name in self.crc:
            if name.startswith(f"{STATE}/"):
                self._check(name)
        from wildlam.runs import sharded_state

        try:
            return sharded_state.read(folder, placed)
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise WildlamError(f"cannot read {folder}: {error}; {_REMEDY}") from error

    def _check(self, name: str) -> None:
        path = self.path / name
        try:
            same = _crc(path) == self.crc[name]
        except OSError as error:
            raise WildlamError(f"cannot read {path}: {error}; {_REMEDY}") from error
        if not same:
            raise WildlamError(f"cannot read {path}: it is not what was written; {_REMEDY}")


class Writer:
    """Writes a run's checkpoints in the background, one at a time: tensors are copied at once, and written later.

    All processes make one, save and wait together. A checkpoint is there once it is whole; what a killed process leaves
    half written is not seen.

    Args:
        folder: folder of the checkpoints.
        keep: how many, besides the best.
        processes: this process's place among all.
    """

    def __init__(self, folder: Path, keep: int, processes: Processes) -> None:
        self.folder, self.keep, self.processes = folder, keep, processes
        # Writers agree on who writes what while training goes on: in a group of their own, not to mix up messages.
        self.group = dist.new_group(backend="gloo") if processes.world_size > 1 else None
        self.pool = ThreadPoolExecutor(1, "checkpoint")
        self.pending: Future[None] | None = None
        self.final = folder

    def save(self, step: int, score: float | None, model: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Start writing the checkpoint of ``step``; then delete all but the last few and the best.

        Args:
            step: steps done.
            score: held-out error.
            model: the whole weights, of which the main process's are written.
            state: what training needs besides; may be in parts.

        Raises:
            WildlamError: the checkpoint before could not be written.
        """
        self.wait()
        self.final, temporary = self.folder / f"step_{step:08d}", self.folder / f".step_{step:08d}.tmp"
        if self.processes.is_main:
            with self._writing():
                shutil.rmtree(temporary, ignore_errors=True)
                (temporary / STATE).mkdir(parents=True)
        self.processes.barrier()
        weights = {}
        if self.processes.is_main:
            weights = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in model.items()}
        written = None
        if state:
            from wildlam.runs import sharded_state

            written = sharded_state.write(state, temporary / STATE, self.group)
        self.pending = self.pool.submit(self._finish, written, temporary, step, score, weights)

    def wait(self) -> None:
        """Wait until the checkpoint is written.

        Raises:
            WildlamError: the disk is full or not writable; earlier checkpoints stay as they are.
        """
        if self.pending is not None:
            pending, self.pending = self.pending, None
            with self._writing():
                pending.result()
            self.processes.barrier()

    def close(self) -> None:
        """Wait for the checkpoint, even if it fails; nothing is written afterwards."""
        self.pool.shutdown()

    def _finish(
        self,
        written: Callable[[], None] | None,
        temporary: Path,
        step: int,
        score: float | None,
        weights: dict[str, Tensor],
    ) -> None:
        try:
            if written is not None:
                written()
            if not self.processes.is_main:
                return
            save_file(weights, temporary / MODEL)
            readable(temporary / MODEL)
            files = [file for file in temporary.rglob("*") if file.is_file()]
            crc = {file.relative_to(temporary).as_posix(): _crc(file) for file in files}
            meta = temporary / "meta.json"
            meta.write_text(json.dumps(_sealed({"step": step, "score": score, "crc": crc})))
            for file in (*files, meta):
                with open(file, "rb") as handle:
                    os.fsync(handle.fileno())
            shutil.rmtree(self.final, ignore_errors=True)
            os.replace(temporary, self.final)
        except BaseException:
            if self.processes.is_main:
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        kept, chosen = listing(self.folder), best(self.folder)
        for checkpoint in kept[: -self.keep]:
            if checkpoint != chosen:
                shutil.rmtree(checkpoint.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError, RuntimeError) as error:
            lines = [line for line in str(error).splitlines() if "os error" in line or "Errno" in line]
            reason = lines[-1] if lines else error  # a process's trace says more than we want
            raise WildlamError(
                f"cannot write the checkpoint {self.final}: {reason}; free some space and {option('resume')}"
            ) from error


def listing(folder: Path) -> list[Checkpoint]:
    """All checkpoints of a folder, oldest first.

    Raises:
        WildlamError: what one says of itself is missing or damaged.
    """
    found = []
    for path in sorted(folder.glob("step_*")):
        try:
            meta = read_json(path / "meta.json")
        except WildlamError as error:
            raise WildlamError(f"{error}. {_REMEDY[0].upper()}{_REMEDY[1:]}") from error
        if meta != _sealed({k: v for k, v in meta.items() if k != "seal"}):
            raise WildlamError(f"{path / 'meta.json'} is damaged; {_REMEDY}")
        score = math.inf if meta["score"] is None else meta["score"]
        found.append(Checkpoint(path, meta["step"], score, meta["crc"]))
    return found


def last(folder: Path) -> Checkpoint | None:
    """The newest checkpoint, if any."""
    found = listing(folder)
    return found[-1] if found else None


def best(folder: Path) -> Checkpoint:
    """The checkpoint with the lowest held-out error, the newest where none was measured.

    Raises:
        WildlamError: if there is none.
    """
    found = listing(folder)
    if not found:
        raise WildlamError(f"no checkpoint in {folder}; train first, or wait for the first one to be written")
    return min(reversed(found), key=lambda c: c.score)


def load_weights(model: nn.Module, tensors: dict[str, Tensor], origin: Path) -> None:
    """Put weights into a model, checking every name and shape.

    Raises:
        WildlamError: naming the first that does not fit.
    """
    expected = model.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected:
            side = "lacks" if name not in tensors else "has an unknown"
            raise WildlamError(f"{origin} {side} weight {name!r}: it belongs to a model of another config")
        if tensors[name].shape != expected[name].shape:
            raise WildlamError(
                f"{origin}: weight {name!r} is {list(tensors[name].shape)}, the config wants "
                f"{list(expected[name].shape)}; use the run's own config.yaml"
            )
    model.load_state_dict(tensors)


def _crc(path: Path) -> int:
    """CRC-32 of a file."""
    value = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 24):
            value = zlib.crc32(chunk, value)
    return value


def _sealed(meta: dict[str, Any]) -> dict[str, Any]:
    """``meta`` with a checksum of its own."""
    return meta | {"seal": zlib.crc32(json.dumps(meta, sort_keys=True).encode())}
