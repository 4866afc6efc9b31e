"""Runs on the Hugging Face Hub: ``hf:user/name``, read through ``huggingface_hub`` and its cache.

Only files of a run are downloaded (``ALLOWED``), and they are read, never executed: weights are safetensors, all else
is text, and a configuration may name no class but this library's.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from wildlam.errors import WildlamError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger(__name__)

PREFIX = "hf:"
CARD = "README.md"
CONFIG = "config.yaml"
DESCRIBING = (
    CONFIG,
    "run.json",
    "actions.json",
    "model.json",
    "results.json",
    "evaluations.json",
    "metrics.jsonl",
)
"""Files of a run's folder, or of a controller's, that others get."""

ALLOWED = (
    CARD,
    *DESCRIBING,
    *(f"*/{name}" for name in DESCRIBING),
    "checkpoints/step_*/model.safetensors",
    "checkpoints/step_*/meta.json",
    "*/checkpoints/step_*/model.safetensors",
    "*/checkpoints/step_*/meta.json",
)
"""Files of a run, as ``fnmatch`` has it; what else a repository holds is left where it is."""

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class HubName:
    """A repository on the Hub, and which of its revisions: a branch, a tag or a commit."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")

    @property
    def own(self) -> str:
        """The name without its user's."""
        return self.repo.partition("/")[2]

    @classmethod
    def of(cls, text: str) -> HubName:
        """Read ``[hf:]user/name[@revision]``.

        Raises:
            WildlamError: it is something else.
        """
        repo, at, revision = text.removeprefix(PREFIX).partition("@")
        if not is_name(repo) or (at and not revision):
            raise WildlamError(f"{text!r} is no name on the Hub; give {PREFIX}user/name or {PREFIX}user/name@revision")
        return cls(repo, revision or None)


def is_name(text: str) -> bool:
    """Whether a text has the form ``user/name`` of a repository on the Hub."""
    return len(text) <= 96 and _NAME.fullmatch(text) is not None and not re.search(r"--|\.\.|[.-](/|$)", text)


def is_allowed(file: str) -> bool:
    """Whether a file of a repository, by its path there, is one of a run."""
    return any(fnmatch(file, pattern) for pattern in ALLOWED)


def download(name: HubName) -> Path:
    """The folder of a run on the Hub: in the cache of ``huggingface_hub``, where it is only read.

    What is there already is not fetched again, an interrupted download goes on where it stopped, and how large it is is
    logged before. Where the Hub cannot be asked, or ``HF_HUB_OFFLINE`` is set, the cache has to hold it.

    Raises:
        WildlamError: there is no such repository or revision, it holds no run, it cannot be reached or stored; or a
            file in it is not what one of a run is.
    """
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi(library_name="wildlam")
    with hub_errors(name):
        found = _listing(api, name)
        if found is not None:
            _announce(name, *found)
        folder = Path(
            snapshot_download(
                name.repo,
                revision=name.revision,
                allow_patterns=list(ALLOWED),
                library_name="wildlam",
                local_files_only=found is None,
            )
        )
    _check_run(folder, name)
    return folder


@contextmanager
def hub_errors(name: HubName, denied: str = "") -> Iterator[None]:
    """Say what went wrong between here and the Hub, and what to do.

    Args:
        name: what it is about.
        denied: what to do where the Hub denies it.

    Raises:
        WildlamError: in place of the errors of ``huggingface_hub``.
    """
    from huggingface_hub import constants, errors

    log_in = "log in with `hf auth login`, or set HF_TOKEN"
    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise WildlamError(f"{name}: you are not logged in to the Hub; {log_in}") from error
    except errors.RevisionNotFoundError as error:
        raise WildlamError(
            f"{name}: the repository has no revision {name.revision!r}; give a branch, a tag or a commit of "
            f"{constants.ENDPOINT}/{name.repo}, or none for the newest"
        ) from error
    except errors.GatedRepoError as error:
        raise WildlamError(
            f"{name}: its owner gives access by request; ask on {constants.ENDPOINT}/{name.repo}, and {log_in}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise WildlamError(
            f"{name}: {constants.ENDPOINT} has no such repository, or it is private; check the name, or {log_in}"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} cannot be reached"
        raise WildlamError(
            f"{name}: {why}, and {constants.HF_HUB_CACHE} does not hold all of it; download it once while online"
        ) from error
    except errors.HfHubHTTPError as error:
        raise WildlamError(f"{name}: {_refusal(error, log_in, denied)}") from error
    except errors.HFValidationError as error:
        raise WildlamError(f"{name}: {str(error).splitlines()[0]}; give {PREFIX}user/name") from error
    except Exception as error:
        if unreachable(error):
            raise WildlamError(
                f"{name}: {constants.ENDPOINT} cannot be reached ({_first_line(error)}); the same again goes on where "
                "it stopped"
            ) from error
        if not isinstance(error, OSError):
            raise
        raise WildlamError(
            f"{name}: {error.strerror or error}; free some space, or set HF_HOME to a folder that can be written"
        ) from error


def unreachable(error: Exception) -> bool:
    """Whether an error is that of a connection, of whichever client ``huggingface_hub`` uses."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return not kinds.isdisjoint({"TransportError", "ConnectionError", "OfflineModeIsEnabled"})


def _refusal(error: Any, log_in: str, denied: str) -> str:
    status, said = error.response.status_code, getattr(error, "server_message", None) or _first_line(error)
    if status == 401:
        return f"the Hub does not know who you are ({said}); {log_in}"
    if status == 403:
        return f"the Hub denies it ({said}); {denied or log_in}"
    if status in (402, 413, 507):
        return f"the Hub has no room for it ({said}); delete what you no longer need there"
    return f"the Hub answers {status} ({said}); try again later"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _listing(api: HfApi, name: HubName) -> tuple[str, dict[str, int]] | None:
    """The commit and the sizes of the files of a run, in bytes; None where the Hub cannot be asked.

    Raises:
        WildlamError: it holds no run, or files outside of its folder.
    """
    try:
        info = api.model_info(name.repo, revision=name.revision, files_metadata=True)
    except Exception as error:
        if not unreachable(error):
            raise
        log.info("%s: the Hub cannot be asked; looking for it in the cache", name)
        return None
    files = {file.rfilename: file.size or 0 for file in info.siblings or []}
    for file in files:
        if "\\" in file or PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
            raise WildlamError(f"{name}: its file {file!r} would lie outside of its folder; do not use it")
    wanted = {file: size for file, size in files.items() if is_allowed(file)}
    if left := sorted(files.keys() - wanted.keys() - {".gitattributes"}):
        log.info("%s: left out, as no file of a run: %s", name, ", ".join(left))
    if CONFIG not in wanted:
        raise WildlamError(f"{name} holds no run of wildlam: it has no {CONFIG}; give one that `wildlam push` made")
    return info.sha or "", wanted


def _announce(name: HubName, commit: str, files: dict[str, int]) -> None:
    """Log how much there is to download; refuse it where there is no room."""
    from huggingface_hub import constants, try_to_load_from_cache

    missing = {
        file: size
        for file, size in files.items()
        if not isinstance(try_to_load_from_cache(name.repo, file, revision=commit), str)
    }
    total, left = sum(files.values()), sum(missing.values())
    cache = Path(constants.HF_HUB_CACHE)
    said = f"{left / 1e6:.1f} MB to download into {cache}" if missing else "all in the cache"
    log.info("%s (%s): %d files, %.1f MB; %s", name, commit[:7], len(files), total / 1e6, said)
    above = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if (free := shutil.disk_usage(above).free) < left:
        raise WildlamError(
            f"{name}: {left / 1e6:.1f} MB are to be downloaded, {cache} has room for {free / 1e6:.1f} MB; free some "
            "space, or set HF_HOME to a folder elsewhere"
        )


def _check_run(folder: Path, name: HubName) -> None:
    """Refuse a run whose configuration names other classes than this library's, which reading it would import.

    Raises:
        WildlamError: it does, or is none.
    """
    if not (folder / CONFIG).is_file():
        raise WildlamError(f"{name} holds no run of wildlam: it has no {CONFIG}; give one that `wildlam push` made")
    for file in folder.rglob(CONFIG):
        try:
            tree = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise WildlamError(f"{name}: its {file.relative_to(folder)} is no YAML; ask its author") from error
        for chosen in _values(tree, lambda key: key == "class_path"):
            if not isinstance(chosen, str) or ("." in chosen and not chosen.startswith("wildlam.")):
                raise WildlamError(
                    f"{name}: its {file.relative_to(folder)} names the class {chosen!r}, which is none of wildlam's; "
                    "do not use it"
                )


def _values(tree: Any, wanted: Callable[[Any], bool]) -> Iterator[Any]:
    """Values of the keys that are wanted, at any depth."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if wanted(key):
                yield value
            yield from _values(value, wanted)
    elif isinstance(tree, list):
        for value in tree:
            yield from _values(value, wanted)
