"""Films of LeRobotDatasets for training without labels: episode by episode, all cameras of one on one side."""

import json

import numpy as np
import pytest

import wildlam
from wildlam.encoders import Lite0
from wildlam.episodes.formats import read_episodes
from wildlam.errors import WildlamError
from wildlam.video.config import DataConfig
from wildlam.video.index import index
from wildlam.video.loader import ClipSource, decode_windows
from wildlam.video.sampling import eval_windows

from ..aloha import write_aloha
from ..lerobot_sets import CAMERAS, EPISODES, FPS, STEPS, write_films, write_with_states


@pytest.fixture
def lerobot(tmp_path, make_video):
    def write(root=tmp_path / "set", **changed):
        return write_films(root, make_video, **changed)

    return write


@pytest.fixture
def with_states(tmp_path, make_video):
    def write(**changed):
        return write_with_states(tmp_path / "set", make_video, **changed)

    return write


def test_episodes_are_videos_of_their_own(lerobot, read_number):
    found = index(lerobot(), progress=False)
    assert len(found) == EPISODES * len(CAMERAS)
    assert {row.duration for row in found} == {STEPS / FPS}
    assert {row.frames for row in found} == {STEPS}
    splits = {}
    for row in found:
        splits.setdefault(row.path.rpartition("id=")[2], set()).add(row.split)
    assert len(splits) == EPISODES
    assert all(len(of_episode) == 1 for of_episode in splits.values())  # whichever camera
    assert {"train", "held_out"} == set().union(*splits.values())
    assert len(set(found.recordings().to_pylist())) == EPISODES
    windows = eval_windows(found, frames=8, fps=5)
    assert len(windows) == len(found)  # a clip of 1.6 s each, in 2 s
    clips = decode_windows(found, windows, 8, 5, 64)
    for window, clip in zip(windows, clips.video, strict=True):
        number = int(window.video.rpartition("_")[2])
        assert [read_number(frame) for frame in clip] == [number * STEPS + 4 * k for k in range(8)]


def test_no_clip_straddles_two(lerobot, read_number):
    source = ClipSource(index(lerobot(), progress=False), frames=8, fps=5, size=64, batch=32)
    batch = source.batch(0)
    for name, clip in zip(batch.names, batch.video, strict=True):
        number = int(name.rpartition("_")[2])
        shown = [read_number(frame) for frame in clip]
        assert number * STEPS <= shown[0] < shown[-1] < (number + 1) * STEPS


def test_a_set_is_trained_on_beside_other_films(lerobot, make_video, tmp_path):
    root = tmp_path / "all"
    lerobot(root / "robot")
    for name in ("a", "b"):
        make_video(root / "others" / f"{name}.mp4", frames=96)
    assert {row.source for row in index(root, progress=False)} == {"robot", "others"}
    found = wildlam.encode(data=DataConfig(path=root, fps=5.0, frames=4), encoder=Lite0(image_size=64, dtype="float32"))
    assert found.states == EPISODES * len(CAMERAS) * 10 + 2 * 20


def test_what_is_odd_is_told(lerobot, tmp_path, make_video, caplog):
    root = lerobot()
    make_video(root / "videos/other/film.mp4", frames=48)
    (root / "videos" / CAMERAS[1] / "chunk-000/file-000.mp4").unlink()
    assert len(index(root, progress=False)) == EPISODES
    assert "1 films that its tables name are not there: videos/observation.images.laptop/chunk-000" in caplog.text
    assert "1 films that no table names are left out: videos/other/film.mp4" in caplog.text
    film = root / "videos" / CAMERAS[0] / "chunk-000/file-000.mp4"
    film.unlink()
    make_video(film, frames=3 * STEPS, fps=FPS)
    with pytest.raises(WildlamError, match=r"3 of 6 videos cannot be used: .*episode_000003: the film ends at 6.00 s"):
        index(root, progress=False)
    assert len(index(root, progress=False, on_error="skip", max_skipped=0.5)) == 3


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"features": {"top": {"dtype": "image"}}}, r"whose pictures \(top\) lie in tables"),
        ({"video_path": "../{video_key}/film.mp4"}, "leads out of the data set"),
        ({"video_path": "videos/{camera}.mp4"}, "cannot be filled in"),
        ({"features": []}, "cannot be read as that of a LeRobotDataset"),
        ({"codebase_version": "v1.6"}, "format 'v1.6'; v2.0, v2.1, v3.0 can be read"),
    ],
)
def test_malformed_sets_are_named(lerobot, changed, said):
    with pytest.raises(WildlamError, match=said):
        index(lerobot(**changed), progress=False)


def test_a_larger_share_holds_the_same_and_more_out(with_states):
    root = with_states()

    def held_out(share):
        return {row.path.rpartition("id=")[2] for row in index(root, progress=False, held_out=share).split("held_out")}

    assert held_out(0.1) == held_out(0.05) < held_out(0.9)
    assert held_out(0.1) == {one.name for one in read_episodes(root) if one.split == "held_out"}


def test_v2_films_by_all_cameras_are_one_recording(tmp_path, make_video):
    info = {
        "codebase_version": "v2.1",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {camera: {"dtype": "video"} for camera in CAMERAS},
    }
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text(json.dumps(info))
    (tmp_path / "meta/episodes.jsonl").write_text('{"episode_index": 0}\n{"episode_index": 4}\n')
    for camera in CAMERAS:
        for number in (0, 4):
            make_video(tmp_path / f"videos/chunk-000/{camera}/episode_{number:06d}.mp4", frames=48)
    found = index(tmp_path, progress=False)
    assert len(found) == 4
    assert len(set(found.recordings().to_pylist())) == 2
    assert np.all(["#" not in row.path for row in found])


@pytest.mark.parametrize("splits", [{}, {"train": "0:4", "test": "4:6"}, {"train": "1:3", "val": "3:4"}])
def test_labelled_and_unlabelled_clips_are_split_alike(with_states, splits):
    """Or a controller would be judged on episodes that its model was trained on."""
    root = with_states(splits=splits)
    labelled = {episode.name: episode.split for episode in read_episodes(root)}
    unlabelled = {row.path.rpartition("id=")[2]: row.split for row in index(root, progress=False)}
    assert labelled == unlabelled
    assert set(labelled.values()) == {"train", "held_out"}


def test_a_set_without_films_beside_videos_is_told(tmp_path, make_video, caplog):
    write_aloha(tmp_path / "tables", None, "image")
    write_aloha(tmp_path / "films", make_video)
    for name in "ab":
        make_video(tmp_path / "plain" / f"{name}.mp4")
    wildlam.index(path=tmp_path)
    assert (
        "LeRobotDatasets without films are left out: tables; if their pictures lie in tables, `wildlam" in caplog.text
    )
