"""The learnt world behind gymnasium's API: it keeps its contract, and what happens is what the model predicts."""

import re
import shutil
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import InvalidAction, ResetNeeded
from gymnasium.utils.env_checker import check_env
from PIL import Image

import wildlam
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Discrete, Noisy
from wildlam.pretrained import TINY
from wildlam.workflows.environment import ID, LATENT_REACH, WorldModelEnv

from ..helpers import make_run


@pytest.fixture(scope="module")
def film(make_video, tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", frames=96)


@pytest.fixture(scope="module")
def env(film):
    """wildlam-tiny's world, seen as pictures."""
    return gymnasium.make(ID, run="tiny", videos=film, render_mode="rgb_array", horizon=4)


@pytest.fixture
def run(videos, tmp_path):
    def make(bottleneck):
        model = ModelConfig(size="nano", bottleneck=bottleneck)
        return make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"), model)

    return make


def checked(env):
    """Gymnasium's own check, of which only advice may be left."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        for advice in ("A Box observation space", "For Box action spaces", "Not able to test alternative render modes"):
            warnings.filterwarnings("ignore", message=f".*{advice}")
        check_env(env)


def test_it_passes_gymnasiums_check_and_a_random_agent_runs_in_it(env):
    checked(env.unwrapped)
    env.action_space.seed(0)
    seen, _ = env.reset(seed=0)
    steps, over = 0, False
    while not over:
        following, reward, terminated, over, _ = env.step(env.action_space.sample())
        steps += 1
        assert not terminated
        assert reward == 0
        assert not np.array_equal(following, seen)
        assert np.array_equal(env.render(), following)
        seen = following
    assert steps == 4


def test_the_documented_way_works(film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("films").mkdir()
    shutil.copy(film, "films")
    page = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text()
    (snippet,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "gymnasium" in one]
    names = {}
    exec(snippet, names)
    assert names["truncated"]
    assert names["env"].unwrapped.steps == 32


def test_states_and_codes_pass_too(run):
    world = WorldModelEnv(run(Discrete(dim=4, codes=8)))
    assert world.action_space == gymnasium.spaces.Discrete(8)
    assert world.observation_space.shape == world.model.state_shape
    checked(world)
    assert world.render() is None


def test_what_happens_is_what_the_model_predicts(run):
    world = WorldModelEnv(run(Noisy(dim=4)), context=3)
    for parameter in world.model.parameters():  # untrained, it predicts that nothing changes
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    start, _ = world.reset(seed=1)
    actions = [np.full(4, value, np.float32) for value in (-1, 0, 0.5, 1, 1)]
    seen = [torch.from_numpy(start)] + [torch.from_numpy(world.step(action)[0]) for action in actions]
    z = torch.stack([world.mean + LATENT_REACH * world.std * torch.from_numpy(action) for action in actions])
    torch.testing.assert_close(torch.stack(seen[1:3]), world.model.rollout(seen[0][None, None], z[None, :2])[0])
    last = world.model.predict(torch.stack(seen[2:5])[None], z[None, 2:])[0, -1]  # of three states alone
    torch.testing.assert_close(seen[5], last)


def test_real_actions_go_through_a_controller(film):
    world = WorldModelEnv("tiny", film, actions="real", controller=TINY / "controller_nav", observation="state")
    assert world.action_space.shape == (3,)
    assert world.actions.action_names == ("forward", "left", "turn")
    start, _ = world.reset(options={"time": 1.0})
    action = world.action_space.high
    after = world.step(action)[0]
    state = torch.from_numpy(start)[None].to(world.encoder.device)
    z = world.controller.act(torch.from_numpy(action)[None].to(state.device), state)
    torch.testing.assert_close(torch.from_numpy(after), world.model.predict(state[None], z[None])[0, -1].cpu())


def test_a_start_can_be_chosen_and_a_goal_is_rewarded(run, videos, read_number, tmp_path):
    world = WorldModelEnv(run(Noisy(dim=4)), videos)
    assert len(world.videos) == 6
    _, info = world.reset(options={"video": "b2", "time": 1.5})
    assert info["video"].endswith("b2.mp4")
    assert info["time"] == 1.5
    (frame,) = world._frames(world._video("b2"), 1.5)
    assert read_number(frame) == 36
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(tmp_path / "goal.png")
    for goal in (tmp_path / "goal.png", frame.permute(1, 2, 0).numpy()):
        world.reset(options={"video": "b2", "time": 1.5, "goal": goal})
        assert world.step(np.zeros(4))[1] == pytest.approx(0, abs=1e-5)  # untrained, nothing changes
    world.reset(options={"video": "b2", "time": 0.0, "goal": frame.permute(1, 2, 0).numpy()})
    assert world.step(np.zeros(4))[1] < -0.1
    same = [world.reset(seed=5)[1] for _ in range(2)]
    assert same[0] == same[1] != world.reset()[1]


def test_what_can_be_mended_is_said(run, film, tmp_path, monkeypatch):
    path = run(Noisy(dim=4))
    with pytest.raises(WildlamError, match="has no decoder to paint pictures with"):
        WorldModelEnv(path, observation="frame")
    with pytest.raises(WildlamError, match="has no controller"):
        WorldModelEnv(path, actions="real")
    assert {video.parent.parent.name for video in WorldModelEnv("tiny").videos} >= {"arm", "nav"}  # comes with them
    with pytest.raises(WildlamError, match="no videos there to begin in; give videos="):
        WorldModelEnv("tiny", tmp_path / "none")
    with pytest.raises(WildlamError, match="tiny has controller_arm, controller_nav; give one of these folders as"):
        WorldModelEnv("tiny", film, actions="real")
    with pytest.raises(ValueError, match="actions must be latent or real, got 'none'"):
        WorldModelEnv(path, actions="none")
    with pytest.raises(ValueError, match="horizon must be at least 1"):
        WorldModelEnv(path, horizon=0)
    world = WorldModelEnv(path, film)
    for options, said in (
        ({"video": "none"}, "no video is called none; there are 1, such as"),
        ({"time": 100.0}, r"time must be 0 to 3.9\d seconds"),
        ({"start": 1}, "options start are unknown"),
        ({"goal": tmp_path / "none.png"}, "is no picture that can be read"),
    ):
        with pytest.raises(WildlamError, match=said):
            world.reset(options=options)


def test_a_step_needs_an_episode_that_goes_on(run, film):
    world = WorldModelEnv(run(Noisy(dim=4)), film, horizon=2)
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        world.step(np.zeros(4))
    world.reset()
    assert [world.step(np.zeros(4))[3] for _ in range(2)] == [False, True]
    with pytest.raises(ResetNeeded, match=r"truncated after 2 steps; call reset\(\) to begin another"):
        world.step(np.zeros(4))
    world.reset()
    assert not world.step(np.zeros(4))[3]


def test_actions_beyond_the_bounds_are_clipped_and_others_refused(run, film):
    world = WorldModelEnv(run(Noisy(dim=4)), film)
    world.reset(seed=0)
    for wrong, said in (
        (np.zeros(3), r"an action is 4 finite numbers, got shape \[3\]"),
        (np.zeros((1, 4)), r"got shape \[1, 4\]"),
        ([0, np.nan, np.inf, 0], "got 2 that are not finite"),
        ("forward", "an action is 4 finite numbers, got 'forward'"),
        (None, "an action is 4 finite numbers, got"),
        ([[0], [0, 0]], "an action is 4 finite numbers, got"),
    ):
        with pytest.raises(InvalidAction, match=said):
            world.step(wrong)
    assert world.steps == 0
    for action in ([3.0, -1e9, 0.5, 0.0], [1.0, -1.0, 0.5, 0.0]):
        world.step(action)
    taken = world.taken[0, -2:]
    torch.testing.assert_close(taken[0], taken[1])
    torch.testing.assert_close(taken[0], world.mean + LATENT_REACH * world.std * torch.tensor([1.0, -1.0, 0.5, 0.0]))


def test_a_code_that_there_is_not_is_refused(run, film):
    world = WorldModelEnv(run(Discrete(dim=4, codes=8)), film)
    world.reset(seed=0)
    world.step(7)
    for wrong in (8, -1, 0.5, np.nan, None):
        with pytest.raises(InvalidAction, match="an action is the number of a code, 0 to 7"):
            world.step(wrong)


def test_without_gymnasium_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "wildlam.workflows.environment")
    monkeypatch.delitem(vars(wildlam), "WorldModelEnv", raising=False)
    with pytest.raises(WildlamError, match=r"pip install 'wildlam\[gym\]'"):
        _ = wildlam.WorldModelEnv
