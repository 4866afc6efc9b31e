"""Every solver finds a known minimum, within bounds, the same for the same seed, an episode apart from the others."""

from functools import partial

import pytest
import torch

from wildlam.planning.solvers.base import Prior, mixing_of
from wildlam.planning.solvers.cem import cem
from wildlam.planning.solvers.icem import coloured_noise, icem
from wildlam.planning.solvers.mppi import mppi

GOALS = torch.tensor([[[0.5, -0.2], [0.1, 0.3]], [[-0.6, 0.4], [0.0, -0.3]], [[0.0, 0.0], [0.9, 0.9]]])
PRIOR = Prior(torch.zeros(2, 2), torch.ones(2, 2), torch.full((2,), -1.0), torch.full((2,), 1.0))
SOLVERS = [pytest.param(solve, id=solve.__name__) for solve in (cem, icem, mppi)]


def cost(candidates):
    return (candidates - GOALS[: len(candidates), None]).square().sum(dim=(2, 3))


@pytest.mark.parametrize("solve", SOLVERS)
def test_the_minimum_is_found(solve):
    plan = solve(cost, PRIOR, batch=3, generator=torch.Generator().manual_seed(0))
    assert plan.actions.shape == (3, 2, 2)
    # Path integrals keep their noise; the others narrow it down.
    torch.testing.assert_close(plan.actions, GOALS, atol=0.25 if solve is mppi else 0.08, rtol=0)
    torch.testing.assert_close(plan.cost, cost(plan.actions[:, None])[:, 0])
    assert (plan.history[-1] < plan.history[0]).all()


@pytest.mark.parametrize("solve", SOLVERS)
def test_bounds_hold(solve):
    beyond = partial(lambda candidates: (candidates - 3).square().sum(dim=(2, 3)))
    plan = solve(beyond, PRIOR, batch=2, generator=torch.Generator().manual_seed(0))
    assert (plan.actions <= 1).all()
    assert (plan.actions > 0.5).all()


@pytest.mark.parametrize("solve", SOLVERS)
def test_seeded(solve):
    plans = [solve(cost, PRIOR, batch=2, generator=torch.Generator().manual_seed(s)).actions for s in (0, 0, 1)]
    assert torch.equal(plans[0], plans[1])
    assert not torch.equal(plans[0], plans[2])


@pytest.mark.parametrize("solve", SOLVERS)
def test_a_warm_start_starts_there(solve):
    near = Prior(GOALS, torch.full((2, 2), 0.01))
    plan = solve(cost, near, batch=3, iterations=1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plan.actions, GOALS, atol=0.05, rtol=0)


@pytest.mark.parametrize("solve", SOLVERS)
def test_one_candidate_is_the_plan(solve):
    plan = solve(cost, PRIOR, batch=2, samples=1, iterations=1, generator=torch.Generator().manual_seed(0))
    assert plan.cost.isfinite().all()


def test_coloured_noise_is_smooth_and_of_unit_variance():
    generator = torch.Generator().manual_seed(0)
    white, red = (coloured_noise((4000, 8, 2), colour, generator) for colour in (0.0, 2.0))
    for noise in (white, red):
        torch.testing.assert_close(noise.var(), torch.tensor(1.0), atol=0.03, rtol=0)
    assert white.diff(dim=1).square().mean() > 2 * red.diff(dim=1).square().mean()


def commanded(seed, count=400):
    """Steps of ten commands in which a joint hardly changes, and one that never moves."""
    rng = torch.Generator().manual_seed(seed)
    where = torch.randn(count, 1, 2, generator=rng) * torch.tensor([1.0, 3.0]) + 0.05 * torch.randn(
        count, 10, 2, generator=rng
    )
    return torch.cat([where, torch.full((count, 10, 1), 2.0)], dim=-1).flatten(1)


def test_what_varied_together_is_drawn_together():
    actions = commanded(0)
    prior = Prior(actions.mean(dim=0)[None], actions.std(dim=0)[None], mixing=mixing_of(actions))
    noise = torch.randn(1, 4000, 1, 30, generator=torch.Generator().manual_seed(0))
    drawn = prior.around(*prior.per_episode(1), noise)[0, :, 0]
    torch.testing.assert_close(drawn.std(dim=0), actions.std(dim=0), atol=0.1, rtol=0.1)
    assert (drawn[:, 2::3] == 2).all()
    moving = [k for k in range(30) if k % 3 < 2]
    torch.testing.assert_close(
        torch.corrcoef(drawn[:, moving].T), torch.corrcoef(actions[:, moving].T), atol=0.1, rtol=0
    )


@pytest.mark.parametrize("solve", SOLVERS)
def test_long_blocks_are_found_where_they_are_drawn_together(solve):
    """With as few candidates."""
    actions, goals = commanded(0), commanded(1, 8)[:, None]
    together = Prior(actions.mean(dim=0)[None], actions.std(dim=0)[None], mixing=mixing_of(actions))
    found = [
        solve(
            lambda candidates: (candidates - goals[:, None]).square().sum(dim=(2, 3)),
            prior,
            batch=8,
            samples=32,
            iterations=3,
            generator=torch.Generator().manual_seed(0),
        ).cost.mean()
        for prior in (together, Prior(together.mean, together.std))
    ]
    assert found[0] < 0.3 * found[1]
