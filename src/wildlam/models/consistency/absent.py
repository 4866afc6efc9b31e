"""Nothing is asked but prediction at a price, as in arXiv 2601.05230."""

from __future__ import annotations

from dataclasses import dataclass

from wildlam.models.consistency.base import ConsistencyConfig


@dataclass(frozen=True, kw_only=True)
class Absent(ConsistencyConfig):
    """No consistency is asked for."""

    def build(self, dim: int) -> None:
        """Make nothing."""
