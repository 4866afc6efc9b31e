"""One self-contained HTML file: pictures inside it, nothing fetched; for light and dark screens, phones and paper."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from wildlam.evaluation.one_step import METHODS
from wildlam.evaluation.verdict import Verdict

CSS = """
:root { color-scheme: light dark; --ink: #24292f; --soft: #5b6570; --paper: #fdfdfb; --line: #dcdfe3; --panel: #f4f5f3;
  --good: #00724f; --bad: #b34700; }
@media (prefers-color-scheme: dark) { :root { --ink: #d8dde3; --soft: #98a2ad; --paper: #15181c; --line: #333a42;
  --panel: #1d2227; --good: #3fc796; --bad: #ff9a57; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Iowan Old Style", Georgia, "DejaVu Serif", serif; }
header, main, footer { max-width: 60rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; text-wrap: balance;
  overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 3rem 0 .75rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
p, figcaption, .verdict, caption { max-width: 44rem; }
p { margin: 0 0 1rem; }
.subtitle, figcaption, caption, footer, nav { color: var(--soft);
  font: .875rem/1.5 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; }
nav { margin-top: 1rem; }
nav a { color: inherit; margin-right: 1.1rem; text-underline-offset: .2em; text-decoration-color: var(--line); }
.verdict { margin: 1.5rem 0; padding: .9rem 1.2rem; background: var(--panel); border-left: .3rem solid var(--soft); }
.verdict strong { display: block; font-size: 1.1rem; }
.verdict.good { border-color: var(--good); } .verdict.good strong { color: var(--good); }
.verdict.bad { border-color: var(--bad); } .verdict.bad strong { color: var(--bad); }
.verdict ul { margin: .3rem 0 0; padding-left: 1.1rem; }
figure { margin: 1.5rem 0; }
.scroll { overflow-x: auto; }
img, video { display: block; max-width: 100%; height: auto; }
.wide img { max-width: none; width: 100%; min-width: 44rem; }
figcaption { margin-top: .5rem; overflow-wrap: anywhere; } figcaption a { color: inherit; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.25rem; }
.gallery figure { margin: 0; } .gallery img { width: 100%; }
table { border-collapse: collapse; margin: 1.5rem 0; font: .9375rem/1.4 system-ui, "Segoe UI", "Helvetica Neue",
  "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
caption { text-align: left; margin-bottom: .5rem; }
th, td { padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
th:first-child { text-align: left; min-width: 7rem; overflow-wrap: break-word; }
tbody th { font-weight: 400; color: var(--ink); }
td.best { font-weight: 700; color: var(--good); }
footer { margin-top: 4rem; padding-bottom: 3rem; }
@media print { body { font-size: 10pt; } figure, table, .verdict { break-inside: avoid; } }
""".strip()


@dataclass(frozen=True)
class Section:
    """A titled part of the report: ``title`` is plain text, ``html`` markup made by this file's functions, which escape
    what they are given."""

    title: str
    html: str


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>\n"


def verdict_box(verdict: Verdict) -> str:
    """The verdict in words, marked as good, bad or unknown."""
    kind = {True: "good", False: "bad", None: "unknown"}[verdict.works]
    reasons = "".join(f"<li>{escape(sentence)}</li>\n" for sentence in verdict.sentences)
    return f'<div class="verdict {kind}"><strong>{verdict.head}</strong>\n<ul>\n{reasons}</ul></div>\n'


def figure(image: bytes, alt: str, caption: str = "", *, wide: bool = False, link: str = "") -> str:
    """A picture inside the page.

    Args:
        image: a PNG, SVG or WebP file's bytes; an animated WebP moves by itself.
        alt: what the picture shows, for those who cannot see it.
        caption: plain text below it.
        wide: keep the picture readable on narrow screens by letting it scroll sideways.
        link: URL that the caption leads to.

    Raises:
        ValueError: the image is none of these.
    """
    if image.startswith(b"\x89PNG"):
        kind = "png"
    elif b"<svg" in image[:1000]:
        kind = "svg+xml"
    elif image.startswith(b"RIFF") and image[8:12] == b"WEBP":
        kind = "webp"
    else:
        raise ValueError("figure takes the bytes of a PNG, SVG or WebP file")
    data = base64.b64encode(image).decode()
    words = f'<a href="{escape(link)}">{escape(caption)}</a>' if link else escape(caption)
    below = f"<figcaption>{words}</figcaption>" if caption else ""
    # What scrolls must be reachable by keyboard.
    scroll = f'<div class="scroll wide" tabindex="0" role="region" aria-label="{escape(alt)}">' if wide else "<div>"
    return f'<figure>{scroll}<img alt="{escape(alt)}" src="data:image/{kind};base64,{data}"></div>{below}</figure>\n'


def gallery(figures: Sequence[str]) -> str:
    """Figures beside and below each other, as many in a row as there is room for."""
    return f'<div class="gallery">\n{"".join(figures)}</div>\n'


def video(film: bytes, alt: str, caption: str = "") -> str:
    """A film inside the page, which plays when asked to.

    Args:
        film: an MP4 file's bytes.
        alt: what it shows, for those who cannot see it.
        caption: plain text below it.
    """
    data = base64.b64encode(film).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    player = f'<video controls loop muted playsinline aria-label="{escape(alt)}" src="data:video/mp4;base64,{data}">'
    return f"<figure>{player}</video>{below}</figure>\n"


def table(
    rows: Mapping[str, Mapping[str, float | str | None]],
    *,
    caption: str = "",
    best: str | None = None,
    columns: Mapping[str, str] | None = None,
    decimals: int = 3,
) -> str:
    """A table of numbers: row name to column name to value. What is missing, ``None`` or not a number is an em dash.

    Args:
        rows: the values; texts are shown as they are.
        caption: plain text above it.
        best: ``"min"`` or ``"max"`` emphasises each row's best number; ``None`` none.
        columns: keys of the columns to show and their headings; by default all, in order of appearance.
        decimals: digits after the point.
    """
    heads = dict(columns) if columns else {key: key for row in rows.values() for key in row}
    lines = ["<div class='scroll'><table>"]
    if caption:
        lines.append(f"<caption>{escape(caption)}</caption>")
    lines.append("<thead><tr><td></td>" + "".join(f'<th scope="col">{escape(h)}</th>' for h in heads.values()))
    lines.append("</tr></thead><tbody>")
    for name, row in rows.items():
        cells = {key: row.get(key) for key in heads}
        numbers = [v for v in cells.values() if not isinstance(v, str) and v is not None and math.isfinite(v)]
        winner = {"min": min, "max": max}[best](numbers) if best and len(numbers) > 1 else None
        lines.append(f'<tr><th scope="row">{escape(name)}</th>')
        for value in cells.values():
            mark = ' class="best"' if winner is not None and value == winner else ""
            lines.append(f"<td{mark}>{_cell(value, decimals)}</td>")
        lines.append("</tr>")
    lines.append("</tbody></table></div>\n")
    return "".join(lines)


def error_table(errors: Mapping[str, Any]) -> str:
    """The error table ``{"sources": {name: errors}, "all": errors}`` with the lowest error of each row emphasised.

    A method that was not measured, such as a model without actions that was not trained, has no column.
    """
    sources = errors.get("sources", {})
    rows = {**(sources if len(sources) > 1 else {}), "all": errors.get("all", {})}
    measured = {method: head for method, head in METHODS.items() if any(method in row for row in rows.values())}
    return table(rows, caption="Held-out one-step L1 error (lower is better).", best="min", columns=measured)


def write_report(path: Path, title: str, *sections: Section, subtitle: str = "") -> None:
    """Write the page to ``path``, whole or not at all.

    Args:
        path: the HTML file; its folder is made if need be.
        title: heading of the page, plain text.
        sections: its parts, in order.
        subtitle: plain text below the heading, such as the version, the run and the date.
    """
    links = "".join(f'<a href="#s{i}">{escape(section.title)}</a> ' for i, section in enumerate(sections, 1))
    body = "".join(
        f'<section id="s{i}">\n<h2>{escape(section.title)}</h2>\n{section.html}</section>\n'
        for i, section in enumerate(sections, 1)
    )
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{CSS}
</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="subtitle">{escape(subtitle)}</p>
<nav aria-label="Contents">{links}</nav>
</header>
<main>
{body}</main>
<footer>Made by wildlam.</footer>
</body>
</html>
"""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, path)


def _cell(value: float | str | None, decimals: int) -> str:
    if isinstance(value, str):
        return escape(value)
    return "—" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"
