"""What plans are said to be, beside staying and beside chance."""

import torch

from wildlam.evaluation.intervals import PerClip
from wildlam.report.pages.plan import compared, table_of_plans
from wildlam.report.text import text_of_figures


def row(value, cameras=1, clips=20):
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


def test_too_few_recordings_have_no_intervals_and_nothing_is_concluded():
    rows = {label: row(value, clips=4) for label, value in (("no move", 4.0), ("random", 9.0), ("latent", 4.1))}
    text = "\n".join(text_of_figures(rows, ["rpe"]))
    assert "(" not in text
    assert text.endswith("Too few for an interval, which takes 5 recordings and 10 clips.")
    assert " to " not in table_of_plans(rows, ["rpe"]).partition("</caption>")[2]
    assert "Without intervals" in table_of_plans(rows, ["rpe"])
    told = compared(rows, ["latent"], "rpe")
    assert told.endswith("Only 4 recordings: too few for an interval, so models cannot be compared.")
    assert "may be chance" not in told
    enough = {label: row(value) for label, value in (("no move", 4.0), ("random", 9.0), ("latent", 4.1))}
    assert "4.1 (" in "".join(text_of_figures(enough, ["rpe"]))
    assert "Too few" not in "".join(text_of_figures(enough, ["rpe"]))
