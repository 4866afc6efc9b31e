"""A world with known answers: scenes that an action shifts, and a model that has understood it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wildlam.evaluation.clips import InferredClips, infer_clips
from wildlam.models import LatentActionModel
from wildlam.types import StateBatch

TOKENS, WIDTH, NOISE = 4, 6, 0.1


class Understands(LatentActionModel):
    """z is the mean change of the first two channels; predicting adds it to them. Six more dimensions of z are idle."""

    def __init__(self):
        nn.Module.__init__(self)
        self.state_shape = (TOKENS, WIDTH)
        self.nothing = nn.Parameter(torch.zeros(()))

    def infer(self, states: Tensor, dims: int | None = None) -> Tensor:
        change = (states[:, 1:] - states[:, :-1]).mean(dim=2)[..., :2]
        return torch.cat([change, change.new_zeros(*change.shape[:2], 6)], dim=-1)

    def predict(self, states: Tensor, actions: Tensor) -> Tensor:
        change = torch.zeros_like(states)
        change[..., :2] = actions[..., None, :2]
        return states + change

    def rollout(self, context: Tensor, actions: Tensor) -> Tensor:
        predicted = [context[:, -1]]
        for action in actions.unbind(dim=1):
            predicted.append(self.predict(predicted[-1][:, None], action[:, None])[:, 0])
        return torch.stack(predicted[1:], dim=1)


def make_batches(clips: int = 24, states: int = 9, seed: int = 0) -> list[StateBatch]:
    """Clips of two sources, two to a video: a scene, shifted by random actions, and noise that nobody can foresee."""
    generator = torch.Generator().manual_seed(seed)
    scenes = 3 * torch.randn(clips, 1, TOKENS, WIDTH, generator=generator)
    shifts = torch.zeros(clips, states, 1, WIDTH)
    shifts[:, 1:, 0, :2] = torch.randn(clips, states - 1, 2, generator=generator)
    noise = NOISE * torch.randn(clips, states, TOKENS, WIDTH, generator=generator)
    everything = scenes + shifts.cumsum(dim=1) + noise
    times = (torch.arange(states).double() / 4).expand(clips, -1)
    names = [f"{'xy'[i % 2]}/{i // 4}.mp4" for i in range(clips)]
    half = clips // 2
    return [
        StateBatch(everything[part], names[part], [name[0] for name in names[part]], [0.0] * half, times[part])
        for part in (slice(0, half), slice(half, clips))
    ]


@pytest.fixture
def model() -> Understands:
    return Understands().eval()


@pytest.fixture
def clips(model: Understands) -> InferredClips:
    return infer_clips(model, make_batches())
