import pytest
import torch

from wildlam.models import ModelConfig
from wildlam.models.action_world_model import LabelledWorldModel
from wildlam.models.bottlenecks import Noisy
from wildlam.models.cells import Cells
from wildlam.models.inverse_dynamics import Transformer
from wildlam.models.transformer import SIZES, Size
from wildlam.models.world_model import Unrolling, WorldModel
from wildlam.types import EncoderSpec


@pytest.fixture
def states():
    return torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def actions():
    return torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[(False, 0.0), (True, 0.0), (True, 0.5)], ids=["blind to places", "place", "local"])
def world_model(make_model, request):
    place, local = request.param
    return make_model(place=place, idm=Transformer(local=local), bottleneck=Noisy(dim=32)).world_model


@pytest.mark.parametrize("place", [False, True])
def test_untrained_model_copies_the_last_state(states, actions, place):
    model = WorldModel(6, (2, 2), 32, Size(32, 2, 2), predict="change", place=place)
    assert torch.equal(model(states, actions), states)
    assert not model.__class__(6, (2, 2), 32, Size(32, 2, 2), predict="state")(states, actions).any()


@pytest.mark.parametrize("grid", [(2, 2), (2, 4), (4, 4)], ids=str)
def test_what_acts_in_one_place_changes_nothing_elsewhere(grid):
    """Without attention, by which tokens see each other; a cell is of one token, or of several."""
    torch.manual_seed(0)
    cells = Cells(grid, (2, 2), everywhere=3, each=2)
    model = WorldModel(6, grid, 11, Size(32, 0, 2), place=True, cells=cells)
    for parameter in (model.head.weight, model.modulation.linear.weight):
        torch.nn.init.normal_(parameter)
    states, action = torch.randn(1, 1, cells.grid[0] * cells.grid[1], 6), torch.randn(1, 1, 11)
    of_tokens = cells.of_tokens(states.device)
    changed = []
    for dim in range(11):
        other = action.clone()
        other[..., dim] += 1
        changed.append((model(states, other) != model(states, action))[0, 0].any(dim=-1))
    for dim, found in enumerate(changed):
        assert torch.equal(found, torch.ones_like(found) if dim < 3 else of_tokens == (dim - 3) % 4)


def test_prediction_depends_on_no_later_state_or_action(world_model, states, actions):
    before = world_model(states, actions)
    for t in range(1, 5):
        later_states, later_actions = states.clone(), actions.clone()
        later_states[:, t] += 1
        later_actions[:, t] += 1
        for after in (world_model(later_states, actions), world_model(states, later_actions)):
            assert torch.equal(after[:, :t], before[:, :t])
            assert (after[:, t:] != before[:, t:]).flatten(2).any(dim=2).all()


def test_every_token_of_the_past_counts(world_model, states, actions):
    states.requires_grad_()
    world_model(states, actions)[:, -1].square().sum().backward()
    assert (states.grad != 0).all(dim=-1).all()


@pytest.mark.parametrize("context", [1, 2, 4])
def test_cached_rollout_equals_recomputing_everything(world_model, states, context):
    candidates, horizon = 3, 4
    torch.manual_seed(2)
    past = torch.randn(2, context - 1, 32)
    actions = torch.randn(2, candidates, horizon, 32)
    with torch.no_grad():
        rolled = world_model.rollout(states[:, :context], past, actions)
    torch.testing.assert_close(world_model.rollout(states[:, :context], past, actions), rolled)
    assert rolled.shape == (2, candidates, horizon, 4, 6)
    for s in range(candidates):
        known = states[:, :context]
        for h in range(horizon):
            known_actions = torch.cat((past, actions[:, s, : h + 1]), dim=1)
            step = world_model(known, known_actions)[:, -1:]
            known = torch.cat((known, step), dim=1)
            torch.testing.assert_close(rolled[:, s, h], step[:, 0], atol=1e-4, rtol=0)


def test_a_rollout_can_be_learnt_through(world_model, states):
    torch.manual_seed(2)
    gradients = []
    for cached in (True, False):
        actions = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
        if cached:
            last = world_model.rollout(states[:, :1], states.new_empty(2, 0, 32), actions[:, None])[:, 0, -1]
        else:
            known = states[:, :1]
            for h in range(3):
                known = torch.cat((known, world_model(known, actions[:, : h + 1])[:, -1:]), dim=1)
            last = known[:, -1]
        last.square().sum().backward()
        gradients.append(actions.grad)
    assert (gradients[0].abs().sum(dim=-1) > 0).all()
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


def test_rollout_takes_contexts_longer_than_any_in_training(world_model):
    rolled = world_model.rollout(torch.randn(1, 40, 4, 6), torch.randn(1, 39, 32), torch.randn(1, 1, 2, 32))
    assert rolled.isfinite().all()


def test_rollout_refuses_a_wrong_number_of_past_actions(world_model, states):
    with pytest.raises(ValueError, match="3 context states need 2 past actions, got 1"):
        world_model.rollout(states[:, :3], torch.randn(2, 1, 32), torch.randn(2, 1, 2, 32))


@pytest.mark.parametrize(("name", "millions"), [("L", 302), ("H", 629), ("g", 952)])
def test_named_sizes_have_the_parameters_of_their_vision_transformers(name, millions):
    size = SIZES[name]
    with torch.device("meta"):
        model = WorldModel(1024, (16, 16), 128, size)
    blocks = sum(p.numel() for n, p in model.named_parameters() if n.startswith("blocks") and "modulation" not in n)
    assert blocks / 1e6 == pytest.approx(millions, rel=0.01)


def test_a_controller_sees_the_state_that_each_action_is_taken_in(world_model, states):
    """Predicted ones included, and the candidates' own."""
    torch.manual_seed(3)
    maps = torch.randn(2, 32) * 0.3, torch.randn(6, 32) * 0.1

    def act(actions, in_states):
        return actions @ maps[0] + in_states.mean(dim=1) @ maps[1]

    actions = torch.randn(2, 3, 4, 2)
    context, past = states[:, :2], torch.randn(2, 1, 32)
    rolled = world_model.rollout(context, past, actions, act)
    for s in range(3):
        taken_in = torch.cat([context[:, -1:], rolled[:, s, :-1]], dim=1)
        latent = torch.stack([act(actions[:, s, h], taken_in[:, h]) for h in range(4)], dim=1)
        expected = world_model.rollout(context, past, latent[:, None])[:, 0]
        torch.testing.assert_close(rolled[:, s], expected, atol=1e-4, rtol=0)


def test_the_action_s_own_way_to_each_token_changes_nothing_at_first():
    torch.manual_seed(0)
    model = WorldModel(6, (2, 3), 5, Size(32, 2, 2), place=True)
    for name, parameter in model.named_parameters():
        if "action_at_place" not in name:
            torch.nn.init.normal_(parameter, std=0.2)
    states, actions = torch.randn(2, 4, 6, 6), torch.randn(2, 4, 5)
    before = model(states, actions)
    blind = WorldModel(6, (2, 3), 5, Size(32, 2, 2))
    blind.load_state_dict({name: weight for name, weight in model.state_dict().items() if "place" not in name})
    blind.embed.register_forward_hook(lambda module, inputs, output: output + model.embed_place)
    torch.testing.assert_close(blind(states, actions), before)
    model.action_at_place.weight.data.normal_()
    assert not torch.allclose(model(states, actions), before)


@pytest.mark.parametrize("place", [False, True])
def test_what_an_action_does_to_tokens_that_are_alike(make_model, place):
    """To a model blind to places all of them are one; to the other an action may move one of them alone."""
    model = make_model(place=place, idm=Transformer(), bottleneck=Noisy(dim=32)).world_model
    states = torch.randn(2, 1, 1, 6).expand(-1, -1, 4, -1)
    change = model(states, torch.randn(2, 1, 32)) - states
    assert torch.allclose(change, change[:, :, :1].expand_as(change), atol=1e-5) != place


def test_a_world_model_of_real_actions_knows_places_too():
    spec = EncoderSpec("made up", 1, (2, 3), 6, 32, "frame", "0")
    model = LabelledWorldModel(ModelConfig(place=True), spec, 2)
    states, actions = torch.randn(2, 3, 6, 6), torch.randn(2, 2, 2)
    model(states, actions).total.backward()
    assert model.world_model.action_at_place.weight.shape == (6 * 32, 2)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_unrolled_step_by_step_it_predicts_what_it_predicts_at_once(world_model, states, actions):
    unrolling = Unrolling(world_model, states[:, :2], actions[:, :1], room=3)
    rolled = world_model.rollout(states[:, :2], actions[:, :1], actions[:, None, 1:4])[:, 0]
    for t in range(3):
        step = unrolling.step(actions[:, 1 + t])
        torch.testing.assert_close(step[:, 0], rolled[:, t])
        assert torch.equal(unrolling.state, step)


def test_an_unrolling_needs_the_actions_between_its_states(world_model, states, actions):
    with pytest.raises(ValueError, match="2 context states need 1 past actions, got 2"):
        Unrolling(world_model, states[:, :2], actions[:, :2], room=1)
