"""Goal-conditioned behaviour cloning: a small network from a start and a goal to what to do, from few labelled clips.

What a sceptic would train with the same labels, beside a linear regression (``goal_regression``): no world model. With
pseudo-labels (``pseudo_labels``) it learns from videos without labels, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from wildlam.episodes.clips import LabelledClips
from wildlam.evaluation.probes import fit_clips, fit_mlp, standardiser
from wildlam.workflows.motions import Motions

PSEUDO_CLONING = "cloning with pseudo-labels"
"""Row of the tables, of what learnt from videos without labels, too."""


@dataclass(frozen=True)
class GoalCloning:
    """A network that tells what to do to come to a goal.

    Attributes:
        act: the mean action ``float32 [C, A]``, on the CPU, between two states ``[C, 2, N, D]`` that are so many steps
            apart.
    """

    act: Callable[[Tensor, int], Tensor]

    def __call__(self, clips: LabelledClips) -> Tensor:
        """Plans ``float32 [C, H, A]`` from the first state of each clip to its last, ``H`` steps later."""
        steps = clips.states.shape[1] - 1
        return self.act(clips.states[:, [0, -1]], steps)[:, None].repeat(1, steps, 1)


def fit_goal_cloning(motions: Motions, seed: int = 0) -> GoalCloning:
    """Fit to pairs of states of clips.

    The network sees the first state and the difference, in principal components of the clips' states, and how many
    steps lie between them; it tells the mean action of these, which a plan repeats. It stops early by every fifth
    recording.

    Args:
        motions: of four clips at least.
        seed: seed of the network.
    """
    spans = motions.spans

    def see(ends: Tensor) -> Tensor:
        first, last = ends.unbind(dim=-2)
        return torch.cat([first, last - first], dim=-1)

    seen = see(motions.ends)
    scale = standardiser(seen, together=True)  # alike, the last components would be mostly noise, blown up

    def inputs(seen: Tensor, spans: Tensor) -> Tensor:
        return torch.cat([scale(seen), (spans / motions.horizon).expand(len(seen), -1)[..., None]], dim=-1)

    mean_action = motions.done / spans[:, None]
    predict = fit_clips(inputs(seen, spans), mean_action, partial(fit_mlp, seed=seed), motions.recordings)

    def act(ends: Tensor, steps: int) -> Tensor:
        return predict(inputs(see(motions.see(ends))[:, None], spans.new_tensor([steps])))[:, 0].float()

    return GoalCloning(act)
