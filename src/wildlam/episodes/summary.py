"""What a labelled data set holds: rates, lengths, ranges of actions, and what is odd about it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.episodes.episode import Episode
from wildlam.episodes.vectors import Changes, Commands, few
from wildlam.errors import option

DEAD = 1e-9
"""Deviation up to which a component never varies."""
STILL = 0.02
"""Deviations by which a component may differ from rest, or from the command before, in a step of doing nothing."""
FAR = 20.0
"""Deviations from the mean beyond which a value is told of."""
IDLE = 0.5
"""Share of idle steps from which they are told of."""


SPLITS = {"train": "for training", "held_out": "held out"}


@dataclass(frozen=True)
class Component:
    """A component of the actions of all steps.

    Attributes:
        low: smallest value.
        mean: mean.
        high: largest value.
        std: deviation.
    """

    low: float
    mean: float
    high: float
    std: float


@dataclass(frozen=True)
class Summary:
    """What episodes hold, seen at some rate.

    Attributes:
        space: what an action of a step is.
        episodes: number of episodes by split.
        recordings: how many different recordings they are of.
        hours: length of all of them together.
        rates: number of episodes by frames a second.
        fps: states a second, as they really are; several, if episodes differ.
        clips: number of clips of ``states`` states by split.
        states: states of a clip.
        components: of an action, by name.
        idle: share of the steps in which nothing is done.
        odd: what is odd, in words.
    """

    space: ActionSpace
    episodes: dict[str, int]
    recordings: int
    hours: float
    rates: dict[float, int]
    fps: tuple[float, ...]
    clips: dict[str, int]
    states: int
    components: dict[str, Component]
    idle: float
    odd: tuple[str, ...]


def summarise(episodes: Sequence[Episode], fps: float, states: int = 8) -> Summary:
    """Look at episodes of one kind.

    Args:
        episodes: one at least.
        fps: states a second that they are to be seen at.
        states: states of a clip.
    """
    space = Counter(episode.space_at(fps) for episode in episodes).most_common(1)[0][0]
    actions, still, clips, others = [], [], Counter[str](), []
    unknown = _not_finite(episodes)
    gaps, short, seen_at = 0, [], set()
    for episode in episodes:
        runs, rate = episode.sampled(fps)
        seen_at.add(round(rate, 3))
        gaps += len(runs) - 1
        is_other = episode.space_at(fps) != space
        others += [episode.name] * is_other
        here = sum(len(run) // states for run in runs)
        clips[episode.split] += here
        short += [] if here else [episode.name]
        for run in runs:
            if len(run) > 1 and not is_other:
                done, known = _known_actions(episode, run)
                actions.append(done[known])
                still.append(_rest(space, done)[known])
    whole = np.concatenate(actions) if actions else np.empty((0, len(space.action_names)))
    components = {}
    for name, values in zip(space.action_names, whole.T, strict=True):
        if len(values):
            components[name] = Component(*(float(f(values)) for f in (np.min, np.mean, np.max, np.std)))
    std = np.array([one.std for one in components.values()])
    varies = std > DEAD
    idle = np.zeros(len(whole), dtype=bool)
    if len(whole) and varies.any():
        idle = (np.abs(np.concatenate(still))[:, varies] <= STILL * std[varies]).all(axis=1)
    odd = [*unknown, *_no_orientations(episodes), *_alike(episodes)]
    if others:
        odd.append(f"have actions of another kind, with which the others cannot be used: {few(others)}")
    if missing := [words for split, words in SPLITS.items() if not any(one.split == split for one in episodes)]:
        odd.append(f"no episode is {' or '.join(missing)}: without both nothing can be trained and judged")
    if short:
        odd.append(f"{len(short)} episodes are too short for a clip of {states} states: {few(short)}")
    if gaps:
        odd.append(f"frames are missing in {gaps} places; no clip crosses one")
    if len(seen_at) > 1:
        rates = ", ".join(f"{rate:g}" for rate in sorted(seen_at))
        odd.append(f"the episodes differ in rate, and cannot be used together: {rates} states a second")
    if not varies.all():
        odd.append(f"never vary: {few([name for name, one in components.items() if one.std <= DEAD])}")
    if len(idle) and idle.mean() > IDLE:
        odd.append(f"nothing is done in {idle.mean():.0%} of the steps")
    far = [
        f"{name} ({value:.3g})"
        for name, one in components.items()
        for value in (one.low, one.high)
        if one.std > DEAD and abs(value - one.mean) > FAR * one.std
    ]
    if far:
        odd.append(f"lie more than {FAR:g} deviations from the mean, such as a jump of a sensor would: {few(far)}")
    return Summary(
        space,
        dict(Counter(episode.split for episode in episodes)),
        len({episode.recording for episode in episodes}),
        sum(float(episode.times[-1] - episode.times[0]) + 1 / episode.rate for episode in episodes) / 3600,
        dict(sorted(Counter(round(episode.rate, 2) for episode in episodes).items())),
        tuple(sorted(seen_at)),
        dict(clips),
        states,
        components,
        float(idle.mean()) if len(idle) else 0.0,
        tuple(odd),
    )


def _not_finite(episodes: Sequence[Episode]) -> list[str]:
    """Numbers that are not finite, by episode and component."""
    told, count = [], 0
    for episode in episodes:
        for names, values in episode.numbers:
            bad = (~np.isfinite(values)).sum(axis=0)
            count += int(bad.sum())
            told += [f"{episode.name} {names[k]} ({bad[k]} of {len(values)})" for k in np.flatnonzero(bad)]
    if not told:
        return []
    return [f"{count} numbers are not finite, and their steps left out here: {few(told)}; mend or remove the episodes"]


def _no_orientations(episodes: Sequence[Episode]) -> list[str]:
    """Finite numbers that are no orientation though they should be one, by episode."""
    told = []
    for episode in episodes:
        if isinstance(episode.space, Changes):
            bad = ~episode.space.sound(episode.poses) & np.isfinite(episode.poses).all(axis=1, keepdims=True)
            told += [
                f"{episode.name} {one} ({count} of {len(bad)})"
                for one, count in zip(episode.space.orientations, bad.sum(axis=0).tolist(), strict=True)
                if count
            ]
    if not told:
        return []
    return [
        f"are no orientation, and their steps left out here: {few(told)}; mend or remove the episodes, or say by "
        f"{option('rotations')} which components are one"
    ]


def _known_actions(episode: Episode, run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Actions ``[n, A]`` between some of its frames, and which of them come from finite numbers alone ``[n]``."""
    finite = np.isfinite(episode.poses)
    done = replace(episode, poses=np.where(finite, episode.poses, 0)).actions(run)  # rotations refuse NaN
    if isinstance(episode.space, Commands):
        return done, np.isfinite(done).all(axis=1)
    sound = finite[run].all(axis=1)
    if isinstance(episode.space, Changes):
        sound &= episode.space.sound(episode.poses[run]).all(axis=1)
    return done, sound[:-1] & sound[1:]


def _rest(space: ActionSpace, done: np.ndarray) -> np.ndarray:
    """How far actions ``[n, A]`` are from doing nothing: from zero or, of commands, from the command before."""
    if space.zero_stays or not isinstance(space, Commands):
        return done
    each = done.reshape(-1, len(space.components))
    return np.diff(each, axis=0, prepend=each[:1]).reshape(done.shape)


def _alike(episodes: Sequence[Episode]) -> list[str]:
    """Episodes that record the same numbers."""
    same: dict[bytes, list[Episode]] = defaultdict(list)
    firsts: dict[str, Episode] = {}
    for episode in episodes:
        firsts.setdefault(episode.recording, episode)
    for episode in firsts.values():  # other cameras' films of a recording are no copies
        numbers = [episode.poses, *([] if episode.commands is None else [episode.commands])]
        same[hashlib.sha256(b"".join(part.tobytes() for part in numbers)).digest()].append(episode)
    found = []
    for some in same.values():
        if len(some) > 1:
            apart = {one.split for one in some} == {"train", "held_out"}
            words = ", some to train on and some held out: leave the copies out" if apart else ""
            found.append(f"record the same numbers{words}: {few([one.name for one in some])}")
    return found
