"""Locality and camera frame: does a motion of one place act on that place alone, in another scene? (arXiv 2601.05230)

Scenes are composed, so that the truth is known: textured discs on real frames. In a source scene one of two discs
moves; its latent action is applied to a target scene, on another frame, with two other discs at the same places, at
rest. Only the one at the moved place should move. And where the source's disc stands further to the side, so should the
transferred change: then the latent action carries a place in the image, not an object.

The change that a latent action brings is measured against that of the same scene at rest: ``p(s, z) - p(s, z_rest)``,
its mean over the width of each token. As an encoder's tokens see beyond their own cell, not even the true change lies
wholly in its place; it is reported as reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wildlam.errors import WildlamError
from wildlam.evaluation.clips import spread
from wildlam.evaluation.composed_scenes import Scene, compose, texture
from wildlam.evaluation.intervals import Estimate, PerClip
from wildlam.models import LatentActionModel
from wildlam.progress import Count, uncounted
from wildlam.types import Encoder

STATIONS = 4
"""Places for a disc along either axis, fewer where the token map is coarser."""
SHIFTS = 2
"""How many stations a source's disc is moved aside, at most."""
SCENES = 32
SCENES_AT_ONCE = 8
FILMED = 6
"""Scenes whose films are kept, to be shown."""
KINDS = ("true", "own", "transferred", "other side")
"""Whose change: the truth's (of the encoder's states); that of the target's own latent action; that of the source's,
transferred; that of the source in which the other disc moves."""


@dataclass
class Locality:
    """Where the change falls, per scene.

    Attributes:
        scenes: change by kind (``KINDS``), its mean over the tokens of the moved place (``true: place``), of the
            other disc's (``true: other``) and of all (``true: all``); and for ``true`` and ``transferred`` the
            displacement over that of the source (``true: slope``). A scene's name is that of its target frame.
        stations: places along either axis.
        maps: change per token by kind, ``[scenes, N]``.
        moved: the tokens of the moved place, ``bool [scenes, N]``.
        films: ``source`` and ``target`` of some scenes as they truly move, ``uint8 [F, 3, S, S]``, by the scene's
            number.
    """

    scenes: PerClip
    stations: int
    maps: dict[str, Tensor]
    moved: Tensor
    films: dict[int, dict[str, Tensor]]

    def share(self, kind: str) -> Estimate | None:
        """Change at the moved place over that at both discs': 1 is local, 0.5 blind to place; None where none falls."""
        values = self.scenes.values
        both = values[f"{kind}: place"] + values[f"{kind}: other"]
        return self._ratio(values[f"{kind}: place"], both)

    def concentration(self, kind: str) -> Estimate | None:
        """Change at the moved place over that of the mean token: 1 is spread evenly; None where there is none."""
        return self._ratio(self.scenes.values[f"{kind}: place"], self.scenes.values[f"{kind}: all"])

    def slope(self, kind: str) -> Estimate:
        """Displacement of the change's centroid over that of the source: 1 carries the place, 0 does not."""
        return self.scenes.estimate(f"{kind}: slope")

    def carried(self) -> Estimate | None:
        """Slope of the transferred change over that of the true one, which tokens that see far pull under 1."""
        return self._ratio(self.scenes.values["transferred: slope"], self.scenes.values["true: slope"])

    def summary(self) -> dict[str, Any]:
        """What goes into ``results.json``; ``effect`` is the size of the change over that of the true one."""
        true = self.scenes.values["true: all"]
        return {
            "scenes": len(self.scenes.names),
            "share": {kind: _plain(self.share(kind)) for kind in KINDS},
            "concentration": {kind: _plain(self.concentration(kind)) for kind in KINDS},
            "effect": {kind: _plain(self._ratio(self.scenes.values[f"{kind}: all"], true)) for kind in KINDS[1:]},
            "slope": {kind: _plain(self.slope(kind)) for kind in ("true", "transferred")},
            "carried": _plain(self.carried()),
        }

    def _ratio(self, top: Tensor, bottom: Tensor) -> Estimate | None:
        if not bottom.sum() > 0:
            return None
        both = replace(self.scenes, values={"top": top, "bottom": bottom})
        return both.estimate("top", over="bottom")


@torch.no_grad()
def locality(
    model: LatentActionModel,
    encoder: Encoder,
    frames: Tensor | None = None,
    seed: int = 0,
    scenes: int = SCENES,
    recordings: Sequence[str] = (),
    count: Count = uncounted,
) -> Locality:
    """Compose scenes, transfer their latent actions, and measure where the change falls.

    Args:
        model: the model, in evaluation mode.
        encoder: encoder of the model's states.
        frames: real frames to stand behind the discs, ``uint8 [M, 3, S, S]``, best of a video each; random smooth
            textures if None or a single one.
        seed: seed of the scenes.
        scenes: how many to compose.
        recordings: the one that each of the ``M`` frames is of; by default every frame is of its own.
        count: counts the scenes that are done.

    Raises:
        WildlamError: the token map is too coarse to distinguish places.
        ValueError: the frames have another shape.
    """
    spec = encoder.spec
    if frames is not None and frames.shape[1:] != (3, spec.image_size, spec.image_size):
        raise ValueError(f"expected frames [M, 3, {spec.image_size}, {spec.image_size}], got {list(frames.shape)}")
    stations = min(STATIONS, *spec.grid)
    if stations < 2:
        raise WildlamError(f"{spec.name} gives a map of {spec.grid} tokens; locality needs two or more along each axis")
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    if frames is None or len(frames) < 2:
        frames = torch.stack([texture(spec.image_size, 6, generator) for _ in range(scenes)]).byte()
        recordings = ()
    shifts = min(SHIFTS, stations - 1)
    row, column = _token_stations(spec.grid, stations)
    composed = [compose(i, frames, spec, stations, shifts, generator) for i in range(scenes)]
    maps: dict[str, list[Tensor]] = {}
    for first in range(0, scenes, SCENES_AT_ONCE):
        some = composed[first : first + SCENES_AT_ONCE]
        for kind, change in _changes(model, encoder, some, shifts, device):
            maps.setdefault(kind, []).append(change)
        count(len(some))
    changes = {kind: torch.cat(parts) for kind, parts in maps.items()}

    place, other = (
        torch.stack([(row == scene.row) & (column == scene.columns[i]) for scene in composed]) for i in (0, 1)
    )
    values = {}
    for kind in KINDS:
        for name, where in (("place", place), ("other", other), ("all", torch.ones_like(place))):
            values[f"{kind}: {name}"] = (changes[kind] * where).sum(dim=1) / where.sum(dim=1)
    for kind in ("true", "transferred"):
        moved = torch.stack([_centroid(changes[f"{kind} {k}"], spec.grid) for k in range(shifts + 1)]) * stations
        k = torch.arange(shifts + 1.0)[:, None] - shifts / 2
        values[f"{kind}: slope"] = (k * moved).sum(dim=0) / k.square().sum()
    names = [f"frame {scene.frame}" for scene in composed]
    of_scenes = [recordings[scene.frame] for scene in composed] if recordings else []
    return Locality(
        PerClip(values, names, ["composed"] * scenes, of_scenes),
        stations,
        {kind: changes[kind] for kind in KINDS},
        place,
        {
            i: {name: composed[i].films[f"{name} moves"] for name in ("source", "target")}
            for i in spread(scenes, FILMED)
        },
    )


def _changes(
    model: LatentActionModel, encoder: Encoder, scenes: list[Scene], shifts: int, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    """Change per token ``[scenes, N]`` by kind: ``KINDS`` in the pair, ``true k`` and ``transferred k`` in the line."""
    names = list(scenes[0].films)
    states = {name: encoder.encode(torch.stack([s.films[name] for s in scenes])).to(device).float() for name in names}
    z = {name: model.infer(states[name]) for name in names}

    def true(moves: str, rests: str) -> Tensor:
        return (states[moves][:, 1] - states[rests][:, 1]).abs().mean(dim=-1).cpu()

    def predicted(target: str, moves: str, rests: str) -> Tensor:
        start = states[target][:, :1]
        change = model.predict(start, z[moves]) - model.predict(start, z[rests])
        return change[:, 0].float().abs().mean(dim=-1).cpu()

    yield "true", true("target moves", "target rests")
    yield "own", predicted("target rests", "target moves", "target rests")
    yield "transferred", predicted("target rests", "source moves", "source rests")
    yield "other side", predicted("target rests", "source's other moves", "source rests")
    for k in range(shifts + 1):
        yield f"true {k}", true(f"line moves {k}", "line rests")
        yield f"transferred {k}", predicted("line rests", f"shifted moves {k}", f"shifted rests {k}")


def _token_stations(grid: tuple[int, int], stations: int) -> tuple[Tensor, Tensor]:
    """Row and column of the station that each token's centre lies in, ``[N]``."""
    rows, columns = (((torch.arange(n) + 0.5) / n * stations).long() for n in grid)
    return rows.repeat_interleave(grid[1]), columns.repeat(grid[0])


def _centroid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """How far right of the middle each map's ``[scenes, N]`` change lies, in widths of the frame; 0 without any."""
    across = ((torch.arange(grid[1]) + 0.5) / grid[1] - 0.5).repeat(grid[0])
    return (maps * across).sum(dim=1) / maps.sum(dim=1).clamp(min=1e-12)


def _plain(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else asdict(estimate)
