"""What is read of latent actions, component by component."""

from types import SimpleNamespace

import pytest
import torch

from wildlam.episodes.vectors import Commands
from wildlam.evaluation.controller_rollout import errors_by_component


class Model(torch.nn.Module):
    """Infers what the states' first number changes by, in both of two commands."""

    def __init__(self):
        super().__init__()
        self.none = torch.nn.Parameter(torch.zeros(()))

    def infer(self, states):
        return states[:, :, 0, :1].diff(dim=1)


def test_errors_are_those_of_each_component():
    space = Commands.of(["gas", "wheel"], "concatenated", commands=2)
    changes = torch.randn(5, 7, 1, generator=torch.Generator().manual_seed(0))
    states = torch.cat([torch.zeros(5, 1, 1), changes.cumsum(dim=1)], dim=1)[:, :, None]
    true = torch.cat([changes, 3 * changes, changes, 3 * changes], dim=2)
    clips = SimpleNamespace(states=states, actions=true, space=space)
    controller = SimpleNamespace(act=lambda actions, past: actions[:, :1] + 0.5)  # half too much
    found = errors_by_component(
        Model(), controller, clips, read=lambda z: torch.cat([z, 3 * z, z, 3 * z], dim=2), mean=torch.zeros(4)
    )
    assert found["inferred"] == pytest.approx({"gas": 0, "wheel": 0}, abs=1e-5)
    assert found["controller"] == pytest.approx({"gas": 0.5, "wheel": 1.5}, rel=1e-4)
    size = float(changes.abs().mean())
    assert found["mean"] == pytest.approx({"gas": size, "wheel": 3 * size}, rel=1e-4)
