"""Apply what happens in one video to another and write the film: behind ``wildlam transfer``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wildlam.config import config_from
from wildlam.video.opening import check_file
from wildlam.workflows.configs import TransferConfig
from wildlam.workflows.decoded_films import Transfer, TransferErrors, check_output
from wildlam.workflows.trained import load


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
