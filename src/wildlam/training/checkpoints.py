"""Checkpoints: atomic folders of safetensors, the last few and the best kept.

``checkpoints/step_00000500/`` holds ``model.safetensors`` (the weights to use), ``state.safetensors`` (what
training needs besides) and ``meta.json``, with the CRC-32 of all three: safetensors has none, and a flipped bit would
be but another weight. No random state is kept: the loop derives it from seed and step.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wildlam.training.run import read_json
from wildlam.types import WildlamError


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
        return self._load("model.safetensors")

    def state_tensors(self) -> dict[str, Tensor]:
        """The optimisers' state; with a moving average, also the weights it averages, under ``raw.``."""
        return self._load("state.safetensors")

    def _load(self, name: str) -> dict[str, Tensor]:
        path = self.path / name
        try:
            if _crc(path) != self.crc[name]:
                raise ValueError("it is not what was written")
            return load_file(path)
        except (OSError, SafetensorError, ValueError) as error:
            raise WildlamError(
                f"cannot read {path}: {error}; delete that checkpoint: the one before is used then, or training starts "
                "anew"
            ) from error


def save(
    folder: Path, step: int, score: float | None, model: dict[str, Tensor], state: dict[str, Tensor], keep: int
) -> None:
    """Write the checkpoint of ``step``, then delete all but the last ``keep`` and the best.

    Raises:
        WildlamError: if the disk is full or not writable; earlier checkpoints stay as they are.
    """
    final, temporary = folder / f"step_{step:08d}", folder / f".step_{step:08d}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        crc = {}
        for name, tensors in (("model.safetensors", model), ("state.safetensors", state)):
            save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary / name)
            crc[name] = _crc(temporary / name)
        meta = _sealed({"step": step, "score": score, "crc": crc})
        (temporary / "meta.json").write_text(json.dumps(meta))
        for file in temporary.iterdir():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise WildlamError(f"cannot write the checkpoint {final}: {error}; free some space and --resume") from error
    kept, chosen = listing(folder), best(folder)
    for checkpoint in kept[:-keep]:
        if checkpoint != chosen:
            shutil.rmtree(checkpoint.path)


def listing(folder: Path) -> list[Checkpoint]:
    """All checkpoints of a folder, oldest first.

    Raises:
        WildlamError: what one says of itself is missing or damaged.
    """
    found = []
    for path in sorted(folder.glob("step_*")):
        meta = read_json(path / "meta.json")
        if not isinstance(meta, dict) or meta != _sealed({k: v for k, v in meta.items() if k != "seal"}):
            raise WildlamError(f"{path / 'meta.json'} is damaged; delete that checkpoint: the one before is used then")
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
