"""Real actions are made of size 1, and what never varied in training counts for nothing."""

import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.models import ModelConfig
from wildlam.models.action_world_model import LabelledWorldModel
from wildlam.models.controller import ControllerConfig
from wildlam.models.scales import scaled, scales_of

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def actions():
    """Of an arm whose gripper was shut and opened a few times, and a second gripper that was never used."""
    moved = torch.randn(50, 3, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.01, 30.0])
    binary = torch.zeros(50, 3, 1)
    binary[::10, 1] = 1
    return torch.cat([moved, binary, torch.full((50, 3, 1), 0.3)], dim=-1)


def test_components_are_of_size_1_or_0(actions):
    mean, std = scales_of(actions)
    found = scaled(actions, mean, std).flatten(0, 1)
    assert found[:, :3].mean(dim=0) == pytest.approx(0, abs=1e-5)
    assert found[:, :3].std(dim=0) == pytest.approx(1, abs=1e-5)
    assert (found[:, 3] == 0).all()
    actions[..., 3] = 80.0
    assert torch.equal(scaled(actions, mean, std).flatten(0, 1), found)  # it moves where nobody has seen it move


def test_a_gripper_that_was_never_used_breaks_nothing(actions):
    encoder = Lite0(image_size=64, pool=2, dtype="float32").build("cpu")
    spec = encoder.spec
    controller = ControllerConfig(width=16, blocks=1).build(spec, 4, 3)
    controller.fit_scales(actions, torch.randn(50, 3, 3))
    labelled = LabelledWorldModel(ModelConfig(), spec, 4)
    labelled.fit_scales(actions)
    states = torch.randn(2, 3, spec.tokens, spec.width)
    for parameter in (*controller.parameters(), *labelled.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    used = actions[:2].clone()
    used[..., 3] = 80.0
    with torch.no_grad():
        told = [controller.act(one[:, 0], states[:, 0]) for one in (actions[:2], used)]
        seen = [labelled.rollout(states[:, :1], one[:, :0], one[:, None, :2]) for one in (actions[:2], used)]
    assert torch.equal(*told)
    assert torch.equal(*seen)
    moved = actions[:2].clone()
    moved[..., 2] += 1
    with torch.no_grad():
        assert not torch.allclose(controller.act(moved[:, 0], states[:, 0]), told[0])
