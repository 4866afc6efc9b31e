import numpy as np
import torch

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.clips import LabelledClips
from wildlam.episodes.episode import Episode
from wildlam.planning.protocols.protocol import PlanningProtocol
from wildlam.planning.protocols.recon import plan_divided
from wildlam.planning.references import known_goal, no_move
from wildlam.planning.solvers.base import Prior
from wildlam.workflows.plan import judged


def test_who_knows_where_the_goal_is_follows_a_curve_but_not_a_zigzag():
    curve = np.tile([3.0, 0.0, 5.0], (8, 1))
    zigzag = np.column_stack([curve[:, :2], [40.0, -40.0] * 4])
    actions = np.stack([curve, zigzag])
    poses = np.stack([PLANAR.integrate(np.zeros(3), one) for one in actions])
    episode = Episode("walk", "held_out", np.arange(9) / 4, poses[0], PLANAR, lambda indices, size: None)
    places = [(episode, np.arange(9))] * 2
    clips = LabelledClips(
        torch.zeros(2, 9, 1, 1), torch.tensor(poses), torch.tensor(actions).float(), places, PLANAR, 4.0
    )
    prior = Prior(torch.tensor([[20.0, 0.0, 0.0]]), torch.tensor([[10.0, 5.0, 40.0]]))
    how = PlanningProtocol("recon", 8, 120, 1, prior, plan_divided)
    known, staying = (judged(actions, clips, how).values["rpe"] for actions in (known_goal(clips, how), no_move(clips)))
    assert known[0] < 0.25 * staying[0]
    assert 0.25 * staying[1] < known[1]
