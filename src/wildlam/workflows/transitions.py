"""All transitions of some videos, with their latent actions: what the playground maps, searches and makes keys of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.episode import by_film
from wildlam.episodes.formats import read_episodes
from wildlam.errors import WildlamError
from wildlam.evaluation.components import principal_directions
from wildlam.evaluation.groups import k_means
from wildlam.evaluation.latent_space import embed
from wildlam.progress import Count, uncounted
from wildlam.video.files import AnyFile, inside
from wildlam.video.given import VideoFile
from wildlam.workflows.trained import Trained
from wildlam.workflows.video_transitions import VideoTransitions, from_file


@dataclass
class Transitions:
    """Transitions of videos, M in all.

    Attributes:
        videos: names of the videos.
        sources: source of each video.
        video: number of each transition's video, ``int64 [M]``.
        start: time in its video, seconds, ``float64 [M]``.
        end: likewise.
        z: latent actions, ``float32 [M, Z]``.
        change: mean change of the state over the transition, in the encoder's units, ``float32 [M]``.
        left_out: why a video could not be used, by its name.
    """

    videos: list[str]
    sources: list[str]
    video: np.ndarray
    start: np.ndarray
    end: np.ndarray
    z: Tensor
    change: np.ndarray
    left_out: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.z)

    def of_source(self, source: str | None) -> np.ndarray:
        """Numbers of the transitions of a source; of all, for None."""
        chosen = [i for i, of in enumerate(self.sources) if source in (None, of)]
        return np.flatnonzero(np.isin(self.video, chosen))

    def nearest(self, z: Tensor, count: int, among: np.ndarray | None = None, apart: bool = False) -> np.ndarray:
        """Numbers of the transitions nearest to a latent action ``[Z]``, nearest first; see ``distances``.

        Args:
            z: the latent action.
            count: how many at most.
            among: numbers of those that may be found; all if not given.
            apart: one of each video only.
        """
        among = np.arange(len(self)) if among is None else among
        order = among[self.distances(z, among).argsort(stable=True).numpy()]
        return (self._apart(order) if apart else order)[:count]

    def distances(self, z: Tensor, among: np.ndarray) -> Tensor:
        """One minus the cosine of a latent action ``[Z]`` and those of some transitions, ``[n]``: 0 if they point the
        same way.
        """
        return 1 - torch.cosine_similarity(self.z[among], z, dim=1)

    def nearest_labels(self, labels: np.ndarray, label: np.ndarray, count: int, among: np.ndarray) -> np.ndarray:
        """As ``nearest``, one of each video, by what is known of the transitions, ``[M, A]``; NaN where nothing is."""
        among = among[np.isfinite(labels[among]).all(axis=1)]
        return self._apart(among[np.square(labels[among] - label).sum(axis=1).argsort()])[:count]

    def _apart(self, numbers: np.ndarray) -> np.ndarray:
        """The first of each video."""
        _, first = np.unique(self.video[numbers], return_index=True)
        return numbers[np.sort(first)]

    def actions(self, folders: Mapping[str, Path], fps: float) -> dict[tuple[str, ...], np.ndarray]:
        """What was really done over each transition, where the videos have poses or commands.

        Args:
            folders: folder of each source's videos.
            fps: rate of the transitions' states.

        Returns:
            For each kind of action, by the names of its components, ``float32 [M, A]``: NaN where it is not known.
        """
        found: dict[tuple[str, ...], np.ndarray] = {}
        for source, folder in folders.items():
            try:
                episodes = read_episodes(folder)
            except WildlamError:  # without labels, or with damaged ones: nothing here needs any
                continue
            episode_of = by_film(episodes)
            for i, name in enumerate(self.videos):
                episode = episode_of(inside(Path(), name, None, 0))
                if episode is None or self.sources[i] != source:
                    continue
                names = episode.space_at(fps).action_names
                values = found.setdefault(names, np.full((len(self), len(names)), np.nan, np.float32))
                rows = np.flatnonzero(self.video == i)
                for run in episode.sampled(fps)[0] if len(rows) else ():
                    if len(run) > 1:
                        done, at = episode.actions(run), episode.times[run[:-1]]
                        near = np.abs(self.start[rows][:, None] - at).argmin(axis=1)
                        fits = np.abs(self.start[rows] - at[near]) < 0.5 / fps
                        values[rows[fits]] = done[near[fits]]
        return found


@torch.no_grad()
def gather(
    trained: Trained,
    videos: Sequence[tuple[AnyFile, str]],
    most: int,
    seed: int = 0,
    count: Count = uncounted,
    known: Callable[[AnyFile], VideoTransitions | None] = lambda _: None,
) -> Transitions:
    """Infer the latent actions of videos, until there are ``most`` transitions.

    Args:
        trained: the run.
        videos: files and their sources. They are taken source by source in turn, each source's in an order drawn by
            chance, so that a part of them is a fair one.
        most: about how many transitions are enough.
        seed: of that order.
        count: called with the share of the work done since the last call.
        known: the transitions of a file that need not be inferred, as they are in an index; None for others.

    Raises:
        WildlamError: there is no transition in any of them.
    """
    found = Transitions([], [], *(np.empty(0),) * 3, torch.empty(0), np.empty(0))
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, Tensor, np.ndarray]] = []
    total, queue = 0, _in_turn(videos, seed)
    for path, source in queue:
        before = total
        try:
            if one := known(path) or from_file(trained, VideoFile(path)):
                change = one.speed * (one.end - one.start).astype(np.float32)
                parts.append(
                    (np.full(len(one), len(found.videos)), one.start, one.end, torch.from_numpy(one.z), change)
                )
                total += len(one)
        except WildlamError as error:
            found.left_out[str(path)] = str(error)
        found.videos.append(str(path))
        found.sources.append(source)
        count(max(1 / len(queue), (total - before) / most))
        if total >= most:
            break
    if not total:
        why = next(iter(found.left_out.values()), "there are no videos")
        raise WildlamError(f"no transition between two states was found: {why}")
    of, start, end, all_z, changes = zip(*parts, strict=True)
    found.video, found.start, found.end = np.concatenate(of), np.concatenate(start), np.concatenate(end)
    found.z, found.change = torch.cat(all_z), np.concatenate(changes)
    return found


def clusters(transitions: Transitions, count: int, among: np.ndarray, seed: int = 0) -> np.ndarray:
    """The transitions nearest to the centres of k-means clusters of latent actions, of the largest cluster first.

    A real transition stands for each cluster: its latent action is one that the model has inferred, a mean is not.
    Two of a cluster that came out empty are left out, so there may be fewer than ``count``.
    """
    z = transitions.z[among]
    labels = k_means(z, min(count, len(among)), seed)
    sizes = np.bincount(labels)
    order = [int(k) for k in np.argsort(-sizes) if sizes[k]]
    return np.array([transitions.nearest(z[labels == k].mean(dim=0), 1, among[labels == k])[0] for k in order])


def directions(transitions: Transitions, count: int, among: np.ndarray, deviations: float = 2.0) -> Tensor:
    """Latent actions ``[count, 2, Z]``: the mean, some deviations down and up along each principal direction."""
    mean, variance, along = principal_directions(transitions.z[among])
    steps = deviations * variance[:count].sqrt()[:, None] * along[:count]
    return torch.stack([mean - steps, mean + steps], dim=1)


def projected(transitions: Transitions, umap: bool, seed: int = 0) -> np.ndarray:
    """The latent actions in two dimensions, ``float32 [M, 2]``, nearly all in -1..1: by UMAP, or PCA where not.

    UMAP takes a minute or so, most of it to compile; it falls back to PCA where it is not there.
    """
    if umap:
        flat, _ = embed(transitions.z, seed)
    else:
        mean, _, along = principal_directions(transitions.z)
        flat = (transitions.z - mean) @ along[:2].T
        flat = torch.nn.functional.pad(flat, (0, 2 - flat.shape[1]))
    low, high = flat.quantile(0.002, dim=0), flat.quantile(0.998, dim=0)
    flat = (flat - (low + high) / 2) / ((high - low).max().clamp(min=1e-9) / 2)
    return flat.clamp(-1.2, 1.2).numpy()


def _in_turn(videos: Sequence[tuple[AnyFile, str]], seed: int) -> list[tuple[AnyFile, str]]:
    """Videos of each source in turn, each source's in an order drawn by chance."""
    of_source: dict[str, list[tuple[AnyFile, str]]] = {}
    for n in np.random.default_rng(seed).permutation(len(videos)).tolist():
        of_source.setdefault(videos[n][1], []).append(videos[n])
    turns = zip_longest(*(of_source[source] for source in sorted(of_source)))
    return [video for turn in turns for video in turn if video is not None]
