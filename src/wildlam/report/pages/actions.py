"""What actions are in the videos: groups of latent actions, a video moment by moment, and a map that plays."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from matplotlib import colormaps
from torch import Tensor

from wildlam.evaluation.clips import InferredClips, spread
from wildlam.evaluation.groups import Groups
from wildlam.evaluation.latent_space import LatentSpace
from wildlam.evaluation.suite import Labelled
from wildlam.report.films import film, films, sheet
from wildlam.report.html import Section, paragraph
from wildlam.report.pages.transitions import COLOURS, PICTURE, badge, letter, short, transition_film
from wildlam.video.manifest import Manifest

EXAMPLES = 6
"""Films of each group."""
HEAT = 96
"""Side of the picture of where a group changes states, pixels."""
MOMENTS = 24
"""Transitions of a video that are shown in a row, at most."""
TIMELINES = 4
"""Sources that a video is shown of."""
MAP_CLIPS, MAP_PICTURE = 32, 64
"""Clips whose transitions play in the map, and the side of their frames."""
MAP_WIDTH, MAP_HEIGHT, MARGIN = 800, 520, 14
FEWEST_KNOWN = 5
"""Transitions of a group with a true action from which on their mean is told."""
CLEARLY, SURELY = 0.4, 3.0
"""Deviations, and standard errors, by which a group's mean true action must differ from that of all to be clear."""
MOSTLY = 0.75
"""Share of the most changed places that lie in one half of the picture, if it is told."""
TRUTH = "Where true actions are known, the strongest of their components is told, with twice its standard error."
NO_TRUTH = "No true actions are known of these videos: what is told of a group is what can be seen in its pictures."
EVENLY = 0.4
"""Share of the change that the most changed quarter of the places has at least, if a group changes some more: of chance
it has a quarter."""


def groups_section(
    clips: InferredClips, groups: Groups, labelled: Sequence[Labelled], manifest: Manifest, grid: tuple[int, int]
) -> Section:
    """The groups, the largest first: how often each occurs, where it changes the picture, and films of it.

    Args:
        clips: held-out clips with their latent actions.
        groups: their groups.
        labelled: those of the clips whose true actions are known.
        manifest: the videos.
        grid: height and width of the map of tokens.
    """
    change = torch.stack([(one.float().diff(dim=0)).abs().mean(dim=-1) for one in clips.states])  # [clips, T - 1, N]
    overall = float(change.mean()) or 1.0
    maps = torch.stack([change[groups.labels == group].mean(dim=0) for group in range(len(groups))])
    top = float(maps.max()) or 1.0
    blocks = ""
    for group, share in enumerate(groups.shares):
        amount = float(maps[group].mean()) / overall
        of_source = [f"{source} {100 * part:.0f} %" for source, part in groups.sources(clips, group).items()]
        told = "".join(paragraph(words) for words in _true_actions(clips, groups, group, labelled))
        examples = groups.examples(clips, group, EXAMPLES, change.mean(dim=-1))
        shown = (transition_film(manifest, clips, i, t) for i, t in examples)
        heat = film(_heat(maps[group], grid, top), f"Where group {letter(group)} changes the picture, by place")
        blocks += (
            f'<div class="group" style="--c:{COLOURS[group]}"><div><h3>{badge(group)} {100 * share:.0f} %</h3>'
            f'<div class="share"><i style="width:{100 * share:.1f}%"></i></div>'
            + paragraph(
                f"{amount:.1f} times the average change of a transition, {_place(maps[group], grid)}. "
                f"Of {', '.join(of_source)}."
            )
            + f"{told}</div>{films([heat, *shown])}</div>\n"
        )
    kept = sum(groups.shares)
    how = (
        f"Each group is one code of Discrete; the {len(groups)} most used are shown, {100 * kept:.0f} % of transitions."
        if groups.are_codes
        else f"Found by k-means on z ({len(groups)} groups), without labels."
    )
    intro = paragraph(
        f"The latent actions of {groups.labels.numel():,} held-out transitions in groups, the most frequent first. "
        f"{how} The first picture of a group shows where in the picture it changes things (bright: more). The films "
        "beside it are the transitions nearest to its centre, of the half of it that changes more, slowed down, each "
        f"from another recording. A group is an action if its films do the same; groups differ by world where z does. "
        f"{TRUTH if labelled else NO_TRUTH}"
    )
    return Section("What actions are in my videos?", intro + blocks)


def _place(change: Tensor, grid: tuple[int, int]) -> str:
    """Where the change of a group's states ``[N]`` is, in words, by the quarter of the places that change most."""
    most = change.topk(max(len(change) // 4, 1)).indices
    if float(change[most].sum()) < EVENLY * float(change.sum()) or float(change.sum()) == 0:
        return "all over the picture"
    (height, width), sides = grid, []
    for at, of, names in ((most // width, height, ("upper", "lower")), (most % width, width, ("left", "right"))):
        first = float((at < of / 2).float().mean())
        sides += [names[0]] * (first >= MOSTLY) + [names[1]] * (first <= 1 - MOSTLY)
    return f"most of it in the {' '.join(sides)} part of the picture" if sides else "more in some places than in others"


def _heat(change: Tensor, grid: tuple[int, int], top: float) -> np.ndarray:
    """The mean change of each token as a picture ``uint8 [1, 3, S, S]``."""
    large = torch.nn.functional.interpolate((change.view(1, 1, *grid) / top).clamp(0, 1), size=(HEAT, HEAT))
    return np.moveaxis((255 * colormaps["inferno"](large[0].numpy())[..., :3]).round().astype(np.uint8), -1, 1)


def _true_actions(clips: InferredClips, groups: Groups, group: int, labelled: Sequence[Labelled]) -> list[str]:
    """What was really done in a group's transitions, in words, for each kind of action that is known of enough."""
    number = {
        (name, round(float(t), 4)): i for i, (name, t) in enumerate(zip(clips.names, clips.times[:, 0], strict=True))
    }
    words = []
    for kind in labelled:
        of = kind.held_out
        rows = [number.get((name, round(float(t), 4))) for name, t in zip(of.names, of.times[:, 0], strict=True)]
        known = [k for k, row in enumerate(rows) if row is not None]
        labels = groups.labels[[row for row in rows if row is not None]]
        actions = kind.held_out_actions[known].double()
        finite = actions.isfinite().all(dim=-1)
        mine = actions[finite & (labels == group)]
        if len(mine) < FEWEST_KNOWN:
            continue
        all_of_them = actions[finite]
        away = (mine.mean(dim=0) - all_of_them.mean(dim=0)) / all_of_them.std(dim=0).clamp(min=1e-9)
        error = 1 / len(mine) ** 0.5
        strongest, *others = away.abs().argsort(descending=True).tolist()[:3]
        size = float(away[strongest].abs())
        clear = [i for i in others if float(away[i].abs()) >= max(CLEARLY, SURELY * error)]
        parts = ", ".join(f"{kind.action_names[i]} {float(away[i]):+.1f}" for i in [strongest, *clear])
        how = "" if size >= CLEARLY else "weakly, "
        if size < SURELY * error:
            how = "no clear action; the strongest component, which may be chance: "
        sources = ", ".join(dict.fromkeys(of.sources))
        words.append(f"In truth ({sources}): {how}{parts} sd of all true actions (± {2 * error:.1g}).")
    return words or ["What was really done is known of too few of them."] * bool(labelled)


def timeline_section(clips: InferredClips, groups: Groups, manifest: Manifest) -> Section:
    """A video of each source, moment by moment, and which group each of its transitions is in."""
    parts = ""
    for source in list(dict.fromkeys(clips.sources))[:TIMELINES]:
        of_video: dict[str, dict[float, int]] = {}
        for i, (name, of_source) in enumerate(zip(clips.names, clips.sources, strict=True)):
            if of_source == source:
                for t, label in enumerate(groups.labels[i].tolist()):
                    of_video.setdefault(name, {})[float(clips.times[i, t])] = label
        # The video with the most groups has most to tell.
        name = max(of_video, key=lambda video: len({*list(of_video[video].values())[:MOMENTS]}))
        moments = dict(sorted(of_video[name].items())[:MOMENTS])
        frames = manifest.frames(name, list(moments), PICTURE).numpy()
        cells = (
            film(
                frame[None],
                f"{name} at {second:.2f} s, then an action of group {letter(label)}",
                f"{second:.2f} s",
                below=badge(label),
                kind="moment",
            )
            for frame, (second, label) in zip(frames, moments.items(), strict=True)
        )
        parts += f"<h3>{escape(name)}</h3>\n" + films(cells, "moments")
    words = (
        "A held-out video of each source, where it was evaluated. Below each frame stands the group of the action that "
        "follows it."
    )
    return Section("A video, moment by moment", paragraph(words) + parts)


def map_section(space: LatentSpace, clips: InferredClips, groups: Groups, manifest: Manifest) -> Section:
    """Latent actions in two dimensions; those of some clips play when pointed at."""
    steps = clips.z.shape[1]
    playing = [space.embedded_clips[k] for k in spread(len(space.embedded_clips), MAP_CLIPS)]
    row_of = {clip: row for row, clip in enumerate(playing)}
    rows = [manifest.frames(clips.names[i], clips.times[i].tolist(), MAP_PICTURE).numpy() for i in playing]
    points = space.embedding[: len(space.embedded_clips) * steps]
    low, high = points.quantile(0.002, dim=0), points.quantile(0.998, dim=0)
    place = ((points - low) / (high - low).clamp(min=1e-9)).clamp(-0.01, 1.01).view(-1, steps, 2)
    faint, plain = "", ""
    for k, clip in enumerate(space.embedded_clips):
        for t in range(steps):
            x = MARGIN + (MAP_WIDTH - 2 * MARGIN) * float(place[k, t, 0])
            y = MARGIN + (MAP_HEIGHT - 2 * MARGIN) * (1 - float(place[k, t, 1]))
            label = int(groups.labels[clip, t])
            colour = COLOURS[label] if label >= 0 else "var(--soft)"
            if clip in row_of:
                words = f"{letter(label)}: {short(clips.names[clip])}, {float(clips.times[clip, t]):.2f} s"
                plain += (
                    f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" fill="{colour}" data-at="{row_of[clip]} {t}">'
                    f"<title>{escape(words)}</title></circle>"
                )
            else:
                faint += f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{colour}" opacity=".3"></circle>'
    key = " ".join(badge(group) for group in range(len(groups)))
    columns, count = steps + 1, len(rows)
    film_of = (
        f'<span role="img" aria-label="The transition that is pointed at" data-rows="{count}" data-columns="{columns}" '
        f'style="background-size:{100 * columns}% {100 * count}%;background-image:url({sheet(rows)})"></span>'
    )
    alt = f"{space.method} of the latent actions, coloured by group"
    drawn = (
        f'<div class="map"><svg viewBox="0 0 {MAP_WIDTH} {MAP_HEIGHT}" role="img" aria-label="{escape(alt)}">'
        f'{faint}{plain}</svg><div class="hover">{film_of}<p></p></div></div>\n'
    )
    words = (
        f"Each point is a transition; by {space.method}, near ones have like latent actions. Point at the map: the "
        "nearest of the large points plays, from its frame before to its frame after. Colours are the groups "
    )
    return Section("A map of the actions", f"<p>{escape(words)}{key}.</p>\n{drawn}")
