"""Transitions whose latent actions are nearest to each other's, though they are of different recordings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.report.films import film, films
from wildlam.report.html import Section, paragraph
from wildlam.report.pages.transitions import short, transition_frames
from wildlam.report.plots import Transition, nearest_actions
from wildlam.video.manifest import Manifest

QUERIES = 3
NEIGHBOURS = 5
OTHERS = 3
"""Sources of which one query more is shown."""


def neighbours_section(clips: InferredClips, manifest: Manifest, picture: Path) -> Section:
    """Transitions next to their neighbours, as films and, for elsewhere, as the drawing ``picture``."""
    title = "The same latent action in other videos"
    queries, neighbours = nearest_transitions(clips, manifest)
    if not any(neighbours):
        picture.unlink(missing_ok=True)  # of an evaluation before
        return Section(
            title, paragraph("No source has a second held-out recording in which to look for the same action.")
        )
    picture.write_bytes(nearest_actions(queries, neighbours))
    for source in _other_sources(clips, queries[0].name):
        more = nearest_transitions(clips.where(torch.tensor([s == source for s in clips.sources])), manifest, 1)
        queries, neighbours = [*queries, *more[0]], [*neighbours, *more[1]]
    rows = "".join(
        films(_film(one) for one in [query, *found]) for query, found in zip(queries, neighbours, strict=True)
    )
    words = (
        "Each row starts with a held-out transition. Beside it play the transitions of other held-out recordings "
        "whose latent actions are nearest to its own. If z is an action, they show the same movement in other places."
    )
    return Section(title, paragraph(words) + rows)


def _film(one: Transition) -> str:
    away = "query" if one.distance is None else f"{one.distance:.2f} away"
    return film(one.frames, f"Transition of {one.name}, {away}", f"{away}: {short(one.name)}")


def _other_sources(clips: InferredClips, shown: str) -> list[str]:
    """Sources of several recordings, but for that of the video ``shown``; the most frequent first."""
    several = Counter(source for source, _ in set(zip(clips.sources, clips.recordings, strict=True)))
    done = clips.sources[clips.names.index(shown)]
    return [source for source, count in several.most_common() if count > 1 and source != done][:OTHERS]


def nearest_transitions(
    clips: InferredClips, manifest: Manifest, count: int = QUERIES
) -> tuple[list[Transition], list[list[Transition]]]:
    """Pick unlike transitions of the source with the most clips, and for each the nearest of its other recordings.

    Sources of one recording are skipped, if there are others.

    Returns:
        The queries, and for each its neighbours by latent action, nearest first, each from another recording.
    """
    steps = clips.z.shape[1]
    recordings_of = Counter(source for source, _ in set(zip(clips.sources, clips.recordings, strict=True)))
    several = [source for source in clips.sources if recordings_of[source] > 1]
    source = Counter(several or clips.sources).most_common(1)[0][0]
    places = [(i, t) for i, s in enumerate(clips.sources) if s == source for t in range(steps)]
    z = torch.stack([clips.z[i, t] for i, t in places])
    of = [clips.recordings[i] for i, _ in places]

    # The nearest transition of every other recording, for each transition: the neighbours to show. Another camera of
    # the same moment would show nothing.
    recordings = sorted(set(of))
    columns = [[k for k, one in enumerate(of) if one == recording] for recording in recordings]
    distance = torch.cdist(z, z)
    nearest = torch.stack([distance[:, column].amin(dim=1) for column in columns], dim=1)
    nearest[torch.arange(len(z)), torch.tensor([recordings.index(one) for one in of])] = torch.inf
    shown = min(NEIGHBOURS, len(recordings) - 1)
    ranked = nearest.sort(dim=1)

    def transition(k: int, away: float | None = None) -> Transition:
        i, t = places[k]
        name = clips.names[i]
        return Transition(transition_frames(manifest, clips, i, t), name, away)

    queries = _unlike(z, ranked.values[:, 0], count)
    neighbours = []
    for query in queries:
        found = []
        for away, recording in zip(ranked.values[query, :shown], ranked.indices[query, :shown], strict=True):
            column = columns[int(recording)]
            found.append(transition(column[int(distance[query, column].argmin())], float(away)))
        neighbours.append(found)
    return [transition(k) for k in queries], neighbours


def _unlike(z: Tensor, away: Tensor, count: int) -> list[int]:
    """Choose latent actions of ``[n, Z]`` far from each other, among those that are large and have near neighbours.

    ``away`` is each one's distance to the nearest of another recording. Eligible is the larger half by norm, and of
    that the better half by distance over norm: an action that occurs once has no informative neighbours.
    """
    norm = z.norm(dim=-1)
    large = (norm >= norm.median()).nonzero()[:, 0]
    order = (away[large] / norm[large].clamp(min=1e-6)).argsort(stable=True)
    pool = large[order[: max(len(large) // 2, 1)]]
    chosen = [0]
    while len(chosen) < min(count, len(pool)):
        apart = torch.cdist(z[pool], z[pool[chosen]]).amin(dim=1)
        apart[chosen] = -1.0
        chosen.append(int(apart.argmax()))
    return pool[chosen].tolist()
