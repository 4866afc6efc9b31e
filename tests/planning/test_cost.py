import pytest
import torch
from tqdm import tqdm

from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.attention import KeyValueCache
from wildlam.models.controller import ControllerConfig
from wildlam.models.priors import Gaussian
from wildlam.planning import cost as costs
from wildlam.planning.cost import GoalCost, GuidedCost, LikelyCost, counted
from wildlam.planning.dynamics import Controlled, FromPrior, Latent
from wildlam.planning.solvers.base import Prior
from wildlam.planning.solvers.cem import cem
from wildlam.types import EncoderSpec

SPEC = EncoderSpec("made-up", 1, (2, 2), 6, 32, "frame", "0")


class Adder:
    """Each action is added to every value of a state."""

    bytes_per_state = 1

    def rollout(self, context, past, actions):
        return context[:, None, -1:] + actions.cumsum(dim=2).sum(dim=-1)[..., None, None]


def test_a_known_distance():
    context, goal = torch.zeros(2, 1, 4, 6), torch.ones(2, 4, 6)
    candidates = torch.tensor([[[[0.5], [0.5]], [[0.0], [0.0]], [[2.0], [0.0]]]]).expand(2, -1, -1, -1)
    found = GoalCost(Adder(), context, torch.zeros(2, 0, 1), goal)(candidates)
    torch.testing.assert_close(found, torch.tensor([[0.0, 24**0.5, 24**0.5]]).expand(2, -1))


def test_leaving_a_guess_has_its_price():
    known = torch.zeros(2, 1, 4, 6), torch.zeros(2, 0, 2), torch.ones(2, 4, 6)
    candidates = torch.tensor([[[[0.5, 0.0], [0.5, 0.0]], [[0.0, 1.0], [0.0, 0.0]]]]).expand(2, -1, -1, -1)
    guess, std = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.5, 1.0])
    found = GuidedCost(Adder(), *known, guess=guess, std=std, price=0.1)(candidates)
    away = 24**0.5  # from start to goal, to which both lead
    off = torch.tensor([[0.0, (2.0**2 + 1) / 2], [(2.0**2 + 1) / 2, 0.0]])
    torch.testing.assert_close(found, GoalCost(Adder(), *known)(candidates) + 0.1 * away * off)


def test_a_bar_moves_with_the_candidates_and_not_with_what_follows():
    bar = tqdm(total=96, disable=True)
    moved = []
    bar.update = moved.append
    cost = counted(GoalCost(Adder(), torch.zeros(2, 1, 4, 6), torch.zeros(2, 0, 1), torch.ones(2, 4, 6)), bar, 3)
    plan = cem(cost, Prior(torch.zeros(2, 1), torch.ones(2, 1)), batch=2, samples=16, elites=4, iterations=3)
    assert plan.actions.shape == (2, 2, 1)
    assert sum(moved) == 2 * 16 * 3


@pytest.fixture
def models(tiny_models):
    torch.manual_seed(0)
    model = ModelConfig().build(6, (2, 2)).eval()
    controller = ControllerConfig(width=16, blocks=1).build(SPEC, 3, model.bottleneck.dim).eval()
    for parameter in [*model.parameters(), *controller.parameters()]:  # untrained ones ignore their actions
        torch.nn.init.normal_(parameter, std=0.2)
    return model, controller


def test_chunks_and_episodes_do_not_show(models, monkeypatch):
    context, goal, candidates = torch.randn(3, 2, 4, 6), torch.randn(3, 4, 6), torch.randn(3, 7, 2, 3)
    dynamics = Controlled(*models)
    whole = GoalCost(dynamics, context, torch.randn(3, 1, 3), goal)(candidates)
    assert whole.shape == (3, 7)
    assert whole.std(dim=1).min() > 1e-3
    monkeypatch.setattr(costs, "ROOM", 12 * dynamics.bytes_per_state)
    parts = GoalCost(dynamics, context, torch.randn(3, 1, 3), goal)(candidates)
    torch.testing.assert_close(whole, parts, atol=0.02, rtol=0.01)
    alone = GoalCost(dynamics, context[1:2], torch.randn(1, 1, 3), goal[1:2])(candidates[1:2])
    torch.testing.assert_close(whole[1:2], alone, atol=0.02, rtol=0.01)


def test_a_state_leaves_as_many_bytes_as_are_told(models):
    model, _ = models
    kept = []
    real = KeyValueCache.append

    def append(cache, key, value):
        found = real(cache, key, value)
        kept.append(sum(buffer.numel() * buffer.element_size() for buffer in cache.buffers))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeyValueCache, "append", append)
        Latent(model).rollout(torch.zeros(1, 1, 4, 6), torch.zeros(1, 0, 0), torch.zeros(1, 1, 1, model.bottleneck.dim))
    assert sum(kept) == Latent(model).bytes_per_state


def test_what_is_not_finite_is_no_cost():
    cost = GoalCost(Adder(), torch.zeros(1, 1, 4, 6), torch.zeros(1, 0, 1), torch.ones(1, 4, 6))
    with pytest.raises(WildlamError, match="not finite"):
        cost(torch.tensor([[[[0.5]], [[torch.nan]]]]))


def test_latent_actions_can_be_planned_in_themselves(models):
    model, controller = models
    context, goal, actions = torch.randn(2, 1, 4, 6), torch.randn(2, 4, 6), torch.randn(2, 5, 1, 3)
    latent = controller.act(actions.flatten(0, 2), context[:, 0].repeat_interleave(5, 0)).view(2, 5, 1, -1)
    by_controller = GoalCost(Controlled(model, controller), context, torch.zeros(2, 0, 3), goal, bf16=False)(actions)
    none_done = torch.zeros(2, 0, latent.shape[-1])
    by_latents = GoalCost(Latent(model), context, none_done, goal, bf16=False)(latent.detach())
    torch.testing.assert_close(by_controller, by_latents, atol=1e-4, rtol=1e-4)


@pytest.fixture
def from_prior(models):
    model = models[0]
    torch.manual_seed(1)
    prior = Gaussian(components=4).build(model.state_shape, model.bottleneck)
    prior.see_by(torch.zeros(24), torch.eye(24)[:, :4])
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return FromPrior(model, prior.requires_grad_(False))


def test_a_point_of_the_base_space_is_made_a_latent_action_in_every_predicted_state(from_prior):
    model, prior = from_prior.model, from_prior.prior
    context, u = torch.randn(2, 1, 4, 6), torch.randn(2, 3, prior.base)
    with torch.no_grad():
        z, states = from_prior.latents(context, u)
        for step in range(3):
            torch.testing.assert_close(z[:, step], prior.act(u[:, step], states[:, step]), rtol=1e-3, atol=1e-3)
        assert torch.equal(states[:, 0], context[:, 0])
        torch.testing.assert_close(states[:, 1:], model.rollout(context, z)[:, :2], rtol=1e-3, atol=1e-3)
        whole = from_prior.rollout(context, u[:, :0], u[:, None])[:, 0]
        torch.testing.assert_close(whole, model.rollout(context, z), rtol=1e-3, atol=1e-3)


def test_what_is_unlikely_has_its_price(from_prior):
    context, goal, none = torch.randn(2, 1, 4, 6), torch.randn(2, 4, 6), torch.zeros(2, 0, 0)
    u = torch.randn(2, 5, 3, from_prior.prior.base)
    free, priced = (LikelyCost(from_prior, context, none, goal, bf16=False, price=price)(u) for price in (0.0, 1e6))
    assert torch.equal(free, GoalCost(from_prior, context, none, goal, bf16=False)(u))
    away = (context[:, 0] - goal).flatten(1).norm(dim=1)
    # So high a price that the distances, large where a model of random weights foresees states, do not blur it.
    expected = 1e6 * away[:, None] * 0.5 * u.square().sum(dim=(2, 3))
    torch.testing.assert_close(priced - free, expected, rtol=1e-3, atol=0)
