"""A small data set in RLDS, written by TensorFlow Datasets itself.

    python3.11 -m venv tf
    tf/bin/pip install tensorflow-cpu==2.21.0 tensorflow-datasets==4.9.10
    tf/bin/python make.py .

It writes ``tiny_arm/1.0.0``: three episodes to train on and two to validate on, in two shards each, with the features
of Open X-Embodiment's sets: pictures by a camera that looks on (JPEG) and one at the wrist (PNG), depth, a state, a
gripper, an embedding of the instruction, and an action of two parts. The tests import this file: it needs NumPy alone
to be imported, and TensorFlow Datasets to be run.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NAME, VERSION = "tiny_arm", "1.0.0"
LENGTHS = {"train": (12, 10, 11), "val": (12, 9)}
"""Frames of the episodes of each split."""
SIZE = 32


def motion(split: str, episode: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actions ``float32 [F, 4]``, states ``float32 [F, 3]`` and the gripper ``int64 [F]`` of an episode."""
    random = np.random.default_rng([len(split), episode])
    length = LENGTHS[split][episode]
    actions = random.normal(size=(length, 4)).astype(np.float32)
    states = np.cumsum(actions[:, :3], axis=0, dtype=np.float32)
    return actions, states, random.integers(-3, 300, size=length)


def picture(episode: int, frame: int, camera: int) -> np.ndarray:
    """A picture ``uint8 [H, W, 3]`` of one colour, which tells its episode, frame and camera: see ``told_by``."""
    return np.full((SIZE, SIZE, 3), (20 + 60 * episode, 20 + 15 * frame, 20 + 200 * camera), np.uint8)


def told_by(image: np.ndarray) -> tuple[int, int, int]:
    """Episode, frame and camera of a picture ``uint8 [S, S, 3]`` of any size."""
    red, green, blue = image.reshape(-1, 3).mean(axis=0)
    return round((red - 20) / 60), round((green - 20) / 15), round((blue - 20) / 200)


def steps(split: str, episode: int) -> Iterator[dict[str, Any]]:
    """The steps of an episode."""
    actions, states, gripper = motion(split, episode)
    for k, (action, state) in enumerate(zip(actions, states, strict=True)):
        yield {
            "observation": {
                "image": picture(episode, k, 0),
                "wrist_image": picture(episode, k, 1),
                "depth": np.full((SIZE, SIZE, 1), k, np.uint16),
                "state": state,
                "gripper": gripper[k],
                "natural_language_embedding": np.zeros(8, np.float32),
            },
            "action": {"world_vector": action[:3], "gripper": action[3]},
            "reward": float(k == len(actions) - 1),
            "discount": 1.0,
            "is_first": k == 0,
            "is_last": k == len(actions) - 1,
            "is_terminal": k == len(actions) - 1,
            "language_instruction": f"Do what episode {episode} of {split} does.",
        }


def write(folder: Path) -> None:
    """Write the data set with TensorFlow Datasets."""
    import tensorflow_datasets as tfds

    class TinyArm(tfds.core.GeneratorBasedBuilder):
        """Made by ``make.py``."""

        name = NAME
        VERSION = tfds.core.Version(VERSION)

        def _info(self) -> tfds.core.DatasetInfo:
            number = tfds.features.Tensor(shape=(), dtype=np.float32)
            flag = tfds.features.Scalar(dtype=np.bool_)
            seen = {
                "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="jpeg"),
                "wrist_image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "depth": tfds.features.Image(shape=(SIZE, SIZE, 1), dtype=np.uint16, encoding_format="png"),
                "state": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                "gripper": tfds.features.Scalar(dtype=np.int64),
                "natural_language_embedding": tfds.features.Tensor(shape=(8,), dtype=np.float32),
            }
            action = {"world_vector": tfds.features.Tensor(shape=(3,), dtype=np.float32), "gripper": number}
            step = {
                "observation": tfds.features.FeaturesDict(seen),
                "action": tfds.features.FeaturesDict(action),
                "reward": tfds.features.Scalar(dtype=np.float32),
                "discount": tfds.features.Scalar(dtype=np.float32),
                "is_first": flag,
                "is_last": flag,
                "is_terminal": flag,
                "language_instruction": tfds.features.Text(),
            }
            told = {"file_path": tfds.features.Text()}
            features = {"steps": tfds.features.Dataset(step), "episode_metadata": tfds.features.FeaturesDict(told)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(split) for split in LENGTHS}

        def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
            for episode in range(len(LENGTHS[split])):
                told = {"file_path": f"{split}/{episode}"}
                yield f"{split}{episode}", {"steps": list(steps(split, episode)), "episode_metadata": told}

    shutil.rmtree(folder / NAME, ignore_errors=True)
    builder = TinyArm(data_dir=folder)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder that the data set is written into")
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
