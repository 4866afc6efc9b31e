"""A linear map from what is seen of two states, and the steps between them, to what is done."""

from __future__ import annotations

import torch
from torch import Tensor

from wildlam.evaluation.probes import fit_clips, standardiser
from wildlam.workflows.action_decoder import cross_validated_errors


class SpanMap:
    """A ridge regression to the sum of the actions between two states; or to their mean action, times the steps.

    Args:
        seen: what is seen of the pairs of states of clips, scaled, ``float64 [C, P, F]``.
        spans: steps between them, ``float64 [P]``.
        done: sum of the actions between them, ``float64 [C, P, A]``.
        recordings: number of the recording that each clip is of, ``[C]``.
        mean: whether the mean action is told.
    """

    def __init__(self, seen: Tensor, spans: Tensor, done: Tensor, recordings: Tensor, mean: bool) -> None:
        self._mean, self._scale = mean, standardiser(spans[:, None])
        self._fitted_to = self._inputs(seen, spans), done / self._counts(spans), recordings
        self._spans = spans
        x, y, _ = self._fitted_to
        self._predict = fit_clips(x, y, recordings=recordings)

    def __call__(self, seen: Tensor, spans: Tensor) -> Tensor:
        """Sums of the actions, ``float64 [C, P, A]``."""
        return self._predict(self._inputs(seen, spans)) * self._counts(spans)

    def missed(self) -> Tensor:
        """What such maps miss of the sums in recordings that they were not fitted to, ``[C, P, A]``."""
        return cross_validated_errors(*self._fitted_to) * self._counts(self._spans)

    def _counts(self, spans: Tensor) -> Tensor:
        return spans[:, None] if self._mean else torch.ones(1, 1, dtype=torch.float64)

    def _inputs(self, seen: Tensor, spans: Tensor) -> Tensor:
        return torch.cat([seen, self._scale(spans[:, None]).expand(len(seen), -1, -1)], dim=-1)
