import math

import pytest
import torch

from wildlam.errors import WildlamError
from wildlam.models.bottlenecks import Adaptive, Deterministic, Discrete, Noisy, Sparse, Unconstrained
from wildlam.models.bottlenecks.base import leading


def test_noisy_penalty_is_beta_times_the_kl_summed_over_dimensions():
    bottleneck = Noisy(dim=3, beta=0.5).build()
    mean, variance = torch.tensor([1.0, 0.0, -2.0]), torch.tensor([1.0, 0.25, 2.0])
    x = torch.cat((mean, variance.log())).expand(4, 2, 6)
    by_hand = 0.5 * 1.0 + 0.5 * (0.25 - 1 - math.log(0.25)) + 0.5 * (4 + 2 - 1 - math.log(2.0))
    assert float(bottleneck(x)[1]) == pytest.approx(0.5 * by_hand, rel=1e-5)
    prior, q = torch.distributions.Normal(0, 1), torch.distributions.Normal(mean, variance.sqrt())
    assert by_hand == pytest.approx(float(torch.distributions.kl_divergence(q, prior).sum()), rel=1e-5)
    statistics = bottleneck.statistics(x)
    assert float(statistics["kl"]) == pytest.approx(by_hand, rel=1e-5)
    assert float(statistics["kl_active"]) == 3


def test_noisy_samples_have_the_posterior_mean_and_variance():
    bottleneck = Noisy(dim=1).build()
    x = torch.tensor([2.0, math.log(0.25)]).expand(100_000, 2)
    torch.manual_seed(0)
    z, _ = bottleneck(x)
    assert float(z.mean()) == pytest.approx(2.0, abs=0.01)
    assert float(z.std()) == pytest.approx(0.5, abs=0.01)
    assert torch.equal(bottleneck.encode(x), x[:, :1])


def test_drawing_is_as_in_training_but_leaves_no_trace():
    torch.manual_seed(0)
    x = torch.randn(20, 8)
    for config in (
        Noisy(dim=4),
        Adaptive(dim=4),
        Sparse(dim=8),
        Discrete(dim=8, codes=4),
        Unconstrained(dim=8),
        Deterministic(dim=8),
    ):
        bottleneck = config.build().train()
        bottleneck(x)
        before = {name: value.clone() for name, value in bottleneck.state_dict().items()}
        torch.manual_seed(1)
        drawn = bottleneck.draw(x)
        assert all(torch.equal(before[name], value) for name, value in bottleneck.state_dict().items())
        torch.manual_seed(1)
        assert torch.equal(drawn, bottleneck(x)[0])


def test_noisy_survives_extreme_outputs():
    x = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    z, penalty = Noisy(dim=2).build()(x)
    (z.sum() + penalty).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(("dim", "widths"), [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (32, (1, 2, 4, 8, 16, 32))])
def test_adaptive_keeps_a_power_of_two_of_dimensions_or_all(dim, widths):
    assert Adaptive(dim=dim).build().widths == widths
    assert Noisy(dim=dim).build().widths == ()


def test_leading_dimensions_are_kept_and_others_zero():
    x = torch.tensor([[1.0, 2.0, torch.nan], [4.0, 5.0, 6.0]])
    assert leading(x, 2).tolist() == [[1, 2, 0], [4, 5, 0]]
    assert leading(x, torch.tensor([1, 3])).tolist() == [[1, 0, 0], [4, 5, 6]]


def test_adaptive_keeps_leading_dimensions_each_width_as_often_and_pays_for_these_alone():
    bottleneck = Adaptive(dim=4, beta=0.5).build()
    x = torch.cat((torch.tensor([3.0, 1.0, 2.0, 2.0]), torch.zeros(4))).expand(3000, 8)
    torch.manual_seed(0)
    z, penalty = bottleneck(x)
    kept = (z != 0).sum(dim=-1)
    assert torch.equal(z, leading(z, kept))
    share = [float((kept == width).float().mean()) for width in range(1, 5)]
    assert share == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], abs=0.03)
    told = torch.tensor([4.5, 5.0, 7.0, 9.0])  # half the squared means, summed up
    assert float(penalty) == pytest.approx(0.5 * float(told[kept - 1].mean()), rel=1e-5)
    assert torch.equal(bottleneck.encode(x), x[:, :4])
    statistics = bottleneck.statistics(x)
    assert statistics["kl_by_width"].tolist() == [4.5, 5.0, 9.0]
    assert float(statistics["kl"]) == pytest.approx(18.5 / 3)


def test_adaptive_samples_are_cut_as_in_training():
    bottleneck = Adaptive(dim=4).build()
    torch.manual_seed(0)
    z = bottleneck.sample(3000)
    assert sorted(set((z != 0).sum(dim=-1).tolist())) == [1, 2, 4]
    assert float(z[:, 0].std()) == pytest.approx(1, abs=0.05)


def test_nats_of_each_transition_and_dimension():
    x = torch.tensor([[2.0, 0.0, 0.0, math.log(0.25)]])
    by_hand = [2.0, 0.5 * (0.25 - 1 - math.log(0.25))]
    for config in (Noisy(dim=2), Adaptive(dim=2)):
        assert config.build().nats(x)[0].tolist() == pytest.approx(by_hand)
    with pytest.raises(WildlamError, match="not counted in nats"):
        Sparse(dim=2).build().nats(x)


@pytest.mark.parametrize("config", [Noisy(dim=2), Adaptive(dim=2)])
def test_a_change_larger_than_any_before_costs_no_fortune(config):
    """The logarithm of its variance may come out at anything."""
    x = torch.tensor([[0.0, 1.0, 60.0, -60.0]], requires_grad=True)
    bottleneck = config.build()
    assert bottleneck.nats(x)[0].tolist() == pytest.approx([2.19, 6.0], abs=0.01)
    z, penalty = bottleneck(x)
    (z.square().sum() + penalty).backward()
    assert x.grad[0, 2:].tolist() == [0, 0]


def test_sparse_energy_by_hand():
    bottleneck = Sparse(dim=4, l1=0.1, l2=1.0).build()
    z = torch.tensor([[0.5, -0.5, 0.0, 0.0], [2.0, 0.0, 0.0, -1.0]])
    # √4 = 2: the first has squared norm 0.5 and falls 1.5 short, the second has 5 and does not.
    torch.testing.assert_close(bottleneck.energy(z), torch.tensor([1.5 + 0.1, 0.3]))


def test_sparse_variance_covariance_and_mean_by_hand():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]) * 0.5
    variance = 4 * 0.25**2 / 3  # each dimension: two values 0.25 above and two below its mean of 0.25
    only = {"variance": 0.0, "covariance": 0.0, "mean": 0.0}
    value = {term: float(Sparse(dim=2, **{**only, term: 1.0}).build().vcm(z)) for term in only}
    assert value["variance"] == pytest.approx(1 - variance**0.5, rel=1e-4)
    assert value["covariance"] == pytest.approx(0.0, abs=1e-7)
    assert value["mean"] == pytest.approx(0.25**2, rel=1e-5)
    aligned = z[:, :1].expand(4, 2)
    together = float(Sparse(dim=2, **{**only, "covariance": 1.0}).build().vcm(aligned))
    assert together == pytest.approx(2 * variance**2 / 2, rel=1e-4)


def test_sparse_variance_term_wakes_a_collapsed_dimension():
    z = torch.zeros(8, 3)
    z[:, 0] = 1e-3 * torch.randn(8)
    z.requires_grad_()
    Sparse(dim=3).build().vcm(z).backward()
    assert z.grad.isfinite().all()
    assert (z.grad[:, 0] != 0).any()


@pytest.mark.parametrize("config", [Noisy(dim=4), Sparse(dim=4)], ids=lambda c: type(c).__name__)
def test_penalties_have_true_gradients(config):
    bottleneck = config.build().double()
    # Away from the kinks of |z| and of the hinges.
    x = torch.tensor([[0.3, -0.2, 0.4, 0.1], [-0.6, 0.5, 0.2, -0.3], [0.7, 0.2, -0.5, 0.6]]).double()
    x = x.repeat(1, bottleneck.in_width // 4).requires_grad_()

    def penalty(value):
        if isinstance(config, Sparse):
            return bottleneck.vcm(value) + bottleneck.energy(value).mean()
        from wildlam.models.bottlenecks.noisy import _kl

        return _kl(*value.chunk(2, dim=-1)).sum(dim=-1).mean()

    torch.autograd.gradcheck(penalty, (x,))


def test_langevin_samples_follow_the_sparse_energy():
    """Far from the hinge the energy is λ|z|: a Laplace density, whose mean |z| is 1 / λ."""
    bottleneck = Sparse(dim=2, l1=2.0, l2=0.0).build()
    torch.manual_seed(0)
    z = bottleneck.sample(4000)
    assert float(z.abs().mean()) == pytest.approx(0.5, rel=0.1)
    assert float(z.mean()) == pytest.approx(0.0, abs=0.05)


def trained_codebook(points, codes, **kwargs):
    bottleneck = Discrete(dim=2, codes=codes, **kwargs).build().train()
    torch.manual_seed(0)
    for _ in range(50):
        bottleneck(points[torch.randint(len(points), (64,))] + 0.01 * torch.randn(64, 2))
    return bottleneck.eval()


def test_codes_find_the_clusters():
    points = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
    bottleneck = trained_codebook(points, codes=8)
    distance = torch.cdist(points, bottleneck.codebook).amin(dim=1)
    assert (distance < 0.05).all()
    statistics = bottleneck.statistics(points.repeat(16, 1))
    assert float(statistics["quantisation_error"]) < 0.01
    assert float(statistics["perplexity"]) == pytest.approx(4.0, rel=1e-3)
    assert float(statistics["codes_used"]) == 4


def test_code_is_the_nearest_gradient_straight_through_and_commitment_pulls():
    bottleneck = Discrete(dim=2, codes=2, commitment=0.25).build().eval()
    bottleneck.codebook.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    x = torch.tensor([[0.9, 0.7]], requires_grad=True)
    z, penalty = bottleneck(x)
    torch.testing.assert_close(z, torch.tensor([[1.0, 1.0]]))
    assert float(penalty.detach()) == pytest.approx(0.25 * (0.1**2 + 0.3**2) / 2, rel=1e-4)
    (3 * z[0, 0]).backward(retain_graph=True)
    torch.testing.assert_close(x.grad, torch.tensor([[3.0, 0.0]]))
    x.grad = None
    penalty.backward()
    torch.testing.assert_close(x.grad, 0.25 * (x - 1).detach())
    assert torch.equal(bottleneck.encode(x), torch.tensor([[1.0, 1.0]]))


def test_unused_codes_start_anew():
    bottleneck = Discrete(dim=2, codes=4, reset_after=128).build().train()
    torch.manual_seed(0)
    bottleneck(torch.randn(64, 2))
    bottleneck.codebook[3] = 1e6
    for _ in range(4):
        bottleneck(torch.randn(64, 2))
    assert bottleneck.codebook[3].abs().max() < 10


def test_samples_are_codes_as_often_as_they_are_used():
    bottleneck = trained_codebook(torch.tensor([[0.0, 0.0], [5.0, 5.0]]), codes=2)
    torch.manual_seed(0)
    drawn = bottleneck.sample(2000)
    assert float((drawn.norm(dim=-1) > 3).float().mean()) == pytest.approx(0.5, abs=0.1)


def test_bounds():
    x = torch.randn(2, 3, 5)
    z, penalty = Unconstrained(dim=5).build()(x)
    assert torch.equal(z, x)
    assert penalty == 0
    z, penalty = Deterministic(dim=5).build()(torch.empty(2, 3, 0))
    assert z.shape == (2, 3, 5)
    assert not z.any()
    assert penalty == 0
    assert not Deterministic(dim=5).build().sample(4).any()
    with pytest.raises(WildlamError, match="no prior"):
        Unconstrained(dim=5).build().sample(1)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Noisy(dim=0),
        lambda: Noisy(beta=-1.0),
        lambda: Adaptive(tolerance=-1.0),
        lambda: Sparse(l1=float("nan")),
        lambda: Discrete(codes=1),
    ],
)
def test_impossible_settings_are_named(bad):
    with pytest.raises(ValueError, match=r"model\.bottleneck\.(dim|beta|tolerance|l1|codes) must be"):
        bad()
