"""Publish a run on the Hugging Face Hub: ``wildlam push``."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wildlam.config import config_from, dump_config, read_config
from wildlam.errors import WildlamError, named, option
from wildlam.fileio import read_json, write_atomically, writing
from wildlam.pretrained.hub import CARD, CONFIG, HubName, hub_errors, is_allowed
from wildlam.pretrained.packing import pack, parts_of
from wildlam.report.card import model_card
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.workflows.auxiliary import weights_fingerprint
from wildlam.workflows.configs import PushConfig
from wildlam.workflows.controller import controller_results
from wildlam.workflows.open_run import load_model
from wildlam.workflows.policy import policy_results
from wildlam.workflows.prior import prior_results

log = logging.getLogger(__name__)

_RESULTS = {"controller": controller_results, "prior": prior_results, "policy": policy_results}


@dataclass(frozen=True)
class PushResult:
    """What was published. Printed, its files and their sizes.

    Attributes:
        files: size in bytes of each file.
        folder: where they lie, of a dry run.
        url: where they went, of a push.
        license: the licence that a dry run was given.
    """

    files: dict[str, int] = field(repr=False)
    folder: Path | None = None
    url: str | None = None
    license: str = ""

    def __str__(self) -> str:
        lines = [f"{_in_bytes(size):>12}  {file}" for file, size in self.files.items()]
        lines.append(f"{_in_bytes(sum(self.files.values())):>12}  in {len(self.files)} files")
        if self.folder is not None:
            lines.append(f"licence {self.license}: whether the Hub knows this identifier is not checked")
            return "\n".join([*lines, f"nothing is uploaded; look through {self.folder}, {CARD} first"])
        return "\n".join([*lines, f"published  {self.url}"])


def _in_bytes(size: int) -> str:
    """A size as people read it, from a byte to any number of megabytes."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def push(config: PushConfig | str | Path | None = None, /, **keywords: Any) -> PushResult:
    """Publish a run on the Hugging Face Hub: its best weights, what describes it, what was trained for it, and a card.

    Folders of yours, and names of videos, are left out of all of it. An interrupted push goes on where it stopped.

    Args:
        config: what to do, or a path, that of ``run``.
        keywords: fields of ``PushConfig``, in its place or to replace what it says.

    Raises:
        WildlamError: something is wrong with the run, its encoder's weights lie in a folder, you are not logged in,
            have no right to write there or no network, or the repository holds something else.
    """
    config = config_from(PushConfig, config, keywords)
    name, run = HubName.of(config.name), Run.open(config.run)
    with ExitStack() as stack:
        if config.dry_run:
            folder = _emptied(config.out or Path("hub") / name.own)
        else:
            _check_token(name)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wildlam-push-")))
        _write(folder, run, config)
        files = _files(folder)
        if config.dry_run:
            return PushResult(files, folder=folder, license=config.license)
        return PushResult(files, url=_upload(folder, list(files), name, config.private))


def _write(folder: Path, run: Run, config: PushConfig) -> None:
    """Write what is published of a run."""
    name, of_run = HubName.of(config.name), read_config(run.path / CONFIG)
    encoder = _known_encoder(of_run.encoder, config.encoder)
    weights = weights_fingerprint(load_model(run, of_run, run.encoder_spec))
    command = f"published as {name.repo}; wildlam train --config {CONFIG} --data.path VIDEOS trains one like it"
    with named({"resume": "try again"}):
        pack(run.path, folder, command)
    plain = read_config(folder / CONFIG)
    write_atomically(folder / CONFIG, dump_config(replace(plain, encoder=encoder)))
    parts: dict[str, Sequence[str]] = {}
    for part, kind in parts_of(run.path).items():
        if (reason := _unfit(Run(run.path / part), run, weights)) is not None:
            log.info("%s is left out: %s", run.path / part, reason)
            continue
        pack(run.path / part, folder / part, command)
        parts[part] = _described(folder / part, kind)
    if config.card is None:
        card = model_card(Run(folder), name.repo, config.license, config.about, parts)
    else:
        card = _own_card(config.card)
    with writing(folder / CARD, "choose another folder"):
        write_atomically(folder / CARD, card)
        written = (folder / CONFIG).stat().st_mtime_ns
        os.utime(folder / CARD, ns=(written, written))  # until someone edits it, see `_emptied`
    _check_private(folder, run.path)


def _known_encoder(encoder: Any, name: str | None) -> Any:
    """The encoder of a run, with weights that others can have."""
    weights = getattr(encoder, "model", None)
    if weights is None:
        if name is not None:
            raise WildlamError(f"{option('encoder')}: {type(encoder).__name__} has its own weights; leave it out")
        return encoder
    if name is not None:
        return replace(encoder, model=name)
    if Path(weights).exists() or Path(weights).is_absolute():
        raise WildlamError(
            f"the encoder's weights lie in {weights}, which others do not have; say by {option('encoder')} what they "
            "are called on the Hub, such as facebook/vjepa2-vitl-fpc64-256"
        )
    return encoder


def _unfit(part: Run, run: Run, weights: str) -> str | None:
    """Why what was trained for a run is of no use with it, or not whole; None if it is."""
    if part.encoder_spec.fingerprint != run.encoder_spec.fingerprint:
        return "it was trained on states of another encoder"
    for file, key in (("actions.json", "drives"), ("model.json", "weights")):
        if (part.path / file).is_file() and read_json(part.path / file).get(key) not in (None, weights):
            return "it belongs to another run, or to this one before more training"
    return None if checkpoints.listing(part.checkpoints) else "it has no checkpoint yet"


def _described(part: Path, kind: str) -> list[str]:
    """What a card tells of what was trained for a run."""
    if (part / "results.json").is_file():
        return _RESULTS[kind](part).splitlines()
    best = checkpoints.best(part / "checkpoints")
    return [f"{kind}, {best.step} steps; held-out error {best.score:.4f}"]


def _own_card(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WildlamError(f"cannot read the card {path} ({error}); give a Markdown file") from error


def _check_private(folder: Path, run: Path) -> None:
    """Refuse to publish what names folders of the author's, wherever it may come from."""
    private = {str(place) for place in (Path.home(), Path.cwd(), run.resolve().parent) if len(place.parts) > 1}
    for file in (file for file in folder.rglob("*") if file.suffix in (".json", ".jsonl", ".yaml")):
        text = file.read_text(encoding="utf-8")
        if found := [place for place in private if place in text]:
            raise WildlamError(
                f"{file.relative_to(folder)} names your folder {found[0]}, and is not published; take it out of that "
                f"file in {run}"
            )


def _emptied(folder: Path) -> Path:
    """The folder of a dry run, without what an earlier one wrote.

    Raises:
        WildlamError: it holds something else, or a card that was edited since.
    """
    if folder.is_dir() and (files := list(_files(folder))):
        card, config = folder / CARD, folder / CONFIG
        if not {CARD, CONFIG, "run.json"} <= {*files} or not all(map(is_allowed, files)):
            raise WildlamError(f"{folder} is there already; remove it, or give another {option('out')}")
        if card.stat().st_mtime_ns != config.stat().st_mtime_ns:
            raise WildlamError(
                f"{card} was edited: move it away and give it as {option('card')}, or give another {option('out')}"
            )
        with writing(f"to {folder}", f"give another {option('out')}"):
            shutil.rmtree(folder)
    elif folder.exists() and not folder.is_dir():
        raise WildlamError(f"{folder} is a file; give another {option('out')}")
    return folder


def _files(folder: Path) -> dict[str, int]:
    found = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in found}


def _check_token(name: HubName) -> None:
    from huggingface_hub import errors, get_token

    with hub_errors(name):
        if get_token() is None:
            raise errors.LocalTokenNotFoundError


def _upload(folder: Path, files: Sequence[str], name: HubName, private: bool) -> str:
    """Make these files, and no others of a run, those of the repository; return its address."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, owner = HfApi(library_name="wildlam"), name.repo.partition("/")[0]
    denied = f"choose a name of your own, or let {owner} give your token the right to write"
    with hub_errors(name, denied):
        address = api.create_repo(name.repo, private=private or None, exist_ok=True)
        there = set(api.list_repo_files(name.repo))
        if there - {".gitattributes", CARD} and not {CONFIG, "run.json"} <= there:
            raise WildlamError(f"{name.repo} holds something else than a run of wildlam; choose another name")
        stale = sorted(file for file in there - set(files) if is_allowed(file))
        added = [CommitOperationAdd(file, folder / file) for file in files]
        deleted = [CommitOperationDelete(file) for file in stale]
        try:
            api.create_commit(name.repo, [*added, *deleted], commit_message="Push a run of wildlam")
        except ValueError as error:  # the metadata of a card
            raise WildlamError(f"the Hub does not take {CARD}: {error}; mend it") from error
    return str(address)
