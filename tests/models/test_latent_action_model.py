import pytest
import torch

from wildlam.models.bottlenecks import Deterministic, Discrete, Noisy, Sparse, Unconstrained

BOTTLENECKS = [Noisy(dim=8), Sparse(dim=8), Discrete(dim=8, codes=16), Unconstrained(dim=8), Deterministic(dim=8)]


@pytest.fixture
def states():
    return torch.randn(3, 4, 4, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("bottleneck", BOTTLENECKS, ids=lambda b: type(b).__name__)
def test_every_bottleneck_trains_infers_and_rolls_out(make_model, states, bottleneck):
    model = make_model(bottleneck=bottleneck).train()
    loss = model(states)
    loss.total.backward()
    assert loss.total.isfinite()
    assert {"prediction", "penalty"} <= loss.statistics().keys()
    assert all(value.isfinite().all() for value in loss.statistics().values())
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []
    z = model.infer(states)
    assert z.shape == (3, 3, 8)
    assert model.predict(states[:, :-1], z).shape == (3, 3, 4, 6)
    assert model.rollout(states[:, :2], z[:, 1:]).shape == (3, 2, 4, 6)
    assert model.rollout(states[:, :2], torch.randn(3, 5, 2, 8)).shape == (3, 5, 2, 4, 6)


@pytest.mark.parametrize("bottleneck", BOTTLENECKS[:4], ids=lambda b: type(b).__name__)
def test_action_depends_on_its_own_two_states_alone(make_model, states, bottleneck):
    model = make_model(bottleneck=bottleneck)
    model(states)  # an untrained codebook is empty until it has seen a batch
    before = model.infer(states)
    changed = states.clone()
    changed[:, 2] = torch.randn(3, 4, 6)
    changed[0] = torch.randn(4, 4, 6)
    after = model.infer(changed)
    assert torch.equal(after[1:, 0], before[1:, 0])
    if not isinstance(bottleneck, Discrete):
        assert (after[1:, 1:] != before[1:, 1:]).any(dim=-1).all()
    alone = torch.cat([model.infer(states[:, t : t + 2]) for t in range(3)], dim=1)
    torch.testing.assert_close(alone, before)


def test_inference_is_the_same_each_time_though_training_is_noisy(make_model, states):
    model = make_model(bottleneck=Noisy(dim=8)).train()
    assert torch.equal(model.infer(states), model.infer(states))
    assert model(states).total != model(states).total


def test_deterministic_model_has_no_inverse_dynamics_model(make_model):
    assert make_model(bottleneck=Deterministic()).idm is None


def test_rollout_infers_the_actions_between_context_states(make_model, states):
    model = make_model()
    z = model.infer(states)
    rolled = model.rollout(states[:, :3], z[:, 2:])
    torch.testing.assert_close(rolled[:, 0], model.predict(states[:, :3], z)[:, -1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["infer", "rollout"])
def test_states_of_another_shape_are_refused(make_model, method):
    model = make_model()
    arguments = () if method == "infer" else (torch.zeros(1, 1, 32),)
    with pytest.raises(ValueError, match=r"expected states \[B, T, 4, 6\], got \[1, 2, 9, 6\]"):
        getattr(model, method)(torch.zeros(1, 2, 9, 6), *arguments)


def test_one_state_holds_no_action(make_model):
    with pytest.raises(ValueError, match="at least 2 are needed"):
        make_model().infer(torch.zeros(1, 1, 4, 6))


def test_it_learns_what_moved(make_model):
    """On states that step by one of four vectors, actions let it predict what no past can tell."""
    torch.manual_seed(0)
    model = make_model(bottleneck=Noisy(dim=4, beta=1e-4)).train()
    moves = torch.randn(4, 4, 6)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def batch():
        return torch.cat((torch.randn(32, 1, 4, 6), moves[torch.randint(4, (32, 3))]), dim=1).cumsum(dim=1)

    for _ in range(150):
        loss = model(batch())
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    model.eval()
    states = batch()
    z = model.infer(states)
    error = (model.predict(states[:, :-1], z) - states[:, 1:]).abs().mean()
    permuted = (model.predict(states[:, :-1], z.roll(1, 0)) - states[:, 1:]).abs().mean()
    copy = (states[:, :-1] - states[:, 1:]).abs().mean()
    assert error < 0.5 * copy
    assert error < 0.5 * permuted
