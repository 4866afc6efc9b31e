"""What maps from a start and a goal are fitted to: states of clips, and what is done between pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wildlam.episodes.clips import LabelledClips
from wildlam.evaluation.clips import spread
from wildlam.evaluation.components import leading_directions
from wildlam.evaluation.intervals import numbered

COMPONENTS = 128
"""Principal components, of all tokens together, that stand for a state."""
STATES_FOR_COMPONENTS = 2000
"""States of the clips that they are computed from, at most."""


@dataclass(frozen=True)
class Components:
    """Leading principal components of states, all tokens together.

    Attributes:
        mean: of the states, flat, ``[N D]``.
        directions: ``[N D, K]``.
    """

    mean: Tensor
    directions: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """Components ``float64 [C, ..., K]`` of states ``[C, ..., N, D]``."""
        flat = states.flatten(-2).to(self.mean.device)  # one of C at a time, as a state may be large
        return torch.stack([((one.to(self.mean) - self.mean) @ self.directions).double() for one in flat])


@dataclass(frozen=True)
class Motions:
    """Clips, and what is done in them between pairs of states that are at most ``horizon`` steps apart.

    Attributes:
        see: components of states.
        states: the clips' states, ``float64 [C, T, K]``.
        done: sum of the actions between each pair of states, single steps first, ``float64 [C, P, A]``.
        horizon: most steps between two states.
        recordings: number of the recording that each clip is of, ``[C]``.
    """

    see: Components
    states: Tensor
    done: Tensor
    horizon: int
    recordings: Tensor

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """See ``pairs_within``."""
        return pairs_within(self.states.shape[1], self.horizon)

    @property
    def spans(self) -> Tensor:
        """Steps between the states of each pair, ``float64 [P]``."""
        return torch.tensor([end - start for start, end in self.pairs], dtype=torch.float64)

    @property
    def longest(self) -> list[int]:
        """Numbers of the pairs that are furthest apart."""
        return [i for i, span in enumerate(self.spans) if span == self.spans.max()]

    @property
    def varied(self) -> Tensor:
        """Deviation of the action of a step, ``[A]``."""
        steps = self.done[:, : self.states.shape[1] - 1]
        return steps.flatten(0, 1).var(dim=0).clamp(min=1e-9).sqrt()

    @property
    def ends(self) -> Tensor:
        """Both states of each pair, ``float64 [C, P, 2, K]``."""
        return self.states[:, torch.tensor(self.pairs)]


def motions_of(clips: LabelledClips, horizon: int, see: Components | None = None) -> Motions:
    """What labelled clips show of what is done, in the components of their own states if no others are given."""
    see = see or leading_of(clips.states)
    states, done = see(clips.states), sums_between(clips.actions, pairs_within(clips.states.shape[1], horizon))
    return Motions(see, states, done.double(), horizon, recordings_of(clips))


def pairs_within(states: int, horizon: int) -> list[tuple[int, int]]:
    """Pairs of a clip's states that are at most ``horizon`` steps apart: single steps first."""
    return [(i, i + k) for k in range(1, min(horizon, states - 1) + 1) for i in range(states - k)]


def sums_between(actions: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Sums of the actions ``[C, T - 1, A]`` between pairs of states, ``[C, P, A]``."""
    return torch.stack([actions[:, start:end].sum(dim=1) for start, end in pairs], dim=1)


def some_states(states: Tensor) -> Tensor:
    """States spread over clips ``[C, T, N, D]``, flat, for principal components: ``float32 [n, N D]``."""
    flat = states.flatten(2).flatten(0, 1)
    return flat[spread(len(flat), STATES_FOR_COMPONENTS)].float()


def leading_of(states: Tensor) -> Components:
    """Leading components of the states of clips ``[C, T, N, D]``."""
    flat = some_states(states)
    return Components(*leading_directions(flat, min(COMPONENTS, len(flat) - 1)))


def recordings_of(clips: LabelledClips) -> Tensor:
    """Number of the recording that each clip is of, ``[C]``; each is one of its own if all are of one."""
    numbers = numbered([episode.recording for episode, _ in clips.places])
    return numbers if numbers.any() else torch.arange(len(numbers))
