"""What of a run is given to others: what describes it, without where it lay and whose it is, and its best weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import yaml

from wildlam.distributed import Processes
from wildlam.fileio import writing
from wildlam.pretrained.hub import CONFIG, DESCRIBING
from wildlam.runs import checkpoints

KINDS = ("controller", "decoder", "prior", "policy")
"""What is trained for a run, each named as the key of its configuration."""


def pack(folder: Path, to: Path, command: str, half: bool = False) -> None:
    """Copy what describes a run, without where it lay and what was typed, and the weights of its best checkpoint.

    Args:
        folder: the run, or a part of it such as its decoder; its own folders are left out.
        to: folder to write.
        command: what it says that it was made by.
        half: round the weights to bfloat16, in which training makes its matrix products: half as large.

    Raises:
        WildlamError: there is no checkpoint, it is damaged, or the folder cannot be written.
    """
    best = checkpoints.best(folder / "checkpoints")
    tensors = best.model_tensors()
    if half:
        tensors = {k: v.bfloat16() if v.dtype == torch.float32 else v for k, v in tensors.items()}
    with writing(to, "free some space there"):
        to.mkdir(parents=True, exist_ok=True)
        for name in DESCRIBING:
            if (folder / name).is_file():
                (to / name).write_text(_impersonal(name, (folder / name).read_text(encoding="utf-8"), command))
    writer = checkpoints.Writer(to / "checkpoints", 1, Processes(0, 1, torch.device("cpu")))
    writer.save(best.step, best.score, tensors, {})
    try:
        writer.wait()
    finally:
        writer.close()


def parts_of(run: Path) -> dict[str, str]:
    """What was trained for a run and lies in its folder: the kind of each (see ``KINDS``) by its folder's name."""
    found = {}
    for file in sorted(run.glob(f"*/{CONFIG}")):
        kind = kind_of(file)
        if kind is not None and (file.parent / "checkpoints").is_dir():
            found[file.parent.name] = kind
    return found


def kind_of(config: Path) -> str | None:
    """Which of ``KINDS`` a configuration is of, if of any."""
    try:
        tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return next((kind for kind in KINDS if isinstance(tree, dict) and kind in tree and "model" not in tree), None)


def _impersonal(name: str, text: str, command: str) -> str:
    """A file of a run or of a part of it, as if made in no one's folder, and no longer than needed."""
    if name == "metrics.jsonl":
        return _shortened(text.splitlines())
    if name == CONFIG:
        return yaml.safe_dump(_config(yaml.safe_load(text)), sort_keys=False)
    found = json.loads(text)
    if name == "evaluations.json":
        return json.dumps(_numbered(found))
    found = _without_folders(found)
    if name == "run.json":
        found |= {"command": command, "job": None}
    if name == "results.json":
        found |= {key: "videos" for key in ("videos", "data") if key in found}
    return json.dumps(found, indent=2)


def _shortened(lines: Iterable[str]) -> str:
    """Metrics without numbers for each dimension of z but the last, which alone the report draws."""
    rows, seen = [json.loads(line) for line in lines], False
    for row in reversed(rows):
        lists = [key for key, value in row.items() if isinstance(value, list)]
        for key in lists if seen else ():
            del row[key]
        seen = seen or bool(lists)
    return "".join(json.dumps(row) + "\n" for row in rows)


def _config(tree: dict[str, Any]) -> dict[str, Any]:
    """A configuration for other videos; the encoder keeps the name of its weights."""
    data, encoder = tree.get("data"), tree.get("encoder")
    plain = _without_folders(tree)
    if isinstance(data, dict):
        # Of sources and videos that others do not have.
        plain["data"] |= {"path": "videos", "cache": None, "mixture": {}, "exclude": []}
        plain["out"] = None
    elif data:
        plain["data"] = f"videos/{Path(data).name}"
    return plain if encoder is None else plain | {"encoder": encoder}


def _numbered(evaluations: dict[str, Any]) -> dict[str, Any]:
    """Evaluations clip by clip, whose videos and recordings have numbers in place of names."""
    numbers: dict[str, str] = {}

    def number(names: list[str]) -> list[str]:
        return [numbers.setdefault(name, str(len(numbers))) for name in names]

    return {
        part: {key: number(value) if key in ("names", "recordings") else value for key, value in of.items()}
        if isinstance(of, dict)
        else of
        for part, of in evaluations.items()
    }


def _without_folders(tree: Any) -> Any:
    """JSON or YAML in which paths are names alone."""
    if isinstance(tree, dict):
        return {key: _without_folders(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_folders(value) for value in tree]
    if isinstance(tree, str) and ("/" in tree or "\\" in tree):
        return PurePosixPath(tree.replace("\\", "/")).name
    return tree
