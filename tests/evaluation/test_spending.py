import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.evaluation.clips import infer_clips
from wildlam.evaluation.spending import spending
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Adaptive, Noisy, Unconstrained

from .conftest import TOKENS, WIDTH, make_batches

pytestmark = pytest.mark.usefixtures("tiny_models")


def found(bottleneck, dims=None):
    torch.manual_seed(0)
    model = ModelConfig(bottleneck=bottleneck).build(WIDTH, (2, TOKENS // 2)).eval()
    torch.nn.init.normal_(model.world_model.head.weight)
    clips = infer_clips(model, make_batches())
    return model, clips, spending(model, clips, dims)


def test_what_is_spent_is_the_mean_of_each_clip():
    model, clips, spent = found(Noisy(dim=4))
    assert spent.values.keys() == {"nats"}
    assert spent.names == clips.names
    torch.testing.assert_close(spent.values["nats"], model.nats(clips.states).mean(dim=1))
    model, clips, spent = found(Adaptive(dim=4, tolerance=0.0))
    torch.testing.assert_close(spent.values["dims"], model.needed(clips.states).float().mean(dim=1))
    torch.testing.assert_close(spent.values["nats"], model.nats(clips.states).mean(dim=1))


def test_dimensions_can_be_fixed():
    model, clips, spent = found(Adaptive(dim=4), dims=2)
    assert (spent.values["dims"] == 2).all()
    torch.testing.assert_close(spent.values["nats"], model.nats(clips.states, 2).mean(dim=1))


def test_what_has_no_price_in_nats_is_refused():
    with pytest.raises(WildlamError, match="not counted in nats"):
        found(Unconstrained(dim=4))
