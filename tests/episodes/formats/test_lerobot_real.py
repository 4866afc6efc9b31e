"""Data sets that LeRobot itself wrote, v2.1 and v3.0: see tests/data/lerobot."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from wildlam import cli
from wildlam.encoders import Lite0
from wildlam.episodes.clips import labelled_clips
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.vectors import Changes, Commands, Reading
from wildlam.errors import WildlamError
from wildlam.video.index import index
from wildlam.video.loader import decode_windows
from wildlam.video.sampling import eval_windows

from ...data.lerobot import make
from ...data.lerobot.make import SETS, motion, told_by

WRITTEN = Path(make.__file__).parent
VERSIONS = ("v21", "v30")
EPISODES = 3
NEAR = {"rtol": 1e-6, "atol": 1e-6}  # of numbers of 32 bits

every_version = pytest.mark.parametrize("version", VERSIONS)
every_set = pytest.mark.parametrize("name", list(SETS))


@pytest.fixture
def data(tmp_path):
    """A copy of a data set, to which caches may be added."""
    return lambda version, name: Path(shutil.copytree(WRITTEN / version / name, tmp_path / version / name))


def told(frames):
    """Episode, frame and camera of each of the pictures ``[n, 3, S, S]``."""
    return [told_by(frame.permute(1, 2, 0).numpy()) for frame in frames]


def test_codes_tell_each_picture_from_every_other():
    for name, made in SETS.items():
        left, top = (side // 2 - min(made.size) // 2 for side in made.size)
        for episode, length in enumerate(made.lengths):
            for frame in range(length):
                for camera in range(len(made.cameras)):
                    shown = make.picture(name, episode, frame, camera)
                    middle = shown[top : top + min(made.size), left : left + min(made.size)]
                    assert told_by(middle) == (episode, frame, camera)
                    assert told_by(middle // 2 + 52) == (episode, frame, camera)  # of less contrast
    one, next_one = (make.picture("pusht", 1, frame).astype(float) for frame in (3, 4))
    with pytest.raises(ValueError, match="no number of a frame"):
        told_by(0.5 * one + 0.5 * next_one)  # two frames at once


@every_version
@every_set
def test_both_versions_hold_what_they_should(version, name):
    info = json.loads((WRITTEN / version / name / "meta/info.json").read_text())
    assert info["codebase_version"] == {"v21": "v2.1", "v30": "v3.0"}[version]
    assert (info["total_episodes"], info["total_frames"]) == (EPISODES, sum(SETS[name].lengths))
    films = sorted((WRITTEN / version / name).glob("videos/**/*.mp4"))
    of_camera = {"v21": EPISODES, "v30": 1}[version]  # v3.0 has all episodes in one film
    assert len(films) == (of_camera * len(SETS[name].cameras) if SETS[name].kind == "video" else 0)


@every_version
@every_set
def test_names_splits_and_times(version, name, data, caplog):
    episodes = read_episodes(data(version, name))
    assert [episode.name for episode in episodes] == [f"episode_{k:06d}" for k in range(EPISODES)]
    assert {episode.split for episode in episodes} == {"train", "held_out"}
    assert [len(episode.times) for episode in episodes] == list(SETS[name].lengths)
    for episode in episodes:
        np.testing.assert_allclose(episode.times, np.arange(len(episode.times)) / SETS[name].fps, **NEAR)
        assert episode.rate == pytest.approx(SETS[name].fps)
    assert caplog.text == ""  # nothing is left out or doubtful


@every_version
@every_set
def test_recorded_commands_are_those_written(version, name, data):
    made = SETS[name]
    for number, episode in enumerate(read_episodes(data(version, name), reading=Reading(actions="recorded"))):
        assert episode.space == Commands.of(made.components, "concatenated", made.components)
        states, commands = motion(name, number)
        np.testing.assert_allclose(episode.commands, commands, **NEAR)
        np.testing.assert_allclose(episode.poses, states, **NEAR)
        found = episode.actions(np.array([2, 4, 6]))  # a step of two commands is both of them
        np.testing.assert_allclose(found, commands[2:6].reshape(2, -1), **NEAR)


@every_version
@every_set
def test_changes_of_states_are_those_written(version, name, data):
    made = SETS[name]
    for number, episode in enumerate(read_episodes(data(version, name), reading=Reading(actions="states"))):
        assert episode.space == Changes.of(made.components)
        states, _ = motion(name, number)
        assert episode.commands is None
        np.testing.assert_allclose(episode.poses, states, **NEAR)
        frames = np.arange(0, len(states), 5)
        np.testing.assert_allclose(episode.actions(frames), np.diff(states[frames].astype(float), axis=0), atol=2e-6)


@every_version
@every_set
def test_actions_are_the_recorded_ones_if_none_are_named(version, name, data):
    root = data(version, name)
    first, named = (read_episodes(root, reading=Reading(actions=kind)) for kind in (None, "recorded"))
    assert [one.space for one in first] == [one.space for one in named]
    with pytest.raises(WildlamError, match="records no poses of an arm or on the ground; actions can be recorded or"):
        read_episodes(root, reading=Reading(actions="poses"))


CAMERAS = [(name, camera) for name in SETS for camera in range(len(SETS[name].cameras))]


@every_version
@pytest.mark.parametrize(("name", "camera"), CAMERAS)
def test_each_frame_is_its_own(version, name, camera, data):
    """Frame k of an episode shows frame k of that episode, by the camera asked for, wherever in a file it lies."""
    made, root = SETS[name], data(version, name)
    key = made.cameras[camera]
    for wanted in (key, key.rsplit(".", 1)[-1]):
        episodes = read_episodes(root, reading=Reading(camera=wanted))
        for number, episode in enumerate(episodes):
            ends = [0, 1, made.lengths[number] - 2, made.lengths[number] - 1]
            assert told(episode.frames(ends, 48)) == [(number, k, camera) for k in ends]
    for number, episode in enumerate(episodes):
        every = range(made.lengths[number])
        assert told(episode.frames(every, 48)) == [(number, k, camera) for k in every]
        scattered = np.random.default_rng(number).choice(made.lengths[number], 9, replace=False).tolist()
        assert told(episode.frames(sorted(scattered), 64)) == [(number, k, camera) for k in sorted(scattered)]


@every_version
def test_the_first_camera_is_not_that_of_the_wrist(version, data):
    root = data(version, "aloha")  # by name, the wrist's comes first
    assert told(read_episodes(root)[1].frames([7], 48)) == [(1, 7, 0)]
    with pytest.raises(WildlamError, match=r"has no camera low; there are .*left_wrist, .*top"):
        read_episodes(root, reading=Reading(camera="low"))


@every_version
def test_states_and_frames_stay_together_at_a_lower_rate(version, data):
    for number, episode in enumerate(read_episodes(data(version, "aloha"))):
        (frames,), rate = episode.sampled(5)
        assert rate == pytest.approx(5)
        assert told(episode.frames(frames, 48)) == [(number, k, 0) for k in range(0, len(episode.times), 10)]
        wanted = motion("aloha", number)[1][: frames[-1]].reshape(len(frames) - 1, -1)
        np.testing.assert_allclose(episode.actions(frames), wanted, **NEAR)


@every_version
@every_set
def test_clips_of_all_episodes_have_steps_of_as_many_commands(version, name, data):
    """At 4 fps, too, of which 50 and 10 frames a second are no whole multiples: 12.5 and 2.5 frames a step."""
    episodes = read_episodes(data(version, name))
    assert len({episode.stride(4) for episode in episodes}) == 1
    assert len({episode.space_at(4) for episode in episodes}) == 1
    encoder = Lite0(image_size=64, dtype="float32").build("cpu")
    for split in ("train", "held_out"):
        clips = labelled_clips(episodes, encoder, split, states=4, fps=4, progress=False)
        assert {episode.name for episode, _ in clips.places} == {one.name for one in episodes if one.split == split}
        for (episode, frames), actions, poses in zip(clips.places, clips.actions, clips.poses, strict=True):
            states, commands = motion(name, int(episode.name[-1]))
            np.testing.assert_allclose(poses, states[frames], rtol=1e-5, atol=1e-5)
            wanted = np.stack([commands[a:b].reshape(-1) for a, b in pairwise(frames)])
            np.testing.assert_allclose(actions, wanted, rtol=1e-5, atol=1e-5)


@every_version
def test_an_index_lists_each_episode_as_a_video(version, data):
    root, made = data(version, "aloha"), SETS["aloha"]
    found = index(root, progress=False)
    assert len(found) == EPISODES * len(made.cameras)
    assert len(set(found.recordings().to_pylist())) == EPISODES  # whichever camera
    labelled = {episode.name: episode.split for episode in read_episodes(root)}
    shown = set()
    for row in found:
        camera = next(k for k, key in enumerate(made.cameras) if key in row.path)
        number = next(k for k in range(EPISODES) if f"episode_{k:06d}" in row.path)
        shown.add((camera, number))
        assert row.frames == made.lengths[number]
        assert row.duration == pytest.approx(made.lengths[number] / made.fps)
        assert row.split == labelled[f"episode_{number:06d}"]
    assert len(shown) == len(found)


@every_version
def test_clips_without_labels_are_of_one_episode(version, data):
    found, made = index(data(version, "aloha"), progress=False), SETS["aloha"]
    windows = eval_windows(found, frames=5, fps=5)
    assert {window.video for window in windows} == {row.path for row in found}
    for window, clip in zip(windows, decode_windows(found, windows, 5, 5, 48).video, strict=True):
        number = next(k for k in range(EPISODES) if f"episode_{k:06d}" in window.video)
        camera = next(k for k, key in enumerate(made.cameras) if key in window.video)
        numbers = told(clip)
        assert {(episode, of_camera) for episode, _, of_camera in numbers} == {(number, camera)}
        assert np.diff([frame for _, frame, _ in numbers]).tolist() == [10] * 4  # 50 frames a second, 5 of them seen


@every_version
def test_index_as_a_command(version, data, capsys):
    assert cli.main(["index", str(data(version, "aloha"))]) == 0
    assert capsys.readouterr().out.startswith("6 videos, ")
    assert cli.main(["index", str(data(version, "pusht"))]) == 2
    complaint = capsys.readouterr().err
    assert "a LeRobotDataset whose pictures" in complaint
    assert "observation.image" in complaint
    assert "--films FOLDER" in complaint
