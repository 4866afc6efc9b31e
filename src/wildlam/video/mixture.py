"""Weighted mixtures: which share of the training clips comes from each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from wildlam.errors import WildlamError

EVENLY: Mapping[str, float] = MappingProxyType({})
"""No source has a share of its own: all footage is drawn equally often."""


def weighted(footage: np.ndarray, names: Sequence[str], of: np.ndarray, mixture: Mapping[str, float]) -> np.ndarray:
    """Weights of videos under which each source is drawn with its share, and footage within a source evenly.

    Args:
        footage: clips that each video could give, ``[V]``, in any unit.
        names: names of the sources.
        of: number of each video's source in ``names``, ``[V]``.
        mixture: shares of the sources; those not named divide the rest as their footage does. None named: all do.

    Returns:
        Weights ``[V]``, which add up to 1 under a mixture, and are the footage without one.

    Raises:
        WildlamError: a source of the mixture has no clips, or the shares of all sources do not add up to 1.
    """
    if not mixture:
        return footage
    totals = np.bincount(of, footage, len(names))
    there = {name for name, total in zip(names, totals, strict=True) if total > 0}
    if missing := sorted(mixture.keys() - there):
        raise WildlamError(
            f"data.mixture: no training clip of {', '.join(missing)}; the sources are {', '.join(sorted(there))}"
        )
    rest, unnamed = 1 - sum(mixture.values()), sorted(there - mixture.keys())
    if abs(rest) > 1e-6 and not unnamed:
        raise WildlamError(f"data.mixture: the shares of all sources add up to {1 - rest:g}, not to 1")
    if rest <= 1e-6 and unnamed:
        raise WildlamError(f"data.mixture: nothing is left for {', '.join(unnamed)}; name it, or lower the others")
    left = sum(total for name, total in zip(names, totals, strict=True) if name in unnamed)
    factors = {name: mixture[name] / total for name, total in zip(names, totals, strict=True) if name in mixture}
    return footage * np.array([factors.get(name, rest / left if left else 0.0) for name in names])[of]
