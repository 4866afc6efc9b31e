"""One self-contained HTML file: pictures inside it, nothing fetched; for light and dark screens, phones and paper."""

from __future__ import annotations

import base64
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wildlam.evaluation.one_step import METHODS
from wildlam.evaluation.verdict import Verdict
from wildlam.report.style import CSS, POLICY, SCRIPT

SAFE_IN_SVG = " \n!$()*+,-./:;=?@[]^_{|}~"
"""What need not be escaped in an address of the text of an SVG, within an attribute in double quotes."""


@dataclass(frozen=True)
class Section:
    """A titled part of the report that folds: ``title`` is plain text, ``html`` markup made by this file's functions,
    which escape what they are given; ``folded`` until it is opened."""

    title: str
    html: str
    folded: bool = False


def paragraph(text: str) -> str:
    """A paragraph of plain text, in which backquotes hold code."""
    return "<p>" + re.sub("`([^`]+)`", r"<code>\1</code>", escape(text)) + "</p>\n"


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
        wide: as wide as the page; on narrower screens it scrolls sideways.
        link: URL that the caption leads to.

    Raises:
        ValueError: the image is none of these.
    """
    if image.startswith(b"\x89PNG"):
        source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    elif b"<svg" in image[:1000]:
        # The pictures in it are in base64 already: as text it stays three quarters as long.
        source = f"data:image/svg+xml,{quote(image.decode(), safe=SAFE_IN_SVG)}"
    elif image.startswith(b"RIFF") and image[8:12] == b"WEBP":
        source = f"data:image/webp;base64,{base64.b64encode(image).decode()}"
    else:
        raise ValueError("figure takes the bytes of a PNG, SVG or WebP file")
    words = f'<a href="{escape(link)}">{escape(caption)}</a>' if link else escape(caption)
    below = f"<figcaption>{words}</figcaption>" if caption else ""
    # What scrolls, on a phone all of them, must be reachable by keyboard.
    kind = "scroll wide" if wide else "scroll"
    scroll = f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(alt)}">'
    return f'<figure>{scroll}<img alt="{escape(alt)}" src="{source}"></div>{below}</figure>\n'


def video(film: bytes, alt: str, caption: str = "", *, plays: bool = False) -> str:
    """A film inside the page, which loops.

    Args:
        film: an MP4 file's bytes.
        alt: what it shows, for those who cannot see it.
        caption: plain text below it.
        plays: by itself, and not only when asked to; the page has a button that pauses all films.
    """
    data = base64.b64encode(film).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    how = "autoplay loop muted playsinline" if plays else "controls loop muted playsinline"
    player = f'<video {how} aria-label="{escape(alt)}" src="data:video/mp4;base64,{data}">'
    return f"<figure>{player}</video>{below}</figure>\n"


def gallery(figures: Sequence[str]) -> str:
    """Figures beside and below each other, as many in a row as there is room for."""
    return f'<div class="gallery">\n{"".join(figures)}</div>\n'


def pair(*parts: str) -> str:
    """Parts of a section side by side, where there is room."""
    return f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>\n'


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


REPORTS = re.compile("<!--reports-->.*?<!--/reports-->", re.DOTALL)


def links(folder: Path) -> str:
    """Links to the reports in the folders of a run's folder, such as those of plans; kept up to date by them."""
    others = sorted(path.parent.name for path in folder.glob("*/report.html"))
    items = ", ".join(f'<a href="{quote(name)}/report.html">{escape(name)}</a>' for name in others)
    return f"<!--reports-->{f'<p>More reports of this run: {items}.</p>' if others else ''}<!--/reports-->\n"


def _link_from(path: Path) -> None:
    """Renew the links in the report of the folder above, if it has one that holds some."""
    if path.is_file() and REPORTS.search(text := path.read_text(encoding="utf-8")):
        _write_whole(path, REPORTS.sub(lambda _: links(path.parent).rstrip("\n"), text, count=1))


def _write_whole(path: Path, page: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(page, encoding="utf-8")
    os.replace(part, path)


def write_report(path: Path, title: str, *sections: Section, subtitle: str = "", head: str = "") -> None:
    """Write the page to ``path``, whole or not at all, and a link to it into the report of a run around it.

    Args:
        path: the HTML file; its folder is made if need be.
        title: heading of the page, plain text.
        sections: its parts, in order.
        subtitle: plain text below the heading, such as the version, the run and the date.
        head: markup above the sections, what a reader is to remember.
    """
    links = "".join(f'<a href="#s{i}">{escape(section.title)}</a>\n' for i, section in enumerate(sections, 1))
    body = "".join(
        f'<section id="s{i}">\n<details{"" if section.folded else " open"}><summary><h2>{escape(section.title)}</h2>'
        f"</summary>\n{section.html}</details>\n</section>\n"
        for i, section in enumerate(sections, 1)
    )
    films = any(mark in head + body for mark in ('class="frames"', "<video"))
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{CSS}
</style>
</head>
<body>
<nav aria-label="Contents">
{"<button type='button'>Pause films</button>" if films else ""}
{links}</nav>
<header>
<h1>{escape(title)}</h1>
<p class="subtitle">{escape(subtitle)}</p>
{head}</header>
<main>
{body}</main>
<footer>Made by wildlam.</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, page)
    _link_from(path.parent.parent / path.name)


def _cell(value: float | str | None, decimals: int) -> str:
    if isinstance(value, str):
        return escape(value)
    return "—" if value is None or not math.isfinite(value) else f"{value:.{decimals}f}"
