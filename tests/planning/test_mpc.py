"""Model-predictive control, in a world small enough to know: a point on a line, its state its place."""

import numpy as np
import pytest
import torch

from wildlam.planning.cost import GuidedCost
from wildlam.planning.mpc import LatentReplanner, Replanner, follow
from wildlam.planning.solvers.base import Prior


class Line:
    """A point that moves by its action; its picture is as bright as it is far to the right. Ends beyond 100."""

    def reset(self, *, seed):
        self.place = float(seed)
        return self.frame, {"pose": self.pose}

    def step(self, action):
        self.place += float(action[0])
        return self.frame, 0.0, self.place > 100, False, {"pose": self.pose}

    @property
    def pose(self):
        return np.array([self.place])

    @property
    def frame(self):
        return np.full((2, 2, 3), np.clip(round(self.place), 0, 255), np.uint8)


def starts(*places):
    return [{"seed": place} for place in places]


def encode(video):
    return video.float().mean(dim=(2, 3, 4))[:, :, None, None]  # [B, T, 1, 1]


def moved(poses):
    return np.diff(poses, axis=0)


class Exact:
    """Knows how the line works, and remembers how it was asked."""

    bytes_per_state = 1

    def __init__(self):
        self.asked = []

    def rollout(self, context, past, actions):
        self.asked.append((context.shape[1], past.shape[1]))
        places = context[:, :, 0, 0]
        assert torch.allclose(places[:, 1:] - places[:, :-1], past[..., 0], atol=1)  # pictures are rounded
        return (context[:, -1, 0, 0][:, None, None] + actions[..., 0].cumsum(dim=2))[..., None, None]


@pytest.fixture
def prior():
    return Prior(torch.zeros(3, 1), torch.full((3, 1), 4.0), torch.tensor([-5.0]), torch.tensor([5.0]))


def test_a_good_model_reaches_the_goal_and_stays(prior):
    dynamics = Exact()
    policy = Replanner(dynamics, encode, torch.tensor([[[40.0]], [[12.0]]]), prior, moved, bf16=False)
    right, left = follow([Line(), Line()], starts(20, 30), policy, 10)
    assert right.poses[-1] == pytest.approx(40, abs=3)  # only the end of a plan counts
    assert left.poses[-1] == pytest.approx(12, abs=3)  # only the end of a plan counts
    assert right.frames.shape == (11, 2, 2, 3)
    assert right.actions.shape == (10, 1)
    assert np.abs(right.actions).max() <= 5  # the prior's bounds
    assert np.allclose(right.poses[0] + right.actions.sum(axis=0), right.poses[-1])


def test_a_plan_knows_the_last_frames_and_what_was_done_between_them(prior):
    dynamics = Exact()
    policy = Replanner(dynamics, encode, torch.tensor([[[40.0]]]), prior, moved, bf16=False)
    follow([Line()], starts(20), policy, 6)
    assert set(dynamics.asked) == {(1, 0), (2, 1), (3, 2), (4, 3)}


def test_what_was_really_done_is_told_and_not_what_was_asked_for(prior):
    class Stuck(Line):
        def step(self, action):
            return super().step(action if self.place < 25 else action * 0)

    policy = Replanner(Exact(), encode, torch.tensor([[[40.0]]]), prior, moved, bf16=False)
    (trace,) = follow([Stuck()], starts(20), policy, 8)  # which is asserted at every step
    assert trace.poses[-1] == trace.poses[-2] < 31
    assert trace.actions[-1] != 0


def test_commands_are_told_as_they_were_given(prior):
    class Slow(Line):
        def step(self, action):
            return super().step(action / 2)

    class Told(Exact):
        def rollout(self, context, past, actions):
            pasts.append(past[0, :, 0].tolist())
            return super().rollout(context, past / 2, actions / 2)

    pasts = []
    policy = Replanner(Told(), encode, torch.tensor([[[40.0]]]), prior, None, bf16=False)
    (trace,) = follow([Slow()], starts(20), policy, 7)
    told = trace.actions[:, 0]
    assert {len(past) for past in pasts} == {0, 1, 2, 3}
    assert pasts[-1] == pytest.approx(told[3:6])  # all but the last, which is what is asked for now
    assert trace.poses[-1] == pytest.approx(40, abs=3)


def test_the_same_seed_acts_the_same(prior):
    ways = []
    for seed in (0, 0, 1):
        policy = Replanner(Exact(), encode, torch.tensor([[[40.0]]]), prior, moved, seed=seed, bf16=False)
        ways.append(follow([Line()], starts(20), policy, 4)[0].actions)
    assert np.array_equal(ways[0], ways[1])
    assert not np.array_equal(ways[0], ways[2])


def test_a_world_that_ends_stays_where_it_ended():
    ended, going = follow([Line(), Line()], starts(98, 0), lambda frames, *_: np.ones((len(frames[0]), 1)), 5)
    assert ended.poses[:, 0].tolist() == [98, 99, 100, 100, 100, 100]
    assert going.poses[-1] == 5


def test_what_is_planned_in_a_base_space_is_decoded_for_now(prior):
    class Tenfold(Exact):
        """A point of the base space leads ten times as far as it is from zero."""

        def rollout(self, context, past, actions):
            return (context[:, -1, 0, 0][:, None, None] + 10 * actions[..., 0].cumsum(dim=2))[..., None, None]

        def surprise(self, context, actions, predicted):
            return 0.5 * actions.square().sum(dim=(2, 3))

        def latents(self, context, actions):
            return 10 * actions, context[:, -1:].expand(-1, actions.shape[1], -1, -1)

    base, seen = Prior(torch.zeros(3, 1), torch.ones(3, 1)), []

    def decode(z, states):
        seen.append(states.flatten().tolist())
        return z.clamp(-5, 5)

    goals = torch.tensor([[[40.0]]])
    settings = {"encode": encode, "goals": goals, "prior": base, "between": moved, "bf16": False, "unlikely": 1e-4}
    policy = LatentReplanner(dynamics=Tenfold(), decode=decode, **settings)
    (trace,) = follow([Line()], starts(20), policy, 10)
    assert trace.poses[-1] == pytest.approx(40, abs=3)
    assert np.abs(trace.actions).max() <= 5
    assert seen[0] == [20]
    assert seen[-1] == pytest.approx(trace.poses[-2], abs=0.5)  # the state that it is done in


def test_a_search_begins_about_what_is_proposed(prior):
    asked = []

    def propose(states, done):
        asked.append((states[:, 0, 0].tolist(), done))
        return torch.full((1, 3, 1), 9.0)  # more than is allowed

    policy = Replanner(Exact(), encode, torch.tensor([[[100.0]]]), prior, moved, bf16=False, propose=propose)
    (trace,) = follow([Line()], starts(20), policy, 3)
    assert [done for _, done in asked] == [0, 1, 2]
    assert asked[0][0] == [20]
    assert trace.actions.min() > 3  # at once: a free search begins about 0


def test_a_guide_is_told_how_far_a_plan_is_and_is_heeded(prior):
    asked = []

    def guide(cost, acted, horizon):
        asked.append((acted, horizon))
        back = torch.tensor([[-9.0]])
        return GuidedCost(**vars(cost), guess=back, std=torch.ones(1), price=100.0)

    goal = torch.tensor([[[100.0]]])
    policy = Replanner(Exact(), encode, goal, prior, moved, bf16=False, arrive=3, guide=guide)
    (trace,) = follow([Line()], starts(60), policy, 4)
    assert asked == [(0, 3), (1, 2), (2, 1), (3, 1)]
    assert trace.poses[1, 0] < 60  # away from the goal, as it is said


def test_plans_shorten_to_arrive_in_time(prior):
    dynamics = Exact()
    policy = Replanner(dynamics, encode, torch.tensor([[[40.0]]]), prior, moved, bf16=False, arrive=3)
    lengths = []
    rollout = dynamics.rollout
    dynamics.rollout = lambda context, past, actions: (
        lengths.append(actions.shape[2]) or rollout(context, past, actions)
    )
    (trace,) = follow([Line()], starts(30), policy, 6)
    assert list(dict.fromkeys(lengths)) == [3, 2, 1]
    assert lengths[-1] == 1
    assert abs(trace.poses[3, 0] - 40) < 2  # in the third step, and then it stays
    assert np.abs(trace.poses[4:, 0] - 40).max() < 2


def test_an_end_at_the_goal_is_where_one_came_to():
    class Reached(Line):
        def step(self, action):
            frame, reward, ended, truncated, info = super().step(action)
            return frame, reward, ended, truncated, info | {"is_success": ended}

    (trace,) = follow([Reached()], starts(98), lambda frames, *_: np.ones((len(frames[0]), 1)), 5)
    assert trace.poses[:, 0].tolist() == [98, 99, 100, 101, 101, 101]
