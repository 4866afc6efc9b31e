"""Configurations of the commands that list videos, or use or publish a trained run.

They lie apart from what those commands do, which takes PyTorch and more: `wildlam COMMAND --help` and a typing error
are answered before any of that is imported. (Nor is anything imported here for type checkers alone: jsonargparse, which
asks for types, would import it, too.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from wildlam.errors import check_packages, option
from wildlam.evaluation.horizon import SECONDS
from wildlam.pretrained import name_of, run_path
from wildlam.pretrained.hub import PREFIX, is_name
from wildlam.types import check_choice, check_count, settle_paths
from wildlam.video.config import DataConfig
from wildlam.video.files import Location, location
from wildlam.workflows.search_filter import Filter

Format = Literal["torch", "onnx"]

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


@dataclass(frozen=True, kw_only=True)
class IndexConfig:
    """Which videos to list, and what to look for.

    Args:
        path: folder of videos and tar shards (searched at any depth), or a list of them (.csv, .txt); also a URL.
        held_out: share of the videos, in (0, 1), that is kept for evaluation.
        on_error: raise on a video that cannot be used, or skip it (counted and reported).
        max_bad: share of the videos that on_error=skip may leave out, from 0 to 1.
        exclude: patterns of paths or file names that are left out, such as ["*.gif", "raw/*"].
        cuts: look for cuts (pip install 'wildlam[cuts]'; slower).
        cache: folder for the manifest; PATH/.wildlam if not given.
    """

    path: Location
    held_out: float = 0.1
    on_error: Literal["raise", "skip"] = "raise"
    max_bad: float = 0.1
    exclude: list[str] = field(default_factory=list)
    cuts: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.path, str):
            object.__setattr__(self, "path", location(self.path))
        settle_paths(self, "cache")
        try:
            DataConfig(**{name: getattr(self, name) for name in IndexConfig.__dataclass_fields__})
        except ValueError as error:
            raise ValueError(str(error).removeprefix("data.")) from None


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Which videos, by which run.

    Args:
        run: the run folder, or the text ``"tiny"`` for the model that comes with the package.
        source: video whose latent actions are inferred.
        target: video that they are applied to.
        output: film to write, .mp4.
        seconds: how much of the source to apply.
        decoder: folder of a decoder, or of a run with one of the same encoder; if not given that of the run, or
            wildlam-tiny's where it has none and its encoder is the same.
    """

    run: Path
    source: Path
    target: Path
    output: Path = Path("transfer.mp4")
    seconds: float = SECONDS
    decoder: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.run, str):
            object.__setattr__(self, "run", run_path(self.run))
        settle_paths(self, "run", "source", "target", "output", "decoder")
        if not isinstance(self.seconds, int | float) or not 0 < self.seconds < float("inf"):
            raise ValueError(f"{option('seconds')} must be a positive number, got {self.seconds!r}")


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What to look for.

    Args:
        run: the run folder, or the text ``"tiny"`` for the model that comes with the package.
        like: an example: VIDEO@SECONDS, of a video of the index or any file; a file of latent actions (.npz) as
            `wildlam infer` writes it, with @SECONDS if it holds several; or group:NAME.
        count: how many transitions to find, at most.
        distinct_videos: find at most one in each video.
        same_video: look in the video of the example, too.
        sources: sources to look in; all if none are given.
        min_speed: share of all transitions, from 0 to 1, that are too slow.
        max_speed: share of all transitions that are slow enough.
        after: seconds into its video from which on a transition begins.
        before: seconds into its video until which it ends.
        save_group: name of a group to keep the example and what is found as.
        data: folder of the videos of the index, which that of ``"tiny"`` lies with.
        index: folder of the index; where ``wildlam search build`` makes it if not given.
        out: the page; search.html in the folder of the index if not given.
    """

    run: Path
    like: str
    count: int = 20
    distinct_videos: bool = False
    same_video: bool = False
    sources: list[str] = field(default_factory=list)
    min_speed: float = 0.0
    max_speed: float = 1.0
    after: float = 0.0
    before: float = float("inf")
    save_group: str | None = None
    data: Location | None = None
    index: Path | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.run, str):
            object.__setattr__(self, "run", run_path(self.run))
        settle_paths(self, "run", "data", "index", "out")
        check_count("count", self.count)
        _ = self.filter  # refuses ranges that there are not
        if self.save_group is not None:
            from wildlam.workflows.groups import check_name

            check_name(self.save_group)

    @property
    def filter(self) -> Filter:
        """Which transitions may be found, but for those of the example."""
        return Filter(
            sources=tuple(self.sources),
            min_speed=self.min_speed,
            max_speed=self.max_speed,
            after=self.after,
            before=self.before,
        )


@dataclass(frozen=True, kw_only=True)
class PushConfig:
    """Which run is published, where, and under what terms.

    Args:
        run: the run folder.
        name: where it goes on the Hub: user/name, or organisation/name. It is made if it is not there.
        license: licence of the weights, by the Hub's identifier: apache-2.0, mit, cc-by-4.0, other, ... Whether the Hub
            knows it is not checked. There is no default: it is yours to choose, and the licence of the videos may limit
            the choice.
        about: what the videos show, where they are from and under what licence, for the model card.
        card: a model card of your own (Markdown), in place of the one that is made from the results.
        encoder: name on the Hub of the encoder's weights, where the run has them in a folder that others do not have.
        private: make the repository private, if it is new.
        dry_run: write the folder that would be uploaded, and upload nothing.
        out: that folder; hub/NAME if not given.
    """

    run: Path
    name: str
    license: str = ""
    about: str = ""
    card: Path | None = None
    encoder: str | None = None
    private: bool = False
    dry_run: bool = False
    out: Path | None = None

    def __post_init__(self) -> None:
        if isinstance(self.run, str):
            object.__setattr__(self, "run", run_path(self.run))
        settle_paths(self, "run", "card", "out")
        repo, at, _ = self.name.removeprefix(PREFIX).partition("@")
        if at:
            raise ValueError(f"{self.name}: a push makes a new revision; leave @ and what follows out")
        if not is_name(repo):
            raise ValueError(f"{self.name!r} is no name on the Hub; give user/name, or organisation/name")
        if not _LICENSE.fullmatch(self.license):
            given = f"{self.license!r} is no identifier; " if self.license else ""
            raise ValueError(
                f"{given}say by {option('license')} under which licence the weights are published, such as apache-2.0, "
                "mit, cc-by-4.0 or other (the videos' own may limit the choice)"
            )


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which run, and what is written.

    Args:
        run: the run folder.
        format: torch, one file of all functions (torch.export); or onnx, a file for each (pip install 'wildlam[onnx]').
        output: the file; NAME_OF_THE_RUN.pt2 or .onnx here if not given. ONNX puts the function's name before the
            ending.
        decoder: folder of a decoder, or of a run with one of the same encoder; if not given that of the run, or
            wildlam-tiny's where it has none and its encoder is the same.
    """

    run: Path
    format: Format = "torch"
    output: Path | None = None
    decoder: Path | None = None

    def __post_init__(self) -> None:
        check_choice("format", self.format, get_args(Format))
        if self.format == "onnx":
            check_packages("ONNX", {"onnx": ("onnx", "onnxscript", "onnxruntime")})
        if self.output is None:
            object.__setattr__(self, "output", Path(f"{name_of(self.run)}{self.suffix}"))
        if isinstance(self.run, str):
            object.__setattr__(self, "run", run_path(self.run))
        settle_paths(self, "run", "output", "decoder")
        if self.output is not None and self.output.suffix != self.suffix:
            raise ValueError(f"{option('output')} must end in {self.suffix}, got {self.output}")

    @property
    def suffix(self) -> str:
        """Ending of the file."""
        return ".pt2" if self.format == "torch" else ".onnx"
