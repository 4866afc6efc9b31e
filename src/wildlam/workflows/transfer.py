"""Apply what happens in one video to another and write the film: behind ``wildlam transfer``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildlam.config import config_from
from wildlam.errors import option
from wildlam.evaluation.rollout import SECONDS
from wildlam.pretrained import run_path
from wildlam.types import settle_paths
from wildlam.video.opening import check_file
from wildlam.workflows.decoded_films import Transfer, TransferErrors, check_output
from wildlam.workflows.trained import load


@dataclass(frozen=True, kw_only=True)
class TransferConfig:
    """Which videos, by which run.

    Args:
        run: the run folder, or the text ``"tiny"`` for the model that comes with the package.
        source: video whose latent actions are inferred.
        target: video that they are applied to.
        output: film to write, .mp4.
        seconds: how much of the source to apply.
        decoder: folder of a decoder, or of a run with one of the same encoder; that of the run if not given.
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


@dataclass(frozen=True)
class TransferResult:
    """A film, and what the states say of it. Printed, figures; in a notebook, the film.

    Attributes:
        film: the file: source, target as it was, and target under the source's actions.
        transfer: what is in it.
    """

    film: Path
    transfer: Transfer

    @property
    def errors(self) -> TransferErrors:
        """What the states say."""
        return self.transfer.errors

    def __str__(self) -> str:
        errors = self.errors
        return (
            f"error on the source      {errors.source:.4f} with its own actions\n"
            f"                         {errors.cycled:.4f} with those re-inferred on the target\n"
            f"                         {errors.copy:.4f} when copying its last state\n"
            f"agreement of actions     {errors.agreement:.2f} (cosine of inferred and re-inferred; 1: the same)\n"
            f"effect on the target     {errors.effect:.2f} of that of its own actions\n"
            f"film                     {self.film}"
        )

    def _repr_html_(self) -> str:
        return self.transfer._repr_html_()


def transfer(config: TransferConfig | str | Path | None = None, /, **keywords: Any) -> TransferResult:
    """Infer what happens in the source, predict the target as if it happened there, and write both as a film.

    Args:
        config: what to do, or a path, that of ``run``.
        keywords: fields of ``TransferConfig``, in its place or to replace what it says.

    Raises:
        VideoError: a video cannot be decoded.
        WildlamError: a video is too short, there is no decoder, or the film cannot be written.
    """
    config = config_from(TransferConfig, config, keywords)
    check_output(config.output, config.source, config.target)
    for video in (config.source, config.target):
        check_file(video)
    trained = load(config.run)
    found = trained.transfer(config.source, config.target, seconds=config.seconds, decoder=config.decoder)
    return TransferResult(found.save(config.output), found)
