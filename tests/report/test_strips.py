import numpy as np
import pytest

from wildlam.report.strips import Strip, draw_strips, picture_strips

from .test_plots import NASTY, size


@pytest.fixture
def strip():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    return Strip(NASTY, {"true frame": pictures, "rollout": 255 - pictures}, [0.0, 0.25, 0.5])


def test_strips_as_svg(strip):
    longer = Strip("b.mp4", {"true frame": np.zeros((5, 3, 16, 16), np.uint8)}, np.arange(5) / 4)
    svg = picture_strips([strip, longer])
    width, height = size(svg)
    assert width > 300
    assert height > 150
    assert svg.count(b"<image") == 2 * 3 + 5
    for text in (b"true", b"rollout", b"0.25 s", b"1.00 s", b"b.mp4"):
        assert text in svg
    assert b"<script>" not in svg
    assert picture_strips([strip]) == picture_strips([strip])


def test_every_picture_stands_in_its_row_and_column(strip):
    (axes,) = draw_strips([strip]).get_axes()
    images = [image.get_array() for image in axes.images]
    expected = [np.moveaxis(frame, 0, -1) for frames in strip.rows.values() for frame in frames]
    assert len(images) == len(expected) == 6
    for image, frame in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image, frame)
