import pytest
import torch
from torch import nn

from wildlam.models import ModelConfig
from wildlam.models import transformer as blocks_module
from wildlam.models.transformer import Size


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    """A size that runs in milliseconds, under the name of the default one."""
    monkeypatch.setitem(blocks_module.SIZES, "tiny", Size(width=32, depth=2, heads=2))


def awaken(model: nn.Module) -> nn.Module:
    """Give the parameters that start at zero (gates, last layer) small values, so that everything takes part."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim == 2 and not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def make_model():
    def make(**kwargs):
        torch.manual_seed(0)
        return awaken(ModelConfig(**kwargs).build(state_width=6, grid=(2, 2))).eval()

    return make
