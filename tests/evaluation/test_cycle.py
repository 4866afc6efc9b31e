import pytest
import torch

from wildlam.evaluation.broken_models import Shuffled
from wildlam.evaluation.clips import infer_clips
from wildlam.evaluation.cycle import cycle
from wildlam.evaluation.rollout import rollout
from wildlam.models import ModelConfig

from .conftest import TOKENS, WIDTH, make_batches


def test_actions_that_mean_the_same_everywhere_survive(model, clips):
    found = cycle(model, clips, rollout(model, clips))
    assert found.per_clip.estimate("cycled", over="original").mean == pytest.approx(1, abs=1e-3)
    assert found.per_clip.estimate("other", over="original").low > 2


def test_a_shuffled_model_is_caught(model):
    """Whose actions mean something else in another scene, though each clip alone is predicted as well as ever."""
    spoilt = Shuffled(model)
    found, honest = (cycle(m, clips := infer_clips(m, make_batches()), rollout(m, clips)) for m in (spoilt, model))
    torch.testing.assert_close(
        found.per_clip.values["original"], honest.per_clip.values["original"], rtol=1e-3, atol=1e-4
    )
    assert found.per_clip.estimate("cycled", over="original").low > 2


def test_a_shuffled_real_model_predicts_its_own_clips_as_before(tiny_models):
    torch.manual_seed(0)
    model = ModelConfig().build(WIDTH, (2, TOKENS // 2)).eval()
    for parameter in model.parameters():  # an untrained one ignores its actions
        torch.nn.init.normal_(parameter, std=0.15)
    states = make_batches()[0].states
    spoilt = Shuffled(model)
    z, code = model.infer(states), spoilt.infer(states)
    assert not torch.allclose(z, code)
    torch.testing.assert_close(code.norm(dim=-1), z.norm(dim=-1))
    torch.testing.assert_close(
        spoilt.predict(states[:, :-1], code), model.predict(states[:, :-1], z), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(
        spoilt.rollout(states[:, :2], code[:, 1:]), model.rollout(states[:, :2], z[:, 1:]), rtol=1e-2, atol=1e-2
    )
