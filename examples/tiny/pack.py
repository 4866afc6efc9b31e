"""Make the model that comes with the package of a run and what was trained for it: the last step of ``train.sh``.

    python examples/tiny/pack.py runs/worlds/run --parts controller_nav controller_arm decoder prior

Weights are kept in bfloat16, in which training makes its matrix products; optimisers are left behind.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
import yaml

from wildlam.distributed import Processes
from wildlam.pretrained import TINY
from wildlam.runs import checkpoints

KEPT = ("config.yaml", "run.json", "actions.json", "model.json", "results.json", "metrics.jsonl")
MADE_BY = "bash examples/tiny/train.sh"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--parts", nargs="+", default=[], help="folders in the run's: controllers, a decoder, a prior")
    args = parser.parse_args()
    for old in TINY.iterdir() if TINY.is_dir() else ():
        if old.is_dir():
            shutil.rmtree(old)
    pack(args.run, TINY)
    for part in args.parts:
        pack(args.run / part, TINY / part)
    size = sum(file.stat().st_size for file in TINY.rglob("*") if file.is_file())
    print(f"{TINY}: {size / 1e6:.1f} MB")


def pack(folder: Path, to: Path) -> None:
    """Copy what describes a run, without where it lay and what was typed, and the weights of its best checkpoint."""
    to.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (folder / name).is_file():
            (to / name).write_text(impersonal(name, (folder / name).read_text()))
    best = checkpoints.best(folder / "checkpoints")
    half = {k: v.bfloat16() if v.dtype == torch.float32 else v for k, v in best.model_tensors().items()}
    writer = checkpoints.Writer(to / "checkpoints", 1, Processes(0, 1, torch.device("cpu")))
    writer.save(best.step, best.score, half, {})
    writer.wait()
    writer.close()


def impersonal(name: str, text: str) -> str:
    """A file of a run or of a part of it, as if made in no one's folder, and no longer than needed."""
    if name == "metrics.jsonl":
        # Of numbers for each dimension of z the report draws the last alone.
        rows, seen = [json.loads(line) for line in text.splitlines()], False
        for row in reversed(rows):
            lists = [key for key, value in row.items() if isinstance(value, list)]
            for key in lists if seen else ():
                del row[key]
            seen = seen or bool(lists)
        return "".join(json.dumps(row) + "\n" for row in rows)
    if name == "run.json":
        return json.dumps(json.loads(text) | {"command": MADE_BY}, indent=2)
    if name == "results.json":
        found = json.loads(text)
        return json.dumps(found | {key: "videos" for key in ("videos", "data") if key in found}, indent=2)
    if name == "config.yaml":
        config = yaml.safe_load(text)
        data = config.get("data")
        if isinstance(data, dict):
            data["path"], data["cache"], config["out"] = "videos", None, None
            data["mixture"] = {}  # of sources that a user's videos do not have
        elif data:
            config["data"] = f"videos/{Path(data).name}"
        return yaml.safe_dump(config, sort_keys=False)
    return text


if __name__ == "__main__":
    main()
