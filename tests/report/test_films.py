import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from wildlam.report.films import film, films, sheet


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (3, 3, 16, 24), dtype=np.uint8)


def picture(html: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(re.search(r"data:image/webp;base64,([^\")]+)", html)[1])))


def test_a_film_is_its_frames_side_by_side(frames):
    html = film(frames, "A <film>", "a.mp4 & more")
    assert picture(html).size == (3 * 24, 16)
    assert "--n:3;--k:2;" in html
    assert 'alt="A &lt;film&gt;"' in html
    assert "a.mp4 &amp; more" in html


def test_frames_that_repeat_are_left_out(frames):
    # Of a video at 8 frames a second, five moments of a quarter of a second are three frames.
    html = film(frames[[0, 0, 1, 1, 2]], "A film")
    assert picture(html).size == (3 * 24, 16)


def test_a_still_does_not_move(frames):
    html = film(frames[[0, 0]], "A still")
    assert picture(html).size == (24, 16)
    assert "--k" not in html


def test_films_side_by_side(frames):
    assert films([film(frames, "x")] * 2, "large").count('class="frames"') == 2
    assert 'class="films large"' in films([], "large")
    assert 'class="films"' in films([])


def test_a_sheet_has_a_row_for_each(frames):
    assert picture(sheet([frames, frames[:2]])).size == (3 * 24, 2 * 16)
