import re
from html.parser import HTMLParser

import pytest

from wildlam.evaluation.verdict import Verdict
from wildlam.report.html import Section, error_table, figure, paragraph, table, verdict_box, write_report
from wildlam.report.plots import kl_per_dimension

VOID = {"meta", "link", "img", "br"}
NASTY = '<script>alert("x")</script>&.mp4'
ERRORS = {
    "sources": {"doom": {"idm": 0.1, "permuted": 0.2, "zero": None, "copy": 0.3}, NASTY: {"idm": 0.2}},
    "all": {"idm": 0.1, "permuted": 0.2, "deterministic": float("nan"), "copy": 0.3},
}


class Page(HTMLParser):
    """Collects elements and checks that they are properly nested."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def text(tmp_path):
    picture = kl_per_dimension([1.0, 2.0])
    write_report(
        tmp_path / "new" / "report.html",
        f"Title {NASTY}",
        Section(NASTY, verdict_box(Verdict(None, [NASTY])) + error_table(ERRORS)),
        Section("Pictures", paragraph(NASTY) + figure(picture, NASTY, NASTY) + figure(picture, "wide", wide=True)),
        subtitle=NASTY,
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]
    return (tmp_path / "new" / "report.html").read_text(encoding="utf-8")


def test_page_is_well_formed_and_every_picture_has_words(text):
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == 1
    assert {"header", "main", "footer", "nav", "section", "figure", "table"} <= set(tags)
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 2
    assert all(picture["alt"] for picture in pictures)
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    targets = {attributes["href"][1:] for tag, attributes in page.elements if tag == "a"}
    assert targets == ids == {"s1", "s2"}


def test_nothing_is_fetched(text):
    assert not re.search(r"https?://|@import", text)
    for _, attributes in Page(text).elements:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:", "#"))


def test_names_are_escaped(text):
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_tables_emphasise_the_best_and_show_gaps():
    html = table({"a": {"x": 1.0, "y": 2.0, "z": None}, "b": {"y": float("nan"), "x": "n/a"}}, best="min", decimals=1)
    assert html.count('class="best"') == 1
    assert '<td class="best">1.0</td><td>2.0</td><td>—</td>' in html
    assert "<td>n/a</td><td>—</td><td>—</td>" in html
    assert 'class="best">2.0' in table({"a": {"x": 1.0, "y": 2.0}}, best="max", decimals=1)


def test_error_table_has_no_column_of_what_was_not_measured():
    html = error_table({"sources": {}, "all": {"idm": 0.5}})
    assert html.count("—") == 0
    assert "0.500" in html
    assert "inferred actions" in html
    assert "model without actions" not in html


def test_error_table_has_a_dash_where_one_source_was_not_measured():
    of_sources = {"a": {"idm": 0.5}, "b": {"idm": 0.5, "deterministic": 0.6}}
    assert error_table({"sources": of_sources, "all": {"idm": 0.5}}).count("—") == 2


def test_figure_refuses_other_formats():
    assert "image/png" in figure(b"\x89PNG\r\n", "a png")
    moving = figure(b"RIFF1234WEBPVP8 ", "a film", "a <film>", link="a.mp4?x=1&y=2")
    assert "image/webp" in moving
    assert '<a href="a.mp4?x=1&amp;y=2">a &lt;film&gt;</a>' in moving
    with pytest.raises(ValueError, match="PNG, SVG or WebP"):
        figure(b"GIF89a", "a gif")
