"""Checkpoints: atomic folders of safetensors, the last few and the best kept.

``checkpoints/step_00000500/`` holds ``model.safetensors`` (the weights to use), ``state.safetensors`` (what
training needs besides) and ``meta.json``. No random state is kept: the loop derives it from seed and step.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from wildlam.training.run import read_json
from wildlam.types import WildlamError


@dataclass(frozen=True)
class Checkpoint:
    """A folder with the state of a run after ``step`` steps; ``score`` is its held-out error (lower is better)."""

    path: Path
    step: int
    score: float

    def model_tensors(self) -> dict[str, Tensor]:
        """The weights."""
        return _load(self.path / "model.safetensors")

    def state_tensors(self) -> dict[str, Tensor]:
        """The optimisers' state; with a moving average, also the weights it averages, under ``raw.``."""
        return _load(self.path / "state.safetensors")


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
        save_file({k: v.detach().cpu().contiguous() for k, v in model.items()}, temporary / "model.safetensors")
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, temporary / "state.safetensors")
        (temporary / "meta.json").write_text(json.dumps({"step": step, "score": score}))
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
    """All checkpoints of a folder, oldest first."""
    found = []
    for path in sorted(folder.glob("step_*")):
        meta = read_json(path / "meta.json")
        score = math.inf if meta["score"] is None else meta["score"]
        found.append(Checkpoint(path, meta["step"], score))
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


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WildlamError(
            f"cannot read {path}: {error}; delete that checkpoint: the one before is used then, or training starts anew"
        ) from error
