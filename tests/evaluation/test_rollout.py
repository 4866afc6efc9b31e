import math

import pytest
import torch

from wildlam.evaluation.broken_models import Blind, Cheating
from wildlam.evaluation.clips import infer_clips
from wildlam.evaluation.rollout import horizon_of, rollout
from wildlam.models import ModelConfig

from .conftest import NOISE, TOKENS, WIDTH, make_batches


def test_known_answers(model, clips):
    found = rollout(model, clips)
    assert found.seconds == [0.25 * k for k in range(1, 9)]
    # What is left is the noise of the two states, of the true mean of whose channels only the first two are told.
    noise = NOISE * 2 / math.sqrt(math.pi)
    assert found.per_clip.estimate("idm").mean == pytest.approx(noise, rel=0.1)
    means = {method: errors.mean(dim=0) for method, errors in found.by_step.items()}
    assert means["idm"][-1] == pytest.approx(noise, rel=0.15)  # and does not grow with the horizon
    assert means["copy"][-1] > 2 * means["copy"][0]  # a random walk
    assert means["permuted"][-1] > means["copy"][-1]
    torch.testing.assert_close(means["zero"], means["copy"])
    assert found.summary()["errors"]["idm"]["low"] < found.summary()["errors"]["idm"]["mean"]


def test_the_first_step_is_that_of_one_step(model, clips):
    found = rollout(model, clips)
    states = clips.states
    predicted = model.predict(states[:, :1], clips.z[:, :1])
    torch.testing.assert_close(found.by_step["idm"][:, 0], (predicted - states[:, 1:2]).abs().mean(dim=(1, 2, 3)))


def test_the_horizon_is_two_seconds_or_the_clip(model):
    assert horizon_of(infer_clips(model, make_batches(states=12))) == 8
    assert horizon_of(infer_clips(model, make_batches(states=5))) == 4


def test_a_blind_model_is_caught(model, clips):
    spoilt = Blind(model)
    found = rollout(spoilt, infer_clips(spoilt, make_batches()))
    assert torch.equal(found.by_step["idm"], found.by_step["permuted"])
    good = rollout(model, clips)
    assert good.per_clip.estimate("permuted", over="idm").low > 2


def test_bounds_stand_beside_it(model, clips):
    found = rollout(model, clips, {"unconstrained": Cheating((2, 2), WIDTH)})
    assert found.per_clip.estimate("unconstrained").mean == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("states", [2, 9])
def test_a_real_model(states, tiny_models):
    model = ModelConfig().build(WIDTH, (2, TOKENS // 2)).eval()
    found = rollout(model, infer_clips(model, make_batches(states=states)))
    assert found.by_step["idm"].shape == (24, states - 1)
