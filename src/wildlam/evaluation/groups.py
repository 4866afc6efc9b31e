"""Groups of latent actions: which kinds of action there are, how often each occurs, and which transitions show it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.components import principal_directions

GROUPS = 8
"""Groups at most; of Discrete, the codes that are used most."""
PER_GROUP = 4
"""Transitions for each group, at least, on average."""
COMPONENTS = 32
"""Leading principal components of z that groups are found in: in all of 256 dimensions, many of them noise, odd
transitions become groups of their own."""
ATTEMPTS = 4
MINOR = 0.1
"""Share of a group's transitions from which on a source is shown among its examples."""


@dataclass
class Groups:
    """Groups of the transitions of clips, the largest first.

    Attributes:
        labels: number of each transition's group, ``int64 [clips, T - 1]``; -1 where it is in none that is kept.
        centres: mean latent action of each group, ``[G, Z]``.
        are_codes: whether each group is one code of Discrete, and not found by k-means.
    """

    labels: Tensor
    centres: Tensor
    are_codes: bool = False

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def shares(self) -> list[float]:
        """Share of all transitions that are in each group."""
        return [float((self.labels == group).float().mean()) for group in range(len(self))]

    def sources(self, clips: InferredClips, group: int) -> dict[str, float]:
        """Share of a group's transitions that is of each source, the largest first."""
        counts = Counter[str]()
        for source, count in zip(clips.sources, (self.labels == group).sum(dim=1).tolist(), strict=True):
            counts[source] += count
        total = max(sum(counts.values()), 1)
        return {source: count / total for source, count in counts.most_common() if count}

    def examples(self, clips: InferredClips, group: int, count: int, change: Tensor) -> list[tuple[int, int]]:
        """The transitions, as (clip, number), nearest to a group's centre, of the half of it that changes more: of its
        larger sources in turn, each of another recording as long as there are some.

        Args:
            clips: the clips.
            group: number of the group.
            count: how many at most.
            change: how much each transition changes the picture, ``[clips, T - 1]``.
        """
        among = self.labels == group
        # Nearest to the centre of many groups are transitions in which next to nothing can be seen.
        among &= change >= change[among].median()
        away = (clips.z - self.centres[group]).norm(dim=-1).where(among, torch.inf)
        order = away.flatten().argsort(stable=True)[: int(among.sum())].tolist()
        places = [divmod(k, self.labels.shape[1]) for k in order]
        larger = [source for source, share in self.sources(clips, group).items() if share >= MINOR]
        first: list[list[tuple[int, int]]] = []
        for source in larger:
            of_recording: dict[str, tuple[int, int]] = {}
            for i, t in places:
                if clips.sources[i] == source:
                    of_recording.setdefault(clips.recordings[i], (i, t))
            first.append(list(of_recording.values()))
        in_turn = [place for some in zip_longest(*first) for place in some if place is not None]
        return [*in_turn, *(place for place in places if place not in set(in_turn))][:count]


def group_actions(clips: InferredClips, codes: bool = False, seed: int = 0) -> Groups:
    """Group the latent actions of clips: by k-means on z, or each code by itself.

    Args:
        clips: clips with their inferred latent actions.
        codes: whether the latent actions are codes of Discrete.
        seed: seed of k-means' first centres.
    """
    flat = clips.z.flatten(0, 1)
    distinct, of_distinct = flat.unique(dim=0, return_inverse=True)
    if codes or len(distinct) <= GROUPS:
        found = of_distinct.numpy()
    else:
        found = k_means(flat, max(min(GROUPS, len(flat) // PER_GROUP), 1), seed)
    sizes = np.bincount(found)
    order = [int(k) for k in np.argsort(-sizes, kind="stable")[:GROUPS] if sizes[k]]
    number = torch.full((len(sizes),), -1)
    number[order] = torch.arange(len(order))
    labels = number[torch.from_numpy(found).long()]
    centres = torch.stack([flat[labels == group].mean(dim=0) for group in range(len(order))])
    return Groups(labels.view(clips.z.shape[:2]), centres, codes)


def k_means(z: Tensor, count: int, seed: int) -> np.ndarray:
    """Number of each latent action's group, ``int [n]``, of ``z`` ``[n, Z]``, by the tightest of some attempts.

    Args:
        z: latent actions.
        count: how many groups; some may come out empty.
        seed: seed of the first centres.
    """
    mean, _, directions = principal_directions(z.double())
    x = ((z.double() - mean) @ directions[:COMPONENTS].T).numpy()
    attempts = []
    for k in range(ATTEMPTS):
        centres, labels = kmeans2(x, count, minit="++", seed=np.random.default_rng(seed + k))
        attempts.append((float(np.square(x - centres[labels]).sum()), labels))
    return min(attempts, key=lambda attempt: attempt[0])[1]
