from dataclasses import replace

import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Adaptive, Discrete, Noisy, Sparse, Unconstrained
from wildlam.models.consistency import Additive
from wildlam.models.inverse_dynamics import Difference, IdmShape, Linear, Split, Transformer
from wildlam.models.transformer import Size

SHAPE = IdmShape(6, (2, 3), 10, 1, Size(32, 2, 2))
CHOICES = [Transformer(), Linear(), Difference(), Split(), Transformer(local=0.5)]


@pytest.fixture(params=CHOICES, ids=str)
def choice(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["blind to places", "place"])
def idm(choice, request):
    torch.manual_seed(0)
    return choice.build(IdmShape(6, (2, 3), 10, 1, Size(32, 2, 2), place=request.param))


def test_all_pairs_of_a_clip_in_one_batch_equal_each_alone(idm):
    states = torch.randn(2, 5, 6, 6)
    together = idm(states)
    assert together.shape == (2, 4, 10)
    for t in range(4):
        torch.testing.assert_close(together[:, t : t + 1], idm(states[:, t : t + 2]))


def test_it_tells_where_something_moved(idm):
    before, change = torch.zeros(1, 1, 6, 6), torch.randn(6)
    seen = []
    for place in range(6):
        after = before.clone()
        after[0, 0, place] = change
        seen.append(idm(torch.cat((before, after), dim=1))[0, 0])
    distances = torch.cdist(torch.stack(seen), torch.stack(seen))
    assert (distances + torch.eye(6) > 1e-3).all()


@pytest.mark.parametrize(("choice", "adds"), zip(CHOICES, (False, True, True, False, False), strict=True), ids=str)
def test_whether_two_steps_add_up_and_a_way_back_turns_them_round(choice, adds):
    """But for the constant, which is what no change at all reads as."""
    torch.manual_seed(0)
    idm = choice.build(SHAPE)
    a, b, c = torch.randn(3, 2, 6, 6)

    def read(before, after):
        return idm(torch.stack((before, after), dim=1))[:, 0]

    nothing = read(a, a)
    steps = read(a, b) + read(b, c) - 2 * nothing
    for found, expected in ((steps, read(a, c) - nothing), (read(b, a) - nothing, nothing - read(a, b))):
        assert torch.allclose(found, expected, atol=1e-5) == adds


def test_a_change_means_the_same_in_every_state_to_the_linear_one_alone():
    change = torch.randn(1, 6, 6)
    for choice in CHOICES:
        idm = choice.build(SHAPE)
        read = [idm(torch.stack((state, state + change), dim=1)) for state in torch.randn(2, 1, 6, 6)]
        assert torch.allclose(*read, atol=1e-5) == isinstance(choice, Linear)


@pytest.mark.parametrize("place", [False, True])
def test_every_one_trains_infers_and_rolls_out(make_model, choice, place):
    states = torch.randn(3, 4, 4, 6)
    model = make_model(idm=choice, bottleneck=Noisy(dim=5), place=place).train()
    model(states).total.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    z = model.infer(states)
    assert z.shape == (3, 3, 5)
    rolled = model.rollout(states[:, :2], z[:, 1:])
    torch.testing.assert_close(rolled[:, 0], model.predict(states[:, :2], z[:, :2])[:, -1], atol=1e-5, rtol=0)
    driven = model.drive(states[:, :2], z[:, 1:], lambda actions, in_states: actions)
    torch.testing.assert_close(driven, rolled)


@pytest.mark.parametrize("choice", [Transformer(), Difference()], ids=str)
def test_place_embeddings_tell_apart_what_else_is_alike(choice):
    """A map of one row and two places: which of the two changes, attention and a pool alone hardly tell."""
    spread = {}
    for place in (False, True):
        torch.manual_seed(0)
        idm = choice.build(IdmShape(6, (1, 2), 10, 1, Size(32, 1, 2), place))
        with torch.no_grad():
            for name, parameter in idm.named_parameters():
                if "embed_place" in name:
                    parameter.normal_()
        states = torch.ones(2, 2, 2, 6)
        states[[0, 1], 1, [0, 1]] += torch.randn(6)
        read = idm(states)
        spread[place] = float((read[0] - read[1]).detach().norm() / read.detach().norm())
    assert spread[True] > 3 * spread[False]


def test_of_a_split_one_the_first_dimensions_of_mean_and_variance_mean_the_same_in_every_state():
    idm = Split(linear=0.4).build(IdmShape(6, (2, 3), 5, 2, Size(32, 2, 2)))
    change = torch.randn(1, 6, 6)
    read = [idm(torch.stack((state, state + change), dim=1)) for state in torch.randn(2, 1, 6, 6)]
    mean, variance = (torch.isclose(*read, atol=1e-5)[0, 0]).chunk(2)
    assert mean.tolist() == variance.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("bottleneck", [Noisy, Adaptive])
def test_a_nat_of_the_other_dimensions_costs_more(make_model, bottleneck):
    penalties = []
    for surcharge in (1.0, 3.0):
        model = make_model(idm=Split(surcharge=surcharge), bottleneck=bottleneck(dim=4, beta=0.1))
        read = torch.zeros(2, 3, 8)
        read[..., [0, 3]] = torch.tensor([1.0, 2.0])  # half a nat by the linear one, two by the other
        torch.manual_seed(0)  # the widths that Adaptive draws
        penalties.append(float(model.bottleneck(read)[1]))
    if bottleneck is Noisy:
        assert penalties == pytest.approx([0.25, 0.65])
    assert penalties[1] > penalties[0]


def test_in_training_transitions_are_told_by_one_part_alone_as_often_by_any(make_model):
    torch.manual_seed(0)
    model = make_model(idm=Split(linear=0.25, dropped=0.45), bottleneck=Noisy(dim=4)).train()
    z = torch.ones(50, 100, 4)
    kept = model.idm.drop(z).flatten(0, 1)
    parts = [(0, 0, 1, 1), (0, 1, 0, 0), (1, 0, 0, 0)]  # of one place each, of the whole, and linear
    assert sorted({tuple(row) for row in kept.tolist()}) == [*parts, (1, 1, 1, 1)]
    for told, share in zip([*parts, (1, 1, 1, 1)], (0.15, 0.15, 0.15, 0.55), strict=True):
        assert (kept == torch.tensor(told)).all(-1).float().mean() == pytest.approx(share, abs=0.03)
    assert torch.equal(model.eval().idm.drop(z), z)


@pytest.mark.parametrize(("local", "parts"), [(0.0, [2, 2]), (0.25, [2, 1, 1])])
def test_the_world_model_learns_from_what_one_part_tells(make_model, local, parts):
    """Where all transitions are told by one part, the prediction is that of z with the others zero."""
    model = make_model(idm=Split(linear=0.5, local=local, dropped=1.0), bottleneck=Noisy(dim=4), place=True).train()
    torch.nn.init.normal_(model.world_model.head.weight)
    seen = []
    model.world_model.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    loss = model(torch.randn(64, 4, 4, 6))
    assert loss.total.isfinite()
    (z,) = seen
    told = torch.stack([(part != 0).all(-1) for part in z.split(parts, dim=-1)])
    assert (told.sum(dim=0) == 1).all()
    assert told.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("choice", [Transformer(local=0.5), Split(linear=0.25, local=0.5)], ids=str)
def test_what_speaks_of_one_place_is_read_there_and_by_the_same_network_everywhere(choice):
    """Without attention, so that no token sees another one; four cells of two tokens each."""
    torch.manual_seed(0)
    shape = IdmShape(6, (2, 4), 16, 2, Size(32, 0, 2))
    choice = replace(choice, cells=2)
    idm, cells = choice.build(shape), choice.parted(shape)
    assert (cells.shape, cells.each) == ((2, 2), 2)
    assert cells.of_tokens(torch.device("cpu")).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    before, change = torch.zeros(1, 8, 6), torch.randn(6)

    def read(token=None):
        after = before.clone()
        if token is not None:
            after[0, token] += change
        mean_and_variance = idm(torch.stack((before, after), dim=1))[0, 0].unflatten(-1, (2, 16))
        return cells.parted(mean_and_variance)[1].transpose(0, 1).flatten(1)  # [cells, 2 * each]

    changes = [read(token) - read() for token in range(8)]
    for token, found in enumerate(changes):
        elsewhere = [cell for cell in range(4) if cell != token // 2]
        assert not found[elsewhere].any()
        assert found[token // 2].abs().min() > 0
        torch.testing.assert_close(found[token // 2], changes[0][0])


@pytest.mark.parametrize(("local", "same"), [(0.0, False), (0.5, True)])
def test_beside_local_dimensions_the_whole_is_what_all_places_say_on_average(local, same):
    """Without attention between places: how much is told of two changes does not depend on their being in one place."""
    torch.manual_seed(0)
    shape = IdmShape(6, (1, 2), 8, 1, Size(32, 0, 2))
    idm = Transformer(local=local, cells=2).build(shape)
    states = torch.zeros(3, 2, 2, 6)
    one, other = torch.randn(2, 6)
    states[0, 1, 0], states[0, 1, 1] = one, other
    states[1, 1], states[2, 1] = one, other
    x = idm.attend(torch.cat((states[:, 0], states[:, 1] - states[:, 0]), dim=-1))
    mixed, both = x[0], (x[1] + x[2]) / 2
    read = idm.answer(torch.stack((mixed, both)))
    assert torch.allclose(read[0], read[1], atol=1e-5) == same


def test_consistency_is_asked_of_whole_latent_actions(make_model):
    model = make_model(idm=Split(dropped=1.0), bottleneck=Unconstrained(dim=4), consistency=Additive()).train()
    given = []
    model.consistency.register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    states = torch.randn(3, 4, 4, 6)
    model(states)
    assert torch.equal(given[0], model.infer(states))


@pytest.mark.parametrize("bottleneck", [Sparse(dim=4), Discrete(dim=4, codes=8)])
def test_limits_without_a_price_for_each_dimension_take_a_split_one_too(make_model, bottleneck):
    states = torch.randn(3, 4, 4, 6)
    assert make_model(idm=Split(), bottleneck=bottleneck).infer(states).shape == (3, 3, 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"linear": 1.0}, "between 0 and 1"),
        ({"surcharge": -1.0}, "at least 0"),
        ({"dropped": 1.5}, "from 0 to 1"),
        ({"local": 1.0}, "from 0 to less than 1"),
        ({"cells": 0}, "at least 1"),
        ({"linear": 0.5, "local": 0.5}, "and local must leave some of z"),
    ],
)
def test_what_a_split_one_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=rf"model\.idm\.{next(iter(given))} .*{message}"):
        Split(**given)


def test_one_dimension_cannot_be_split():
    with pytest.raises(WildlamError, match=r"give a larger model\.bottleneck\.dim than 1"):
        Split().build(IdmShape(6, (2, 3), 1, 2, Size(32, 2, 2)))
