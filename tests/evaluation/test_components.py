import torch

from wildlam.evaluation.components import leading_directions, principal_directions


def test_both_ways_find_the_directions_that_were_put_in():
    axes = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0][:2]
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(1)) * torch.tensor([5.0, 2.0]) @ axes + 3
    mean, variance, directions = principal_directions(x)
    torch.testing.assert_close(mean, x.mean(dim=0))
    torch.testing.assert_close(variance, x.T.cov().diagonal().sum() * variance / variance.sum(), rtol=1e-4, atol=1e-4)
    assert (directions[:2] @ axes.T).diagonal().abs().min() > 0.99
    few = x[:6]
    mean, leading = leading_directions(few, 2)
    torch.testing.assert_close(mean, few.mean(dim=0))
    agreed = leading.flip(1).T @ principal_directions(few)[2][:2].T
    torch.testing.assert_close(agreed.abs(), torch.eye(2), rtol=0, atol=1e-3)
