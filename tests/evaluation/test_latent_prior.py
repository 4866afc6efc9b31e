"""Priors whose quality is known: one that sees the state, one that does not, and searches that cheat or do not."""

import json

import pytest
import torch
from torch import nn

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.latent_prior import compare_samples, prior_quality
from wildlam.evaluation.latent_space import latent_space
from wildlam.models.bottlenecks import Noisy
from wildlam.models.priors import Gaussian, Neighbours

CLIPS, STEPS, TOKENS, WIDTH = 40, 4, 2, 3


class Adds(nn.Module):
    """Adds a latent action to every token of the state; the bottleneck is far too wide for what there is."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))
        self.bottleneck = Noisy(dim=WIDTH).build()

    def predict(self, states, actions):
        return states + actions[:, :, None]

    def rollout(self, context, actions):
        return context[:, -1:] + actions.cumsum(dim=1)[:, :, None]


@pytest.fixture
def clips():
    """States forget those before, so that latent actions are normal, and lead back towards zero."""
    film = torch.randn(CLIPS, STEPS + 1, 1, WIDTH, generator=torch.Generator().manual_seed(0))
    film = film.repeat(1, 1, TOKENS, 1)
    z = (film[:, 1:] - film[:, :-1])[:, :, 0]
    return InferredClips(film, z, [f"v{i}" for i in range(CLIPS)], ["x"] * CLIPS, torch.zeros(CLIPS, STEPS + 1))


def fitted(config, clips):
    prior = config.build((TOKENS, WIDTH), Noisy(dim=WIDTH).build())
    prior.see_by(torch.zeros(TOKENS * WIDTH), torch.eye(TOKENS * WIDTH)[:, :WIDTH])
    prior.fit(prior.read(clips.states[:, :-1]).flatten(0, 1), clips.z.flatten(0, 1))
    return prior.eval().requires_grad_(False)


@pytest.fixture
def blind(clips):
    return fitted(Gaussian(components=WIDTH), clips)  # not trained


@pytest.fixture
def seeing(clips):
    return fitted(Neighbours(components=WIDTH, memory=CLIPS * STEPS, count=12, share=0.05), clips)


def test_a_prior_that_sees_the_state_is_better_in_every_respect(clips, blind, seeing):
    found = prior_quality(
        Adds(), seeing, blind, clips, {"staying": lambda start, goal: (start - goal).flatten(1).norm(dim=1)}
    )
    nats, errors = found.likelihood.estimate, found.coverage.estimate
    assert nats("prior").low > nats("blind").high
    for draws in (1, 8, 64):
        assert errors(f"prior {draws}").mean < errors(f"blind {draws}").mean
    assert errors("prior 64").mean < errors("prior 8").mean < errors("prior 1").mean < errors("copy").mean
    assert errors("inferred").mean == pytest.approx(0, abs=1e-6)
    told = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert told["likelihood"]["prior"]["mean"] == nats("prior").mean


def test_pairs_tell_apart_what_is_spread_alike_but_fits_other_states(clips, blind, seeing):
    of_blind, of_seeing = (compare_samples(one, clips) for one in (blind, seeing))
    assert of_seeing["pairs"].accuracy.mean < of_blind["pairs"].accuracy.mean - 0.1
    assert of_blind["alone"].accuracy.mean == pytest.approx(0.5, abs=0.07)
    assert of_blind["pairs"].p_value < 0.02 < 0.1 < of_blind["alone"].p_value
    one = clips.choose([0] * 4)
    assert compare_samples(blind, one) == {}


def test_exploitation_is_the_distance_that_a_search_claims_over_that_of_what_was_done(clips, blind):
    clips.states[:, 3] += 1.0  # so that even the true latent actions do not lead to the goal
    searches = {
        "cheats": lambda start, goal: torch.zeros(len(start)),
        "stays": lambda start, goal: (start - goal).flatten(1).norm(dim=1),
    }
    found = prior_quality(Adds(), blind, blind, clips, searches)
    ratios = found.summary()["exploitation"]["over inferred"]
    assert ratios["cheats"]["mean"] == 0
    values = found.exploitation.values
    assert torch.equal(values["stays"], values["start"])
    assert values["inferred"].tolist() == pytest.approx([(TOKENS * WIDTH) ** 0.5] * len(found.exploitation), rel=1e-4)


def test_the_samples_of_a_prior_are_told_of_beside_those_of_the_bottleneck(clips, seeing):
    found = latent_space(Adds(), clips, prior=seeing)
    assert found.of_prior["alone"].accuracy.mean < found.sampling.accuracy.mean
    assert found.summary()["sampling_of_prior"].keys() == {"alone", "pairs"}
    assert latent_space(Adds(), clips).summary()["sampling_of_prior"] is None
