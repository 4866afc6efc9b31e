"""Plans from a picture to another: by wildlam-tiny, whose controller is real."""

import pytest
import torch

from wildlam.episodes.clips import encode_frames
from wildlam.errors import WildlamError
from wildlam.pretrained import FILMS, TINY
from wildlam.video.decode import decode_at
from wildlam.workflows import goal_plan
from wildlam.workflows.controller import load_controller
from wildlam.workflows.goal_plan import plan_to_goal
from wildlam.workflows.trained import load


@pytest.fixture(scope="module")
def trained():
    return load("tiny")


def states(trained, world, times):
    film = next((FILMS / world / "held_out").glob("*.mp4"))
    return encode_frames(trained.encoder, decode_at(film, times, trained.encoder.spec.image_size)[None])[0].float()


@pytest.mark.parametrize(("world", "steps"), [("arm", 3), ("nav", 4)])
def test_a_plan_comes_nearer_than_staying(trained, world, steps, monkeypatch):
    monkeypatch.setattr(goal_plan, "SAMPLES", 32)
    monkeypatch.setattr(goal_plan, "ITERATIONS", 2)
    controller, space = load_controller(TINY / f"controller_{world}", trained.encoder, trained.model)
    start, goal = states(trained, world, [2.0, 2.0 + steps / 4])
    counted = []
    found = plan_to_goal(trained, controller, space, start[None], goal, steps, count=counted.append)
    assert found.actions.shape == (steps, len(space.action_names))
    assert found.states.shape == (steps + 1, *start.shape)
    assert torch.equal(found.states[0], start)
    assert sum(counted) == pytest.approx(1)
    with torch.no_grad():
        stays = trained.model.drive(start[None, None], torch.zeros(1, *found.actions.shape), controller.act)[0, -1]
    assert found.distances[-1] < (stays - goal).norm()
    if world == "nav":  # one motion, in equal steps
        torch.testing.assert_close(found.actions, found.actions[:1].expand(steps, -1))
    again = plan_to_goal(trained, controller, space, start[None], goal, steps)
    assert torch.equal(again.actions, found.actions)


def test_what_cannot_be_planned_is_refused(trained):
    controller, space = load_controller(TINY / "controller_arm", trained.encoder, trained.model)
    start, goal = states(trained, "arm", [2.0, 2.5])
    for steps in (0, 17):
        with pytest.raises(ValueError, match="steps must be"):
            plan_to_goal(trained, controller, space, start[None], goal, steps)
    with pytest.raises(WildlamError, match="not finite"):
        plan_to_goal(trained, controller, space, start[None], goal * float("nan"), 2)
