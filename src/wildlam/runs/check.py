"""Whether a folder is that of a run: to be asked before PyTorch is imported, which takes seconds."""

from __future__ import annotations

from pathlib import Path

from wildlam.errors import WildlamError


def check_run_folder(path: Path) -> None:
    """Refuse a folder that holds no run.

    Raises:
        WildlamError: naming what is missing, and what to give.
    """
    if (path / "sweep.yaml").is_file():
        raise WildlamError(f"{path} is a sweep, of several runs; give one of its folders, or `report` it whole")
    for name in ("config.yaml", "run.json"):
        if not (path / name).is_file():
            remedy = "give the folder that `train` wrote"
            if path == Path("tiny"):  # as `wildlam.load` calls it
                remedy = "`wildlam demo --pretrained` writes wildlam-tiny to runs/tiny, where it can be added to"
            if str(path).startswith("hf:"):
                remedy = f"from Python, work in a copy: wildlam.pretrained.own_run('{path}')"
            raise WildlamError(f"{path} is not a run folder: it has no {name}; {remedy}")
