"""Probes recover what is in z, and nothing that is not."""

import json
from functools import partial

import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.evaluation.broken_models import Blind
from wildlam.evaluation.clips import InferredClips, infer_clips
from wildlam.evaluation.intervals import PerClip
from wildlam.evaluation.probes import Probes, fit_clips, fit_mlp, fit_ridge, probes, summary_of_all

from .conftest import make_batches

CLIPS, STEPS = 120, 5
NAMES = ("forward", "turn")


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clips(z, states=None, prefix="a", per_video=4):
    if states is None:
        states = draw(7, len(z), z.shape[1] + 1, 4, 3)
    names = [f"{prefix}{i // per_video}" for i in range(len(z))]
    return InferredClips(states, z, names, ["x"] * len(z), torch.zeros(len(z), z.shape[1] + 1))


def halves(z, actions, states=None):
    """The first half of the clips to fit on, the second to judge on."""
    h = len(z) // 2
    first, second = (None, None) if states is None else (states[:h], states[h:])
    return clips(z[:h], first, "a"), actions[:h], clips(z[h:], second, "b"), actions[h:], NAMES


def means(result, probe):
    return {name: estimate.mean for name, estimate in result.r_squared(probe).items()}


def test_recovery_of_a_noisy_linear_map():
    actions = draw(0, CLIPS, STEPS, 2)
    noise = draw(1, CLIPS, STEPS, 2) * torch.tensor([1.0, 0.1])  # the best there is: 1 / (1 + noise²)
    z = (actions + noise) @ draw(2, 2, 6) + 3
    result = probes(*halves(z, actions * torch.tensor([100.0, 0.01]) + 5))
    linear = result.r_squared("linear z")
    assert linear["forward"].mean == pytest.approx(0.5, abs=0.1)
    assert linear["turn"].mean == pytest.approx(0.99, abs=0.01)
    assert linear["forward"].low < 0.5 < linear["forward"].high
    assert linear["mean"].mean == pytest.approx((linear["forward"].mean + linear["turn"].mean) / 2)
    assert means(result, "mlp z")["turn"] > 0.9
    assert means(result, "linear state")["mean"] < 0.05


def test_nothing_is_found_where_nothing_is():
    result = probes(*halves(draw(0, CLIPS, STEPS, 6), draw(1, CLIPS, STEPS, 2)))
    for probe in ("linear z", "linear z and state", "linear state", "mlp z", "mlp z and state"):
        assert -0.15 < means(result, probe)["mean"] < 0.05


def test_what_is_not_linear_takes_an_mlp():
    z = draw(0, 4 * CLIPS, STEPS, 2)
    result = probes(*halves(z, z.abs()))
    assert means(result, "linear z")["mean"] < 0.1
    assert means(result, "mlp z")["mean"] > 0.8


def test_the_past_state_is_used_and_never_the_next():
    states = draw(0, CLIPS, STEPS + 1, 4, 3)
    z = draw(1, CLIPS, STEPS, 2)
    actions = torch.stack([z[..., 0] + states[:, :-1, 0, 0], states[:, 1:, 0, 0]], dim=-1)
    result = probes(*halves(z, actions, states))
    assert means(result, "linear z and state")["forward"] > 0.99
    assert means(result, "linear state")["forward"] == pytest.approx(0.5, abs=0.12)
    assert means(result, "linear z and state")["turn"] < 0.05


def test_penalties_are_chosen_across_videos():
    # Each video has its own look and its own habit. Across clips of one video the look tells the habit; across videos
    # it tells nothing, and a probe that hopes otherwise falls far under zero.
    def of_video(seed, *shape):
        return draw(seed, CLIPS // 4, *shape).repeat_interleave(4, dim=0)

    states = of_video(0, 1, 4, 3).expand(-1, STEPS + 1, -1, -1)
    actions = of_video(1, 1, 2).expand(-1, STEPS, -1)
    result = probes(*halves(draw(2, CLIPS, STEPS, 2), actions, states))
    assert means(result, "linear state")["mean"] > -0.5


def test_a_video_on_both_sides_is_refused():
    train, y, held_out, held_out_y, names = halves(draw(0, CLIPS, STEPS, 2), draw(1, CLIPS, STEPS, 2))
    held_out.names[3] = "a2"
    with pytest.raises(WildlamError, match="a2"):
        probes(train, y, held_out, held_out_y, names)


def test_clips_and_dimensions_without_anything_to_tell_are_left_out():
    actions = draw(0, CLIPS, STEPS, 2)
    z = actions.clone()
    actions[::3] = torch.nan
    actions[..., 1] *= 0
    result = probes(*halves(z, actions))
    assert result.action_names == ["forward"]
    assert len(result.squared_errors.names) == len(result.actions) == 40
    assert means(result, "linear z")["forward"] > 0.99


def test_too_little_is_refused():
    train, y, held_out, held_out_y, names = halves(draw(0, CLIPS, STEPS, 2), draw(1, CLIPS, STEPS, 2))
    with pytest.raises(WildlamError, match="1 training and 15 held-out"):
        probes(train, y.index_fill(0, torch.arange(4, 60), torch.nan), held_out, held_out_y, names)
    with pytest.raises(WildlamError, match="never vary"):
        probes(train, y * 0, held_out, held_out_y, names)


def test_r_squared_by_hand():
    actions = torch.tensor([[[0.0], [2.0]], [[4.0], [6.0]]])  # mean 3, SST 20
    errors = PerClip({"linear z: turn": torch.tensor([1.0, 4.0])}, ["v", "w"], ["x", "x"])  # SSE 2 + 8
    found = Probes(errors, actions, ["turn"]).r_squared("linear z")["turn"]
    assert found.mean == pytest.approx(0.5)
    # The draws are both (0.5), v twice (1 - 4 / 4) and w twice (1 - 16 / 4).
    assert (found.low, found.high) == pytest.approx((-3, 0.5))
    one_video = PerClip(errors.values, ["v", "v"], ["x", "x"])
    found = Probes(one_video, actions, ["turn"]).r_squared("linear z")["turn"]
    assert found.low == found.mean == found.high


def test_a_source_is_judged_by_its_own_clips_and_their_own_variance():
    actions = torch.tensor([[[1.0]], [[3.0]], [[100.0]], [[200.0]]])
    errors = PerClip({"linear z: turn": torch.tensor([0.5, 0.5, 0.0, 0.0])}, ["a", "b", "c", "d"], ["x", "x", "y", "y"])
    found = Probes(errors, actions, ["turn"])
    assert found.probes == ["linear z"]
    assert means(found.of_source("x"), "linear z")["turn"] == pytest.approx(1 - 1 / 2)
    assert means(found.of_source("y"), "linear z")["turn"] == 1
    assert found.of_source("y").squared_errors.names == ["c", "d"]


def test_latent_actions_that_never_vary_and_the_summary():
    result = probes(*halves(torch.zeros(CLIPS, STEPS, 2), draw(1, CLIPS, STEPS, 2)))
    summary = result.summary()
    assert list(summary) == [f"{k} {i}" for k in ("linear", "mlp") for i in ("z", "z and state", "state")]
    assert summary["linear z"]["turn"].keys() == {"mean", "low", "high"}
    assert summary["linear z"]["mean"]["mean"] <= 0
    json.dumps(summary, allow_nan=False)


def test_a_blind_model_is_caught(model):
    """Whose z means nothing, while that of the model it spoils tells the true actions."""
    truth = {}
    for spoilt in (model, Blind(model)):
        clips = [infer_clips(spoilt, make_batches(seed=seed)) for seed in (0, 1)]
        clips[0].names = [f"train/{name}" for name in clips[0].names]
        actions = [(model.infer(c.states)[..., :2]).contiguous() for c in clips]
        found = probes(clips[0], actions[0], clips[1], actions[1], ["right", "up"])
        truth[type(spoilt)] = found.r_squared("linear z")["mean"]
    assert truth[type(model)].low > 0.95
    assert truth[Blind].high < 0.1


def test_kinds_of_action_are_told_together_without_a_mean_over_both():
    errors = {"linear z: turn": torch.tensor([1.0, 4.0])}
    actions = torch.tensor([[[0.0], [2.0]], [[4.0], [6.0]]])
    turn = Probes(PerClip(errors, ["v", "w"], ["x", "x"]), actions, ["turn"])
    grip = Probes(PerClip({"linear z: grip": errors["linear z: turn"]}, ["v", "w"], ["x", "x"]), actions, ["grip"])
    assert summary_of_all([]) is None
    assert summary_of_all([turn]) == turn.summary()
    joined = summary_of_all([turn, grip])
    assert joined["linear z"].keys() == {"turn", "grip"}
    assert joined["linear z"]["grip"]["mean"] == pytest.approx(0.5)


@pytest.mark.parametrize("fit", [fit_ridge, partial(fit_mlp, seed=0)])
@pytest.mark.parametrize("clips", [1, 6])
def test_maps_of_one_recording_choose_across_its_clips_or_rows(fit, clips):
    x = torch.randn(clips, 24 // clips, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = x @ torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    missed = fit_clips(x, y, fit, torch.zeros(clips, dtype=torch.long))(x) - y
    assert missed.abs().mean() < 0.5 * y.abs().mean()
