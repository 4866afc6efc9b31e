"""Train on clips that two processes encode at every step: ``encoder_in_parts.py VIDEOS ENCODER OUT [--parts]``."""

import argparse
import os
from pathlib import Path

import torch

from tests.helpers import shorten_evaluations
from wildlam.config import RunConfig
from wildlam.encoders import VJEPA2
from wildlam.models import ModelConfig, transformer
from wildlam.models.bottlenecks import Unconstrained
from wildlam.models.transformer import Size
from wildlam.training import TrainingConfig
from wildlam.video.config import DataConfig
from wildlam.workflows import evaluate, train

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("videos", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--parts", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    shorten_evaluations()
    transformer.SIZES["tiny"] = Size(width=16, depth=2, heads=1)
    evaluate.write_run_report = lambda *arguments: None
    fit = train.fit_run
    held = []

    def watched(config, run, clips, *others):
        held.append(sum(getattr(p, "_local_tensor", p).numel() for p in clips.encoder.network.parameters()))
        fit(config, run, clips, *others)

    train.fit_run = watched
    train.train(
        RunConfig(
            data=DataConfig(path=args.videos, workers=0, store=False),
            encoder=VJEPA2(model=args.encoder, dtype="float32"),
            model=ModelConfig(bottleneck=Unconstrained(dim=4)),
            training=TrainingConfig(
                steps=3, batch_size=4, log_every=1, precision="fp32", shard=2, shard_encoder=args.parts
            ),
            action_free=False,
            out=args.out,
        )
    )
    (args.out / f"held_{os.environ['RANK']}").write_text(str(held[0]))
