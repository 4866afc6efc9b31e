"""The simulators in place of a world model: they come back to the film's poses, and know where plans lead."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.episodes.action_spaces import ARM
from wildlam.episodes.clips import labelled_clips
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.poses import write_poses
from wildlam.errors import WildlamError
from wildlam.worlds.arm import collect_arm
from wildlam.worlds.pusht_films import collect_pusht
from wildlam.worlds.simulators import SIMULATORS, check_films, chosen_cameras, simulated_costs
from wildlam.worlds.walkers import collect_doom

from ..helpers import printed
from .pond import collect_in_a_pond

pytestmark = pytest.mark.usefixtures("tiny_models")
FEW = {"episodes": 2, "fps": 8.0, "progress": False, "distractors": 1.0}


def clips_of(folder, states):
    encoder = Lite0(dtype="float32").build("cpu")
    clips = labelled_clips(read_episodes(folder), encoder, "held_out", states=states, fps=4, progress=False)
    return clips, lambda pictures: encoder.encode(pictures[:, None])[:, 0]


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")
def test_the_arm_goes_where_the_film_went(tmp_path):
    collect_arm(tmp_path, seconds=4, **FEW)
    clips, encode = clips_of(tmp_path, 4)
    moving = clips.actions[:, :, :3].abs().sum(dim=(1, 2)).argmax()
    with simulated_costs(clips, encode, 128) as costs:
        cost = costs(int(moving))  # which comes to the film's pose, or says that it does not
        true = clips.actions[moving]
        found = cost(torch.stack([true, torch.zeros_like(true), -true])[None])[0]
        assert found[0] < 0.5 * found[1:].min()
        assert torch.equal(cost(true[None, None])[0, 0], found[0])  # a plan leaves nothing behind
    relived = []
    with simulated_costs(clips, encode, 128, lambda states: relived.append(states) or states[:, -1]) as costs:
        assert torch.allclose(costs(int(moving))(true[None, None])[0, 0], found[0])
    here = clips.states[moving].float()
    assert relived[0].shape == (1, *here.shape)
    steps = (relived[0][0, 1:] - relived[0][0, :-1]).flatten(1).norm(dim=-1)
    assert (steps > 0).all()  # it moves from picture to picture


@pytest.mark.skipif(not find_spec("gym_pusht"), reason="needs gym-pusht")
def test_the_disc_goes_where_the_film_went(tmp_path):
    collect_pusht(tmp_path, seconds=4, **FEW | {"fps": 10.0, "distractors": 0.0})
    encoder = Lite0(dtype="float32").build("cpu")
    clips = labelled_clips(read_episodes(tmp_path), encoder, "held_out", states=4, fps=2, progress=False)
    moving = int(clips.actions.abs().sum(dim=(1, 2)).argmax())
    with simulated_costs(clips, lambda pictures: encoder.encode(pictures[:, None])[:, 0], 128) as costs:
        true = clips.actions[moving]
        found = costs(moving)(torch.stack([true, torch.zeros_like(true), -true])[None])[0]
    assert found[0] < 0.5 * found[1:].min()


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("mujoco"), reason="needs MuJoCo")
def test_a_plan_in_the_arms_simulator_looks_through_the_films_camera(tmp_path):
    collect_arm(tmp_path, seconds=4, cameras="many", **FEW | {"distractors": 0.0})
    clips, encode = clips_of(tmp_path, 4)
    episode, frames = clips.places[0]
    with simulated_costs(clips, encode, 128) as costs:
        goal = costs(0).goal.astype(float)
    filmed = episode.frames([int(frames[-1])], 128)[0].permute(1, 2, 0).numpy()
    assert np.abs(goal - filmed).mean() < 6  # but for the film's coding
    clips.places[:] = [(replace(one, camera=None), numbers) for one, numbers in clips.places]
    with simulated_costs(clips, encode, 128) as costs:
        assert np.abs(costs(0).goal - goal).mean() > 12


@pytest.mark.skipif(not find_spec("vizdoom"), reason="needs ViZDoom")
def test_a_walk_goes_where_the_film_went(tmp_path):
    collect_doom(tmp_path, levels=["garden"], seconds=8, **FEW)
    clips, encode = clips_of(tmp_path, 4)
    moving = clips.actions.abs().sum(dim=(1, 2)).argmax()
    with simulated_costs(clips, encode, 128) as costs:
        true = clips.actions[moving]
        found = costs(int(moving))(torch.stack([true, torch.zeros_like(true), -true])[None])[0]
    assert found[0] < 0.3 * found[1:].min()


def test_films_of_elsewhere_are_refused(tmp_path, make_video):
    for name in ("train/a", "test/b"):
        make_video(tmp_path / f"{name}.mp4", frames=50, fps=8)
        write_poses(tmp_path / f"{name}.mp4", np.arange(150.0).reshape(50, 3), fps=8)
    clips, encode = clips_of(tmp_path, 4)
    with pytest.raises(WildlamError, match="no film of `wildlam collect`"):
        check_films(clips)
    with pytest.raises(WildlamError, match="no film of `wildlam collect`"):
        simulated_costs(clips, encode, 128)


def test_other_actions_than_the_simulator_plans_in_are_named(tmp_path, make_video):
    for name in ("train/garden_0_0", "held_out/garden_1_0"):
        make_video(tmp_path / f"{name}.mp4", frames=50, fps=8)
        write_poses(tmp_path / f"{name}.mp4", np.arange(150.0).reshape(50, 3), fps=8)
    clips, _ = clips_of(tmp_path, 4)
    check_films(clips)
    with pytest.raises(WildlamError, match="plans in planar actions, the clips hold arm actions; give a controller of"):
        check_films(replace(clips, space=ARM))


def test_cameras_are_chosen_where_there_are_several():
    assert chosen_cameras("arm", None) == {"cameras": "fixed"}
    assert chosen_cameras("arm", "many") == {"cameras": "many"}
    assert chosen_cameras("nav", None) == chosen_cameras("movers", None) == {}
    for world in ("nav", "movers"):
        with pytest.raises(WildlamError, match=f"^cameras is for arm, not for {world}"):
            chosen_cameras(world, "many")
    with pytest.raises(WildlamError, match=r"^cameras must be fixed or many, got two"):
        chosen_cameras("arm", "two")


def test_a_simulator_is_one_file(tmp_path):
    """A file more in the folder, and the commands take its world; nothing of a simulator is imported before use."""
    (tmp_path / "pond.py").write_text(
        "from dataclasses import replace\n"
        "from wildlam.worlds.simulators.nav import SIMULATOR as NAV\n"
        "SIMULATOR = replace(NAV, name='pond', film=lambda out, *, episodes, **_: [out] * episodes)\n"
    )
    assert "3 films" in printed(tmp_path, collect_in_a_pond, tmp_path)[0]
    assert list(SIMULATORS) == ["arm", "nav", "pusht"]
