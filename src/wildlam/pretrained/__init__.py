"""``wildlam-tiny``: a small model of three worlds that comes with the package, and what drives it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from wildlam.config import dump_config, read_config
from wildlam.errors import WildlamError, option
from wildlam.fileio import read_json, write_atomically, writing

TINY = Path(__file__).parent / "tiny"
"""A run folder with a controller for each world with actions, a decoder and a prior; its card is ``README.md``."""

FILMS = Path(__file__).parent / "films"
"""Short films to play with where no simulator is installed, two worlds' with poses; see ``README.md`` there."""


def run_path(run: str | Path) -> Path:
    """The folder of a run that is only read: of the text ``"tiny"`` it is ``TINY``.

    A folder of your own that is called tiny is ``Path("tiny")`` or ``"./tiny"``.
    """
    return TINY if run == "tiny" else Path(run)


def unpack(out: Path, videos: Path) -> Path:
    """Copy the model to a run folder of its own, whose videos are those in ``videos``.

    Called again, it leaves what is there, if it is this model with these controllers.

    Returns:
        The run folder.

    Raises:
        WildlamError: this installation has no model, the folder holds another, or cannot be written.
    """
    if not (TINY / "config.yaml").is_file():
        raise WildlamError(f"{TINY} holds no model; install wildlam again, or train one: wildlam demo")
    if (out / "config.yaml").is_file():
        for known in TINY.rglob("run.json"):
            here = out / known.relative_to(TINY)
            if not here.is_file() or _model_of(here) != _model_of(known):
                raise WildlamError(
                    f"{out} holds another run, or a wildlam-tiny of before; choose another {option('out')}"
                )
    else:
        config = read_config(TINY / "config.yaml")
        config = replace(config, out=out, data=replace(config.data, path=videos.absolute()))
        with writing(out, f"choose another {option('out')}"):
            # The configuration last: without it, what is here is not taken for whole.
            shutil.copytree(TINY, out, dirs_exist_ok=True, ignore=_written_last)
            write_atomically(out / "config.yaml", dump_config(config))
    return out


def _model_of(run_json: Path) -> dict[str, Any]:
    """What identifies a model: all but the command, which earlier versions recorded in another form."""
    return {key: value for key, value in read_json(run_json).items() if key != "command"}


def _written_last(folder: str, _: list[str]) -> set[str]:
    return {"config.yaml"} if Path(folder) == TINY else set()
