"""A LeRobotDataset v2.1 in ALOHA's layout: 14 joints, a camera above and one at a wrist."""

import io
import json

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

JOINTS = 14
STEPS = 40
FPS = 20
CAMERAS = ("observation.images.cam_high", "observation.images.cam_left_wrist")
DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
FILMS = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def png(k):
    buffer = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), 5 * k, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def motion(seed):
    """Commanded joints, and where they were: one step late."""
    commands = np.random.default_rng(seed).normal(size=(STEPS, JOINTS)).cumsum(axis=0)
    return commands, np.concatenate([commands[:1], commands[:-1]])


def film_arms(path, states):
    """A film of two arms of seven links, whose joints turn by a tenth of the states, each from the link before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for joints in states:
            picture = Image.new("RGB", (64, 48), (40, 60, 50))
            for arm, x in enumerate((16, 48)):
                turned = np.cumsum(joints[7 * arm : 7 * arm + 7] / 10)
                links = np.stack([6 * np.sin(turned), -6 * np.cos(turned)], axis=1)
                ends = np.cumsum([[x, 46], *links], axis=0)
                ImageDraw.Draw(picture).line([tuple(end) for end in ends], (255, 160, 200 * arm), width=3)
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def write_aloha(folder, make_video, kind="video", names=None, numbers=(0, 1, 3)):
    """Write it, with films or with pictures in the tables; if ``make_video`` is None, with films of the arms."""
    of_joints = {"dtype": "float32", "shape": [JOINTS], "names": names}
    info = {
        "codebase_version": "v2.1",
        "fps": FPS,
        "chunks_size": 1000,
        "data_path": DATA,
        **({"video_path": FILMS} if kind == "video" else {}),
        "features": {"action": of_joints, "observation.state": of_joints}
        | {key: {"dtype": kind, "shape": [48, 64, 3]} for key in CAMERAS},
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    lines = [json.dumps({"episode_index": number, "length": STEPS}) for number in numbers]
    (folder / "meta/episodes.jsonl").write_text("\n".join(lines))
    for number in numbers:
        commands, states = motion(number)
        columns = {
            "action": list(commands.astype(np.float32)),
            "observation.state": list(states.astype(np.float32)),
            "timestamp": (np.arange(STEPS) / FPS).astype(np.float32),
            "episode_index": np.full(STEPS, number),
        }
        for camera in CAMERAS:
            if kind == "video":
                film = folder / FILMS.format(episode_chunk=0, video_key=camera, episode_index=number)
                make_video(film, frames=STEPS, fps=FPS) if make_video else film_arms(film, states)
            else:
                columns[camera] = [{"bytes": png(k), "path": None} for k in range(STEPS)]
        file = folder / DATA.format(episode_chunk=0, episode_index=number)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), file)
    return folder
