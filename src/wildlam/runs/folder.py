"""Run folders: everything about a run in one place, so that it can be read, resumed and loaded."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildlam.distributed import job
from wildlam.errors import WildlamError, option
from wildlam.fileio import locked, read_json, write_atomically, writing
from wildlam.runs.check import check_run_folder
from wildlam.runs.command import current_command
from wildlam.types import EncoderSpec


class Run:
    """A folder that holds one run.

    ``config.yaml`` (resolved), ``run.json`` (command, seed, versions, encoder), ``metrics.jsonl`` (a line per logged
    step), ``tensorboard/``, ``checkpoints/``, and once evaluated ``results.json`` and ``report.html``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def create(self, config_yaml: str, seed: int, encoder: EncoderSpec) -> None:
        """Make the folder and write configuration and facts; a folder that holds a run is left as it is.

        Raises:
            WildlamError: it cannot be written, or the run in it was made with another encoder.
        """
        if all((self.path / name).is_file() for name in ("run.json", "config.yaml")):
            if self.encoder_spec.fingerprint != encoder.fingerprint:
                raise WildlamError(
                    f"{self.path} has encoder {self.encoder_spec.fingerprint}, not {encoder.fingerprint}; "
                    "give the same weights and encoder.dtype"
                )
            return
        facts = {
            "command": current_command(),
            "job": job(),
            "seed": seed,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version()} | versions(),
            "encoder": asdict(encoder),
        }
        with writing(f"the run folder {self.path}", f"choose another {option('out')}"):
            self.path.mkdir(parents=True, exist_ok=True)
            # The configuration last: it is what says that there is a run.
            write_atomically(self.path / "run.json", json.dumps(facts, indent=2))
            write_atomically(self.path / "config.yaml", config_yaml)

    def training(self) -> AbstractContextManager[None]:
        """While this is held, no other process trains into the folder.

        Raises:
            WildlamError: another process does.
        """
        refusal = f"let it end, or give another {option('out')}"
        return locked(self.path, "training", file=self.path / ".lock", refusal=refusal)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run folder.

        Raises:
            WildlamError: if it is not one.
        """
        run = cls(path)
        check_run_folder(run.path)
        return run

    @property
    def facts(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        return read_json(self.path / "run.json")

    @property
    def encoder_spec(self) -> EncoderSpec:
        """Specification of the encoder whose states the run was trained on."""
        fields = self.facts["encoder"]
        return EncoderSpec(**{**fields, "grid": tuple(fields["grid"])})

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    def log(self, step: int, values: Mapping[str, float | list[float]]) -> None:
        """Append a line to ``metrics.jsonl``."""
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"step": step} | dict(values)) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``; a last line cut off by a kill is left out."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text().split("\n")
        rows = []
        for number, line in enumerate(lines, start=1):
            if not line:
                continue
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number == len(lines):
                    break
                raise WildlamError(f"{path} line {number} is not JSON; restore or remove it") from error
        return rows

    def forget_metrics_after(self, step: int) -> None:
        """Drop the lines of steps later than ``step``, which a resumed run will log again."""
        rows = [row for row in self.metrics() if row["step"] <= step]
        write_atomically(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def versions() -> dict[str, str]:
    """Versions of this package and of what its numbers depend on."""
    found = {}
    for name in ("wildlam", "torch", "transformers", "av", "pylance", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def to_plain(statistics: Mapping[str, Tensor]) -> dict[str, float | list[float]]:
    """Tensors to numbers (scalars) and lists (vectors), for JSON."""
    return {key: torch.as_tensor(value).detach().float().tolist() for key, value in statistics.items()}
