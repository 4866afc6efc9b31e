"""The page of a search: pictures that move, and words where there are none."""

import base64
import io
import re

import torch
from PIL import Image

from wildlam.report.pages.search import FRAME_MS, LAST_MS, Shown, strip, write_search_page


def test_a_strip_runs_by_itself_and_rests_at_the_end():
    frames = torch.arange(0, 250, 50, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 16, 16)
    film = Image.open(io.BytesIO(strip(frames)))
    assert (film.n_frames, film.info["loop"]) == (5, 0)
    greys, shown = [], []
    for number in range(5):
        film.seek(number)
        third = film.width // 3
        greys.append([film.convert("L").getpixel((third * k + third // 2, film.height // 2)) for k in range(3)])
        shown.append(film.info["duration"])
    assert shown == [FRAME_MS] * 4 + [LAST_MS]
    for number, (before, after, now) in enumerate(greys):
        assert abs(before - 0) < 12
        assert abs(after - 200) < 12
        assert abs(now - 50 * number) < 12


def test_what_was_asked_stands_before_what_was_found(tmp_path):
    frames = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    hits = [Shown("1. <b>.mp4", frames, "b.mp4#t=1,2"), Shown("2. c.mp4: cannot be shown (no such file)", None)]
    write_search_page(tmp_path / "page.html", "Like <a>.mp4@1", [Shown("a", frames)], hits, "3 of 9")
    page = (tmp_path / "page.html").read_text()
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Asked for", "Found, the nearest first"]
    assert '<a href="b.mp4#t=1,2">1. &lt;b&gt;.mp4</a>' in page
    assert "<p>2. c.mp4: cannot be shown (no such file)</p>" in page
    assert "<title>Like &lt;a&gt;.mp4@1</title>" in page
    data = re.findall(r"data:image/webp;base64,([^\"]+)", page)
    assert all(base64.b64decode(one).startswith(b"RIFF") for one in data)
    assert len(data) == 2


def test_nothing_found_is_said(tmp_path):
    write_search_page(tmp_path / "page.html", "Like group:x", [], [], "0 of 9")
    assert "Nothing; ask for more" in (tmp_path / "page.html").read_text()
