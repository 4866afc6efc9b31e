"""Data sets of others, written here as they lie on disk, read back: frames, poses; and what is malformed."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from PIL import Image
from scipy.spatial.transform import Rotation

from wildlam.episodes import formats
from wildlam.episodes.action_spaces import ARM, PLANAR
from wildlam.episodes.camera import Camera
from wildlam.episodes.episode import Episode
from wildlam.episodes.formats import read_episodes
from wildlam.episodes.formats.pictures import decode_picture
from wildlam.episodes.poses import write_poses
from wildlam.episodes.vectors import FIRST, Reading
from wildlam.errors import WildlamError

from ...data.rlds import make

RNG = np.random.default_rng(0)
STEPS = 12
EXTRINSICS = [0.5, -0.25, 1.0, -2.0, 0.125, 1.5]
VIDEOS_V2 = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def jpeg(k):
    """A picture as bright as its number."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), 20 * k, dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def path_on_the_ground():
    return np.column_stack([RNG.normal(size=(STEPS, 2)).cumsum(axis=0), np.zeros(STEPS)]), RNG.uniform(-3, 3, STEPS)


def arm_states():
    angles = Rotation.random(STEPS, rng=RNG).as_euler("xyz")
    return np.column_stack([RNG.normal(size=(STEPS, 3)), angles]), RNG.uniform(0, 1, STEPS)


def write_recon(root, name, position, yaw):
    with h5py.File(root / f"jackal_{name}.hdf5", "w") as file:
        images = file.create_dataset("images/rgb_left", (STEPS,), h5py.vlen_dtype(np.uint8))
        for k in range(STEPS):
            images[k] = np.frombuffer(jpeg(k), np.uint8)
        file["jackal/position"], file["jackal/yaw"] = position, yaw


def write_processed(root, name, position, yaw):
    (root / name).mkdir(parents=True)
    for k in range(STEPS):
        (root / name / f"{k}.jpg").write_bytes(jpeg(k))
    (root / name / "traj_data.pkl").write_bytes(pickle.dumps({"position": position[:, :2], "yaw": yaw}))


@pytest.mark.parametrize("write", [write_recon, write_processed])
def test_recon(tmp_path, write):
    truth = {name: path_on_the_ground() for name in ("a", "b", "c")}
    for name, poses in truth.items():
        write(tmp_path, name, *poses)
    found = read_episodes(tmp_path)
    assert {e.split for e in found} == {"train", "held_out"}
    for episode, (position, yaw) in zip(found, truth.values(), strict=True):
        assert (episode.space, episode.rate) == (PLANAR, 4.0)
        poses = PLANAR.integrate(episode.poses[0], PLANAR.between(episode.poses))
        np.testing.assert_allclose(poses[:, :2], position[:, :2], atol=1e-9)
        np.testing.assert_allclose(np.exp(1j * np.radians(poses[:, 2])), np.exp(1j * yaw), atol=1e-9)
        frames = episode.frames([3, 0, 11], 16)
        assert frames.shape == (3, 3, 16, 16)
        np.testing.assert_allclose(frames.float().mean(dim=(1, 2, 3)), [60, 0, 220], atol=2)


@pytest.mark.parametrize("write", [write_recon, write_processed])
def test_a_recon_trajectory_with_fewer_pictures_is_told(tmp_path, caplog, write):
    for name in ("a", "b"):
        write(tmp_path, name, *path_on_the_ground())
    if write is write_processed:
        (tmp_path / "a" / "11.jpg").unlink()
    else:
        with h5py.File(tmp_path / "jackal_a.hdf5", "a") as file:
            images = file["images/rgb_left"][: STEPS - 1]
            del file["images/rgb_left"]
            file.create_dataset("images/rgb_left", data=images, dtype=h5py.vlen_dtype(np.uint8))
    assert [len(episode.times) for episode in read_episodes(tmp_path)] == [STEPS - 1, STEPS]
    assert "as no frame is near: 1 of the states" in caplog.text
    assert "a 1 (up to 0.250 s away)" in caplog.text.replace("jackal_a.hdf5", "a")


@pytest.mark.parametrize("named", ["{:05d}.jpg", "{}.JPG", "{:03d}.jpeg"])
def test_a_lost_picture_takes_its_state_with_it(tmp_path, caplog, named):
    truth = path_on_the_ground()
    for name in ("a", "b"):
        write_processed(tmp_path, name, *truth)
        for k in range(STEPS):
            (tmp_path / name / f"{k}.jpg").rename(tmp_path / name / named.format(k))
    (tmp_path / "b" / named.format(7)).unlink()
    (tmp_path / "b" / "._traj_data.pkl").write_bytes(b"of macOS")
    whole, episode = read_episodes(tmp_path)
    assert (len(whole.times), episode.times.tolist()) == (STEPS, [k / 4 for k in range(STEPS) if k != 7])
    np.testing.assert_array_equal(episode.poses[:, :2], np.delete(truth[0][:, :2], 7, axis=0))
    bright = episode.frames([6, 7], 16).float().mean(dim=(1, 2, 3))
    np.testing.assert_allclose(bright, [120, 160], atol=2)
    assert "b 1 (up to 0.250 s away)" in caplog.text
    runs, rate = episode.sampled(4)
    assert ([run.tolist() for run in runs], rate) == ([[*range(7)], [*range(7, STEPS - 1)]], 4)


def test_two_pictures_of_one_number_are_named(tmp_path):
    for name in ("a", "b"):
        write_processed(tmp_path, name, *path_on_the_ground())
    (tmp_path / "b" / "007.jpg").write_bytes(jpeg(7))
    with pytest.raises(WildlamError, match=r"b: 007\.jpg and 7\.jpg are both picture 7"):
        read_episodes(tmp_path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", [b"numpy._core", b"numpy.core"])
def test_pickles_of_old_protocols_and_of_numpy_1_are_read(tmp_path, protocol, core):
    truth = path_on_the_ground()
    for name in ("a", "b"):
        write_processed(tmp_path, name, *truth)
        data = pickle.dumps({"position": truth[0][:, :2], "yaw": truth[1]}, protocol)
        if len(core) == len(b"numpy._core") or protocol < 4:  # later ones state the names' lengths
            data = data.replace(b"numpy._core", core)
        else:
            data = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
            data = data.replace(b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric")
            data = unframed(data)
        (tmp_path / name / "traj_data.pkl").write_bytes(data)
    for episode in read_episodes(tmp_path):
        np.testing.assert_array_equal(episode.poses[:, :2], truth[0][:, :2])


def unframed(data):
    """A pickle without frames, which state how long they are."""
    return data[:2] + data[11:] if data[2:3] == b"\x95" else data


def test_a_pickle_of_python_2_is_read(tmp_path):
    """Protocol 2 as Python 2 wrote it: an array's bytes are a text."""
    for name in ("a", "b"):
        write_processed(tmp_path, name, *path_on_the_ground())
        raw = np.arange(2.0 * STEPS).tobytes()
        data = (
            b"\x80\x02}(U\x08positioncnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K"
            + bytes([STEPS]) + b"K\x02\x86cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
            b"J\xff\xff\xff\xffK\x00tb\x89U" + bytes([len(raw)]) + raw + b"tbU\x03yaw](" + b"K\x00" * STEPS + b"eu."
        )  # fmt: skip
        (tmp_path / name / "traj_data.pkl").write_bytes(data)
    for episode in read_episodes(tmp_path):
        np.testing.assert_array_equal(episode.poses[:, :2], np.arange(2.0 * STEPS).reshape(STEPS, 2))


def test_a_pickle_may_encode_no_other_way(tmp_path):
    for name in ("a", "b"):
        write_processed(tmp_path, name, *path_on_the_ground())
    (tmp_path / "b" / "traj_data.pkl").write_bytes(
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    )
    with pytest.raises(WildlamError, match=r"b/traj_data\.pkl: encodes text as rot13"):
        read_episodes(tmp_path)


def test_a_locked_hdf5_file_is_told_from_a_damaged_one(tmp_path):
    for name in ("a", "b"):
        write_recon(tmp_path, name, *path_on_the_ground())
    keep = f"import h5py; file = h5py.File({str(tmp_path / 'jackal_b.hdf5')!r}, 'r+'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", keep], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(WildlamError, match=r"jackal_b\.hdf5: locked: .*HDF5_USE_FILE_LOCKING=FALSE"):
            read_episodes(tmp_path)
        other.communicate(b"\n")
    assert len(read_episodes(tmp_path)) == 2


def test_a_pickle_that_would_run_code_does_not(tmp_path):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    for name in ("a", "b"):
        write_processed(tmp_path, name, *path_on_the_ground())
    (tmp_path / "a" / "traj_data.pkl").write_bytes(pickle.dumps({"position": Malicious(), "yaw": 0}))
    with pytest.raises(WildlamError, match=r"a/traj_data\.pkl: names .*open; only numpy arrays"):
        read_episodes(tmp_path)
    assert not (tmp_path / "owned").exists()


def write_droid(root, name, states, gripper, make_video, frames=STEPS, fps=60):
    folder = root / "LAB" / "success" / "2023-01-01" / name
    folder.mkdir(parents=True)
    with h5py.File(folder / "trajectory.h5", "w") as file:
        file["observation/robot_state/cartesian_position"] = states
        file["observation/robot_state/gripper_position"] = gripper
    told = {"ext1_mp4_path": f"elsewhere/{name}/recordings/MP4/123.mp4"}
    (folder / "metadata_LAB+0.json").write_text(json.dumps(told))
    make_video(folder / "recordings" / "MP4" / "123.mp4", frames=frames, fps=fps)
    return folder


def test_droid(tmp_path, make_video, read_number):
    """The film is a frame short, and its header tells a rate at which it was not taken."""
    truth = {name: arm_states() for name in ("one", "two")}
    for name, states in truth.items():
        write_droid(tmp_path, name, *states, make_video, frames=STEPS - 1)
    for episode, (states, gripper) in zip(read_episodes(tmp_path), truth.values(), strict=True):
        assert (episode.space, episode.rate, len(episode.times)) == (ARM, pytest.approx(15), STEPS - 1)
        np.testing.assert_array_equal(episode.poses, np.column_stack([states, gripper])[:-1])
        assert [read_number(frame) for frame in episode.frames([4, 0, 10], 64)] == [4, 0, 10]
        (chosen,), rate = episode.sampled(4)
        assert (chosen.tolist(), rate) == ([0, 4, 8], pytest.approx(3.75))


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"ext1_cam_extrinsics": EXTRINSICS}, None),  # as DROID is released
        ({"ext1_cam_extrinsics": EXTRINSICS, "ext1_cam_field_of_view": 50}, Camera.of(EXTRINSICS, 50)),
        ({"ext2_cam_extrinsics": EXTRINSICS, "ext2_cam_field_of_view": 50}, None),  # another camera's
        ({"ext1_cam_extrinsics": EXTRINSICS[:5], "ext1_cam_field_of_view": 50}, "a camera is six numbers"),
        ({"ext1_cam_extrinsics": None, "ext1_cam_field_of_view": 50}, "a camera is six numbers"),
    ],
)
def test_the_camera_of_a_droid_episode(tmp_path, make_video, told, found):
    folder, _ = (write_droid(tmp_path, name, *arm_states(), make_video) for name in ("one", "two"))
    (metadata,) = folder.glob("metadata_*.json")
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | told))
    if isinstance(found, str):
        with pytest.raises(WildlamError, match=rf"metadata_LAB\+0\.json: {found}"):
            read_episodes(tmp_path)
    else:
        assert read_episodes(tmp_path)[0].camera == found


def test_a_droid_film_with_a_gap(tmp_path, make_video, read_number, caplog):
    """The fifth frame is lost: its state has none, and those after it keep theirs. The film's clock is too fast."""
    truth = arm_states()
    there = [k for k in range(STEPS) if k != 4]
    for name in ("one", "two"):
        folder = write_droid(tmp_path, name, *truth, make_video)
        times = [k / 30 + 0.004 * (k % 2) for k in there]
        make_video(folder / "recordings/MP4/123.mp4", frames=STEPS - 1, fps=30, times=times)
    for episode in read_episodes(tmp_path):
        np.testing.assert_array_equal(episode.poses[:, :6], truth[0][there])
        assert [read_number(frame) for frame in episode.frames(range(STEPS - 1), 64)] == list(range(STEPS - 1))
        assert episode.rate == pytest.approx(15)
        assert [run.tolist() for run in episode.sampled(15)[0]] == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9, 10]]
        assert f"{episode.name} 1 (up to 0." in caplog.text


def test_a_droid_film_that_is_another_ones_is_refused(tmp_path, make_video, caplog):
    for name in ("one", "two"):
        folder = write_droid(tmp_path, name, *arm_states(), make_video, frames=STEPS + 3)
    read_episodes(tmp_path)
    assert f"goes on for 3 frames after the last of the {STEPS} states" in caplog.text
    make_video(folder / "recordings/MP4/123.mp4", frames=3 * STEPS, fps=60)
    with pytest.raises(WildlamError, match=r"123\.mp4: goes on for 24 frames .* another recording's"):
        read_episodes(tmp_path)


LEROBOT_CAMERA = "observation.images.exterior_1_left"
INFO = "meta/info.json"


def write_lerobot(root, version, make_video, frames=STEPS, episodes=2):
    """Some episodes, whose films (v2.1), or the last of them (v3.0), may be of other lengths than their states."""
    camera, truth = LEROBOT_CAMERA, [arm_states() for _ in range(episodes)]
    states = "observation.state.cartesian_position", "observation.state.gripper_position"
    features = {name: {"dtype": "float32"} for name in states} | {camera: {"dtype": "video"}}
    tables = [
        pa.table(
            {
                states[0]: list(arm), states[1]: list(gripper), "timestamp": np.arange(STEPS) / 15,
                "episode_index": np.full(STEPS, i),
            }
        )
        for i, (arm, gripper) in enumerate(truth)
    ]  # fmt: skip
    if version == "v3.0":
        info = {"data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
                "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"}  # fmt: skip
        rows = [
            {"episode_index": i, "data/chunk_index": 0, "data/file_index": 0, f"videos/{camera}/chunk_index": 0,
             f"videos/{camera}/file_index": 0, f"videos/{camera}/from_timestamp": i * STEPS / 15,
             f"videos/{camera}/to_timestamp": (i + 1) * STEPS / 15}
            for i in range(episodes)
        ]  # fmt: skip
        for folder in ("meta/episodes/chunk-000", "data/chunk-000"):
            (root / folder).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")
        pq.write_table(pa.concat_tables(tables), root / "data/chunk-000/file-000.parquet")
        make_video(
            root / "videos" / camera / "chunk-000" / "file-000.mp4", frames=(episodes - 1) * STEPS + frames, fps=15
        )
    else:
        info = {"data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
                "video_path": VIDEOS_V2}  # fmt: skip
        for folder in ("meta", "data/chunk-000"):
            (root / folder).mkdir(parents=True)
        (root / "meta" / "episodes.jsonl").write_text("".join(f'{{"episode_index": {i}}}\n' for i in range(episodes)))
        for i, table in enumerate(tables):
            pq.write_table(table, root / f"data/chunk-000/episode_{i:06d}.parquet")
            make_video(root / f"videos/chunk-000/{camera}/episode_{i:06d}.mp4", frames=frames, fps=15)
    info |= {"codebase_version": version, "fps": 15, "features": features, "chunks_size": 1000}
    (root / INFO).write_text(json.dumps(info))
    return truth


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_lerobot(tmp_path, make_video, read_number, version):
    truth = write_lerobot(tmp_path, version, make_video)
    for i, (episode, (arm, gripper)) in enumerate(zip(read_episodes(tmp_path), truth, strict=True)):
        assert (episode.space, episode.name) == (ARM, f"episode_{i:06d}")
        np.testing.assert_allclose(episode.poses, np.column_stack([arm, gripper]))
        first = i * STEPS if version == "v3.0" else 0
        assert [read_number(frame) - first for frame in episode.frames([5, 0, 11], 64)] == [5, 0, 11]


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_the_camera_of_a_lerobot_episode(tmp_path, make_video, version):
    write_lerobot(tmp_path, version, make_video)
    name = LEROBOT_CAMERA.rsplit(".", 1)[-1]

    def tell(extrinsics, **angle):
        for file in (tmp_path / "data").rglob("*.parquet"):
            table = pq.read_table(file).drop_columns([c for c in columns if c in pq.read_table(file).column_names])
            table = table.append_column(columns[0], [[extrinsics] * len(table)])
            if angle:
                numbers = [angle["first"] + i for i in table["episode_index"].to_pylist()]
                table = table.append_column(columns[1], [numbers])
            pq.write_table(table, file)

    columns = f"camera_extrinsics.{name}", f"camera_field_of_view.{name}"
    tell(EXTRINSICS)  # as DROID's port has it
    assert [episode.camera for episode in read_episodes(tmp_path)] == [None, None]
    tell(EXTRINSICS, first=40.0)
    assert [e.camera for e in read_episodes(tmp_path)] == [Camera.of(EXTRINSICS, 40), Camera.of(EXTRINSICS, 41)]
    tell(EXTRINSICS[:3], first=40.0)
    with pytest.raises(WildlamError, match="episode_000000: a camera is six numbers"):
        read_episodes(tmp_path)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_lerobot_film_that_is_short_ends_its_episode(tmp_path, make_video, read_number, version):
    truth = write_lerobot(tmp_path, version, make_video, frames=STEPS - 2)
    episode = read_episodes(tmp_path)[1]
    assert len(episode.times) == STEPS - 2
    np.testing.assert_allclose(episode.poses[:, :6], truth[1][0][:-2])
    assert read_number(episode.frames([STEPS - 3], 64)[0]) == STEPS - 3 + (STEPS if version == "v3.0" else 0)


def test_a_lerobot_episode_does_not_run_on_into_the_next(tmp_path, make_video):
    write_lerobot(tmp_path, "v3.0", make_video)
    file = tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(file).to_pylist()
    rows[0][f"videos/{LEROBOT_CAMERA}/to_timestamp"] = 9 / 15
    pq.write_table(pa.Table.from_pylist(rows), file)
    assert [len(episode.times) for episode in read_episodes(tmp_path)] == [9, STEPS]


def changed(root, **fields):
    (root / INFO).write_text(json.dumps(json.loads((root / INFO).read_text()) | fields))


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize(
    ("splits", "expected", "said"),
    [
        ({"train": "3:4", "test": "7:8"}, {3: "train", 7: "held_out"}, ""),
        ({"test": "0:7"}, {3: "held_out", 7: "train"}, ""),
        ({"train": "0:8", "val": "7:8"}, {3: "train", 7: "held_out"}, "on and held out, so held out: episodes 7"),
        ({"test": "5:9", "train": "9:9"}, {3: "train", 7: "held_out"}, ""),
        ({"train": "0:5"}, {3: "train", 7: "held_out"}, "in no split that it states, so held out: episodes 7"),
        ({"train": "3:4", "test": "7:8", "val": "8:8"}, {3: "train", 7: "held_out"}, ""),
    ],
)  # fmt: skip
def test_a_stated_split_is_followed_by_number(tmp_path, make_video, version, splits, expected, said, caplog):
    numbered(tmp_path, version, make_video, (3, 7))
    changed(tmp_path, splits=splits)
    assert {int(episode.name[-6:]): episode.split for episode in read_episodes(tmp_path)} == expected
    assert said in caplog.text
    assert said or not caplog.records


def test_an_episode_that_no_split_states_is_left_out(tmp_path, make_video, caplog):
    numbered(tmp_path, "v3.0", make_video, (3, 5, 7))
    changed(tmp_path, splits={"train": "3:4", "test": "7:8"})
    assert [(episode.name, episode.split) for episode in read_episodes(tmp_path)] == [
        ("episode_000003", "train"),
        ("episode_000007", "held_out"),
    ]
    assert "in no split that it states, so left out: episodes 5" in caplog.text
    changed(tmp_path, splits={"train": "0:1", "test": "7:8"})
    with pytest.raises(
        WildlamError, match=r"the split 'train' is '0:1' and holds none of the episodes: .* 3 to 7, 3 of"
    ):
        read_episodes(tmp_path)
    changed(tmp_path, splits={"train": "3:4", "test": "8:9"})
    with pytest.raises(WildlamError, match="the split 'test' is '8:9' and holds none of the episodes"):
        read_episodes(tmp_path)


def numbered(root, version, make_video, numbers):
    """Episodes of these numbers, as deletions leave them."""
    write_lerobot(root, version, make_video, episodes=len(numbers))
    if version == "v3.0":
        for file in (root / "meta/episodes/chunk-000/file-000.parquet", root / "data/chunk-000/file-000.parquet"):
            rows = [row | {"episode_index": numbers[row["episode_index"]]} for row in pq.read_table(file).to_pylist()]
            pq.write_table(pa.Table.from_pylist(rows), file)
        return
    (root / "meta/episodes.jsonl").write_text("".join(f'{{"episode_index": {number}}}\n' for number in numbers))
    for i, number in reversed([*enumerate(numbers)]):
        for file in [*root.rglob(f"episode_{i:06d}.*")]:
            file.rename(file.with_stem(f"episode_{number:06d}"))


def times_changed(root, version, change):
    for file in sorted((root / "data").rglob("*.parquet")):
        rows = [row | {"timestamp": change(row["timestamp"])} for row in pq.read_table(file).to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows), file)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_lerobot_states_get_the_nearest_frame(tmp_path, make_video, read_number, version, caplog):
    """States that are 0.4 of a frame early get their own frame, not the one that is still on display."""
    write_lerobot(tmp_path, version, make_video)
    times_changed(tmp_path, version, lambda time: time - 0.2 / 15)
    for i, episode in enumerate(read_episodes(tmp_path)):
        first = i * STEPS if version == "v3.0" else 0
        assert [read_number(frame) - first for frame in episode.frames(range(STEPS), 64)] == list(range(STEPS))
    assert not caplog.records
    times_changed(tmp_path, version, lambda time: time - 0.2 / 15)
    for i, episode in enumerate(read_episodes(tmp_path)):
        first = i * STEPS if version == "v3.0" else 0
        assert [read_number(frame) - first for frame in episode.frames(range(STEPS), 64)] == list(range(STEPS))
    assert "episode_000000 (up to 0.40 of a frame); episode_000001 (up to 0.40 of a frame)" in caplog.text


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_lerobot_states_that_are_a_frame_late_are_told(tmp_path, make_video, read_number, version, caplog):
    """By time they get the next frame; that frames and states are equally many tells that it is not theirs."""
    write_lerobot(tmp_path, version, make_video)
    times_changed(tmp_path, version, lambda time: time + 1 / 15)
    episode = read_episodes(tmp_path)[1]
    first = STEPS if version == "v3.0" else 0
    assert [read_number(frame) - first for frame in episode.frames(range(STEPS - 1), 64)] == list(range(1, STEPS))
    assert "episode_000001 (by 1)" in caplog.text
    assert "episode_000001 1 (up to 0.067 s away)" in caplog.text


def test_an_episode_that_begins_in_the_one_before_is_told(tmp_path, make_video, caplog):
    write_lerobot(tmp_path, "v3.0", make_video, episodes=3)
    file = tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(file).to_pylist()
    for i in range(1, 3):
        for end in ("from", "to"):
            rows[i][f"videos/{LEROBOT_CAMERA}/{end}_timestamp"] -= 2 / 15
        pq.write_table(pa.Table.from_pylist(rows), file)
    data = tmp_path / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(data).slice(1), data)  # so that states and frames are not equally many
    assert len(read_episodes(tmp_path)) == 3
    assert "states have other frames than by time: episode_000001 (by 2); episode_000002 (by 2)" in caplog.text
    for end in ("from", "to"):
        rows[0][f"videos/{LEROBOT_CAMERA}/{end}_timestamp"] -= 2 / 15
    pq.write_table(pa.Table.from_pylist(rows), file)
    read_episodes(tmp_path)
    assert "by time: episode_000000 (by 2); episode_000001 (by 2); episode_000002 (by 2)" in caplog.text


def test_lerobot_counts_in_the_films_own_time(tmp_path, make_video, read_number, caplog):
    """The film begins a fifth of a second late, and so do its episodes."""
    write_lerobot(tmp_path, "v2.1", make_video)
    for film in tmp_path.rglob("*.mp4"):
        make_video(film, frames=STEPS, fps=15, times=[0.2 + k / 15 for k in range(STEPS)])
    episode = read_episodes(tmp_path)[0]
    assert [read_number(frame) for frame in episode.frames([0, 4], 64)] == [0, 4]
    np.testing.assert_allclose(episode.times[:2], [3 / 15, 4 / 15])
    assert "episode_000000 3 (up to 0.200 s away)" in caplog.text


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_states_beyond_the_tolerance_are_refused(tmp_path, make_video, version):
    write_lerobot(tmp_path, version, make_video, frames=4)
    kept = {"v2.1": [4, 4], "v3.0": [STEPS, 4]}[version]
    assert [len(episode.times) for episode in read_episodes(tmp_path)] == kept
    with pytest.raises(
        WildlamError, match=r"8 of 12 states have no frame near them; one is 0\.53 s .* larger tolerance"
    ):
        read_episodes(tmp_path, tolerance=0.5)
    with pytest.raises(WildlamError, match=r"^tolerance must be a positive number of seconds, got 0"):
        read_episodes(tmp_path, tolerance=0)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_lerobot_numbers_as_lists_of_one(tmp_path, make_video, version):
    truth = write_lerobot(tmp_path, version, make_video)
    for file in tmp_path.rglob("*.parquet"):
        rows = [
            {k: v if isinstance(v, list) else [v] for k, v in row.items()} for row in pq.read_table(file).to_pylist()
        ]
        pq.write_table(pa.Table.from_pylist(rows), file)
    for episode, (arm, _) in zip(read_episodes(tmp_path), truth, strict=True):
        np.testing.assert_allclose(episode.poses[:, :6], arm)
        np.testing.assert_allclose(episode.times, np.arange(STEPS) / 15)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_links_of_the_hubs_cache_and_a_linked_folder_are_followed(tmp_path, make_video, read_number, version):
    root, blobs = tmp_path / "snapshots" / "main", tmp_path / "blobs"
    write_lerobot(root, version, make_video)
    blobs.mkdir()
    for i, file in enumerate([file for file in root.rglob("*") if file.is_file()]):
        file.rename(blobs / str(i))
        file.symlink_to(os.path.relpath(blobs / str(i), file.parent))
    (root / "videos").rename(tmp_path / "another disk")
    (tmp_path / "another disk").rename(root / "videos.real")  # at the same depth, as the links in it are relative
    (root / "videos").symlink_to(root / "videos.real")
    episode = read_episodes(root)[0]
    assert [read_number(frame) for frame in episode.frames([3, 9], 64)] == [3, 9]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("codebase_version", 3, "codebase_version is '3'; expected a text"),
        ("codebase_version", "v9", "format 'v9'"),
        ("features", [], "features is .*; expected an object"),
        ("features", {LEROBOT_CAMERA: "video"}, f"{LEROBOT_CAMERA} is 'video'; expected an object"),
        ("chunks_size", "many", "chunks_size is 'many'; expected a whole number"),
        ("chunks_size", 0, "chunks_size is 0"),
        ("data_path", 7, "data_path is '7'; expected a text"),
        ("video_path", "{nobody}", "the path '{nobody}' cannot be filled in"),
        ("video_path", "videos/{video_key.x}/a.mp4", "the path .* cannot be filled in"),
        ("splits", ["train"], "splits is .*; expected an object"),
        ("splits", {"test": "the rest"}, "the split 'test' is 'the rest'; expected FIRST:LAST"),
        ("video_path", "/etc/{video_key}.mp4", "the path '/etc/.*' leads out of the data set"),
        ("video_path", "videos/../../{video_key}.mp4", "the path .* leads out of the data set"),
    ],
)
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_malformed_lerobot_field_is_named(tmp_path, make_video, version, field, value, said):
    write_lerobot(tmp_path, version, make_video)
    info = json.loads((tmp_path / INFO).read_text())
    (tmp_path / INFO).write_text(json.dumps(info | {field: value}))
    with pytest.raises(WildlamError, match=said):
        read_episodes(tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (f"videos/{LEROBOT_CAMERA}/from_timestamp", "soon", r"file-000\.parquet: .* is no episode \(could not convert"),
        (f"videos/{LEROBOT_CAMERA}/chunk_index", None, r"file-000\.parquet|cannot be filled in"),
        ("episode_index", 0.5, r"file-000\.parquet: .* is no episode"),
        ("episode_index", None, r"file-000\.parquet: .* is no episode"),
    ],
)
def test_a_malformed_lerobot_row_is_named(tmp_path, make_video, column, value, said):
    write_lerobot(tmp_path, "v3.0", make_video)
    file = tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    rows = [row | {column: value} for row in pq.read_table(file).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), file)
    with pytest.raises(WildlamError, match=said):
        read_episodes(tmp_path)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("timestamp", ["noon"] * STEPS, "its states cannot be read"),
        ("timestamp", [0.0] * STEPS, "its times must be finite and rise"),
        ("observation.state.gripper_position", [float("nan")] * STEPS, "numbers must be finite; gripper of frame 0"),
        ("observation.state.gripper_position", [[0.0, 1.0]] * STEPS, "8 numbers a frame, in meta/info.json it has 7"),
        ("observation.state.gripper_position", None, "its table has no column observation.state.gripper_position"),
    ],
)
def test_malformed_lerobot_states_are_named(tmp_path, make_video, version, column, values, said):
    write_lerobot(tmp_path, version, make_video)
    for file in (tmp_path / "data").rglob("*.parquet"):
        table = pq.read_table(file)
        kept = table.drop_columns(column)
        several = len(table) // STEPS
        pq.write_table(kept if values is None else kept.append_column(column, pa.array(values * several)), file)
    with pytest.raises(WildlamError, match=said):
        read_episodes(tmp_path)


def test_a_lerobot_table_without_episodes_is_named(tmp_path, make_video):
    write_lerobot(tmp_path, "v3.0", make_video)
    file = tmp_path / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(file).drop_columns("episode_index"), file)
    with pytest.raises(WildlamError, match=r"file-000\.parquet: has no column episode_index"):
        read_episodes(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("cartesian_position", np.zeros((STEPS, 5)), "do not fit"),
        ("gripper_position", np.zeros(STEPS - 1), "do not fit"),
        ("gripper_position", None, "there is no observation/robot_state/gripper_position"),
        ("gripper_position", ["open"] * STEPS, "(must be numbers|no appropriate function)"),
    ],
)
def test_malformed_droid_states_are_named(tmp_path, make_video, key, value, said):
    for name in ("a", "b"):
        folder = write_droid(tmp_path, name, *arm_states(), make_video)
    with h5py.File(folder / "trajectory.h5", "a") as file:
        del file[f"observation/robot_state/{key}"]
        if value is not None:
            file[f"observation/robot_state/{key}"] = value
    with pytest.raises(WildlamError, match=rf"b/trajectory\.h5: .*{said}"):
        read_episodes(tmp_path)


def test_what_is_malformed_is_named(tmp_path, make_video):
    with pytest.raises(WildlamError, match="no such folder"):
        read_episodes(tmp_path / "nowhere")
    recon = tmp_path / "recon"
    recon.mkdir()
    for name in ("a", "b"):
        write_recon(recon, name, *path_on_the_ground())
    with h5py.File(recon / "jackal_a.hdf5", "a") as file:
        del file["jackal/yaw"]
    with pytest.raises(WildlamError, match=r"jackal_a\.hdf5: there is no jackal/yaw"):
        read_episodes(recon)
    with h5py.File(recon / "jackal_b.hdf5", "r+") as file:
        del file["images/rgb_left"]
        file["images/rgb_left"] = 3
    write_recon(recon, "a", *path_on_the_ground())
    with pytest.raises(WildlamError, match=r"jackal_b\.hdf5: images/rgb_left must be \(T,\)"):
        read_episodes(recon)
    (recon / "jackal_a.hdf5").write_bytes((recon / "jackal_b.hdf5").read_bytes()[:500])
    with pytest.raises(WildlamError, match=r"jackal_a\.hdf5: not a whole HDF5 file"):
        read_episodes(recon)
    droid = tmp_path / "droid"
    for name in ("a", "b"):
        folder = write_droid(droid, name, *arm_states(), make_video)
    next(folder.glob("recordings/MP4/*")).unlink()
    with pytest.raises(WildlamError, match=r"123\.mp4: there is no such film"):
        read_episodes(droid)
    lerobot = tmp_path / "lerobot" / "meta"
    lerobot.mkdir(parents=True)
    (lerobot / "info.json").write_text("{")
    with pytest.raises(WildlamError, match=r"info\.json: cannot be read as JSON"):
        read_episodes(tmp_path / "lerobot")
    (lerobot / "info.json").write_text('{"codebase_version": "v3.0"}')
    with pytest.raises(WildlamError, match=r"info\.json: features is missing; expected an object"):
        read_episodes(tmp_path / "lerobot")


def test_paths_that_lead_out_of_the_data_set_are_refused(tmp_path):
    states = "observation.state.cartesian_position", "observation.state.gripper_position"
    features = {name: {"dtype": "float32"} for name in states} | {"camera": {"dtype": "video"}}
    info = {"codebase_version": "v2.1", "fps": 15, "features": features, "video_path": VIDEOS_V2}
    info["data_path"] = "../../secret_{episode_index}.parquet"
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
    (tmp_path / "meta" / "episodes.jsonl").write_text('{"episode_index": 0}')
    with pytest.raises(WildlamError, match="leads out of the data set"):
        read_episodes(tmp_path)
    (tmp_path / "meta" / "episodes.jsonl").write_text("{}")
    with pytest.raises(WildlamError, match=r"episodes\.jsonl: cannot be read"):
        read_episodes(tmp_path)


def test_a_format_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "newest.py").write_text(
        "from wildlam.episodes.formats.base import Format\n"
        "read = lambda path, tolerance, reading: range(0)\n"
        "FORMAT = Format('newest', -1, lambda path: (path / 'new').exists(), read)\n"
    )
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    monkeypatch.setattr(formats, "FORMATS", formats._found())
    assert list(formats.FORMATS) == ["newest", "lerobot", "droid", "rlds", "demos", "replay buffer", "recon", "video"]
    (tmp_path / "new").touch()
    assert formats.read_episodes(tmp_path) == range(0)


@pytest.mark.parametrize(
    ("form", "space", "rate"), [("droid", ARM, 15.0), ("recon", PLANAR, 4.0), ("lerobot", ARM, 8.0)]
)
def test_episodes_of_another_kind_or_rate_are_not_written(tmp_path, form, space, rate):
    def episode(name, space, rate):
        times = np.arange(STEPS) / rate
        return Episode(name, "train", times, np.zeros((STEPS, len(space.pose_names))), space, frames=None)

    fits, write = episode("a", space, rate), formats.FORMATS[form].write
    other = PLANAR if space is ARM else ARM
    for wrong in (episode("b", space, rate + 1), episode("b", other, rate)):
        with pytest.raises(WildlamError, match=rf"; b has {wrong.rate:g} {wrong.space.name} poses a second"):
            write(tmp_path / "out", [fits, wrong])
    assert not (tmp_path / "out").exists()  # not the first alone


RLDS = Path(make.__file__).parent / make.NAME
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n"


@pytest.mark.parametrize(
    ("write", "files"),
    [
        (lambda path, make_video: write_lerobot(path, "v3.0", make_video), "data/*/*.parquet"),
        (lambda path, make_video: write_lerobot(path, "v3.0", make_video), "meta/episodes/*/*.parquet"),
        (lambda path, make_video: write_lerobot(path, "v2.1", make_video), "**/*.mp4"),
        (lambda path, make_video: write_lerobot(path, "v2.1", make_video), "meta/info.json"),
        (lambda path, make_video: write_droid(path, "a", *arm_states(), make_video), "**/trajectory.h5"),
        (lambda path, make_video: (path / "demo.hdf5").touch(), "demo.hdf5"),
        (lambda path, make_video: (path / "demo.h5").touch(), "demo.h5"),
        (lambda path, make_video: (path / "pusht.zarr.zip").touch(), "pusht.zarr.zip"),
        (lambda path, make_video: shutil.copytree(RLDS, path / "arm"), "arm/**/*.tfrecord*"),
        (lambda path, make_video: write_walk(path, make_video), "*.poses.csv"),
        (lambda path, make_video: write_walk(path, make_video), "*.mp4"),
    ],
)
def test_files_that_git_lfs_has_not_fetched_are_told(tmp_path, make_video, write, files):
    write(tmp_path, make_video)
    found = sorted(tmp_path.glob(files))
    assert found
    for file in found:
        file.write_text(POINTER)
    with pytest.raises(WildlamError, match=r"a Git LFS pointer, not the file itself: fetch it by `git lfs pull`"):
        read_episodes(tmp_path, reading=Reading(rate=5) if "arm" in files else FIRST)


def write_walk(path, make_video):
    for name in "ab":
        make_video(path / f"{name}.mp4", frames=24, fps=8)
        write_poses(path / f"{name}.mp4", np.zeros((24, 3)), fps=8)


def test_pictures_and_chunks_that_git_lfs_has_not_fetched_are_told(tmp_path):
    with pytest.raises(WildlamError, match="frame 3: a Git LFS pointer"):
        decode_picture(POINTER.encode(), "frame 3")
    buffer = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    buffer.create_array("data/action", data=np.zeros((8, 2)))
    buffer.create_array("data/img", data=np.zeros((8, 8, 8, 3), np.uint8))
    buffer.create_array("meta/episode_ends", data=np.array([4, 8]))
    read_episodes(tmp_path)
    (tmp_path / "a.zarr/data/action/0.0").write_text(POINTER)
    with pytest.raises(WildlamError, match=r"action/0\.0: a Git LFS pointer"):
        read_episodes(tmp_path)
