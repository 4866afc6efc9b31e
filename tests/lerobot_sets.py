"""A LeRobotDataset v3.0 of some episodes by two cameras, each of whose films holds all of them."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

EPISODES, STEPS, FPS = 6, 40, 20
CAMERAS = ("observation.images.gantry", "observation.images.laptop")  # no word that recordings know


def write_films(root, make_video, **changed):
    """Without states. Its table's numbers are lists of one, as some tools write; ``info.json`` may be changed."""
    info = {
        "codebase_version": "v3.0",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": {camera: {"dtype": "video"} for camera in CAMERAS},
    }
    rows = [
        {"episode_index": [number]}
        | {
            f"videos/{camera}/{name}": value
            for camera in CAMERAS
            for name, value in (
                ("chunk_index", 0),
                ("file_index", 0),
                ("from_timestamp", number * STEPS / FPS),
                ("to_timestamp", (number + 1) * STEPS / FPS),
            )
        }
        for number in range(EPISODES)
    ]
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info | changed))
    pq.write_table(pa.Table.from_pylist(rows), root / "meta/episodes/chunk-000/file-000.parquet")
    for camera in CAMERAS:
        make_video(root / "videos" / camera / "chunk-000/file-000.mp4", frames=EPISODES * STEPS, fps=FPS)
    return root


def write_with_states(root, make_video, **changed):
    """With poses on the ground beside the films."""
    space = ["x", "y", "heading"]
    state = {"observation.state": {"dtype": "float32", "shape": [3], "names": space}}
    template = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    features = {camera: {"dtype": "video"} for camera in CAMERAS} | state
    write_films(root, make_video, features=features, data_path=template, **changed)
    file = root / "meta/episodes/chunk-000/file-000.parquet"
    rows = [row | {"data/chunk_index": 0, "data/file_index": 0} for row in pq.read_table(file).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), file)
    (root / "data/chunk-000").mkdir(parents=True)
    columns = {
        "episode_index": np.repeat(np.arange(EPISODES), STEPS),
        "timestamp": np.tile(np.arange(STEPS) / FPS, EPISODES),
        "observation.state": list(np.random.default_rng(0).normal(size=(EPISODES * STEPS, 3))),
    }
    pq.write_table(pa.table(columns), root / template.format(chunk_index=0, file_index=0))
    return root
