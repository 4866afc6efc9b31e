"""Demonstrations in HDF5, robomimic's and ALOHA's layouts, and commands beside videos."""

import json
import logging
import shutil
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from wildlam import cli
from wildlam.encoders import Lite0
from wildlam.episodes.clips import cut_clips
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.vectors import Changes, Commands, Reading
from wildlam.errors import WildlamError

from ...aloha import png

STEPS = 12
RNG = np.random.default_rng(0)


def grey(steps=STEPS):
    return np.stack([np.full((32, 40, 3), 5 * k, np.uint8) for k in range(steps)])


@pytest.fixture
def robomimic(tmp_path):
    """Three demonstrations in a file, the last of them for validation; the state is position and gripper."""
    truth = {}
    with h5py.File(tmp_path / "low_dim.hdf5", "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps({"env_kwargs": {"control_freq": 10}})
        for number in (0, 2, 10):
            demo = file.create_group(f"data/demo_{number}")
            truth[number] = RNG.normal(size=(STEPS, 7)), RNG.normal(size=(STEPS, 3)), RNG.uniform(size=STEPS)
            demo["actions"], demo["obs/robot0_eef_pos"], demo["obs/gripper"] = truth[number]
            demo["obs/agentview_image"] = grey()
            demo["obs/robot0_eye_in_hand_image"] = 255 - grey()
        file["mask/valid"] = np.array([b"demo_10"])
    return tmp_path, truth


def test_robomimic(robomimic):
    folder, truth = robomimic
    episodes = read_episodes(folder)
    assert [episode.name for episode in episodes] == [f"low_dim/demo_{number}" for number in truth]
    assert [episode.split for episode in episodes] == ["train", "train", "held_out"]
    for episode, (actions, position, gripper) in zip(episodes, truth.values(), strict=True):
        assert episode.rate == pytest.approx(10)
        assert episode.space == Commands.of(
            [f"action {k}" for k in range(7)], "concatenated", ["gripper 0", *(f"robot0_eef_pos {k}" for k in range(3))]
        )
        np.testing.assert_allclose(episode.commands, actions)
        np.testing.assert_allclose(episode.poses, np.column_stack([gripper, position]))
        assert [int(frame.float().mean()) for frame in episode.frames([1, 7], 32)] == [5, 35]
    (hand, *_) = read_episodes(folder, reading=Reading(camera="robot0_eye_in_hand", actions="states"))
    assert isinstance(hand.space, Changes)
    assert int(hand.frames([1], 32).float().mean()) == 250
    with pytest.raises(WildlamError, match="has no camera side; there are agentview, robot0_eye_in_hand"):
        read_episodes(folder, reading=Reading(camera="side"))
    with pytest.raises(WildlamError, match="of data in the format demos recorded or states can be read"):
        read_episodes(folder, reading=Reading(actions="poses"))


@pytest.mark.parametrize("compressed", [False, True])
def test_aloha(tmp_path, compressed):
    truth = RNG.normal(size=(STEPS, 14))
    for name in ("episode_0", "episode_1"):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            file.attrs["compress"] = compressed
            file["action"], file["observations/qpos"] = truth, truth + 1
            pictures = [np.frombuffer(png(k), np.uint8) for k in range(STEPS)]
            padded = [np.pad(one, (0, max(map(len, pictures)) - len(one))) for one in pictures]
            for camera in ("cam_high", "cam_left_wrist"):
                file[f"observations/images/{camera}"] = np.stack(padded) if compressed else grey()
    episodes = read_episodes(tmp_path)
    assert {episode.split for episode in episodes} == {"train", "held_out"}
    assert episodes[0].rate == pytest.approx(50)
    np.testing.assert_allclose(episodes[0].commands, truth)
    assert [int(frame.float().mean()) for frame in episodes[1].frames([2, 11], 32)] == [10, 55]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "actions",
            np.full((STEPS, 7), np.nan),
            "low_dim/demo_2: numbers must be finite; action 0 of frame 0 is nan, and so are 83 more",
        ),
        ("actions", np.zeros((STEPS - 1, 7)), "as many, two at least"),
        ("actions", np.zeros((STEPS, 7, 2)), r"actions is \(12, 7, 2\)"),
        ("obs/gripper", np.zeros((STEPS + 2, 1)), "as many, two at least"),
    ],
)
def test_malformed_demonstrations_are_named(robomimic, key, value, said):
    folder, _ = robomimic
    with h5py.File(folder / "low_dim.hdf5", "a") as file:
        del file[f"data/demo_2/{key}"]
        file[f"data/demo_2/{key}"] = value
    with pytest.raises(WildlamError, match=said):
        read_episodes(folder)


@pytest.mark.parametrize("missing", ["actions", "obs"])
@pytest.mark.parametrize("number", [0, 2])  # the first of the file, by which it is recognised, too
def test_a_demonstration_is_never_left_out_in_silence(robomimic, number, missing):
    folder, _ = robomimic
    with h5py.File(folder / "low_dim.hdf5", "a") as file:
        del file[f"data/demo_{number}/{missing}"]
    with pytest.raises(WildlamError, match=rf"low_dim\.hdf5, data/demo_{number}: has no {missing}; write it again"):
        read_episodes(folder)


def test_actions_that_are_texts_are_named(robomimic):
    """HDF5 raises what it raises of a damaged file."""
    folder, _ = robomimic
    with h5py.File(folder / "low_dim.hdf5", "a") as file:
        del file["data/demo_2/actions"]
        file["data/demo_2/actions"] = np.array([b"left"] * STEPS)
    with pytest.raises(WildlamError, match="data/demo_2: actions cannot be read as numbers"):
        read_episodes(folder)


@pytest.mark.parametrize("missing", ["action", "observations/images"])
def test_an_episode_of_aloha_is_never_left_out_in_silence(tmp_path, missing):
    for name in ("episode_0", "episode_1"):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            file["action"], file["observations/qpos"] = RNG.normal(size=(2, STEPS, 14))
            file["observations/images/cam_high"] = grey()
    with h5py.File(tmp_path / "episode_1.hdf5", "a") as file:
        del file[missing]
    with pytest.raises(WildlamError, match=rf"episode_1\.hdf5: has no {missing}; write it again"):
        read_episodes(tmp_path)


def test_other_files_of_hdf5_are_told(robomimic, caplog):
    folder, _ = robomimic
    with h5py.File(folder / "statistics.hdf5", "w") as file:
        file["mean"] = np.zeros(3)
    assert len(read_episodes(folder)) == 3
    assert "statistics.hdf5: holds no demonstrations, and is left out" in caplog.text


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_commands_beside_videos(tmp_path, make_video, read_number, ending):
    """Recorded twice as often as frames are shown."""
    columns = {"time": np.arange(48) / 24, "gas": RNG.normal(size=48), "wheel": RNG.normal(size=48)}
    for name in ("train/a", "test/b"):
        make_video(tmp_path / f"{name}.mp4", frames=24, fps=12)
        file = tmp_path / f"{name}.actions.{ending}"
        if ending == "csv":
            rows = np.column_stack(list(columns.values()))
            np.savetxt(file, rows, delimiter=",", header=",".join(columns), comments="")
        else:
            pq.write_table(pa.table(columns), file)
    first, other = read_episodes(tmp_path, reading=Reading(block="summed"))
    assert {first.split, other.split} == {"train", "held_out"}
    assert first.space == Commands.of(["gas", "wheel"], "summed")
    assert first.rate == pytest.approx(24)
    frames = np.arange(0, len(first.times), 6)
    summed = [[columns[name][a : a + 6].sum() for name in ("gas", "wheel")] for a in frames[:-1]]
    np.testing.assert_allclose(first.actions(frames), summed, atol=1e-6)
    assert [read_number(frame) for frame in first.frames([0, 6, 12], 64)] == [0, 3, 6]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gas,wheel\n1,2\n3,4\n", "expected a column time and one a component"),
        ("time,gas\n0,1\n", "two rows or more are needed"),
        ("time,gas\n", "two rows or more are needed"),
        ("time,gas\n0,1\n0,2\n", "rises from row to row; row 2 does not"),
        ("time,gas\n0,1\n1,fast\n", "the column gas must be of numbers"),
        ("time,gas\n0,1\n1,\n", "the column gas must be of finite numbers, one a row, without gaps; row 2 is not"),
        ("", "cannot be read as a table"),
    ],
)
def test_malformed_commands_are_named(tmp_path, make_video, text, said):
    for name in ("train/a", "test/b"):
        make_video(tmp_path / f"{name}.mp4", frames=24, fps=12)
        (tmp_path / f"{name}.actions.csv").write_text(text)
    with pytest.raises(WildlamError, match=said) as error:
        read_episodes(tmp_path)
    assert ".actions.csv" in str(error.value)


def test_commands_as_people_write_them(tmp_path, make_video, caplog):
    """A blank behind a comma is no part of a name; and who stopped recording before the film ended is told."""
    for name, head, rows in (("train/a", "time,gas", 24), ("test/b", "time, gas", 8)):
        make_video(tmp_path / f"{name}.mp4", frames=24, fps=12)
        lines = [head, *(f"{k / 12:.4f},{k}" for k in range(rows))]
        (tmp_path / f"{name}.actions.csv").write_text("\n".join(lines))
    spaces = {episode.space for episode in read_episodes(tmp_path)}
    assert spaces == {Commands.of(["gas"], "concatenated")}
    assert "commands end before their videos, whose rest is left out: test/b.mp4 (0.6 of 2.0 s)" in caplog.text
    assert "train/a.mp4" not in caplog.text


@pytest.fixture
def replay_buffer(tmp_path):
    """Two episodes of 12 and 20 frames in PushT's layout, whose pictures are floats."""
    root = zarr.open_group(str(tmp_path / "pusht.zarr"), mode="w", zarr_format=2)
    actions, states = RNG.normal(size=(32, 2)).astype(np.float32), RNG.normal(size=(32, 5))
    root.create_array("data/action", data=actions)
    root.create_array("data/state", data=states)
    root.create_array("data/img", data=grey(32).astype(np.float32), chunks=(7, 32, 40, 3))
    root.create_array("meta/episode_ends", data=np.array([12, 32]))
    return tmp_path, actions, states


def test_a_replay_buffer(replay_buffer):
    folder, actions, states = replay_buffer
    for path in (folder, folder / "pusht.zarr"):
        first, second = read_episodes(path)
        assert [first.name, second.name] == ["pusht/episode_000000", "pusht/episode_000001"]
        assert {first.split, second.split} == {"train", "held_out"}
        np.testing.assert_allclose(second.commands, actions[12:])
        np.testing.assert_allclose(second.poses, states[12:])
        assert second.rate == pytest.approx(10)
        assert [int(frame.float().mean()) for frame in second.frames([9, 0], 32)] == [5 * 21, 5 * 12]
    assert read_episodes(folder, reading=Reading(actions="states"))[0].space == Changes.of(
        [f"state {k}" for k in range(5)]
    )


def test_a_replay_buffer_that_would_run_code_does_not(replay_buffer):
    folder, *_ = replay_buffer
    file = folder / "pusht.zarr/data/state/.zarray"
    about = json.loads(file.read_text())
    for changed in ({"filters": [{"id": "pickle", "protocol": 5}]}, {"dtype": "|O"}):
        file.write_text(json.dumps(about | changed))
        with pytest.raises(WildlamError, match=r"data/state/\.zarray: holds .*; only plain numbers are read"):
            read_episodes(folder)


@pytest.mark.parametrize("ends", [[12, 40], [12, 12], []])
def test_ends_that_cannot_be_are_told(replay_buffer, ends):
    folder, *_ = replay_buffer
    root = zarr.open_group(str(folder / "pusht.zarr"), mode="a", zarr_format=2)
    root.create_array("meta/episode_ends", data=np.array(ends, np.int64), overwrite=True)
    with pytest.raises(WildlamError, match=r"pusht\.zarr: actions, pictures and states must be as many"):
        read_episodes(folder)


@pytest.mark.parametrize("missing", ["data/action", "meta/episode_ends"])
def test_what_a_replay_buffer_lacks_is_told(replay_buffer, missing):
    """And not that there are no videos."""
    folder, *_ = replay_buffer
    shutil.rmtree(folder / "pusht.zarr" / missing)
    for path in (folder, folder / "pusht.zarr"):
        with pytest.raises(WildlamError, match=rf"pusht\.zarr: has no array {missing}; a replay buffer holds"):
            read_episodes(path)


def test_pictures_in_another_order_are_told(replay_buffer):
    folder, *_ = replay_buffer
    root = zarr.open_group(str(folder / "pusht.zarr"), mode="a", zarr_format=2)
    root.create_array("data/img", data=grey(32).transpose(0, 3, 1, 2), overwrite=True)
    with pytest.raises(WildlamError, match=r"has no pictures \(N, H, W, 3\); it has .*img \(32, 3, 32, 40\)"):
        read_episodes(folder)


def test_a_damaged_chunk_is_told(replay_buffer):
    folder, *_ = replay_buffer
    chunk = folder / "pusht.zarr/data/img/2.0.0.0"
    _, second = read_episodes(folder)
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(WildlamError, match="data/img: cannot be read, a part is missing or damaged"):
        second.frames([5], 32)


def test_states_are_kept_by_camera_and_by_what_the_pictures_are(robomimic, replay_buffer):
    """Cameras share a file, and chunks of an array are written over in place."""
    encoder = Lite0(image_size=32, dtype="float32").build("cpu")

    def kept(path, camera=None):
        return cut_clips(
            read_episodes(path, reading=Reading(camera=camera)), encoder, "train", states=2, fps=5, cache=path
        ).kept

    file = robomimic[0] / "low_dim.hdf5"
    folder = file.parent / "only"
    folder.mkdir()
    file.rename(folder / file.name)
    assert kept(folder, "agentview") == kept(folder) != kept(folder, "robot0_eye_in_hand")
    buffer = replay_buffer[0] / "pusht.zarr"
    before = kept(buffer)
    root = zarr.open_group(str(buffer), mode="a", zarr_format=2)
    root["data/img"][0:1] = 7
    assert kept(buffer) != before


def test_pictures_from_0_to_1_are_not_black(replay_buffer):
    root = zarr.open_group(str(replay_buffer[0] / "pusht.zarr"), mode="a", zarr_format=2)
    root["data/img"][:] = grey(32).astype(np.float32) / 255
    _, second = read_episodes(replay_buffer[0])
    assert [int(frame.float().mean()) for frame in second.frames([9, 0], 32)] == [5 * 21, 5 * 12]


def test_files_that_are_no_folders_are_told(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(WildlamError, match=r"set\.zip: a single file; give the folder that it lies in"):
        read_episodes(tmp_path / "set.zip")


@pytest.mark.parametrize("inside", ["", "pusht_cchi_v7_replay.zarr/"])
def test_a_replay_buffer_that_is_zipped(replay_buffer, inside, capsys, caplog):
    """As ZipStore writes it, or a folder that someone zipped."""
    folder, actions, _ = replay_buffer
    file = folder / "zipped" / "pusht.zarr.zip"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        for place in sorted((folder / "pusht.zarr").rglob("*")):
            if place.is_file():
                archive.write(place, inside + place.relative_to(folder / "pusht.zarr").as_posix())
    for path in (file, file.parent):
        _, second = read_episodes(path, reading=Reading(rate=20))
        assert second.name == "pusht/episode_000001"
        assert second.rate == pytest.approx(20)
        np.testing.assert_allclose(second.commands, actions[12:])
        assert [int(frame.float().mean()) for frame in second.frames([9, 0], 32)] == [5 * 21, 5 * 12]
    assert cli.main(["data", str(file), "--fps", "5"]) == 0
    assert "2 episodes of 2 recordings (replay buffer)" in capsys.readouterr().out
    assert (file.parent / ".wildlam/data.html").is_file()
    assert not caplog.text
    file.write_bytes(file.read_bytes()[:-30])
    for path in (file, file.parent):
        with pytest.raises(WildlamError, match=r"pusht\.zarr\.zip: not a whole zip file"):
            read_episodes(path)


def test_a_zip_file_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as archive:
        archive.writestr("data/action/.zarray", "{}")
    with pytest.raises(WildlamError, match=r"a\.zarr\.zip: holds no replay buffer"):
        read_episodes(tmp_path)


def test_a_buffer_and_its_zip_file_are_one(replay_buffer):
    folder, *_ = replay_buffer
    (folder / "pusht.zarr.zip").write_bytes(b"never opened")
    assert len(read_episodes(folder)) == 2


@pytest.mark.parametrize("shards", [None, (16, 32, 40, 3)])
def test_a_replay_buffer_of_zarr_3(tmp_path, caplog, shards):
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=3)
    actions = RNG.normal(size=(32, 2)).astype(np.float32)
    root.create_array("data/action", data=actions)
    root.create_array("data/img", data=grey(32), chunks=(8, 32, 40, 3), shards=shards)
    root.create_array("meta/episode_ends", data=np.array([12, 32]))
    _, second = read_episodes(tmp_path)
    np.testing.assert_allclose(second.commands, actions[12:])
    assert [int(frame.float().mean()) for frame in second.frames([9, 0], 32)] == [5 * 21, 5 * 12]
    assert not caplog.text  # no chunk is missing
    file = tmp_path / "a.zarr/data/action/zarr.json"
    about = json.loads(file.read_text())
    for changed in (
        {"codecs": [{"name": "numcodecs.pickle", "configuration": {}}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "mine"}], "index_codecs": []}}]},
        {"data_type": "string"},
        {"data_type": {"name": "numpy.void", "configuration": {}}},
        {"codecs": None},
    ):
        file.write_text(json.dumps(about | changed))
        with pytest.raises(
            WildlamError, match=r"data/action/zarr\.json: (holds .*; only plain|cannot be read as an array)"
        ):
            read_episodes(tmp_path)


def test_chunks_that_are_lost_are_told(replay_buffer, caplog):
    folder, *_ = replay_buffer
    with caplog.at_level(logging.WARNING):
        read_episodes(folder)
    assert not caplog.text
    (folder / "pusht.zarr/data/img/2.0.0.0").unlink()
    with caplog.at_level(logging.WARNING):
        _, second = read_episodes(folder)
    assert "data/img: 1 of its 5 chunks are not there and read as 0" in caplog.text
    assert [int(frame.float().mean()) for frame in second.frames([2, 9], 32)] == [0, 5 * 21]


@pytest.mark.parametrize(
    ("attributes", "is_turned"),
    [
        ({"macros_image_convention": "opengl", "bddl_file_name": "a.bddl"}, True),
        ({"macros_image_convention": "opencv", "bddl_file_name": "a.bddl"}, False),
        ({"bddl_file_name": "a.bddl"}, True),
        ({"env_args": json.dumps({"env_name": "Lift"})}, False),
    ],
)
def test_liberos_pictures_are_turned_upright(tmp_path, attributes, is_turned):
    """LIBERO writes which way up its pictures are; robomimic's own lie the right way. Left stays left."""
    ramp = np.zeros((STEPS, 32, 32, 3), np.uint8)
    ramp[:, :16, :, 0], ramp[:, :, :16, 1] = 200, 100
    with h5py.File(tmp_path / "open_the_drawer_demo.hdf5", "w") as file:
        file.create_group("data").attrs.update(attributes)
        file["data/demo_0/actions"], file["data/demo_0/obs/agentview_rgb"] = RNG.normal(size=(STEPS, 7)), ramp
    (frame,) = read_episodes(tmp_path)[0].frames([3], 32)
    top, left = frame[0, :16], frame[1, :, :16]
    assert int(top.float().mean()) == (0 if is_turned else 200)
    assert int(left.float().mean()) == 100


def test_a_rate_that_is_said_counts(robomimic, tmp_path):
    assert read_episodes(robomimic[0], reading=Reading(rate=25))[0].rate == pytest.approx(25)


def test_pictures_that_are_not_finite_are_told(replay_buffer):
    """And not read as black, nor taken for ones that go to 255."""
    folder, *_ = replay_buffer
    file = zarr.open_group(str(next(folder.glob("*.zarr"))), mode="a")
    pictures = np.asarray(file["data/img"][:]) / 255
    pictures[30, 4, 4] = np.nan
    del file["data/img"]
    file.create_array("data/img", data=pictures.astype(np.float32))
    first, last, *_ = read_episodes(folder)
    assert int(first.frames([7], 32).float().mean()) == 35
    with pytest.raises(WildlamError, match="data/img: picture 30 must be of finite numbers; mend or remove its"):
        last.frames(range(len(last.times)), 32)


def test_hdf5_of_another_layout_is_told(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["steps/action"] = np.zeros((4, 2))
    with pytest.raises(WildlamError, match=r"other\.h5 is laid out in no way that can be read; `wildlam data --help`"):
        read_episodes(tmp_path)
