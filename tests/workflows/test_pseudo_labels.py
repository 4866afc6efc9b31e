"""What few labelled clips tell of videos without labels, and what is learnt from that."""

from dataclasses import replace

import pytest
import torch

from wildlam.workflows.goal_cloning import fit_goal_cloning
from wildlam.workflows.goal_regression import fit_goal_regression
from wildlam.workflows.motions import Components, leading_of, motions_of
from wildlam.workflows.pseudo_labels import Films, pseudo_labels

from .test_goal_regression import Adds, clips

HORIZON = 3


def hidden(count, seed, steps=7):
    """Clips whose first token shows what is done, which z (``Adds``) reads; the other tokens hide it from maps of few
    clips.
    """
    found = clips(count, seed, steps=steps)
    rng = torch.Generator().manual_seed(seed + 100)
    told = found.states[:, :, :1]
    noise = 5 * torch.randn(*told.shape[:2], 12, told.shape[3], generator=rng)
    return replace(found, states=torch.cat([told, noise], dim=2))


def films(count, seed):
    seen = hidden(count, seed)
    see = leading_of(seen.states)
    z = Adds().infer(seen.states).double()
    return Films(see, see(seen.states), z, torch.arange(count)), seen


def test_few_labels_tell_what_is_done_in_films():
    seen, truth = films(200, 1)
    found = pseudo_labels(Adds(), hidden(12, 0), seen, HORIZON)
    want = motions_of(truth, HORIZON).done
    off = (found.films.done - want).square().mean(dim=(0, 1)) / want.var(dim=(0, 1))
    assert (off < 0.1).all()
    assert (found.explained > 0.7).all()
    torch.testing.assert_close(found.relabel(torch.arange(12)).done, found.films.done)
    other = found.relabel(torch.arange(6))
    assert not torch.equal(other.done, found.films.done)


def test_what_they_tell_teaches_more_than_few_labels_do():
    few, held_out, (seen, _) = hidden(8, 0), hidden(200, 2, steps=HORIZON), films(200, 1)
    pseudo, want = pseudo_labels(Adds(), few, seen, HORIZON), held_out.actions.sum(dim=1)

    def off(told):
        return float((told - want).square().mean())

    alone, taught = fit_goal_regression(few, HORIZON), fit_goal_regression(few, HORIZON, pseudo=pseudo)
    assert taught.of_states not in taught.maps
    assert off(taught(held_out)) < 0.5 * off(alone(held_out))
    torch.testing.assert_close(taught.without_model(held_out), alone(held_out))
    few_cloned, cloned = fit_goal_cloning(motions_of(few, HORIZON)), fit_goal_cloning(pseudo.films)
    assert off(cloned(held_out).sum(dim=1)) < 0.5 * off(few_cloned(held_out).sum(dim=1))


def test_the_error_is_that_of_labelled_recordings_which_taught_nothing():
    torch.manual_seed(7)  # another than that of the actions
    exact = hidden(24, 0), hidden(300, 2, steps=HORIZON)
    few, held_out = (replace(one, actions=one.actions + torch.randn_like(one.actions)) for one in exact)
    taught = fit_goal_regression(few, HORIZON, pseudo=pseudo_labels(Adds(), few, films(200, 1)[0], HORIZON))
    off = (taught(held_out) - held_out.actions.sum(dim=1)).square().mean(dim=0).sqrt()
    torch.testing.assert_close(taught.std, off, atol=0, rtol=0.35)


def test_pseudo_labels_that_are_wrong_are_left_out():
    class Silent(Adds):
        def infer(self, states):
            return torch.zeros(len(states), states.shape[1] - 1, 8)

    few, (seen, _) = clips(48, 0), films(100, 1)
    blind = Components(torch.zeros(16), torch.zeros(16, seen.states.shape[-1]))
    still = replace(seen, see=blind, states=torch.zeros_like(seen.states), latents=torch.zeros_like(seen.latents))
    found = fit_goal_regression(few, HORIZON, pseudo=pseudo_labels(Silent(), few, still, HORIZON))
    assert found.maps == (found.of_states,)


@pytest.mark.parametrize("form", ["sums", "means"])
def test_what_tells_more_is_read(form):
    """Of a camera at rest the change of the state; of one that moves what both states show of speed."""
    seen, truth = films(100, 1)
    few = hidden(24, 0)
    if form == "means":
        torch.manual_seed(0)

        def driving(of):
            speeds = 1 + torch.rand(len(of), 1, 3)
            shown = (speeds @ torch.randn(3, 8, generator=torch.Generator().manual_seed(9)))[:, :, None]
            states = shown.repeat(1, 8, 2, 1) + 0.01 * torch.randn(len(of), 8, 2, 8)
            return replace(of, states=states, actions=speeds.repeat(1, 7, 1))

        few, truth = driving(few), driving(truth)
        see = leading_of(truth.states)
        seen = Films(see, see(truth.states), Adds().infer(truth.states).double(), torch.arange(100))
    found, want = pseudo_labels(Adds(), few, seen, HORIZON), motions_of(truth, HORIZON).done
    assert (found.films.done - want).square().mean() < 0.1 * want.var()


@pytest.mark.parametrize("recordings", [1, 2])
def test_labelled_clips_of_few_recordings_will_do(recordings):
    few, (seen, truth) = hidden(12, 0), films(60, 1)
    of_few = [(replace(one, recording=f"{i % recordings}"), frames) for i, (one, frames) in enumerate(few.places)]
    few = replace(few, places=of_few)
    pseudo = pseudo_labels(Adds(), few, seen, HORIZON)
    want = motions_of(truth, HORIZON).done
    assert (pseudo.films.done - want).square().mean() < 0.1 * want.var()
    assert set(pseudo.facts(few.space)["r squared"]) == set(few.space.action_names)
    taught = fit_goal_regression(few, HORIZON, pseudo=pseudo)
    assert taught.missed.isfinite().all()
    held_out = hidden(100, 2, steps=HORIZON)
    want = held_out.actions.sum(dim=1)
    assert (taught(held_out) - want).square().mean() < 0.5 * want.var()
