"""Transitions of videos as films: decoded at the rate of the video, from the state before to the one after."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from wildlam.evaluation.clips import InferredClips
from wildlam.report.films import film
from wildlam.video.manifest import Manifest

PICTURE = 112
"""Side of the films, pixels."""
FRAMES = 5
"""Moments of a transition that are shown; a video of a low rate has fewer."""

COLOURS = ("#0072b2", "#b84a00", "#00775a", "#a5447f", "#7a5c00", "#5b4fa3", "#b3263b", "#5f6b76")
"""Colours of groups: white can be read upon them, and they on white and on black."""


def letter(group: int) -> str:
    """Name of a group."""
    return "ABCDEFGH"[group] if group >= 0 else "–"


def badge(group: int) -> str:
    """A group's letter on its colour, as markup."""
    colour = COLOURS[group] if group >= 0 else "var(--soft)"
    return f'<span class="badge" style="--c:{colour}">{letter(group)}</span>'


def transition_frames(manifest: Manifest, clips: InferredClips, clip: int, step: int) -> np.ndarray:
    """Frames of one transition, ``uint8 [F, 3, S, S]``."""
    first, last = clips.times[clip, step : step + 2].tolist()
    return manifest.frames(clips.names[clip], np.linspace(first, last, FRAMES).tolist(), PICTURE).numpy()


def transition_film(manifest: Manifest, clips: InferredClips, clip: int, step: int, more: str = "") -> str:
    """One transition as a film with the name of its video and its time."""
    name, start = clips.names[clip], float(clips.times[clip, step])
    frames = transition_frames(manifest, clips, clip, step)
    return film(frames, f"Transition of {name} at {start:.2f} s", f"{short(name)} · {start:.2f} s{more}")


def short(name: str) -> str:
    """The name of a video's file alone."""
    return PurePosixPath(name).stem
