"""Keys of a drive: latent actions with names, found in the model's own inferences or made by a controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wildlam.episodes.action_spaces import ActionSpace
from wildlam.models.bottlenecks.discrete import DiscreteBottleneck
from wildlam.models.controller import Controller
from wildlam.workflows.transitions import Transitions, clusters, directions

PAIRS = ("ws", "ad", "qe", "rf", "tg", "yh", "uj", "ik")
"""Letters of opposite keys, pair by pair."""
DIGITS = "123456789"
ROW = "qwertyuiopasdfghjkl"
"""Letters of keys that come after the digits."""
FOUND = 8
"""Clusters of latent actions that become keys."""
CODES = 16
"""Codes of a codebook that become keys."""
ALONG = 4
"""Principal directions that become pairs of keys."""
HARD = 1.5
"""Deviations of the real actions that a controller learnt from, that a key asks for."""
DEAD = 1e-5
"""Deviation up to which a real action never varied."""
EXAMPLES = 3

WORDS = {
    "forward": ("forward", "back"),
    "left": ("step left", "step right"),
    "turn": ("turn left", "turn right"),
    "dx": ("reach out", "pull back"),
    "dy": ("robot's left", "robot's right"),
    "dz": ("up", "down"),
    "droll": ("roll +", "roll -"),
    "dpitch": ("pitch +", "pitch -"),
    "dyaw": ("yaw +", "yaw -"),
    "dgripper": ("open", "close"),
}
"""What the components of common real actions do, up and down; of others the name is shown with its sign.
Which way an arm moves in the picture depends on the camera: one that faces the robot shows its left on the right."""
LETTERS = {"forward": "ws", "turn": "ad", "left": "qe", "dx": "ws", "dy": "ad", "dz": "rf", "dgripper": "oc"}


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes:
        key: its name within a set.
        label: what people read on it.
        letter: the key of the keyboard.
        z: latent action ``[Z]``; None of a real one.
        action: real action ``[A]``; None of a latent one.
        members: numbers of the transitions that are mapped of the group that it stands for, if it is one.
    """

    key: str
    label: str
    letter: str
    z: Tensor | None = None
    action: Tensor | None = None
    members: np.ndarray | None = None


@dataclass(frozen=True)
class Driver:
    """A controller of the run."""

    name: str
    controller: Controller
    space: ActionSpace

    @property
    def title(self) -> str:
        """What people call its actions."""
        return "real actions" if self.name == "controller" else f"{self.name.removeprefix('controller_')} actions"

    @property
    def rest(self) -> Tensor:
        """The real action ``[A]`` of doing nothing: zeros, or the mean where zeros do not stay."""
        mean = self.controller.action_mean.cpu()
        return torch.zeros_like(mean) if self.space.zero_stays else mean

    def keys(self) -> list[Key]:
        """A pair of keys for each component of a real action that ever varied, and one to stay."""
        rest, std = self.rest, self.controller.action_std.cpu()
        keys, spare = [], iter(pair for pair in PAIRS if pair not in LETTERS.values())
        for i, name in enumerate(self.space.action_names):
            if std[i] <= DEAD:
                continue
            letters = LETTERS.get(name) or next(spare, "  ")
            words = WORDS.get(name, (f"{name} +", f"{name} -"))
            for word, letter, sign in zip(words, letters, (1, -1), strict=True):
                step = torch.zeros_like(rest)
                step[i] = sign * HARD * std[i]
                keys.append(Key(f"{i}{'+' if sign > 0 else '-'}", word, letter, action=rest + step))
        return [*keys, Key("stay", "stay", " ", action=rest)]

    def joined(self, keys: Sequence[Key]) -> Tensor:
        """Several keys at once as one real action ``[A]``: what each asks for, from rest."""
        return self.rest + torch.stack([key.action - self.rest for key in keys if key.action is not None]).sum(dim=0)


def stay_key(transitions: Transitions, source: str | None) -> Key:
    """The transition of a source that changes least: what the strength of latent keys is counted from."""
    among = transitions.of_source(source)
    return Key("stay", "stay", " ", z=transitions.z[int(among[transitions.change[among].argmin()])])


def found_keys(transitions: Transitions, source: str | None, names: dict[str, str]) -> list[Key]:
    """Real transitions that stand for clusters of latent actions of a source, and the one that changes least."""
    among = transitions.of_source(source)
    numbers = clusters(transitions, FOUND, among)
    # In the order of how much they change, so that strong ones come last.
    numbers = numbers[np.argsort(transitions.change[numbers])]
    keys = [
        Key(f"t{n}", names.get(f"t{n}", f"action {i}"), DIGITS[i - 1], z=transitions.z[n])
        for i, n in enumerate(numbers.tolist(), start=1)
    ]
    return [*keys, stay_key(transitions, source)]


def code_keys(
    transitions: Transitions, source: str | None, bottleneck: DiscreteBottleneck, names: dict[str, str]
) -> list[Key]:
    """The codes that the model infers in transitions of a source, those of most transitions first."""
    among = transitions.of_source(source)
    codebook = bottleneck.codebook
    codes = bottleneck.assign(transitions.z[among].to(codebook)).cpu().numpy()
    counts = np.bincount(codes, minlength=len(codebook))
    used = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)][:CODES].tolist()
    titles = [names.get(f"c{code}", f"code {code}") for code in used]
    return [
        Key(f"c{code}", title, letter, z=codebook[code].cpu(), members=among[codes == code])
        for code, title, letter in zip(used, titles, DIGITS + ROW, strict=False)
    ]


def direction_keys(transitions: Transitions, source: str | None) -> list[Key]:
    """Two keys for each of the first principal directions of a source's latent actions, and one to stay."""
    ends = directions(transitions, ALONG, transitions.of_source(source))
    keys = [
        Key(f"d{i}{sign}", f"direction {i + 1} {sign}", letter, z=z)
        for i, (pair, letters) in enumerate(zip(ends, PAIRS, strict=False))
        for z, letter, sign in zip(pair.flip(0), letters, "+-", strict=True)
    ]
    return [*keys, stay_key(transitions, source)]
