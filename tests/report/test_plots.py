import math
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
import torch

from wildlam.evaluation.intervals import Estimate, PerClip
from wildlam.report.plots import (
    Transition,
    dots_svg,
    error_dots,
    error_strip,
    glowing,
    kl_per_dimension,
    nearest_actions,
    training_curves,
)

NASTY = "<script>$x_{$&.mp4"


def size(svg: bytes) -> tuple[float, float]:
    """Width and height in points; fails unless ``svg`` is well-formed SVG."""
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert b'href="http' not in svg
    assert b"#010203" not in svg  # text takes the reader's colour
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    return width, height


@pytest.fixture
def frames(rng):
    return rng.integers(0, 256, (4, 3, 32, 48), dtype=np.uint8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_training_curves():
    metrics = {
        "loss": ([0, 1, 2], [3.0, float("nan"), 1.0]),
        "L1/train": (list(range(50)), list(range(50))),
        "L1/held out": ([10], [0.2]),
        "KL": ([], []),
        NASTY: ([1], [1]),
    }
    svg = training_curves(metrics)
    width, height = size(svg)
    assert 500 < width < 1000
    assert 200 < height < 600
    assert b"held out" in svg
    assert b"<script>" not in svg


def of_clips(values, sources):
    names = [f"{source}{i}" for i, source in enumerate(sources)]
    return PerClip({name: torch.tensor(of_all) for name, of_all in values.items()}, names, sources)


def test_error_dots_have_whiskers_where_there_are_enough_clips():
    few = of_clips({"idm": [0.1, 0.2, 0.3], "copy": [0.2, 0.3, 0.4]}, ["doom", "doom", NASTY])
    svg = error_dots(few)
    assert size(svg)[0] > 300
    assert b"copy the last frame" in svg
    assert b"model without actions" not in svg
    assert b"LineCollection" not in svg
    enough = of_clips({"idm": [0.1 * i for i in range(12)]}, ["doom"] * 12)
    svg = error_dots(enough)
    assert svg.count(b'id="LineCollection') == 1
    assert b">all<" in svg
    assert b">doom<" not in svg  # the only source is all


def test_dots_of_what_is_not_in_every_row():
    rows = {"a": {"x": Estimate(1.0, 0.5, 1.5)}, "b": {"y": Estimate(2.0, 1.5, 2.5)}}
    size(dots_svg(rows, "ratio", True, reference=1.0))


def test_dots_leave_out_what_is_not_finite():
    nothing = Estimate(-math.inf, -math.inf, -math.inf)
    svg = dots_svg({"a": {"x": nothing, "y": Estimate(1.0, -math.inf, 2.0)}, "b": {"x": nothing}}, "R²", True)
    size(svg)
    assert b"nan" not in svg
    assert b"inf" not in svg


def test_pictures_inside_are_jpeg_unless_one_can_see_through_them(frames):
    svg = nearest_actions([Transition(frames, NASTY)], [[]])
    assert svg.count(b"data:image/jpeg") == 3
    assert b"data:image/png" not in svg


def test_a_map_glows_where_it_is_large():
    frame = np.full((8, 8, 3), (10, 20, 90), dtype=np.uint8)
    shown = glowing(frame, np.array([[0.0, 1.0]]), 1.0)
    assert (shown[:, :4] == 40).all()
    assert shown[0, 7].min() > 100
    assert (glowing(frame, np.array([[0.0]]), 1.0, least=0.25) < 40).all()  # the map's darkest colour covers a quarter


def test_error_strip(frames, rng):
    svg = error_strip(frames, {"idm": rng.random((3, 4, 6)), "copy": np.zeros((3, 4, 6))}, seconds=np.arange(4) / 4)
    width, height = size(svg)
    assert width > height > 100
    assert svg.count(b"<image") >= 4 + 3 * 2
    assert b"0.75 s" in svg
    size(error_strip(frames, {"idm": np.zeros((3, 4, 6))}))


def test_nearest_actions(frames):
    query = Transition(frames[:2], NASTY)
    near = [Transition(frames[1:3], "a.mp4", 0.5), Transition(frames[2:], "b.mp4", 1.25)]
    svg = nearest_actions([query, query], [near, near[:1]])
    size(svg)
    assert svg.count(b"<image") == 3 * (3 + 2)
    assert b"1.25 away" in svg
    size(nearest_actions([query], [near]))


def test_kl_per_dimension():
    svg = kl_per_dimension([0.0, 2.0, 1.0])
    size(svg)
    assert b"3.0 nats in all" in svg


def test_plots_repeat_and_leave_no_global_state():
    before = dict(matplotlib.rcParams)
    assert kl_per_dimension([1.0, 2.0]) == kl_per_dimension([1.0, 2.0])
    assert dict(matplotlib.rcParams) == before
