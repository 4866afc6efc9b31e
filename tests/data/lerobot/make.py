"""Two small data sets, written by LeRobot itself: in format v2.1 by lerobot 0.3.3, in v3.0 by lerobot 0.4.4.

    PYTHONHASHSEED=0 l2/bin/python make.py v21
    PYTHONHASHSEED=0 l3/bin/python make.py v30

Each in an environment of its own, with no more of what LeRobot wants than this takes (README.md has the versions):

    python3.11 -m venv l2
    l2/bin/pip install --no-deps lerobot==0.3.3 torchvision==0.22.1
    l2/bin/pip install torch==2.7.1 datasets==3.6.0 "huggingface_hub<0.36" "av>=14.2,<16" jsonlines einops \
        "deepdiff<9" packaging "pandas<3" pyarrow pillow "termcolor<4" "numpy<2.3" imageio draccus==0.10.0

    python3.11 -m venv l3
    l3/bin/pip install --no-deps lerobot==0.4.4 torchvision==0.22.1 "accelerate<2" psutil safetensors
    l3/bin/pip install torch==2.7.1 "datasets>=4,<5" "huggingface_hub<0.36" "av>=15,<16" "jsonlines<5" "einops<0.9" \
        "deepdiff<9" "packaging<26" "pandas<3" pyarrow pillow "termcolor<4" "numpy<2.3" imageio draccus==0.10.0

``aloha`` has joints, commands and the films of two cameras, ``pusht`` a body on a plane and pictures in the tables.
Every picture tells of which episode, frame and camera it is: see ``picture`` and ``told_by``. The tests import this
file: it needs NumPy alone to be imported, and LeRobot to be run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DARK, BRIGHT = 40, 215
BITS = 4
"""The middle of a picture is 4 x 4 squares, each one bit, told by its mean grey level."""

SIDE = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
LIFT, HAND = "Lift the cube with the right arm.", "Hand the cube over to the left arm."


@dataclass(frozen=True)
class Made:
    """What a data set holds.

    Attributes:
        robot: its kind of robot.
        fps: frames a second.
        lengths: frames of each episode.
        tasks: what is done in each.
        components: names of the components of states and commands.
        cameras: keys of the cameras.
        kind: whether the pictures are a "video", or each an "image" in the table.
        size: width and height of a picture.
        rewarded: whether there are rewards, and success.
    """

    robot: str
    fps: int
    lengths: tuple[int, ...]
    tasks: tuple[str, ...]
    components: tuple[str, ...]
    cameras: tuple[str, ...]
    kind: str
    size: tuple[int, int]
    rewarded: bool = False


SETS = {
    "aloha": Made(
        robot="aloha",
        fps=50,
        lengths=(60, 91, 75),
        tasks=(LIFT, HAND, LIFT),
        components=tuple(f"{side}_{joint}" for side in ("left", "right") for joint in SIDE),
        cameras=("observation.images.top", "observation.images.left_wrist"),
        kind="video",
        size=(64, 48),
    ),
    "pusht": Made(
        robot="2d pointer",
        fps=10,
        lengths=(25, 25, 25),
        tasks=("Push the T onto its mark.",) * 3,
        components=("motor_0", "motor_1"),
        cameras=("observation.image",),
        kind="image",
        size=(32, 32),
        rewarded=True,
    ),
}


def motion(name: str, episode: int) -> tuple[np.ndarray, np.ndarray]:
    """States and commands ``float32 [F, C]`` of an episode: swings of each component, and the state 20 ms behind."""
    made = SETS[name]
    count = len(made.components)
    random = np.random.default_rng([episode, count])
    sizes, rates, phases = random.uniform(0.2, 1.5, count), random.uniform(0.3, 1.2, count), random.uniform(0, 6, count)
    times = np.arange(made.lengths[episode])[:, None] / made.fps

    def at(moments: np.ndarray) -> np.ndarray:
        return (episode + sizes * np.sin(2 * np.pi * rates * moments + phases)).astype(np.float32)

    return at(times - 0.02), at(times)


def reward(name: str, episode: int, frame: int) -> tuple[np.float32, bool]:
    """The reward of a frame, which rises to 1, and whether the task is done."""
    share = (frame + 1) / SETS[name].lengths[episode]
    return np.float32(share), share == 1


def picture(name: str, episode: int, frame: int, camera: int = 0) -> np.ndarray:
    """A picture ``uint8 [H, W, 3]`` that tells its number: ``told_by`` reads it back."""
    width, height = SETS[name].size
    number = camera << 9 | episode << 7 | frame
    bits = [(number | (number * 37 % 63) << 10) >> place & 1 for place in range(BITS * BITS)]
    squares = np.reshape(bits, (BITS, BITS))
    side = min(width, height) // BITS
    left, top = (width - BITS * side) // 2, (height - BITS * side) // 2
    shades = np.linspace(60, 180, width)[None, :, None] * np.array([1.0, 0.8, 0.6])
    found = np.broadcast_to(shades, (height, width, 3)).astype(np.uint8)
    # Bright squares grow brighter to the right and dark ones darker: SVT-AV1, as fast as LeRobot 0.4 has it be, loses
    # some changes of a square that is all of one grey.
    slope = np.tile(np.linspace(-35, 35, side), BITS) * np.kron(np.where(squares, 1, -1), np.ones((side, side)))
    code = np.kron(np.where(squares, BRIGHT, DARK), np.ones((side, side))) + slope
    found[top : top + BITS * side, left : left + BITS * side] = code[..., None].round().astype(np.uint8)
    return found


def told_by(image: np.ndarray) -> tuple[int, int, int]:
    """Episode, frame and camera of a picture's middle ``uint8 [S, S, 3]``, of any size.

    Raises:
        ValueError: its squares are no number, so that it shows two frames at once, or none.
    """
    side = len(image) / BITS
    inner = [slice(round((k + 0.3) * side), round((k + 0.7) * side)) for k in range(BITS)]
    levels = [image[rows, columns].mean() for rows in inner for columns in inner]
    told = sum(int(level > (DARK + BRIGHT) / 2) << place for place, level in enumerate(levels))
    number = told & 0x3FF
    if told >> 10 != number * 37 % 63:
        raise ValueError(f"the picture tells {told:#x}, which is no number of a frame")
    return number >> 7 & 3, number & 0x7F, number >> 9


def features(made: Made) -> dict[str, dict]:
    """The features of a data set, as LeRobot wants to be told of them."""
    width, height = made.size
    numbers = {"dtype": "float32", "shape": (len(made.components),), "names": {"motors": list(made.components)}}
    pictures = {"dtype": made.kind, "shape": (height, width, 3), "names": ["height", "width", "channels"]}
    found = {"observation.state": numbers, "action": numbers} | dict.fromkeys(made.cameras, pictures)
    if made.rewarded:
        found["next.reward"] = {"dtype": "float32", "shape": (1,), "names": None}
        found["next.success"] = {"dtype": "bool", "shape": (1,), "names": None}
    return found


def write(name: str, folder: Path) -> None:
    """Write a data set with LeRobot."""
    from lerobot.datasets.lerobot_dataset import CODEBASE_VERSION, LeRobotDataset

    made = SETS[name]
    shutil.rmtree(folder, ignore_errors=True)
    data = LeRobotDataset.create(
        f"wildlam/{name}", made.fps, features(made), root=folder, robot_type=made.robot, use_videos=made.kind == "video"
    )
    for episode, task in enumerate(made.tasks):
        for k, (state, command) in enumerate(zip(*motion(name, episode), strict=True)):
            frame = {"observation.state": state, "action": command}
            frame |= {key: picture(name, episode, k, camera) for camera, key in enumerate(made.cameras)}
            if made.rewarded:
                value, done = reward(name, episode, k)
                frame |= {"next.reward": np.array([value]), "next.success": np.array([done])}
            if CODEBASE_VERSION == "v2.1":
                data.add_frame(frame, task)
            else:
                data.add_frame(frame | {"task": task})
        data.save_episode()
    if hasattr(data, "finalize"):
        data.finalize()
    shutil.rmtree(folder / "images", ignore_errors=True)  # from which the films were made
    for file in folder.rglob("*.*"):
        if file.is_file():
            file.chmod(0o644)  # lerobot 0.4.4 leaves films to their owner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder that the data sets are written into")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as caches:
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": caches, "HF_LEROBOT_HOME": caches}
        for name in SETS:
            write(name, out / name)


if __name__ == "__main__":
    main()
