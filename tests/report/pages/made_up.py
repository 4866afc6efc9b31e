"""Clips whose latent actions are given."""

import torch

from wildlam.evaluation.clips import InferredClips

TIMES = torch.arange(4).double() / 4


def inferred(actions, names, sources=None):
    """Clips of 4 states with given latent actions, ``[clips, 3, Z]``."""
    states = torch.zeros(len(names), 4, 1, 1)
    return InferredClips(states, actions, names, sources or ["one"] * len(names), TIMES.expand(len(names), -1))
