import torch

from wildlam.models.inverse_dynamics import InverseDynamicsModel
from wildlam.models.transformer import Size


def test_all_pairs_of_a_clip_in_one_batch_equal_each_alone():
    torch.manual_seed(0)
    idm = InverseDynamicsModel(6, (2, 3), 10, Size(32, 2, 2))
    states = torch.randn(2, 5, 6, 6)
    together = idm(states)
    assert together.shape == (2, 4, 10)
    for t in range(4):
        torch.testing.assert_close(together[:, t : t + 1], idm(states[:, t : t + 2]))


def test_it_tells_where_something_moved():
    torch.manual_seed(0)
    idm = InverseDynamicsModel(6, (2, 3), 10, Size(32, 2, 2))
    before, change = torch.zeros(1, 1, 6, 6), torch.randn(6)
    seen = []
    for place in range(6):
        after = before.clone()
        after[0, 0, place] = change
        seen.append(idm(torch.cat((before, after), dim=1))[0, 0])
    distances = torch.cdist(torch.stack(seen), torch.stack(seen))
    assert (distances + torch.eye(6) > 1e-3).all()
