"""The three figures at the top of a run's report."""

from __future__ import annotations

from html import escape

from wildlam.evaluation.intervals import Estimate
from wildlam.evaluation.suite import Evaluations

ROOM = 0.15
"""Of the axis of a whisker, beside what is drawn, as a share of it."""


def headline(found: Evaluations) -> str:
    """Three tiles: is the prediction any good, does it take the action, does the action mean the same elsewhere?"""
    errors = found.one_step
    sure = errors.is_enough
    tiles = [
        _tile(
            _change(errors.estimate("idm", over="copy")),
            "error of the prediction, against repeating the last frame",
            errors.estimate("idm", over="copy") if sure else None,
            {"no better than that": 1.0},
        )
    ]
    if "permuted" in errors.values:
        tiles.append(
            _tile(
                _change(errors.estimate("permuted", over="idm")),
                "error if it is given the action of another clip",
                errors.estimate("permuted", over="idm") if sure else None,
                {"the action does not matter": 1.0},
            )
        )
    if found.cycle and found.cycle.per_clip.is_enough:
        ratio = found.cycle.per_clip.estimate("cycled", over="original")
        other = found.cycle.per_clip.estimate("other", over="original").mean
        marks = {"as without the journey": 1.0, "chance": other}
        tiles.append(
            _tile(f"{ratio.mean:.2f} ×", "the error, once actions were carried to another video and back", ratio, marks)
        )
    else:
        dimensions = found.latent_space.effective_dimensions
        tiles.append(_tile(f"{dimensions:.1f}", "effective dimensions of the latent actions", None, {}))
    return f'<div class="tiles">{"".join(tiles)}</div>\n'


def _change(ratio: Estimate) -> str:
    """A ratio as a change in per cent, with a proper minus."""
    return f"{100 * (ratio.mean - 1):+.0f} %".replace("-", "−")


def _tile(figure: str, words: str, estimate: Estimate | None, marks: dict[str, float]) -> str:
    below = f"{_whisker(estimate, marks)}<small>{escape(_explained(estimate, marks))}</small>" if estimate else ""
    return f'<div class="tile"><strong>{escape(figure)}</strong><p>{escape(words)}</p>{below}</div>\n'


def _explained(estimate: Estimate, marks: dict[str, float]) -> str:
    lines = ", ".join(f"{name} ({at:.3g})" for name, at in marks.items())
    return f"ratio {estimate.mean:.2f} (95 % interval {estimate.low:.2f} to {estimate.high:.2f}); dashed: {lines}"


def _whisker(estimate: Estimate, marks: dict[str, float]) -> str:
    """An interval as a line with a dot, and upright lines for what it is compared with."""
    every = [estimate.low, estimate.high, *marks.values()]
    low, span = min(every), max(max(every) - min(every), 1e-9)

    def x(value: float) -> str:
        return f"{220 * (ROOM / 2 + (1 - ROOM) * (value - low) / span):.1f}"

    lines = "".join(
        f'<line x1="{x(at)}" x2="{x(at)}" y1="2" y2="22" stroke="var(--soft)" stroke-dasharray="3 2"/>'
        for at in marks.values()
    )
    return (
        f'<svg class="whisker" viewBox="0 0 220 24" preserveAspectRatio="xMinYMid" aria-hidden="true">'
        f'<line x1="0" x2="220" y1="12" y2="12" stroke="var(--line)"/>{lines}'
        f'<line x1="{x(estimate.low)}" x2="{x(estimate.high)}" y1="12" y2="12" stroke="var(--mark)" stroke-width="4" '
        f'stroke-linecap="round"/><circle cx="{x(estimate.mean)}" cy="12" r="6" fill="var(--mark)"/></svg>'
    )
