"""The report as a browser sees it: no error, every picture drawn, every film playing, from a file."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wildlam.report.html import Section, figure, paragraph, video, write_report
from wildlam.report.plots import error_bars
from wildlam.video.write import mp4_bytes, side_by_side

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def page_of():
    """Open a page; give it and what it complained of."""
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def opened(path: Path, scheme: str = "light"):
            page = browser.new_page(color_scheme=scheme)
            complaints = []
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda r: complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
            page.goto(path.as_uri())
            return page, complaints

        yield opened
        browser.close()


def check(page, complaints):
    assert not complaints
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)"
    assert page.evaluate(broken) == []
    assert page.evaluate("[...document.images].filter(i => !i.alt).length") == 0
    for film in page.locator("video").all():
        assert film.get_attribute("aria-label")
        played = film.evaluate("v => v.play().then(() => new Promise(r => v.ontimeupdate = () => r(v.videoWidth)))")
        assert played > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_with_everything(page_of, tmp_path, scheme):
    film = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8)
    table = {"sources": {"a": {"idm": 0.1, "copy": 0.2}}, "all": {"idm": 0.1, "copy": 0.2}}
    write_report(
        tmp_path / "page.html",
        "Title",
        Section("One", paragraph("Words.") + figure(error_bars(table), "Bars")),
        Section("Two", video(mp4_bytes(side_by_side({"film": film}), 4), "A film")),
    )
    page, complaints = page_of(tmp_path / "page.html", scheme)
    check(page, complaints)
    ink, paper = (
        np.array([int(v) for v in page.evaluate(f"getComputedStyle(document.body).{name}")[4:-1].split(",")])
        for name in ("color", "backgroundColor")
    )
    assert abs(int(ink.mean()) - int(paper.mean())) > 120  # readable in either scheme


def test_a_broken_film_would_be_noticed(page_of, tmp_path):
    write_report(tmp_path / "page.html", "Title", Section("One", video(b"not a film", "A film")))
    page, _ = page_of(tmp_path / "page.html")
    with pytest.raises(playwright.Error):
        check(page, [])
