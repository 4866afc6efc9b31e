import pytest
import torch

from wildlam.models.bottlenecks import Noisy
from wildlam.models.inverse_dynamics import Difference, Linear, Transformer
from wildlam.models.transformer import Size

CHOICES = [Transformer(), Linear(), Difference()]


@pytest.fixture(params=CHOICES, ids=lambda choice: type(choice).__name__)
def idm(request):
    torch.manual_seed(0)
    return request.param.build(6, (2, 3), 10, Size(32, 2, 2))


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


@pytest.mark.parametrize(("choice", "adds"), zip(CHOICES, (False, True, True), strict=True), ids=str)
def test_whether_two_steps_add_up_and_a_way_back_turns_them_round(choice, adds):
    """But for the constant, which is what no change at all reads as."""
    torch.manual_seed(0)
    idm = choice.build(6, (2, 3), 10, Size(32, 2, 2))
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
        idm = choice.build(6, (2, 3), 10, Size(32, 2, 2))
        read = [idm(torch.stack((state, state + change), dim=1)) for state in torch.randn(2, 1, 6, 6)]
        assert torch.allclose(*read, atol=1e-5) == isinstance(choice, Linear)


def test_every_one_trains_infers_and_rolls_out(make_model):
    states = torch.randn(3, 4, 4, 6)
    for choice in CHOICES:
        model = make_model(idm=choice, bottleneck=Noisy(dim=5)).train()
        model(states).total.backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        z = model.infer(states)
        assert z.shape == (3, 3, 5)
        assert model.rollout(states[:, :2], z[:, 1:]).shape == (3, 2, 4, 6)
