"""Models that others made: ``wildlam-tiny``, which comes with the package, and runs on the Hugging Face Hub."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from wildlam.errors import WildlamError, option
from wildlam.fileio import read_json, write_atomically, writing
from wildlam.pretrained.hub import PREFIX, HubName, download, is_name

log = logging.getLogger(__name__)

TINY = Path(__file__).parent / "tiny"
"""A run folder with a controller for each world with actions, a decoder and a prior; its card is ``README.md``."""

FILMS = Path(__file__).parent / "films"
"""Short films to play with where no simulator is installed, two worlds' with poses; see ``README.md`` there."""


FIRST_FILM = "arm/train/arm_2000_0000.mp4"
"""The one of these to begin with: bright, and without a ball or a light that no action moves."""


def run_path(run: str | Path) -> Path:
    """The folder of a run that is only read.

    Of the text ``"tiny"`` it is ``TINY``, and of ``"hf:user/name"`` or ``"hf:user/name@revision"`` one in the cache of
    ``huggingface_hub``, which is downloaded if it is not there. (A folder of your own that is called tiny is
    ``Path("tiny")`` or ``"./tiny"``.)

    Raises:
        WildlamError: it is on the Hub, and cannot be had from there; see ``hub.download``.
    """
    if isinstance(run, str) and run.startswith(PREFIX):
        return download(HubName.of(run))
    return TINY if run == "tiny" else Path(run)


def named_on_hub(run: str | Path) -> bool:
    """Whether a text is ``user/name`` of a repository, and not that of a file or folder, or of one in a folder."""
    repo = run.partition("@")[0] if isinstance(run, str) else ""
    return is_name(repo) and not Path(repo).exists() and not Path(repo).parent.exists()


def name_of(run: str | Path) -> str:
    """What a run is called: its folder, or its name on the Hub without its user's."""
    if isinstance(run, str) and run.startswith(PREFIX):
        return HubName.of(run).own
    return Path(run).absolute().name


def own_run(run: str | Path) -> Path:
    """The folder of a run that is written to, such as with what is trained for it.

    What ``run_path`` has from the Hub is copied to ``runs/name`` first. Called again, it is what is there already.

    Raises:
        WildlamError: as ``run_path``; or that folder holds another run, or cannot be written.
    """
    if not isinstance(run, str) or not run.startswith(PREFIX):
        return Path(run)
    out = Path("runs") / name_of(run)
    log.info("%s is copied to %s, where what comes of it goes", run, out)
    return unpack(out, out / "videos", run_path(run))


def unpack(out: Path, videos: Path, packed: Path | None = None) -> Path:
    """Copy a model to a run folder of its own, whose videos are those in ``videos``.

    Called again, it leaves what is there, if it is this model with these controllers.

    Args:
        out: the folder.
        videos: folder of videos, which need not exist.
        packed: the model; ``TINY`` if not given.

    Returns:
        The run folder.

    Raises:
        WildlamError: this installation has no model, the folder holds another, or cannot be written.
    """
    from wildlam.config import dump_config, read_config

    packed = packed or TINY
    if not (packed / "config.yaml").is_file():
        raise WildlamError(f"{packed} holds no model; install wildlam again, or train one: wildlam demo")
    config = read_config(packed / "config.yaml")
    if (out / "config.yaml").is_file():
        there = read_config(out / "config.yaml")
        same = (there.model, there.encoder) == (config.model, config.encoder)
        for known in packed.rglob("run.json"):
            here = out / known.relative_to(packed)
            same = same and here.is_file() and _model_of(here) == _model_of(known)
        if not same:
            raise WildlamError(
                f"{out} holds another run, or this one as it was before; choose another {option('out')}, or move it "
                "away"
            )
    else:
        data = replace(config.data, path=videos.absolute(), cache=None, exclude=[], mixture={})
        config = replace(config, out=out, data=data)
        with writing(out, f"choose another {option('out')}"):
            # The configuration last: without it, what is here is not taken for whole.
            shutil.copytree(packed, out, dirs_exist_ok=True, ignore=_written_last(packed))
            write_atomically(out / "config.yaml", dump_config(config))
    return out


def tiny_decoder(fingerprint: str) -> Path | None:
    """The folder of wildlam-tiny's decoder, if it paints the states of the encoder with this fingerprint."""
    facts = TINY / "decoder" / "run.json"
    return facts.parent if facts.is_file() and read_json(facts)["encoder"]["fingerprint"] == fingerprint else None


def _model_of(run_json: Path) -> dict[str, Any]:
    """What identifies a model: all but the command, which earlier versions recorded in another form."""
    return {key: value for key, value in read_json(run_json).items() if key != "command"}


def _written_last(packed: Path) -> Callable[[str, list[str]], set[str]]:
    return lambda folder, _: {"config.yaml"} if Path(folder) == packed else set()
