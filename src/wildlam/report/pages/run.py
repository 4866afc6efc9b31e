"""The report of one run: what actions are in its videos, then whether its training passed the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from wildlam.evaluation.clips import InferredClips
from wildlam.evaluation.groups import group_actions
from wildlam.evaluation.one_step import error_maps
from wildlam.evaluation.suite import Evaluations
from wildlam.evaluation.verdict import verdict
from wildlam.models import LatentActionModel
from wildlam.models.bottlenecks.discrete import DiscreteBottleneck
from wildlam.report.html import Section, error_table, figure, links, pair, paragraph, verdict_box, write_report
from wildlam.report.pages.actions import groups_section, map_section, timeline_section
from wildlam.report.pages.decoded import informative_clips
from wildlam.report.pages.directions import directions_section
from wildlam.report.pages.evaluation import evaluation_sections
from wildlam.report.pages.headline import headline
from wildlam.report.pages.neighbours import neighbours_section
from wildlam.report.pages.pictures import Painter, pictures_section
from wildlam.report.plots import error_dots, error_strip, kl_per_dimension, training_curves
from wildlam.runs.folder import Run
from wildlam.video.manifest import Manifest

PICTURE = 128
"""Side of the frames in the report, pixels."""

STRIPS_PER_SOURCE = 2
VERDICT_BELOW = "The tests are below, after what the videos show."


def write_run_report(
    run: Run,
    folder: Path,
    model: LatentActionModel,
    manifest: Manifest,
    found: Evaluations,
    summary: dict[str, Any],
    painter: Painter | None = None,
) -> None:
    """Write ``report.html`` into ``folder``, that of the run or one in it, and its main picture as ``actions.svg``.

    Args:
        run: the run.
        folder: where to.
        model: its model, in evaluation mode.
        manifest: the videos.
        found: what was evaluated.
        summary: what ``results.json`` holds.
        painter: what paints states, where there is a decoder.
    """
    facts, clips, grid = run.facts, found.clips, run.encoder_spec.grid
    judged = verdict(summary, found.per_clip())
    groups = group_actions(clips, isinstance(model.bottleneck, DiscreteBottleneck))
    began = f"{facts['started'][:16].replace('T', ' ')} UTC"
    subtitle = (
        f"{facts['encoder']['name']} states of {manifest.root.name}, wildlam {facts['versions']['wildlam']}, "
        f"torch {facts['versions']['torch']}, {facts['machine']}, seed {facts['seed']}, {began}"
    )
    write_report(
        folder / "report.html",
        f"Latent actions: {run.path.name}",
        groups_section(clips, groups, found.labelled, manifest, grid),
        timeline_section(clips, groups, manifest),
        directions_section(model, found.latent_space, clips, manifest, painter.decoder if painter else None),
        map_section(found.latent_space, clips, groups, manifest),
        neighbours_section(clips, manifest, folder / "actions.svg"),
        *(pictures_section(model, painter, clips) if painter else ()),
        Section(
            "Did the training pass its tests?",
            verdict_box(judged)
            + pair(
                figure(error_dots(found.one_step), "Held-out one-step errors by source and kind of latent action"),
                error_table(summary),
            )
            + paragraph(
                f"{summary['clips']} held-out clips. Errors are mean absolute differences of the encoder's normalised "
                "states one step ahead. Another clip's action is inferred from another recording of the same source, "
                "where one is held out."
            ),
        ),
        *evaluation_sections(found, manifest, grid),
        Section(
            "Where the prediction is wrong",
            paragraph("Held-out clips, one step ahead. Brighter is a larger error at that place; one scale for a clip.")
            + "".join(_strips(model, manifest, clips, grid)),
            folded=True,
        ),
        Section(
            "Training", figure(training_curves(_curves(run)), "Training curves", wide=True) + _kl(run), folded=True
        ),
        Section("How to get this again", paragraph(facts["command"])),
        subtitle=subtitle,
        head=headline(found) + paragraph(f"{judged.head} {VERDICT_BELOW}") + links(folder),
    )


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
