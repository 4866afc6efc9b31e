"""Walks with poses, a run on them, and the configuration of a controller."""

import numpy as np
import pytest

from wildlam.encoders import Lite0
from wildlam.episodes.poses import write_poses
from wildlam.models.controller import ControllerConfig
from wildlam.workflows.controller import ControllingConfig

from ..helpers import make_run
from .controllers import TRAINING


@pytest.fixture
def labelled(make_video, tmp_path):
    """Four walks of 24 steps at 4 frames/s, one held out."""
    rng = np.random.default_rng(0)
    for name in ("train/a", "train/b", "train/c", "test/d"):
        video = tmp_path / "walks" / f"{name}.mp4"
        make_video(video, frames=50, fps=8)
        write_poses(video, rng.normal(size=(50, 3)).cumsum(axis=0), fps=8)
    return tmp_path / "walks"


@pytest.fixture
def run(labelled, tmp_path):
    return make_run(tmp_path / "run", labelled, Lite0(image_size=64, dtype="float32"))


@pytest.fixture
def config(labelled):
    return ControllingConfig(data=labelled, clips=4, controller=ControllerConfig(width=16, blocks=1), training=TRAINING)


@pytest.fixture
def unlabelled(make_video, tmp_path):
    """Three videos without poses, one held out."""
    for i, name in enumerate(("train/a", "train/b", "test/c")):
        make_video(tmp_path / "wild" / f"{name}.mp4", frames=50, fps=8, rotation=90 * (i % 2))
    return tmp_path / "wild"
