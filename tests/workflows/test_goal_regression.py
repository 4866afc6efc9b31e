"""The whole motion from start and goal: what linear maps of few clips tell, and how far off they say they are."""

from dataclasses import replace

import numpy as np
import torch

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.episode import Episode
from wildlam.workflows.goal_regression import fit_goal_regression, in_equal_steps


class Adds:
    """z is the change of the first token."""

    def infer(self, states):
        return states[:, 1:, 0] - states[:, :-1, 0]

    def parameters(self):
        yield torch.zeros(1)


def clips(count, seed, noise=0.0, steps=7):
    """States in which the sum of the actions so far lies along some directions, beside what does not matter."""
    rng = torch.Generator().manual_seed(seed)
    actions = torch.randn(count, steps, 3, generator=rng)
    where = torch.cat([torch.zeros(count, 1, 3), actions.cumsum(dim=1)], dim=1)
    spread = torch.randn(3, 8, generator=torch.Generator().manual_seed(9))
    states = (where @ spread)[:, :, None].repeat(1, 1, 2, 1)
    states = states + noise * torch.randn(states.shape, generator=rng)
    poses = torch.zeros(count, steps + 1, 3, dtype=torch.float64)
    episode = [
        Episode(f"{i}", "train", np.arange(2.0), np.zeros((2, 3)), PLANAR, lambda *_: None, None, f"{i}")
        for i in range(count)
    ]
    return LabelledClips(states, poses, actions, [(one, np.arange(2)) for one in episode], PLANAR, 4.0)


def test_what_states_show_is_told():
    found = fit_goal_regression(clips(24, 0), 3, Adds())
    held_out = clips(6, 1, steps=3)
    for told in (found, found.without_model):
        torch.testing.assert_close(told(held_out), held_out.actions.sum(dim=1), atol=0.05, rtol=0)
    plans = in_equal_steps(found(held_out), 3)
    assert plans.shape == held_out.actions.shape
    torch.testing.assert_close(plans.sum(dim=1), found(held_out))
    assert (found.std < 0.1).all()
    alone = fit_goal_regression(clips(24, 0), 3)
    torch.testing.assert_close(alone(held_out), found.without_model(held_out))
    torch.testing.assert_close(alone.std, found.without_model.std)


def test_it_says_how_far_off_it_is():
    train, held_out = clips(32, 0, noise=3.0), clips(200, 1, noise=3.0, steps=3)
    both = fit_goal_regression(train, 3, Adds())
    for found in (both, both.without_model):
        off = (found(held_out) - held_out.actions.sum(dim=1)).square().mean(dim=0).sqrt()
        torch.testing.assert_close(found.std, off, atol=0, rtol=0.35)


def test_z_is_read_where_it_tells_and_only_there():
    train = clips(48, 0)
    noise = 3 * torch.randn(train.states[:, :, 1].shape, generator=torch.Generator().manual_seed(2))
    faint = replace(train, states=torch.stack([train.states[:, :, 0] / 3000, noise], dim=2))
    found = fit_goal_regression(faint, 3, Adds())
    assert found.of_states not in found.maps
    assert (found.std < 0.5 * found.without_model.std).all()

    class Silent(Adds):
        def infer(self, states):
            return torch.zeros(len(states), states.shape[1] - 1, 2)

    found = fit_goal_regression(train, 3, Silent())
    assert found.maps == (found.of_states,)


def test_where_states_show_how_fast_it_goes_their_difference_is_not_all():
    """As from a camera that moves: what is seen of speed, times the steps, is the way."""

    def driving(count, seed, steps):
        rng = torch.Generator().manual_seed(seed)
        actions = (1 + torch.rand(count, 1, 3, generator=rng)).repeat(1, steps, 1)
        spread = torch.randn(3, 8, generator=torch.Generator().manual_seed(9))
        states = (actions[:, :1] @ spread)[:, :, None].repeat(1, steps + 1, 2, 1)
        states = states + 0.05 * torch.randn(states.shape, generator=rng)
        return replace(clips(count, seed, steps=steps), states=states, actions=actions)

    found = fit_goal_regression(driving(32, 0, 7), 3)
    held_out = driving(8, 1, 3)
    torch.testing.assert_close(found(held_out), held_out.actions.sum(dim=1), atol=0.3, rtol=0)
