import numpy as np
import pytest
import torch

from wildlam.episodes.action_spaces import PLANAR
from wildlam.planning.protocols.recon import divided, plan_divided
from wildlam.planning.solvers.base import Prior
from wildlam.planning.trajectory_errors import trajectory_errors


def test_an_action_is_divided_into_equal_steps():
    actions = divided(torch.tensor([[[8.0, -4.0, 0.0], [8.0, 0.0, 360.0]]]))
    assert actions.shape == (1, 2, 8, 3)
    line, circle = (PLANAR.integrate(np.array([1.0, 2.0, 0.0]), a.double().numpy()) for a in actions[0])
    np.testing.assert_allclose(line[-1], [9, -2, 0])
    np.testing.assert_allclose(circle[-1], [1, 2, 360], atol=1e-6)


def test_the_plan_is_the_mean_of_the_best():
    goal = divided(torch.tensor([[[5.0, 1.0, 10.0]], [[-3.0, 0.0, 0.0]]]))

    def cost(candidates):
        return (candidates - goal).square().sum(dim=(2, 3))

    prior = Prior(torch.zeros(1, 3), torch.full((1, 3), 5.0))
    plan = plan_divided(cost, prior, batch=2, samples=4000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plan.actions, goal[:, 0], atol=0.8, rtol=0)
    torch.testing.assert_close(plan.cost, cost(plan.actions[:, None])[:, 0])


def test_trajectory_errors_have_known_answers():
    pytest.importorskip("evo")
    true = np.column_stack([np.arange(5.0), np.zeros(5), np.zeros(5)])
    assert trajectory_errors(true, true) == pytest.approx({"ate": 0, "rpe": 0})
    still = np.zeros((5, 3))
    assert trajectory_errors(still, true) == pytest.approx({"ate": (30 / 5) ** 0.5, "rpe": 1})
    turned = np.column_stack([np.zeros(5), np.arange(5.0), np.full(5, 90.0)])
    # The same steps, each seen from its own pose.
    assert trajectory_errors(turned, true) == pytest.approx({"ate": (2 * 30 / 5) ** 0.5, "rpe": 0}, abs=1e-6)


def test_drawn_again_about_the_best_the_plan_comes_nearer():
    goal = torch.tensor([3.0, -1.0, 20.0])
    prior = Prior(torch.zeros(1, 3), torch.tensor([[5.0, 5.0, 40.0]]))

    def cost(candidates):
        return (candidates.sum(dim=2) - goal).norm(dim=-1)

    once, often = (
        plan_divided(cost, prior, batch=4, iterations=n, generator=torch.Generator().manual_seed(0)) for n in (1, 5)
    )
    assert often.history.shape == (5, 4)
    assert (often.cost < 0.5 * once.cost).all()
    assert torch.allclose(often.actions, often.actions[:, :1].expand_as(often.actions))
