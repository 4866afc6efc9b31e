"""Walks with poses, a run on them, and the configuration of a controller; and one that is trained already."""

import re
import shutil

import numpy as np
import pytest

from wildlam.encoders import Lite0
from wildlam.episodes.poses import write_poses
from wildlam.models.controller import ControllerConfig
from wildlam.workflows.baseline import LabelledModelConfig, train_labelled_model
from wildlam.workflows.controller import ControllingConfig, train_controller

from ..helpers import make_models_tiny, make_run
from .controllers import TRAINING, loaded


def config_of(labelled):
    return ControllingConfig(data=labelled, clips=4, controller=ControllerConfig(width=16, blocks=1), training=TRAINING)


@pytest.fixture(scope="session")
def once(make_video, tmp_path_factory):
    """A folder to copy from: walks, a run on them, and in ``trained`` a controller and a baseline of it."""
    folder, rng = tmp_path_factory.mktemp("once"), np.random.default_rng(0)
    for name in ("train/a", "train/b", "train/c", "test/d"):
        video = folder / "walks" / f"{name}.mp4"
        make_video(video, frames=50, fps=8)
        write_poses(video, rng.normal(size=(50, 3)).cumsum(axis=0), fps=8)
    shutil.copytree(folder / "walks", folder / "encoded")
    with pytest.MonkeyPatch.context() as patch:
        make_models_tiny(patch)
        run = make_run(folder / "run", folder / "walks", Lite0(image_size=64, dtype="float32"))
        config = config_of(folder / "encoded")
        train_controller(run, config, folder / "trained" / "controller")
        settings = LabelledModelConfig(data=config.data, clips=4, training=TRAINING)
        train_labelled_model(loaded(run)[0], settings, 4.0, folder / "trained" / "labelled")
    return folder


def copied(folder, to, labelled):
    """A copy of a run, or of what was trained for one, whose walks are ``labelled``."""
    shutil.copytree(folder, to)
    text = (to / "config.yaml").read_text()
    (to / "config.yaml").write_text(re.sub(r"\S+/(walks|encoded)$", str(labelled), text, flags=re.MULTILINE))
    return to


@pytest.fixture
def labelled(once, tmp_path):
    """Four walks of 24 steps at 4 frames/s, one held out."""
    return shutil.copytree(once / "walks", tmp_path / "walks")


@pytest.fixture
def run(once, labelled, tmp_path):
    return copied(once / "run", tmp_path / "run", labelled)


@pytest.fixture
def driven(once, run, labelled, tmp_path):
    """The run with a controller of ``config``, and beside it ``labelled``, a world model of real actions."""
    shutil.copytree(once / "encoded" / ".wildlam", labelled / ".wildlam")
    copied(once / "trained" / "labelled", tmp_path / "labelled", labelled)
    copied(once / "trained" / "controller", run / "controller", labelled)
    return run


@pytest.fixture
def config(labelled):
    return config_of(labelled)


@pytest.fixture
def unlabelled(make_video, tmp_path):
    """Three videos without poses, one held out."""
    for i, name in enumerate(("train/a", "train/b", "test/c")):
        make_video(tmp_path / "wild" / f"{name}.mp4", frames=50, fps=8, rotation=90 * (i % 2))
    return tmp_path / "wild"
