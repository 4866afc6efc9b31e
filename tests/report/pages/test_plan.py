"""What plans are said to be, beside staying and beside chance."""

import torch

from wildlam.evaluation.intervals import PerClip
from wildlam.report.pages.plan import compared


def row(value):
    clips = 20
    values = torch.linspace(0.9, 1.1, clips) * value
    return PerClip({"rpe": values}, [str(i) for i in range(clips)], ["planar"] * clips)


def test_plans_are_compared_with_staying_and_with_chance():
    told = compared(
        {"no move": row(4.0), "random": row(3.0), "latent": row(2.0), "poor": row(3.6)}, ["latent", "poor"], "rpe"
    )
    assert "latent: rpe 2, 0.50 of that of staying." in told
    assert "poor: rpe 3.6, 0.90 of that of staying; acting at random does no worse (3)." in told
