"""What the curves of an episode are drawn over."""

import numpy as np
import torch

from wildlam.episodes.action_spaces import PLANAR
from wildlam.episodes.episode import Episode
from wildlam.report.pages.data import episode_figure


def test_seconds_are_said_only_where_the_rate_is_known():
    poses = np.random.default_rng(0).normal(size=(33, 3)).cumsum(axis=0)
    black = lambda numbers, size: torch.zeros(len(numbers), 3, size, size, dtype=torch.uint8)  # noqa: E731
    one = Episode("walk", "train", np.arange(33) / 8, poses, PLANAR, black)
    known, unknown = (episode_figure(one, rated).decode() for rated in (True, False))
    assert "seconds, at 8 frames a second" in known
    assert ">30<" not in known
    assert "frames (their rate is unknown)" in unknown
    assert "seconds" not in unknown
    assert ">30<" in unknown  # all 33 frames
