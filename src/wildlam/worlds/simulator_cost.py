"""Simulators in place of a world model: what planning reaches with exact predictions.

The goal is drawn anew, as a candidate's end is, without any distraction that was painted over the film.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Encode = Callable[[Tensor], Tensor]
"""From pictures ``uint8 [B, 3, S, S]`` to states ``[B, N, D]``."""
ReinferEnd = Callable[[Tensor], Tensor]
"""From what is seen along plans, states ``[S, H + 1, N, D]``, to what a model says of their ends, ``[S, N, D]``."""


@dataclass
class SimulatedCost:
    """Distance of the true state at the end of a plan from the goal's state.

    Attributes:
        seen: maps a plan ``[H, A]`` and steps of it to the pictures after each of these, ``uint8 [S, S, 3]``; step 0 is
            where the plan begins.
        goal: the picture to reach.
        encode: maps pictures to states.
        reinfer_end: maps the states along a plan to its end; the last of them if not given.
        count: called with the number of candidates evaluated; None if nobody counts.
    """

    seen: Callable[[np.ndarray, Sequence[int]], list[np.ndarray]]
    goal: np.ndarray
    encode: Encode
    reinfer_end: ReinferEnd | None = None
    count: Callable[[int], object] | None = None

    def __call__(self, candidates: Tensor) -> Tensor:
        """Costs ``[1, S]`` of candidates ``[1, S, H, A]``."""
        steps = candidates.shape[2]
        wanted = [steps] if self.reinfer_end is None else range(steps + 1)
        pictures = [self.goal]
        for plan in candidates[0].double().cpu().numpy():
            pictures += self.seen(plan, wanted)
            if self.count:
                self.count(1)
        states = self.encode(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)).float()
        goal, along = states[0], states[1:].unflatten(0, (-1, len(wanted)))
        ends = along[:, 0] if self.reinfer_end is None else self.reinfer_end(along)
        return (ends - goal).flatten(1).norm(dim=-1)[None].to(candidates)
