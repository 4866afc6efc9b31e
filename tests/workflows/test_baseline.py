"""World models of real actions, on labelled clips alone."""

import pytest
import torch

from wildlam.episodes.action_spaces import PLANAR
from wildlam.workflows.baseline import (
    LabelledModelConfig,
    load_labelled_model,
    train_labelled_model,
)

from .controllers import TRAINING, loaded

pytestmark = pytest.mark.usefixtures("tiny_models")


def test_a_labelled_model_learns_from_the_same_clips(run, config, tmp_path):
    encoder, _ = loaded(run)
    settings = LabelledModelConfig(data=config.data, clips=4, training=TRAINING)
    folder = train_labelled_model(encoder, settings, 4.0, tmp_path / "labelled")
    model, space = load_labelled_model(folder, encoder)
    assert space is PLANAR
    states = model.rollout(torch.zeros(2, 1, 4, 448), torch.zeros(2, 0, 3), torch.zeros(2, 5, 3, 3))
    assert states.shape == (2, 5, 3, 4, 448)
