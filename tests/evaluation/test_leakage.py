import torch

from wildlam.evaluation.broken_models import Cheating
from wildlam.evaluation.clips import infer_clips
from wildlam.evaluation.leakage import LEAK_UNDER, cut_at, leakage

from .conftest import WIDTH, make_batches


def test_an_action_cannot_bridge_a_cut(model, clips):
    found = leakage(model, clips)
    assert found.per_clip.estimate("cut", over="plain").low > 5
    assert found.summary()["unbridged"]["mean"] > 0.7


def test_a_cheating_model_is_caught():
    """It is perfect without the cut, which is why one-step errors praise it; and with it, which gives it away."""
    spoilt = Cheating((2, 2), WIDTH)
    predict = spoilt.predict
    spoilt.predict = lambda states, actions: predict(states, actions) + 0.1  # or the ratio were 0 / 0
    found = leakage(spoilt, infer_clips(spoilt, make_batches()))
    assert found.per_clip.estimate("cut", over="plain").high < LEAK_UNDER
    assert found.summary()["unbridged"]["mean"] < 0.1


def test_without_the_cut_it_is_the_one_step_error(model, clips):
    found = leakage(model, clips)
    cut = cut_at(clips)
    predicted = model.predict(clips.states[:, :cut], clips.z[:, :cut])[:, -1]
    expected = (predicted - clips.states[:, cut]).abs().mean(dim=(1, 2))
    torch.testing.assert_close(found.per_clip.values["plain"], expected)


def test_the_end_is_another_videos(model, clips):
    """With states that tell their clip's number, copying is wrong by the difference of the numbers."""
    clips.states = torch.arange(24.0)[:, None, None, None].expand_as(clips.states).clone()
    found = leakage(model, clips)
    expected = (torch.arange(24) - torch.tensor(clips.partners)).abs().float()
    torch.testing.assert_close(found.per_clip.values["cut_copy"], expected)
    torch.testing.assert_close(found.per_clip.values["plain_copy"], torch.zeros(24))


def test_states_encoded_across_the_cut_are_used_where_given(model, clips):
    asked = []

    def after_cut(chosen):
        asked.extend(chosen)
        return torch.full((len(chosen), *clips.states.shape[2:]), 100.0)

    found = leakage(model, clips, after_cut)
    assert asked == list(range(24))
    assert found.per_clip.estimate("cut_copy").mean > 80


def test_the_model_without_actions_is_measured_beside(model, clips):
    """It repeats the last state, and so has copying's errors; the summary, which others read, stays as it was."""
    bare = type(model)().eval()
    bare.predict = lambda states, actions: states
    found = leakage(model, clips, deterministic=bare)
    for name in ("plain", "cut"):
        values = found.per_clip.values
        assert torch.allclose(values[f"{name}_deterministic"], values[f"{name}_copy"])
    assert found.summary() == leakage(model, clips).summary()
