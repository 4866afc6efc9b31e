"""The report of one run: verdict, table, curves, where the error lies, and transitions that share a latent action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.one_step import error_maps
from wildlam.evaluation.suite import Evaluations
from wildlam.evaluation.verdict import verdict
from wildlam.models import LatentActionModel
from wildlam.report.html import Section, error_table, figure, paragraph, verdict_box, write_report
from wildlam.report.pages.decoded import informative_clips
from wildlam.report.pages.evaluation import evaluation_sections
from wildlam.report.plots import Transition, error_bars, error_strip, kl_per_dimension, nearest_actions, training_curves
from wildlam.runs.folder import Run
from wildlam.video.manifest import Manifest

PICTURE = 128
"""Side of the frames in the report, pixels."""

STRIPS_PER_SOURCE = 2
QUERIES = 3
NEIGHBOURS = 5

WIDE = 5
"""Columns of pictures from which a figure takes the whole width; fewer would be blown up."""


def write_run_report(
    run: Run,
    folder: Path,
    model: LatentActionModel,
    manifest: Manifest,
    found: Evaluations,
    summary: dict[str, Any],
    pictures: Iterable[Section] = (),
) -> None:
    """Write ``report.html`` into ``folder``, that of the run or one in it, and its main picture as ``actions.svg``.

    ``pictures`` are the sections of ``pictures_section``, where there is a decoder.
    """
    facts = run.facts
    subtitle = (
        f"{facts['encoder']['name']} states of {manifest.root}, wildlam {facts['versions']['wildlam']}, "
        f"torch {facts['versions']['torch']}, {facts['machine']}, seed {facts['seed']}, {facts['started']}"
    )
    write_report(
        folder / "report.html",
        f"Latent actions: {run.path.name}",
        Section(
            "What was learnt",
            verdict_box(verdict(summary, found.per_clip()))
            + error_table(summary)
            + figure(error_bars(summary), "Bars of the held-out one-step error by source and kind of latent action")
            + paragraph(
                f"{summary['clips']} held-out clips. Errors are mean absolute differences of the encoder's normalised "
                "states one step ahead. Another clip's action is inferred from another recording of the same source, "
                "where one is held out."
            ),
        ),
        *evaluation_sections(found, manifest, run.encoder_spec.grid),
        Section("The same latent action in other videos", _same_action(found.clips, manifest, folder / "actions.svg")),
        *pictures,
        Section(
            "Where the prediction is wrong",
            paragraph("Held-out clips, one step ahead. Brighter is a larger error at that place; one scale for a clip.")
            + "".join(_strips(model, manifest, found.clips, run.encoder_spec.grid)),
        ),
        Section("Training", figure(training_curves(_curves(run)), "Training curves", wide=True) + _kl(run)),
        Section("How to get this again", paragraph(facts["command"])),
        subtitle=subtitle,
    )


def _same_action(clips: InferredClips, manifest: Manifest, picture: Path) -> str:
    """Transitions next to their neighbours, also saved as ``picture``; a sentence where there are none."""
    queries, neighbours = nearest_transitions(clips, manifest)
    if not any(neighbours):
        picture.unlink(missing_ok=True)  # of an evaluation before
        return paragraph("No source has a second held-out recording in which to look for the same action.")
    drawn = nearest_actions(queries, neighbours)
    picture.write_bytes(drawn)
    alt = "Query transitions and their nearest neighbours by latent action"
    return paragraph(
        "Each block starts with a held-out transition. Beside it stand the transitions of other held-out recordings "
        "whose latent actions are nearest to its own. If z is an action, they show the same movement in other places."
    ) + figure(drawn, alt, wide=len(neighbours[0]) + 1 >= WIDE)


def nearest_transitions(clips: InferredClips, manifest: Manifest) -> tuple[list[Transition], list[list[Transition]]]:
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
        before, after = manifest.frames(name, clips.times[i, t : t + 2].tolist(), PICTURE).numpy()
        return Transition(before, after, name, away)

    queries = _unlike(z, ranked.values[:, 0], QUERIES)
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


def _strips(model: LatentActionModel, manifest: Manifest, clips: InferredClips, grid: tuple[int, int]) -> Iterator[str]:
    """A strip for each of some clips of every source in which something moves."""
    device = next(model.parameters()).device

    def shown(i: int) -> Tensor:
        return manifest.frames(clips.names[i], clips.times[i].tolist(), PICTURE)

    for i in informative_clips(shown, clips.names, clips.sources, STRIPS_PER_SOURCE):
        times, frames = clips.times[i].tolist(), shown(i).numpy()
        maps = error_maps(model, clips.states[i : i + 1].to(device))
        errors = {method: error[0].unflatten(-1, grid).cpu().numpy() for method, error in maps.items()}
        text = f"{clips.names[i]}, {times[0]:.2f} s to {times[-1]:.2f} s"
        yield figure(error_strip(frames, errors, seconds=times), f"Error maps of {text}", text, wide=True)


def _curves(run: Run) -> dict[str, tuple[list[float], list[float]]]:
    """Training curves by panel and line; vectors per dimension have a plot of their own."""
    names = {
        "prediction": "one-step L1/training",
        "held_out/idm": "one-step L1/held out",
        "held_out/copy": "one-step L1/copy",
    }
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for row in run.metrics():
        for key, value in row.items():
            if isinstance(value, float) and (key in names or not key.startswith("held_out/")):
                steps, values = curves.setdefault(names.get(key, key), ([], []))
                steps.append(row["step"])
                values.append(value)
    return curves


def _kl(run: Run) -> str:
    """KL divergence per dimension at the last logged step, for bottlenecks that have one."""
    rows = [row for row in run.metrics() if "kl_per_dimension" in row]
    if not rows:
        return ""
    alt = "Bars of the KL divergence that each dimension of the latent action spends"
    return figure(kl_per_dimension(rows[-1]["kl_per_dimension"]), alt)
