import re
from functools import partial

import numpy as np
import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Adaptive, Deterministic, Discrete, Noisy, Sparse, Unconstrained
from wildlam.models.bottlenecks.base import leading
from wildlam.models.inverse_dynamics import Transformer

BOTTLENECKS = [
    Noisy(dim=8),
    Adaptive(dim=8),
    Sparse(dim=8),
    Discrete(dim=8, codes=16),
    Unconstrained(dim=8),
    Deterministic(dim=8),
]


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


@pytest.mark.parametrize("bottleneck", BOTTLENECKS[:5], ids=lambda b: type(b).__name__)
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


def test_a_transition_keeps_the_fewest_dimensions_that_do(make_model, states):
    model = make_model(place=False, idm=Transformer(), bottleneck=Adaptive(dim=8, tolerance=0.0))
    whole = model.infer(states, dims=8)
    with torch.no_grad():
        model.world_model.embed_action.weight[:, 2:] = 0  # nothing but the first two dimensions is heard
    needed = model.needed(states)
    assert needed.shape == (3, 3)
    assert set(needed.flatten().tolist()) == {1, 2}
    before, after = states[:, :-1].flatten(0, 1)[:, None], states[:, 1:].flatten(0, 1)[:, None]

    def errors(width):
        predicted = model.predict(before, leading(whole, width).flatten(0, 1)[:, None])
        return (predicted - after).abs().mean(dim=(1, 2, 3)).view(3, 3)

    assert torch.equal(needed == 1, errors(1) <= errors(8))
    torch.testing.assert_close(model.infer(states), leading(whole, needed))
    model.bottleneck.tolerance = 100.0
    assert (model.needed(states) == 1).all()


def test_dimensions_can_be_fixed_for_all_or_each(make_model, states):
    model = make_model(bottleneck=Adaptive(dim=8))
    whole = model.infer(states, 8)
    assert torch.equal(model.infer(states, 4), leading(whole, 4))
    each = torch.tensor([1, 2, 8]).expand(3, 3)
    assert torch.equal(model.infer(states, each), leading(whole, each))
    for dims in (3, 0, torch.tensor([[1, 3, 8]])):
        with pytest.raises(WildlamError, match=r"^dims .*cannot be cut so; give one of 1, 2, 4, 8$"):
            model.infer(states, dims)
    with pytest.raises(ValueError, match=r"expected dims \[3, 3\], one for each latent action, got \[3\]"):
        model.infer(states, torch.ones(3, dtype=torch.int64))
    with pytest.raises(WildlamError, match=r"^dims 8: .*; Noisy is always whole, leave it out$"):
        make_model(bottleneck=Noisy(dim=8)).infer(states, 8)


def test_what_is_cut_off_tells_no_nats(make_model, states):
    model = make_model(bottleneck=Adaptive(dim=8, beta=0.5))
    told = [model.nats(states, dims) for dims in (1, 4, 8)]
    assert ((told[0] < told[1]) & (told[1] < told[2])).all()
    torch.testing.assert_close(model.nats(states), model.nats(states, model.needed(states)))
    noisy = make_model(bottleneck=Noisy(dim=8, beta=0.5))
    assert float(noisy.nats(states).mean()) == pytest.approx(float(noisy(states).statistics()["kl"]), rel=1e-5)
    assert (noisy.needed(states) == 8).all()


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


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (np.zeros((1, 2, 4, 6)), r"expected states \[B, T, 4, 6\] as a tensor, got ndarray; give torch.as_tensor"),
        (
            torch.zeros(1, 2, 4, 6, dtype=torch.int64),
            r"states \[B, T, 4, 6\] in torch.float32, got torch.int64; .*float",
        ),
        (torch.zeros(1, 2, 4, 6, dtype=torch.float64), r"in torch.float32, got torch.float64"),
        (torch.zeros(1, 0, 4, 6), r"got \[1, 0, 4, 6\]"),
    ],
)
def test_what_are_no_states_is_refused_by_every_method(make_model, states, message):
    model, actions = make_model(bottleneck=Noisy(dim=8)), torch.zeros(1, 2, 8)
    for call in (
        lambda: model.infer(states),
        lambda: model.predict(states, actions),
        lambda: model.rollout(states, actions),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("method", ["predict", "rollout"])
def test_what_are_no_actions_is_refused(make_model, states, method):
    call = partial(getattr(make_model(bottleneck=Noisy(dim=8)), method), states)
    with pytest.raises(ValueError, match=r"actions \[3, ., 8\].* as a tensor, got ndarray"):
        call(np.zeros((3, 4, 8), np.float32))
    with pytest.raises(ValueError, match=r"actions \[3, ., 8\].* got torch.int64"):
        call(torch.zeros(3, 4, 8, dtype=torch.int64))
    for shape in ((3, 4, 7), (2, 4, 8), (4, 8), (3, 0, 8)):
        with pytest.raises(ValueError, match=rf"expected actions \[3, ., 8\].*got {re.escape(str(list(shape)))}"):
            call(torch.zeros(shape))
    if method == "predict":
        with pytest.raises(ValueError, match=r"expected actions \[3, 4, 8\], one for each state.*got \[3, 3, 8\]"):
            call(torch.zeros(3, 3, 8))


def test_checked_methods_can_be_compiled(make_model, states):
    model = make_model(bottleneck=Noisy(dim=8)).eval()
    compiled = torch.compile(model.predict, backend="eager", fullgraph=True)
    actions = torch.zeros(3, 4, 8)
    torch.testing.assert_close(compiled(states, actions), model.predict(states, actions))


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


@pytest.mark.slow
def test_it_learns_to_need_more_dimensions_where_more_happens(make_model):
    """Where nothing changes one dimension does; where four things change, each on its own, one does not."""
    torch.manual_seed(0)
    model = make_model(bottleneck=Adaptive(dim=8, beta=1e-4, tolerance=0.2)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def batch(busy):
        moves = torch.randn(64, 1, 1, 4).sign() * busy.view(64, 1, 1, 1)
        start = torch.randn(64, 1, 4, 6)
        return torch.cat((start, start + torch.nn.functional.pad(moves, (0, 2))), dim=1)

    for _ in range(150):
        loss = model(batch(torch.randint(2, (64,))))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    model.eval()
    calm, busy = (model.needed(batch(torch.full((64,), how))).float().mean() for how in (0, 1))
    assert calm < 0.5 * busy
