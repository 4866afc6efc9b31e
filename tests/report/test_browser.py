"""The report as a browser sees it: no error, every picture drawn, every film playing, from a file."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wildlam.evaluation.intervals import PerClip
from wildlam.report.films import film as film_of
from wildlam.report.films import films
from wildlam.report.html import Section, figure, pair, paragraph, video, write_report
from wildlam.report.plots import error_dots
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
    frames = film.numpy()
    errors = PerClip({"idm": torch.rand(12), "copy": torch.rand(12)}, [f"{i}.mp4" for i in range(12)], ["a"] * 12)
    write_report(
        tmp_path / "page.html",
        "Title",
        Section("One", paragraph("Words.") + figure(error_dots(errors), "Dots")),
        Section("Two", video(mp4_bytes(side_by_side({"film": film}), 4), "A film"), folded=True),
        Section("Three", films([film_of(frames, "A short film"), film_of(frames[:1], "A still", below="<b>A</b>")])),
    )
    page, complaints = page_of(tmp_path / "page.html", scheme)
    check(page, complaints)
    ink, paper = (
        np.array([int(v) for v in page.evaluate(f"getComputedStyle(document.body).{name}")[4:-1].split(",")])
        for name in ("color", "backgroundColor")
    )
    assert abs(int(ink.mean()) - int(paper.mean())) > 120  # readable in either scheme


def test_links_open_what_is_folded_and_films_pause(page_of, tmp_path):
    frames = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8).numpy()
    write_report(
        tmp_path / "page.html",
        "Title",
        Section("One", films([film_of(frames, "A film")])),
        Section("Two", paragraph("Words."), folded=True),
    )
    page, complaints = page_of(tmp_path / "page.html")
    assert not page.get_by_text("Words.").is_visible()
    page.get_by_role("link", name="Two").click()
    assert page.get_by_text("Words.").is_visible()
    state = "getComputedStyle(document.querySelector('.frames img')).animationPlayState"
    assert page.evaluate(state) == "running"
    page.get_by_role("button", name="Pause films").click()
    assert page.evaluate(state) == "paused"
    page.get_by_role("button", name="Play films").click()
    assert page.evaluate(state) == "running"
    assert not complaints


def test_a_film_shows_each_of_its_frames_and_no_two_at_once(page_of, tmp_path):
    frames = np.stack([np.full((3, 32, 32), level, dtype=np.uint8) for level in (0, 120, 240)])
    write_report(tmp_path / "page.html", "Title", Section("One", films([film_of(frames, "A film")])))
    page, _ = page_of(tmp_path / "page.html")
    window = page.locator(".frames")
    seen = []
    for at in (0, 0.5, 0.9):  # of its length
        page.evaluate(f"document.getAnimations().forEach(a => {{ a.pause(); a.currentTime = {at} * 1200; }})")
        picture = Image.open(io.BytesIO(window.screenshot())).convert("L")
        middle = np.asarray(picture)[8:-8, 8:-8]
        assert middle.std() < 6
        seen.append(round(float(middle.mean()) / 120))
    assert seen == [0, 1, 2]


def test_the_point_of_the_map_that_is_nearest_plays(page_of, tmp_path):
    html = (
        '<div class="map"><svg viewBox="0 0 100 40"><circle cx="10" cy="10" r="5" data-at="0 0"><title>one</title>'
        '</circle><circle cx="90" cy="30" r="5" data-at="1 2"><title>two</title></circle></svg>'
        '<div class="hover"><span data-rows="2" data-columns="4"></span><p></p></div></div>'
    )
    write_report(tmp_path / "page.html", "Title", Section("Map", html))
    page, complaints = page_of(tmp_path / "page.html")
    assert page.locator(".hover p").text_content() == "one"
    box = page.locator("svg").bounding_box()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.8 * box["height"])
    assert page.locator(".hover p").text_content() == "two"
    places = page.locator(".hover span").evaluate(
        "s => ['--x0', '--x1', '--y'].map(name => Math.round(parseFloat(s.style.getPropertyValue(name))))"
    )
    assert places == [67, 100, 100]  # from the third to the fourth frame of the second row
    assert not complaints


def test_nothing_is_wider_than_a_phone(page_of, tmp_path):
    write_report(tmp_path / "page.html", "Title" * 30, Section("One " * 30, paragraph("Words. " * 40)))
    page, _ = page_of(tmp_path / "page.html")
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_films_side_by_side_can_be_seen_on_a_phone(page_of, tmp_path):
    side = films(
        film_of(np.zeros((1, 3, 8, 8), np.uint8), "A film", "a_long_name_0001 · 1.75 s · -2.0 sd") for _ in range(5)
    )
    write_report(tmp_path / "page.html", "Title", Section("One", pair(side, side)))
    page, _ = page_of(tmp_path / "page.html")
    page.set_viewport_size({"width": 400, "height": 800})
    assert min(page.locator(".frames").evaluate_all("all => all.map((one) => one.clientWidth)")) > 100


def test_a_broken_film_would_be_noticed(page_of, tmp_path):
    write_report(tmp_path / "page.html", "Title", Section("One", video(b"not a film", "A film")))
    page, _ = page_of(tmp_path / "page.html")
    with pytest.raises(playwright.Error):
        check(page, [])
