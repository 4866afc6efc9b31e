"""Clips composed of two."""

import pytest
import torch

from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.models.composed import composed


def numbered(clips=64, grid=(3, 4)):
    """Each clip holds its own number in all states and places."""
    return torch.arange(clips).float()[:, None, None, None].expand(clips, 2, grid[0] * grid[1], 5)


def test_a_rectangle_is_the_clip_befores_in_all_states():
    torch.manual_seed(0)
    found = composed(numbered(), (3, 4), 1.0)
    assert (found == found[:, :1, :, :1]).all()
    foreign = found[:, 0, :, 0].view(64, 3, 4) != torch.arange(64)[:, None, None]
    assert (
        found[:, 0, :, 0].view(64, 3, 4)[foreign] == torch.arange(64).roll(1)[:, None, None].expand(64, 3, 4)[foreign]
    ).all()
    rows, columns = foreign.any(dim=2), foreign.any(dim=1)
    assert (foreign == rows[:, :, None] & columns[:, None]).all()
    for along in (rows, columns):  # in one piece
        assert (along.int().diff(dim=1, prepend=torch.zeros(64, 1)) == 1).sum(dim=1).tolist() == [1] * 64
    assert foreign.flatten(1).any(dim=0).all()  # every place, at times
    assert len({tuple(one) for one in foreign.sum(dim=(1, 2))[:, None].tolist()}) > 4


def test_so_large_a_share_of_clips_is_composed():
    torch.manual_seed(0)
    states = torch.randn(400, 2, 4, 3)
    changed = (composed(states, (2, 2), 0.25) != states).any(dim=(1, 2, 3)).float().mean()
    assert 0.18 < changed < 0.32
    assert torch.equal(composed(states, (2, 2), 0.0), states)


def test_models_compose_clips_in_training_alone():
    shape = {"bottleneck": Noisy(dim=4), "size": "nano"}
    states = torch.randn(8, 3, 4, 6)
    losses = {}
    for share in (0.0, 1.0):
        torch.manual_seed(0)
        model = ModelConfig(**shape, composed=share).build(6, (2, 2))
        for training in (True, False):
            torch.manual_seed(1)
            losses[share, training] = model.train(training)(states).total.item()
    assert losses[1.0, True] != losses[0.0, True]
    assert losses[1.0, False] == losses[0.0, False]


def test_a_share_is_at_most_all():
    with pytest.raises(ValueError, match=r"model\.composed must be a share"):
        ModelConfig(composed=1.5)
