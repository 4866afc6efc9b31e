"""Scenes whose truth is known: textured discs on real frames, one of which moves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wildlam.types import EncoderSpec


@dataclass
class Scene:
    """Films ``uint8 [F, 3, S, S]`` of one scene by name; discs stand at ``columns`` of ``row``, the first one moves.

    ``frame`` is the number of the one behind the target's discs.
    """

    frame: int
    row: int
    columns: tuple[int, int]
    films: dict[str, Tensor]


def compose(
    number: int, frames: Tensor, spec: EncoderSpec, stations: int, shifts: int, generator: torch.Generator
) -> Scene:
    """Compose scene ``number``: a source and a target with two discs each, and a line of discs for shifted sources.

    Sides and directions of motion alternate from scene to scene; all else is drawn. A disc moves by a quarter of its
    place from one state to the next, and never leaves it.

    Args:
        number: number of the scene, which decides its two frames too.
        frames: ``uint8 [M, 3, S, S]``, ``M >= 2``.
        spec: specification of the encoder.
        stations: places for a disc along either axis.
        shifts: how many places aside the single disc of a shifted source stands, at most.
        generator: random generator of all that is drawn.
    """

    def draw(stop: int) -> int:
        return int(torch.randint(stop, (), generator=generator))

    source_frame = number % len(frames)
    target_frame = (source_frame + 1 + number // len(frames) % (len(frames) - 1)) % len(frames)
    travel = (spec.image_size // stations // 4) * (1 if number // 2 % 2 else -1)
    row, gap = draw(stations), stations // 2
    left = draw(stations - gap)
    columns = (left, left + gap) if number % 2 else (left + gap, left)
    side = spec.image_size // stations * 3 // 4
    source_discs, target_discs = ([_disc(side, generator) for _ in range(2)] for _ in range(2))
    row_discs = [_disc(side, generator) for _ in range(shifts + 1)]
    shifted_row, start = draw(stations), draw(stations - shifts)
    line = [start + k for k in range(shifts + 1)]

    def film(
        frame: int, discs: list[Tensor], at: int, columns: tuple[int, ...] | list[int], moving: int | None
    ) -> Tensor:
        return _film(frames[frame], discs, [(at, c) for c in columns], moving, travel, spec.frames_per_state, stations)

    films = {
        "source rests": film(source_frame, source_discs, row, columns, None),
        "source moves": film(source_frame, source_discs, row, columns, 0),
        "source's other moves": film(source_frame, source_discs, row, columns, 1),
        "target rests": film(target_frame, target_discs, row, columns, None),
        "target moves": film(target_frame, target_discs, row, columns, 0),
        "line rests": film(target_frame, row_discs, shifted_row, line, None),
    }
    for k, column in enumerate(line):
        films[f"line moves {k}"] = film(target_frame, row_discs, shifted_row, line, k)
        films[f"shifted rests {k}"] = film(source_frame, source_discs[:1], shifted_row, [column], None)
        films[f"shifted moves {k}"] = film(source_frame, source_discs[:1], shifted_row, [column], 0)
    return Scene(target_frame, row, columns, films)


def _film(
    frame: Tensor,
    discs: list[Tensor],
    places: list[tuple[int, int]],
    moving: int | None,
    travel: int,
    frames_per_state: int,
    stations: int,
) -> Tensor:
    """Two states: all rest in the first; a disc moves sideways by ``travel`` pixels until the end of the second."""
    film = frame.float().repeat(2 * frames_per_state, 1, 1, 1)
    station = frame.shape[-1] // stations
    for i, (disc, (row, column)) in enumerate(zip(discs, places, strict=True)):
        side = disc.shape[-1]
        y, x = row * station + (station - side) // 2, column * station + (station - side - travel) // 2
        for t, image in enumerate(film):
            along = travel * max(t - frames_per_state + 1, 0) // frames_per_state if i == moving else 0
            image[:, y : y + side, x + along : x + along + side].lerp_(disc[:3], disc[3:].expand(3, -1, -1))
    return film.round().clamp(0, 255).byte()


def _disc(side: int, generator: torch.Generator) -> Tensor:
    """A textured disc and its opacity, ``[4, side, side]``."""
    across = torch.arange(side) - (side - 1) / 2
    opacity = (side / 2 - (across[:, None] ** 2 + across**2).sqrt() + 0.5).clamp(0, 1)
    return torch.cat([texture(side, 3, generator), opacity[None]])


def texture(side: int, detail: int, generator: torch.Generator) -> Tensor:
    """Smooth random colours, ``[3, side, side]`` in 0 to 255."""
    coarse = 255 * torch.rand(1, 3, detail, detail, generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)[0].clamp(0, 255)
