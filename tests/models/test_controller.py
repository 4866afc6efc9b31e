import pytest
import torch

from wildlam.models.controller import ControllerConfig
from wildlam.types import EncoderSpec

SPEC = EncoderSpec("made-up", 1, (2, 3), 16, 32, "frame", "0")
ALL = [{"blocks": 0}, {"blocks": 1}, {}, {"past": "pooled"}, {"past": "none"}, {"start": "network"}]


def make(**options):
    torch.manual_seed(0)
    controller = ControllerConfig(width=32, **options).build(SPEC, action_width=3, latent_width=5)
    torch.nn.init.normal_(controller.head.weight)
    if hasattr(controller, "state_weight"):
        torch.nn.init.ones_(controller.state_weight)
    return controller


@pytest.mark.parametrize("options", ALL)
def test_shapes_and_a_row_of_its_own(options):
    controller = make(**options).eval()
    actions, states = torch.randn(4, 3), torch.randn(4, 6, 16)
    z = controller.act(actions, states)
    assert z.shape == (4, 5)
    torch.testing.assert_close(controller.act(actions[1:2], states[1:2]), z[1:2])
    assert not torch.allclose(controller.act(actions + 1, states), z)


@pytest.mark.parametrize("options", ALL)
def test_what_it_sees_of_the_past(options):
    controller = make(**options).eval()
    actions, states = torch.randn(2, 3), torch.randn(2, 6, 16)
    seen = not torch.allclose(controller.act(actions, states + torch.randn(16)), controller.act(actions, states))
    placed = not torch.allclose(controller.act(actions, states.flip(1)), controller.act(actions, states), atol=1e-5)
    assert seen == (options.get("past") != "none")
    assert placed == (options.get("past", "tokens") == "tokens")


def test_scales_are_those_of_the_data():
    """Actions in metres or millimetres give the same controller; an untrained one gives the mean latent action."""
    actions, z = torch.randn(50, 7, 3) * torch.tensor([1.0, 100.0, 0.01]) + 5, torch.randn(50, 7, 5) + 2
    one, other = make(), make()
    one.fit_scales(actions, z)
    other.fit_scales(actions * 1000, z)
    states = torch.randn(50, 6, 16)
    torch.testing.assert_close(
        one.act(actions[:, 0], states), other.act(actions[:, 0] * 1000, states), atol=1e-3, rtol=1e-3
    )
    torch.nn.init.zeros_(one.head.weight)
    torch.testing.assert_close(one.act(actions[:, 0], states), z.mean(dim=(0, 1)).expand(50, 5))
    loss = one(actions, torch.randn(50, 8, 6, 16), z)
    torch.testing.assert_close(loss.total, torch.tensor(1.0), atol=0.01, rtol=0)  # what the mean reaches


def test_it_begins_with_a_linear_map():
    torch.manual_seed(0)
    actions, states = torch.randn(20, 7, 3) * torch.tensor([1.0, 100.0, 0.0]) + 5, torch.randn(4, 6, 16)
    weight = torch.randn(3, 5)
    controller = ControllerConfig(width=32).build(SPEC, action_width=3, latent_width=5)
    controller.fit_scales(actions, actions @ weight)
    controller.begin_with(lambda given: given @ weight + 1)
    some = actions[:4, 0]
    torch.testing.assert_close(controller.act(some, states), some @ weight + 1, atol=1e-3, rtol=1e-3)
    torch.nn.init.normal_(controller.head.weight)
    seen = controller.act(some, states)
    torch.testing.assert_close(controller.act(some, states + 1), seen)  # the state has no weight yet


@pytest.mark.slow
def test_it_learns_an_action_that_means_something_else_in_each_state():
    torch.manual_seed(0)
    errors = {}
    states, actions = torch.randn(64, 5, 6, 16), torch.randn(64, 4, 3)
    z = actions[..., :1] * states[:, :-1, 2, :1].sign() * torch.ones(5)  # which way depends on one token
    for past in ("tokens", "none"):
        controller = make(past=past, blocks=1)
        controller.fit_scales(actions, z)
        optimizer = torch.optim.AdamW(controller.parameters(), 3e-3)
        for _ in range(150):
            optimizer.zero_grad()
            loss = controller(actions, states, z).total
            loss.backward()
            optimizer.step()
        errors[past] = loss.item()
    assert errors["tokens"] < 0.35
    assert errors["none"] > 0.6


def test_predictions_teach_what_inferred_actions_leave_open():
    """Half of what the model takes of an action is nowhere in those that were inferred; the states tell it."""
    torch.manual_seed(0)
    states, actions = torch.randn(32, 5, 6, 16), torch.randn(32, 4, 3)
    effect = torch.nn.Linear(5, 16).requires_grad_(False)

    def drive(first, actions, act):
        seen = [first[:, 0]]
        for action in actions.unbind(dim=1):
            seen.append(seen[-1] + effect(act(action, seen[-1]))[:, None])
        return torch.stack(seen[1:], dim=1)

    true = torch.nn.functional.pad(actions, (0, 2))
    states[:, 1:] = drive(states[:, :1], true, lambda z, _: z)
    inferred = true * torch.tensor([1.0, 0, 0, 0, 0])
    errors = {}
    for weight in (0.0, 10.0):
        torch.manual_seed(0)
        config = ControllerConfig(width=32, blocks=0, past="none", prediction=weight)
        controller = config.build(SPEC, 3, 5, drive)
        assert controller.state_dict().keys() == make(past="none").state_dict().keys()  # the model is not part of it
        controller.fit_scales(actions, inferred)
        optimizer = torch.optim.AdamW(controller.parameters(), 3e-3)
        for _ in range(200):
            optimizer.zero_grad()
            loss = controller(actions, states, inferred)
            loss.total.backward()
            optimizer.step()
        told = loss.statistics()
        torch.testing.assert_close(loss.total.detach(), told["z_error"] + weight * told["prediction"])
        errors[weight] = told["prediction"].item()
    assert errors[10.0] < 0.7 * errors[0.0]
