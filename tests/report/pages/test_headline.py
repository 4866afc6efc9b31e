"""The figures at the top."""

from types import SimpleNamespace

import torch

from wildlam.evaluation.intervals import PerClip
from wildlam.report.pages.headline import headline


def found(count, cycled=None):
    names = [f"{i}.mp4" for i in range(count)]

    def per_clip(values):
        return PerClip({name: torch.full((count,), v) for name, v in values.items()}, names, ["a"] * count)

    cycle = cycled and SimpleNamespace(per_clip=per_clip({"original": 1.0, "cycled": cycled, "other": 2.0}))
    one_step = per_clip({"idm": 0.3, "permuted": 0.45, "copy": 0.4})
    return SimpleNamespace(one_step=one_step, cycle=cycle, latent_space=SimpleNamespace(effective_dimensions=7.26))


def test_three_figures_with_their_intervals():
    html = headline(found(12, cycled=1.25))
    for figure in ("−25 %", "+50 %", "1.25 ×", "0.75 to 0.75", "chance (2)"):
        assert figure in html
    assert html.count('class="whisker"') == html.count('class="tile"') == 3


def test_of_few_clips_no_interval_is_drawn():
    html = headline(found(3, cycled=1.25))
    assert "whisker" not in html
    assert "7.3" in html  # effective dimensions, in place of what few clips cannot tell
