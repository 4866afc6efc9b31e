"""LeRobot data of any robot: actions of every kind, names in every form, several cameras, pictures in tables."""

import json
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wildlam.encoders import Lite0
from wildlam.episodes.clips import labelled_clips
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.formats.lerobot import names_of
from wildlam.episodes.vectors import Changes, Commands, Reading, facts_of, space_of
from wildlam.errors import WildlamError

from ...aloha import JOINTS, STEPS, motion, write_aloha


@pytest.fixture
def aloha(tmp_path, make_video):
    return partial(write_aloha, tmp_path, make_video)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_recorded_commands_are_read_as_blocks(aloha, kind):
    names = {"motors": [f"joint_{k}" for k in range(JOINTS)]}
    episodes = read_episodes(aloha(kind, names))
    assert [episode.name for episode in episodes] == ["episode_000000", "episode_000001", "episode_000003"]
    space = episodes[0].space_at(4)
    assert space == Commands.of(names["motors"], "concatenated", names["motors"], 5)
    assert space.action_names[:2] == ("joint_0 1/5", "joint_1 1/5")
    assert len(space.action_names) == 5 * JOINTS
    encoder = Lite0(image_size=64, dtype="float32").build("cpu")
    clips = labelled_clips(episodes, encoder, "train", states=8, fps=4, progress=False)
    assert clips.space == space
    episode, frames = clips.places[0]
    commands, states = motion(int(episode.name[-1]))
    wanted = np.stack([commands[a:b].reshape(-1) for a, b in pairwise(frames)])
    np.testing.assert_allclose(clips.actions[0], wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(clips.poses[0], states[frames], rtol=1e-4, atol=1e-4)


def test_summed_commands_and_changes_of_states(aloha):
    folder = aloha()
    (episode, *_) = read_episodes(folder, reading=Reading(block="summed"))
    commands, states = motion(0)
    frames = np.arange(0, STEPS, 5)
    assert episode.space_at(4).zero_stays
    assert len(episode.space_at(4).action_names) == JOINTS
    np.testing.assert_allclose(
        episode.actions(frames), [commands[a:b].sum(axis=0) for a, b in pairwise(frames)], rtol=1e-4, atol=1e-4
    )
    (episode, *_) = read_episodes(folder, reading=Reading(actions="states"))
    assert episode.space == Changes.of([f"state {k}" for k in range(JOINTS)])
    found = episode.actions(frames)
    np.testing.assert_allclose(found, np.diff(states[frames], axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        episode.space.integrate(episode.poses[0], found), episode.poses[frames], rtol=1e-4, atol=1e-4
    )


def test_a_camera_is_chosen_and_all_are_listed(aloha):
    folder = aloha()
    assert "cam_high" in str(read_episodes(folder)[0].file)
    assert "cam_left_wrist" in str(read_episodes(folder, reading=Reading(camera="cam_left_wrist"))[0].file)
    with pytest.raises(WildlamError, match=r"has no camera cam_low; there are .*cam_high, .*cam_left_wrist"):
        read_episodes(folder, reading=Reading(camera="cam_low"))


def test_what_is_not_recorded_is_told(aloha):
    folder = aloha()
    with pytest.raises(WildlamError, match="records no poses of an arm or on the ground; actions can be recorded"):
        read_episodes(folder, reading=Reading(actions="poses"))
    with pytest.raises(ValueError, match="actions must be poses, recorded or states, got 'joints'"):
        Reading(actions="joints")


def test_pictures_in_tables(aloha):
    episode = read_episodes(aloha("image"))[2]
    assert [int(frame.float().mean()) for frame in episode.frames([3, 9], 32)] == [15, 45]
    table = pq.read_table(episode.file).to_pylist()
    table[3]["observation.images.cam_high"] = {"bytes": b"no picture", "path": None}
    pq.write_table(pa.Table.from_pylist(table), episode.file)
    with pytest.raises(WildlamError, match=r"cam_high of frame 3 of episode 3: not a picture"):
        episode.frames([3], 32)
    pq.write_table(pa.Table.from_pylist(table).drop_columns("observation.images.cam_high"), episode.file)
    with pytest.raises(WildlamError, match=r"has no column observation\.images\.cam_high, which meta/info\.json names"):
        episode.frames([3], 32)


def test_a_command_that_is_no_number_is_named(aloha):
    file = next(aloha().glob("data/*/*000001.parquet"))
    rows = pq.read_table(file).to_pylist()
    rows[7]["action"][2] = float("nan")
    pq.write_table(pa.Table.from_pylist(rows), file)
    with pytest.raises(WildlamError, match="episode_000001: numbers must be finite; action 2 of frame 7 is nan"):
        read_episodes(file.parents[2])


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ([[0.0] * JOINTS] * 7 + [None] + [[0.0] * JOINTS] * (STEPS - 8), "each frame; that of frame 7 is None; mend"),
        ([[0.0] * JOINTS] * (STEPS - 1) + [[0.0, 1.0]], r"each frame; that of frame 39 is \[0\.0, 1\.0\]; mend"),
        (["left"] * STEPS, "each frame; could not convert string to float: 'left'; mend"),
        ([[0.0] * 6] * STEPS, "has 6 numbers a frame, in meta/info.json it has 14; correct that"),
    ],
)
def test_commands_of_another_length_are_named(aloha, actions, said):
    file = next(aloha("image").glob("data/*/*000001.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.drop_columns("action").append_column("action", pa.array(actions)), file)
    with pytest.raises(WildlamError, match=f"episode_000001: action .*{said}"):
        read_episodes(file.parents[2])


def test_v2_0_is_read_and_older_ones_are_told(aloha):
    """v2.0 differs from v2.1 in its statistics."""
    folder = aloha("image")
    file = folder / "meta/info.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps(info | {"codebase_version": "v2.0"}))
    assert len(read_episodes(folder)) == 3
    file.write_text(json.dumps(info | {"codebase_version": "v1.6"}))
    with pytest.raises(WildlamError, match=r"info\.json: format 'v1\.6'; v2\.0, v2\.1, v3\.0 can be read: convert it"):
        read_episodes(folder)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        ([["a", "b"], ["c"]], ["a", "b", "c"]),
        ({"motors": ["a", "b", "c"]}, ["a", "b", "c"]),
        ({"left": ["a"], "right": ["b", "c"]}, ["a", "b", "c"]),
        ({"c": 2, "a": 0, "b": 1}, ["a", "b", "c"]),
        (None, ["action 0", "action 1", "action 2"]),
        (["a", "b"], ["action 0", "action 1", "action 2"]),  # not as many as there are
        (["a", "a", "b"], ["action 0", "action 1", "action 2"]),
    ],
)
def test_names_come_in_every_form(names, found):
    assert names_of({"shape": [3], "names": names}, "set: action") == found


def test_components_of_several_features_are_told_apart_and_orientations_found(aloha):
    folder, features = aloha(), {"eef_pos": ["x", "y", "z"], "eef_quat": ["x", "y", "z", "w"], "gripper": ["opening"]}
    rng, info = np.random.default_rng(0), json.loads((folder / "meta" / "info.json").read_text())
    del info["features"]["observation.state"]
    for feature, names in features.items():
        info["features"][f"observation.state.{feature}"] = {"dtype": "float32", "shape": [len(names)], "names": names}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    for file in folder.glob("data/*/*.parquet"):
        table = pq.read_table(file).drop_columns("observation.state")
        for feature, names in features.items():
            values = rng.normal(size=(len(table), len(names)))
            values /= np.linalg.norm(values, axis=1, keepdims=True) if feature == "eef_quat" else 1
            table = table.append_column(f"observation.state.{feature}", [values.tolist()])
        pq.write_table(table, file)
    (episode, *_) = read_episodes(folder, reading=Reading(actions="states"))
    turns = (f"d {feature} {axis}" for feature in ("eef_pos", "eef_quat") for axis in "xyz")
    assert episode.space.action_names == (*turns, "d opening")
    assert episode.actions(np.arange(0, STEPS, 5)).shape == (STEPS // 5 - 1, 7)


@pytest.mark.parametrize("space", [Changes.of(["x", "y"], ["y"], 360.0), Commands.of(["x"], "summed", ["s"], 3)])
def test_a_space_outlives_a_file(space):
    assert space_of(json.loads(json.dumps(facts_of(space)))) == space
    told = Reading(units=("x=rad",)).with_units(space, "here")
    again = space_of(json.loads(json.dumps(facts_of(told))))
    assert again == told == space  # with units it is no other
    assert again.units == told.units != space.units
    assert Reading().like(told).units == ("x=rad",)
    assert space_of({"space": "recorded"}) is None


def test_angles_change_the_shorter_way_round(aloha):
    folder = aloha(names=[f"joint_{k}" for k in range(JOINTS)])
    found = read_episodes(folder, reading=Reading(actions="states", angles=("joint_3",), full_turn=2.0))
    frames = np.arange(0, STEPS, 5)
    changes, (_, states) = found[0].actions(frames), motion(0)
    plain = np.diff(states[frames], axis=0)
    np.testing.assert_allclose(np.delete(changes, 3, axis=1), np.delete(plain, 3, axis=1), atol=1e-4)
    assert (np.abs(plain[:, 3]) > 1).any()
    assert (np.abs(changes[:, 3]) <= 1).all()
    np.testing.assert_allclose((changes[:, 3] - plain[:, 3] + 1) % 2, 1, atol=1e-4)
    with pytest.raises(WildlamError, match="has no elbow; its states are joint_0, joint_1"):
        read_episodes(folder, reading=Reading(actions="states", angles=("elbow",)))
    with pytest.raises(ValueError, match="angles are of changes of states"):
        Reading(angles=("joint_3",))


def test_names_of_two_arms_are_kept_apart():
    names = {"left": ["waist", "elbow"], "right": ["waist"]}
    assert names_of({"shape": [3], "names": names}, "set: action") == ["left waist", "left elbow", "right waist"]
    assert names_of({"shape": [3], "names": {"motors": names}}, "set: action")[2] == "motors right waist"


@pytest.mark.parametrize("kind", ["video", "image"])
def test_tables_with_fewer_rows_than_are_stated_are_told(aloha, kind, caplog):
    folder = aloha(kind=kind)
    read_episodes(folder)
    assert not caplog.messages
    file = next(folder.glob("data/*/*000001.parquet"))
    pq.write_table(pq.read_table(file).slice(0, 18), file)
    read_episodes(folder)
    assert "tables hold other numbers of frames than meta says: episode_000001 (18 of 40)" in caplog.text
