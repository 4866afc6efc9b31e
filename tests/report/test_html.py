import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from wildlam.evaluation.verdict import Verdict
from wildlam.report.html import Section, error_table, figure, links, paragraph, table, verdict_box, write_report
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
    beside_pictures = re.sub(r'src="data:[^"]*"', "", text)  # which name their namespaces
    assert not re.search(r"https?://|@import", beside_pictures)
    for _, attributes in Page(text).elements:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:", "#"))


def test_names_are_escaped(text):
    assert text.count("<script") == 1  # the page's own
    assert "&lt;script&gt;" in text


def test_no_other_script_may_run(text):
    policy = dict(Page(text).elements[3][1])["content"]
    own = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_sections_fold(tmp_path):
    write_report(
        tmp_path / "report.html", "T", Section("Open", paragraph("a")), Section("Shut", paragraph("b"), folded=True)
    )
    text = (tmp_path / "report.html").read_text()
    assert "<details open><summary><h2>Open" in text
    assert "<details><summary><h2>Shut" in text
    assert "Pause films" not in text.split("<script>")[0]


def test_a_report_links_to_those_in_its_folders_that_come_later(tmp_path):
    write_report(tmp_path / "run" / "report.html", "Run", head=links(tmp_path / "run"))
    assert "More reports" not in (tmp_path / "run" / "report.html").read_text()
    for name in ("plan-reach", "play a&b"):
        write_report(tmp_path / "run" / name / "report.html", "Plans")
    text = (tmp_path / "run" / "report.html").read_text()
    assert (
        '<a href="plan-reach/report.html">plan-reach</a>, <a href="play%20a%26b/report.html">play a&amp;b</a>' in text
    )
    assert text.count("More reports") == 1
    assert "More reports" not in (tmp_path / "run" / "plan-reach" / "report.html").read_text()


def test_a_page_that_asks_for_no_links_stays_as_it_is(tmp_path):
    (tmp_path / "report.html").write_text("mine")
    write_report(tmp_path / "plan" / "report.html", "Plans")
    assert (tmp_path / "report.html").read_text() == "mine"


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
