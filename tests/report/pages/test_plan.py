"""What plans are said to be, beside staying and beside chance."""

import torch

from wildlam.evaluation.intervals import PerClip
from wildlam.report.pages.plan import compared


def row(value, cameras=1):
    clips = 20
    values = torch.linspace(0.9, 1.1, clips) * value
    names, recordings = ([str(i // of) for i in range(clips)] for of in (1, cameras))
    return PerClip({"rpe": values}, names, ["planar"] * clips, recordings)


def test_plans_are_compared_with_staying_and_with_chance():
    told = compared(
        {"no move": row(4.0), "random": row(3.0), "latent": row(2.0), "poor": row(3.6)}, ["latent", "poor"], "rpe"
    )
    assert "latent: rpe 2, 0.50 of that of staying." in told
    assert "poor: rpe 3.6, 0.90 of that of staying; acting at random does no worse (3)." in told
    assert "too few" not in told


def test_recordings_are_counted_and_not_clips_of_every_camera():
    rows = {label: row(value, cameras=2) for label, value in (("no move", 4.0), ("random", 3.0), ("latent", 2.0))}
    assert compared(rows, ["latent"], "rpe").endswith("Only 10 recordings: too few to compare models.")
    assert compared(rows, ["latent"], "rpe", "episode").endswith("Only 10 episodes: too few to compare models.")
