"""Data sets of others, written here as they lie on disk, read back: frames, poses; and what is malformed."""

import io
import json
import pickle

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from wildlam.data.action_spaces import ARM, PLANAR
from wildlam.data.readers import read_episodes
from wildlam.types import WildlamError

RNG = np.random.default_rng(0)
STEPS = 12
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


LEROBOT_CAMERA = "observation.images.exterior_1_left"
INFO = "meta/info.json"


def write_lerobot(root, version, make_video, frames=STEPS):
    """Two episodes, whose films (v2.1), or the last of them (v3.0), may be of other lengths than their states."""
    camera, truth = LEROBOT_CAMERA, [arm_states() for _ in range(2)]
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
            for i in range(2)
        ]  # fmt: skip
        for folder in ("meta/episodes/chunk-000", "data/chunk-000"):
            (root / folder).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")
        pq.write_table(pa.concat_tables(tables), root / "data/chunk-000/file-000.parquet")
        make_video(root / "videos" / camera / "chunk-000" / "file-000.mp4", frames=STEPS + frames, fps=15)
    else:
        info = {"data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
                "video_path": VIDEOS_V2}  # fmt: skip
        for folder in ("meta", "data/chunk-000"):
            (root / folder).mkdir(parents=True)
        (root / "meta" / "episodes.jsonl").write_text('{"episode_index": 0}\n{"episode_index": 1}\n')
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
        ("timestamp", [0.0] * STEPS, "its times rise"),
        ("observation.state.gripper_position", [float("nan")] * STEPS, "must be finite"),
        ("observation.state.gripper_position", [[0.0, 1.0]] * STEPS, "states of 8 numbers; expected two or more of 7"),
        ("observation.state.gripper_position", None, "its states cannot be read"),
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
    with pytest.raises(WildlamError, match=r"file-000\.parquet: its episode_index cannot be compared"):
        read_episodes(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("cartesian_position", np.zeros((STEPS, 5)), "do not fit"),
        ("gripper_position", np.zeros(STEPS - 1), "do not fit"),
        ("gripper_position", np.full(STEPS, np.nan), "finite states"),
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
