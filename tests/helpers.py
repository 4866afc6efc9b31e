"""What tests of several rooms share: tiny encoders and runs, and processes started by torchrun."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from transformers import VJEPA2Config, VJEPA2Model

from wildlam.config import RunConfig, dump_config
from wildlam.distributed import Processes
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.video.config import DataConfig

ROOT = Path(__file__).parents[1]
SIDE, TOKENS, WIDTH = 32, 4, 48
"""Of the tiny V-JEPA 2: side of its pictures, tokens of a state and their width."""


def save_tiny(path, seed=0):
    """Save a V-JEPA 2 with random weights; return its folder as text."""
    torch.manual_seed(seed)
    config = VJEPA2Config(
        hidden_size=WIDTH,
        num_attention_heads=4,
        num_hidden_layers=2,
        crop_size=SIDE,
        patch_size=16,
        frames_per_clip=8,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
    )
    model = VJEPA2Model(config)
    for parameter in model.parameters():  # transformers' own start is so small that attention would hardly matter
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(path)
    return str(path)


def make_run(path, videos, encoder, model=ModelConfig(bottleneck=Noisy(dim=4))):  # noqa: B008 (never changed)
    """A run folder with an untrained model."""
    data = DataConfig(path=videos, workers=0, frames=4)
    config = RunConfig(data=data, encoder=encoder, model=model, out=path)
    spec, run = encoder.build("cpu").spec, Run(path)
    run.create(dump_config(config), 0, spec)
    model = config.model.build(spec.width, spec.grid)
    writer = checkpoints.Writer(run.checkpoints, 1, Processes(0, 1, torch.device("cpu")))
    writer.save(1, None, model.state_dict(), {})
    writer.wait()
    return path


def torchrun(count, script, *arguments):
    """Start a script of ``tests`` as so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    found = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": found, "OMP_NUM_THREADS": "1"}
    script = ROOT / "tests" / script
    subprocess.run([*command, str(script), *map(str, arguments)], env=environment, check=True, timeout=400)
