"""Priors of latent actions with known answers: maps and densities agree, and states are learnt from."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Discrete, Noisy
from wildlam.models.priors import Codes, Flow, Gaussian, Neighbours, PriorConfig

SHAPE, DIM, SEEN = (4, 3), 3, 4
CONTINUOUS = [Gaussian(components=SEEN), Flow(components=SEEN), Neighbours(components=SEEN, memory=400, count=40)]


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def fitted(config, z, states, bottleneck=None, awake=True):
    """A prior that sees the first numbers of a state; its networks, if ``awake``, say something already."""
    torch.manual_seed(0)
    prior = config.build(SHAPE, bottleneck or Noisy(dim=DIM).build())
    prior.see_by(torch.zeros(12), torch.eye(12)[:, :SEEN])
    with torch.no_grad():
        prior.fit(prior.read(states), z)
        for parameter in prior.parameters() if awake else ():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    return prior


def turning(count=400):
    """Latent actions that a state decides: their first dimension has the sign of the state's first number."""
    states, z = normal(0, count, *SHAPE), 0.3 * normal(1, count, DIM)
    z[:, 0] += states[:, 0, 0].sign()
    return states, z


def train(prior, states, z):
    """One pass: of several a network would learn these few by heart."""
    optimizer = torch.optim.Adam(prior.parameters(), 3e-3)
    pairs = torch.stack([states, states], dim=1)
    for rows in torch.arange(len(z)).split(40):
        optimizer.zero_grad()
        prior(pairs[rows], z[rows, None]).total.backward()
        optimizer.step()
    return prior.eval().requires_grad_(False)


@pytest.mark.parametrize("config", CONTINUOUS, ids=lambda config: type(config).__name__)
def test_the_density_is_that_of_the_map(config):
    """By the Jacobian of the map from the base space: ``log p(z) = log N(u) - log |dz/du|``."""
    states, z = turning()
    prior = fitted(config, z, states)
    u, some = normal(2, 5, prior.base), states[:5]
    made = prior.act(u, some)
    told = prior.log_prob(made, some).detach()
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda v, i=i: prior.act(v[None], some[i : i + 1])[0], u[i])
        expected = -0.5 * (u[i] @ u[i] + DIM * math.log(2 * math.pi)) - torch.linalg.slogdet(jacobian).logabsdet
        assert float(told[i]) == pytest.approx(float(expected), abs=1e-3)
    assert prior.surprise(u, some).tolist() == pytest.approx((0.5 * u.square().sum(dim=1)).tolist())


@pytest.mark.parametrize("config", CONTINUOUS[:2], ids=lambda config: type(config).__name__)
def test_untrained_it_is_the_normal_distribution_of_all(config):
    states, z = turning()
    prior = fitted(config, z, states, awake=False)
    whole = MultivariateNormal(z.mean(dim=0), covariance_matrix=z.T.cov())
    torch.testing.assert_close(prior.log_prob(z, states), whole.log_prob(z), atol=1e-2, rtol=1e-3)
    assert torch.equal(prior.act(z, states), prior.act(z, states.flip(0)))  # whatever the state


@pytest.mark.parametrize("config", CONTINUOUS, ids=lambda config: type(config).__name__)
def test_what_the_state_decides_is_learnt(config):
    states, z = turning(4000)
    blind = fitted(Gaussian(components=SEEN), z, states, awake=False)
    prior = fitted(config, z, states, awake=False)
    if list(prior.parameters()):
        train(prior, states, z)
    new, true = normal(7, 200, *SHAPE), 0.3 * normal(8, 200, DIM)
    true[:, 0] += new[:, 0, 0].sign()
    assert prior.log_prob(true, new).mean() > blind.log_prob(true, new).mean() + 0.15
    drawn = prior.sample(new.view(10, 20, *SHAPE), torch.Generator().manual_seed(0)).view(200, DIM)
    agrees = (drawn[:, 0].sign() == new[:, 0, 0].sign()).float().mean()
    assert agrees > 0.7  # half would by chance


def test_an_idle_dimension_of_z_stays_small():
    states, z = turning()
    z[:, 2] = 0.5
    prior = fitted(Gaussian(components=SEEN), z, states, awake=False)
    drawn = prior.sample(states)
    assert (drawn[:, 2] - 0.5).abs().max() < 0.05
    assert prior.log_prob(z, states).isfinite().all()


def test_codes_come_as_often_as_they_are_likely_and_cost_as_much():
    bottleneck = Discrete(dim=2, codes=3).build()
    bottleneck.codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    z = bottleneck.codebook[torch.arange(400) % 4 % 3]  # the first is as frequent as the others together
    states = normal(0, 400, *SHAPE)
    prior = fitted(Codes(components=SEEN), z, states, bottleneck, awake=False)
    shares = prior.log_prob(bottleneck.codebook, states[:3]).exp()
    assert shares.tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.01)
    u = normal(3, 4000, prior.base)
    some = states[:1].expand(4000, -1, -1)
    drawn = prior.act(u, some)
    assert (drawn == 0).all(dim=1).float().mean() == pytest.approx(0.5, abs=0.03)
    assert prior.surprise(u, some).tolist() == pytest.approx((-prior.log_prob(drawn, some)).tolist())


def test_codes_that_a_state_decides_are_learnt():
    bottleneck = Discrete(dim=2, codes=4).build()
    states = normal(0, 4000, *SHAPE)
    z = bottleneck.codebook[(states[:, 0, 0] > 0).long()]
    prior = train(fitted(Codes(components=SEEN), z, states, bottleneck, awake=False), states, z)
    assert prior.log_prob(z, states).exp().mean() > 0.8
    assert (prior.sample(states) == z).all(dim=1).float().mean() > 0.8


def test_what_does_not_fit_is_refused():
    with pytest.raises(WildlamError, match="for Discrete latent actions; choose"):
        Codes().build(SHAPE, Noisy(dim=2).build())
    with pytest.raises(WildlamError, match="two dimensions at least"):
        Flow().build(SHAPE, Noisy(dim=1).build())
    with pytest.raises(ValueError, match=r"^prior\.couplings must be at least 1, got 0"):
        Flow(couplings=0)
    with pytest.raises(ValueError, match=r"^prior\.count must not be over prior\.memory"):
        Neighbours(memory=4, count=8)
    with pytest.raises(ValueError, match=r"^prior\.share must be a positive number"):
        Neighbours(share=0.0)
    with pytest.raises(TypeError, match="choose a prior"):
        PriorConfig().build(SHAPE, nn.Module())
