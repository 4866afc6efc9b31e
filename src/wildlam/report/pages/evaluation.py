"""Sections of the report on the evaluations: the question, the figures with intervals, and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

from torch import Tensor

from wildlam.evaluation.cycle import Cycle
from wildlam.evaluation.intervals import FEWEST_CLIPS, FEWEST_RECORDINGS, Estimate, PerClip
from wildlam.evaluation.latent_space import STEPS, LatentSpace
from wildlam.evaluation.leakage import Leakage
from wildlam.evaluation.locality import KINDS, Locality
from wildlam.evaluation.one_step import METHODS
from wildlam.evaluation.probes import Probes
from wildlam.evaluation.suite import Evaluations
from wildlam.report.evaluation_plots import embedding, horizon_curves, overlays, traversals
from wildlam.report.html import Section, figure, pair, paragraph, table, video
from wildlam.report.local_film import BLINKS, local_film
from wildlam.report.plots import dots_svg
from wildlam.video.manifest import Manifest
from wildlam.video.write import mp4_bytes

PICTURE = 128

DRAWN = {"z": "linear z", "the state alone": "linear state"}
"""Probes that are drawn; the table has all."""

INTERVALS = "In brackets, 95 % bootstrap intervals over recordings."
NO_INTERVALS = (
    f"Without intervals, as fewer than {FEWEST_RECORDINGS} recordings or {FEWEST_CLIPS} clips are held out: these "
    "figures do not generalise to other videos."
)


def evaluation_sections(found: Evaluations, manifest: Manifest, grid: tuple[int, int]) -> Iterator[Section]:
    """A section for each evaluation that was run."""
    rollout = found.rollout.summary()
    yield Section(
        "Further ahead",
        paragraph(
            f"The last {len(rollout['seconds'])} states of each held-out clip, predicted from those before: the model "
            "sees its own predictions, and the latent actions are those inferred from the true states."
        )
        + figure(horizon_curves(rollout["by_step"], rollout["seconds"]), "Curves of rollout error against horizon"),
    )
    if found.pixel_rollout:
        seen = found.pixel_rollout.per_clip
        rows = {
            METHODS.get(name, name): {metric: cell(e, of=seen) for metric, e in of_method.items()}
            for name, of_method in found.pixel_rollout.summary().items()
        }
        yield Section(
            "Further ahead, in pixels",
            paragraph(
                "The same rollouts, decoded and compared with the true frames. The row of true states holds the "
                "decoder's own error, which no prediction can undercut by much."
            )
            + table(rows, caption=f"L1 (lower is better), PSNR in dB and SSIM (higher is better). {intervals(seen)}"),
        )
    if found.leakage and found.cycle:
        title = "Does z hold the next state, or an action?"
        recordings = found.clips.recordings
        if any(recordings[i] != recordings[j] for i, j in enumerate(found.clips.partners)):
            yield Section(title, _leakage_and_cycle(found.leakage, found.cycle))
        else:
            yield Section(
                title, paragraph("No source has a second held-out recording to cut to or to carry actions to.")
            )
    if found.probes:
        yield Section(
            "Can the true actions be read from z?",
            paragraph(
                "The training never saw an action. Regressions from z to the true actions are fitted on training "
                "videos; R² is the variance that they explain on held-out videos. A probe of the state alone shows how "
                "much can be predicted without z."
            )
            + _probes_by_world(found.probes),
        )
    if found.locality:
        yield Section("Does a motion stay in its place?", _locality(found.locality, found.one_step, grid))
    yield Section("The latent space", _latent_space(found.latent_space, found, manifest, grid))


def _probes_by_world(found: Sequence[Probes]) -> str:
    """What z and the state explain of the true actions of each source, drawn; then a table of all probes for each."""
    figures, tables = [], ""
    for of_kind in found:
        for source in dict.fromkeys(of_kind.squared_errors.sources):
            own = of_kind.of_source(source)
            judged = own.squared_errors
            of_probe = {probe: own.r_squared(probe) for probe in own.probes}
            rows = {a: {name: of_probe[probe][a] for name, probe in DRAWN.items()} for a in [*own.action_names, "mean"]}
            drawn = dots_svg(rows, "R² (higher is better)", judged.is_enough, reference=0.0)
            figures.append(
                f"<h3>{escape(source)}</h3>\n" + figure(drawn, f"R² of the true actions of {source} by probe")
            )
            cells = {
                name: {a: cell(e, of=judged) for a, e in of_action.items()} for name, of_action in of_probe.items()
            }
            tables += table(cells, caption=f"R² in {source}, {judged.amount}. {intervals(judged)}")
    return pair(*figures) + tables


def cell(estimate: Estimate | Mapping[str, float] | None, decimals: int = 2, of: PerClip | None = None) -> str | None:
    """An estimate as the text of a table's cell; if it is ``of`` clips that are too few, without its interval."""
    if estimate is None:
        return None
    values = estimate if isinstance(estimate, Mapping) else vars(estimate)
    if not math.isfinite(values["mean"]):  # such as R² of what never varies in a source
        return None
    if of is not None and not of.is_enough:
        values = dict.fromkeys(("mean", "low", "high"), values["mean"])
    if values["low"] < values["high"]:
        # Adding 0 makes of -0 a 0.
        mean, low, high = (f"{round(values[key], decimals) + 0.0:.{decimals}f}" for key in ("mean", "low", "high"))
        return f"{mean} ({low} to {high})"
    return f"{round(values['mean'], decimals) + 0.0:.{decimals}f}"


def intervals(of: PerClip) -> str:
    """What the brackets of a table's cells hold, or why there are none."""
    return INTERVALS if of.is_enough else NO_INTERVALS


def _leakage_and_cycle(leakage: Leakage, cycle: Cycle) -> str:
    errors, ratio = leakage.per_clip, partial(cell, of=leakage.per_clip)
    error = partial(cell, decimals=3, of=leakage.per_clip)
    predictors = {"this model": "", "model without actions": "_deterministic", "copying the last state": "_copy"}
    cuts = {
        name: {
            "plain": error(errors.estimate(f"plain{suffix}")),
            "cut": error(errors.estimate(f"cut{suffix}")),
            "ratio": ratio(errors.estimate(f"cut{suffix}", over=f"plain{suffix}")),
        }
        for name, suffix in predictors.items()
        if f"cut{suffix}" in errors.values
    }
    found, about = cycle.summary(), intervals(errors)
    journeys = {
        "its own actions": {"error": error(found["original"])},
        "after the journey": {"error": error(found["cycled"]), "ratio": ratio(found["ratio"])},
        "the other clip's actions": {"error": error(found["other"]), "ratio": ratio(found["other_ratio"])},
    }
    heads = {"plain": "error without a cut", "cut": "error at the cut", "ratio": "ratio"}
    drawn: dict[str, dict[str, Estimate]] = {
        f"at a cut: {name}": {"ratio": errors.estimate(f"cut{suffix}", over=f"plain{suffix}")}
        for name, suffix in predictors.items()
        if f"cut{suffix}" in errors.values
    }
    drawn["after a cycle"] = {"ratio": cycle.per_clip.estimate("cycled", over="original")}
    drawn["other clip's actions"] = {"ratio": cycle.per_clip.estimate("other", over="original")}
    plot = dots_svg(drawn, "error over that without (1: no difference)", errors.is_enough, reference=1.0)
    return (
        figure(plot, "Ratios of errors at scene cuts and after cycles")
        + paragraph(
            "Scene cuts: the ends of unrelated clips are swapped. An action cannot describe a jump to another scene, "
            "so the error must rise at the cut, as it does without actions; a model whose z is a copy of the next "
            "state would not notice."
        )
        + table(
            cuts,
            caption=f"One-step error at a scene cut (a ratio far under the others' is a leak). {about}",
            columns=heads,
        )
        + paragraph(
            "Cycles: latent actions are inferred on one clip, applied to an unrelated one, inferred again from the "
            "prediction there and applied to the first. Actions that mean the same everywhere survive the journey."
        )
        + table(
            journeys,
            caption=f"Rollout error after a cycle (a ratio near 1 is better, and the last row is chance). {about}",
            columns={"error": "rollout error", "ratio": "over its own"},
        )
    )


def _locality(found: Locality, held_out: PerClip, grid: tuple[int, int]) -> str:
    summary, shown = found.summary(), partial(cell, of=held_out)
    heads = {
        "true": "true change",
        "own": "its own z",
        "transferred": "transferred z",
        "other side": "z of the other side",
    }
    rows = {
        "share of the moved place": {kind: shown(e) for kind, e in summary["share"].items()},
        "over an even spread": {kind: shown(e) for kind, e in summary["concentration"].items()},
        "size, over the true change": {kind: shown(e) for kind, e in summary["effect"].items()},
        "displacement over the source's": {kind: shown(e) for kind, e in summary["slope"].items()},
    }
    films = {name: film.numpy() for name, film in found.films[0].items()}
    maps = {kind: found.maps[kind][0].unflatten(-1, grid).numpy() for kind in KINDS}
    last = films["target"][0]
    panels: dict[str, Any] = {
        "source, before": (films["source"][0], None),
        "source, after": (films["source"][-1], None),
        "target, before": (last, None),
        **{heads[kind]: (last, maps[kind]) for kind in KINDS},
    }
    return (
        paragraph(
            "Composed scenes with two discs at rest. In a source scene one of them moves; its latent action is applied "
            "to another scene. Share: how much of the change at the two discs falls on the one at the moved place (1: "
            "all; 0.5: the model does not distinguish places). Displacement: by how much the change moves when the "
            "source's disc stands further aside (1: as far, 0: not at all)."
        )
        + table(rows, caption=f"{summary['scenes']} composed scenes. {intervals(held_out)}", columns=heads)
        + paragraph(f"Displacement of the transferred change over that of the true one: {shown(summary['carried'])}.")
        + figure(overlays(panels), "One composed scene: source, target, and where four kinds of change fall", wide=True)
        + video(
            mp4_bytes(local_film(found, grid), BLINKS),
            "Films of composed scenes: a source, the target as it would truly move, and where changes fall in it",
            "More scenes. A disc of the source moves; bright is where the target's states change in truth, by the "
            "latent action of the source, and by that of a source in which the other disc moves.",
            plays=True,
        )
    )


def _latent_space(space: LatentSpace, found: Evaluations, manifest: Manifest, grid: tuple[int, int]) -> str:
    summary = space.summary()
    explained = summary["explained_variance"][:3]
    words = (
        f"Inferred latent actions spread over about {summary['effective_dimensions']:.1f} effective dimensions of "
        f"{len(space.mean)}; the first {len(explained)} principal directions hold "
        f"{', '.join(f'{100 * share:.0f} %' for share in explained)} of their variance. "
    )
    tests = summary["sampling"]
    if tests and not found.one_step.is_enough:
        words += "Too few clips are held out to compare them with sampled ones."
    elif tests:
        words += (
            "Latent actions sampled without an inverse dynamics model are distinguished from inferred ones by their "
            f"nearest neighbour in {100 * tests['accuracy']['mean']:.0f} % of cases (50 %: not at all, 100 %: always); "
            f"energy coefficient {tests['energy_coefficient']:.2f} of 1, p = {tests['p_value']:.3f}."
        )
    else:
        words += f"Sampling: {space.note}."
    if (of_prior := summary["sampling_of_prior"]) and found.one_step.is_enough:
        alone, pairs = (of_prior[name]["accuracy"]["mean"] for name in ("alone", "pairs"))
        words += (
            " Samples of the run's prior, which sees the state, are distinguished from inferred ones in "
            f"{100 * alone:.0f} % of cases, and in {100 * pairs:.0f} % with their states beside."
        )
    points = space.embedding.numpy()
    count = len(space.embedded_clips) * found.clips.z.shape[1]
    scatter = embedding(points[:count], points[count:] if len(points) > count else None, space.method)
    clip = space.targets[0]
    moment = [float(found.clips.times[clip, 0])]
    frame = manifest.frames(found.clips.names[clip], moment, PICTURE)[0].numpy()
    maps: Tensor = space.change[0].unflatten(-1, grid)
    return paragraph(words) + pair(
        figure(scatter, f"{space.method} of inferred and of sampled latent actions"),
        figure(
            traversals(frame, maps.numpy(), STEPS),
            "Traversals of the principal directions of z",
            "Along the principal directions of z, from the mean: where the predicted state changes (brighter: more).",
        ),
    )
