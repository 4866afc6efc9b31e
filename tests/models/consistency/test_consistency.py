"""Consistency losses: what they measure, that nothing wins them by scale, and what models learn under them."""

from functools import cache

import pytest
import torch
from torch import nn

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Adaptive, Deterministic, Discrete, Noisy, Sparse, Unconstrained
from wildlam.models.consistency import Absent, Additive, Composition, Cycle
from wildlam.models.consistency.base import disagreement, spread_of

CHOICES = [Additive(weight=0.05), Composition(weight=0.05, width=32), Cycle(weight=0.05)]
TERMS = {
    "Additive": {"additivity", "reversal"},
    "Composition": {"composition", "inverse", "undoing"},
    "Cycle": {"cycle"},
}


@pytest.fixture(params=CHOICES, ids=lambda choice: type(choice).__name__)
def choice(request):
    return request.param


def test_disagreement_is_0_for_the_same_1_by_chance_2_for_the_opposite():
    torch.manual_seed(0)
    a, other = torch.randn(2, 4000, 5)
    unit = spread_of(a)
    assert float(disagreement(a, a, unit)) == pytest.approx(0, abs=0.02)  # the noise that is added
    assert float(disagreement(a, other, unit)) == pytest.approx(1, abs=0.02)
    assert float(disagreement(a, -a, unit)) == pytest.approx(2, abs=0.04)
    assert float(disagreement(a, a + 100, unit)) == pytest.approx(1, abs=0.02)
    assert float(disagreement(torch.zeros(9, 5), torch.zeros(9, 5), spread_of(torch.zeros(9, 5)))) == pytest.approx(1)


def test_saying_one_thing_twice_or_nothing_in_a_dimension_wins_nothing():
    torch.manual_seed(0)
    same, noise_a, noise_b = torch.randn(3, 4000, 1)
    half = disagreement(torch.cat((same, noise_a), 1), torch.cat((same, noise_b), 1), spread_of(torch.randn(4000, 2)))
    assert float(half) == pytest.approx(0.5, abs=0.03)
    for other in (same, 0 * same, 1e-3 * noise_a):
        z = torch.cat((same, other), 1)
        assert float(disagreement(z, z, spread_of(z))) == pytest.approx(0.5, abs=0.03)


def test_the_gradient_pulls_towards_no_other_scale():
    torch.manual_seed(0)
    z = torch.randn(64, 5, requires_grad=True)
    a, b = z[:32] @ torch.randn(5, 5), z[32:].flip(0) + z[:32]
    disagreement(a, b, spread_of(z)).backward()
    size = z.grad.norm() * z.detach().norm()
    assert size > 1e-3
    assert (z.grad * z.detach()).sum().abs() < 1e-4 * size


def test_a_linear_map_of_all_latent_actions_changes_nothing():
    torch.manual_seed(0)
    z, kind = torch.randn(500, 4), torch.tensor([[1.5, 0.5, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0.4], [0.2, 0, 0, 1.2]])
    a, b = z, z + 0.5 * torch.randn(500, 4)
    mapped = disagreement(a @ kind, b @ kind, spread_of(z @ kind))
    assert float(mapped) == pytest.approx(float(disagreement(a, b, spread_of(z))), rel=0.15)  # but for the noise


def differences(states):
    """The true action of states that *are* places."""
    return (states[:, 1:] - states[:, :-1]).flatten(2)


def turned(states):
    """The same in a code that turns with the state."""
    step, angle = differences(states), 3 * states[:, :-1, 0, :1]
    x, y = step[..., :1], step[..., 1:]
    return torch.cat((x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()), dim=-1)


def paths(clips=400, states=5):
    return (2 * torch.randn(clips, states, 1, 2)).cumsum(dim=1)


def test_a_true_additive_code_is_the_minimum_and_one_that_turns_with_the_state_is_not(choice):
    torch.manual_seed(0)
    states, loss = paths(), choice.build(2)

    @torch.no_grad()
    def ask(draw, predict):
        return loss(states, draw(states), draw, predict)

    def move(states, z):
        return states + z.unsqueeze(2)

    good, found = ask(differences, move)
    assert found.keys() == TERMS[type(choice).__name__]
    assert all(float(value) < 0.02 for value in found.values())
    assert float(good) == pytest.approx(choice.weight * sum(map(float, found.values())) / len(found))
    found = ask(turned, move)[1]
    assert all(float(value) > 0.3 for value in found.values())  # half of two steps is right: the first


def test_composition_learns_to_turn_and_walk_where_no_sum_is_right():
    """A camera walks and turns: of two steps, the second is taken in the direction in which the first left it."""

    def path(clips):
        """Positions and headings ``[clips, 3, 1, 3]`` of walks from random ones."""
        return torch.cat((torch.randn(clips, 3, 1, 2), torch.rand(clips, 3, 1, 1) * 3), dim=-1)

    def walk(states):
        """The motion in the camera's own frame, ``[P, T - 1, 3]``."""
        before, after = states[:, :-1, 0], states[:, 1:, 0]
        (x, y, turn), angle = (after - before).unbind(dim=-1), before[..., 2]
        forward, left = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
        return torch.stack((forward, left, turn), dim=-1)

    torch.manual_seed(0)
    loss = Composition(width=32).build(3)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)

    def ask(asked, clips=128):
        states = path(clips)
        return asked(states, walk(states), walk, None)

    before = ask(loss, 1000)[1]
    for _ in range(150):
        optimizer.zero_grad()
        ask(loss)[0].backward()
        optimizer.step()
    after, added = ask(loss, 1000)[1], ask(Additive().build(3), 1000)[1]
    assert float(before["composition"].detach()) == pytest.approx(float(added["additivity"]), abs=0.05)
    for name, value in after.items():
        assert float(value.detach()) < 0.4 * float(before[name].detach()), name


class Walker(nn.Module):
    """Inverse and forward model of places, small enough to be trained in a second."""

    def __init__(self, consistency):
        super().__init__()
        self.bottleneck = Noisy(dim=4, beta=1e-3).build()
        self.inverse = nn.Sequential(nn.Linear(4, 48), nn.GELU(), nn.Linear(48, 8))
        self.forward_model = nn.Sequential(nn.Linear(6, 48), nn.GELU(), nn.Linear(48, 2))
        self.consistency = consistency.build(4)

    def read(self, states):
        return self.inverse(torch.cat((states[:, :-1], states[:, 1:] - states[:, :-1]), dim=-1))[:, :, 0]

    def draw(self, states):
        return self.bottleneck.draw(self.read(states))

    def predict(self, states, z):
        return states + self.forward_model(torch.cat((states, z.unsqueeze(2)), dim=-1))

    def forward(self, states):
        z, penalty = self.bottleneck(self.read(states))
        error = (self.predict(states[:, :-1], z) - states[:, 1:]).abs().mean()
        asked = self.consistency(states, z, self.draw, self.predict)[0] if self.consistency else 0.0
        return error + penalty + asked


@cache
def trained(consistency, steps=150):
    torch.manual_seed(0)
    model = Walker(consistency)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model(paths(64, 4) / 2).backward()
        optimizer.step()
    return model.requires_grad_(False)


def r_squared(z, actions):
    """How well a linear map tells the true actions, on the half that it was not fitted to."""
    x, half = torch.cat((z, torch.ones(len(z), 1)), dim=1), len(z) // 2
    told = x[half:] @ torch.linalg.lstsq(x[:half], actions[:half]).solution
    return 1 - float((told - actions[half:]).square().sum() / actions[half:].var(dim=0).sum() / half)


def test_a_model_learns_it_and_its_latent_actions_do_not_collapse(choice):
    without, model = trained(Absent()), trained(choice)
    states = paths(1000, 4) / 2
    actions = differences(states)
    ask = choice.build(4) if isinstance(choice, Additive | Cycle) else model.consistency
    found = [ask(states, m.draw(states), m.draw, m.predict)[0] for m in (without, model)]
    assert float(found[1]) < 0.8 * float(found[0])
    told = {}
    for name, m in (("without", without), ("asked", model)):
        z = m.bottleneck.encode(m.read(states))
        told[name] = r_squared(z.flatten(0, 1), actions.flatten(0, 1))
        error = (m.predict(states[:, :-1], z) - states[:, 1:]).abs().mean()
        permuted = (m.predict(states[:, :-1], z.roll(1, 0)) - states[:, 1:]).abs().mean()
        assert permuted > 2 * error
        assert z.std(dim=(0, 1)).max() > 0.5
    assert told["asked"] > told["without"] - 0.05


@pytest.mark.parametrize("bottleneck", [Noisy, Adaptive, Sparse, Discrete, Unconstrained], ids=lambda b: b.__name__)
def test_every_model_can_be_asked(make_model, choice, bottleneck):
    model = make_model(bottleneck=bottleneck(dim=8), consistency=choice).train()
    states = torch.randn(5, 4, 4, 6)
    loss = model(states)
    loss.total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    statistics = loss.statistics()
    assert TERMS[type(choice).__name__] <= statistics.keys()
    asked = sum(statistics[name] for name in TERMS[type(choice).__name__]) / len(TERMS[type(choice).__name__])
    expected = statistics["prediction"] + statistics["penalty"] + choice.weight * asked
    torch.testing.assert_close(loss.total.detach(), expected)


def test_a_model_without_latent_actions_or_of_which_nothing_is_asked_has_no_such_loss(make_model, choice):
    assert make_model(consistency=choice, bottleneck=Deterministic(dim=8)).consistency is None
    assert make_model().consistency is None


@pytest.mark.parametrize("asked", [Additive(), Composition()], ids=str)
def test_two_steps_need_three_states(make_model, asked):
    with pytest.raises(WildlamError, match=r"clips of 3 states, got 2; give a larger data\.frames"):
        make_model(consistency=asked)(torch.randn(2, 2, 4, 6))
    make_model(consistency=Cycle())(torch.randn(2, 2, 4, 6))


@pytest.mark.parametrize("bad", [lambda: Additive(weight=-1.0), lambda: Composition(width=0)])
def test_impossible_settings_are_named(bad):
    with pytest.raises(ValueError, match=r"model\.consistency\.(weight|width) must be"):
        bad()
