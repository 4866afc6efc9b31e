"""One-step errors with known answers, from models that are made up."""

import pytest
import torch
from torch import nn

from wildlam.evaluation.clips import infer_clips
from wildlam.evaluation.one_step import METHODS, error_maps, error_table, one_step
from wildlam.types import StateBatch


class Perfect(nn.Module):
    """Its latent action is the whole next state less the last one, summed up; predicting adds it again."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def infer(self, states):
        return (states[:, 1:] - states[:, :-1]).mean(dim=(2, 3))[..., None]

    def predict(self, states, actions):
        return states + actions[..., None] + self.shift


class Blind(Perfect):
    def infer(self, states):
        return torch.zeros(len(states), states.shape[1] - 1, 1)


def clip(steps, start=0.0):
    """States ``[T, 4, 3]`` that move by ``steps``, the same for all tokens and channels."""
    return (start + torch.tensor([0.0, *steps]).cumsum(0))[:, None, None].expand(-1, 4, 3)


def batch(clips, names, sources):
    times = torch.arange(len(clips[0])).expand(len(clips), -1).double()
    return StateBatch(torch.stack(clips), names, sources, [0.0] * len(clips), times)


@pytest.fixture
def batches():
    """Two sources; in ``slow`` states move by 1 and 2, in ``fast`` by 10 and 30; two batches of unlike length."""
    return [
        batch([clip([1, 1]), clip([2, 2]), clip([10, 10])], ["a", "b", "c"], ["slow", "slow", "fast"]),
        batch([clip([30, 30])], ["d"], ["fast"]),
    ]


def measured(batches, deterministic=None):
    model = Perfect()
    return one_step(model, infer_clips(model, batches), deterministic)


def test_known_answers(batches):
    result = measured(batches)
    assert result.values["idm"].tolist() == pytest.approx([0, 0, 0, 0])
    assert result.values["copy"].tolist() == pytest.approx([1, 2, 10, 30])  # the mean absolute difference
    assert result.values["zero"].tolist() == pytest.approx([1, 2, 10, 30])
    assert result.values["permuted"].tolist() == pytest.approx([1, 1, 20, 20])  # that of the other clip of its source
    assert (result.names, result.sources) == (["a", "b", "c", "d"], ["slow", "slow", "fast", "fast"])


def test_means_by_source_and_of_all(batches):
    table = error_table(measured(batches))
    assert list(table["sources"]) == ["fast", "slow"]
    assert table["sources"]["slow"] == pytest.approx({"idm": 0, "permuted": 1, "zero": 1.5, "copy": 1.5})
    assert table["sources"]["fast"]["copy"] == pytest.approx(20)
    assert table["all"]["copy"] == pytest.approx(10.75)
    assert table["all"].keys() == METHODS.keys() - {"deterministic"}


def test_the_deterministic_model_only_where_given(batches):
    result = measured(batches, Blind(shift=2.0))
    assert result.values["deterministic"].tolist() == pytest.approx([1, 0, 8, 28])
    assert list(result.values) == list(METHODS)


def test_bfloat16_states_are_measured_in_float32(batches):
    for one in batches:
        one.states = one.states.bfloat16()
    assert error_table(measured(batches))["all"]["copy"] == pytest.approx(10.75)


def test_error_maps():
    states = clip([1, 3])[None].clone()
    states[0, 1:, 0] += 4  # one token that moves by 5
    maps = error_maps(Perfect(), states)
    assert {name: tuple(value.shape) for name, value in maps.items()} == dict.fromkeys(
        ("idm", "zero", "copy"), (1, 2, 4)
    )
    torch.testing.assert_close(maps["copy"][0], torch.tensor([[5.0, 1, 1, 1], [3.0, 3, 3, 3]]))
    torch.testing.assert_close(maps["idm"][0, 1], torch.zeros(4))
