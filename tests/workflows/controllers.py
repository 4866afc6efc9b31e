"""What tests of controllers, baselines and plans share: a short training, and what it leaves."""

import shutil

import torch

from wildlam.config import read_config
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.training import TrainingConfig
from wildlam.workflows.controller import train_controller
from wildlam.workflows.open_run import load_model

TRAINING = TrainingConfig(steps=2, batch_size=4, log_every=1, save_every=1, eval_every=2, precision="fp32")


def weights(folder):
    return checkpoints.last(Run(folder).checkpoints).model_tensors()


def loaded(run):
    config = read_config(run / "config.yaml")
    encoder = config.encoder.build("cpu")
    return encoder, load_model(Run.open(run), config, encoder.spec)


def train_whole_and_cut(run, config, tmp_path):
    """A controller, and one that was interrupted: they become the same."""
    whole = train_controller(run, config, tmp_path / "whole")
    train_controller(run, config, tmp_path / "cut")
    for step in (tmp_path / "cut" / "checkpoints").glob("step_*2"):
        shutil.rmtree(step)
    again = train_controller(run, config, tmp_path / "cut")
    for name, weight in weights(whole).items():
        assert torch.equal(weights(again)[name], weight), name
    return whole
