"""The report of a run on made-up results: that it shows what it should."""

import dataclasses
import re

import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.evaluation import intervals, suite
from wildlam.evaluation.clips import infer_clips
from wildlam.evaluation.one_step import error_table
from wildlam.evaluation.suite import evaluate_all
from wildlam.models import ModelConfig
from wildlam.models.decoder import DecoderConfig
from wildlam.models.priors import Gaussian
from wildlam.report.pages.pictures import Painter, pictures_section
from wildlam.report.pages.run import write_run_report
from wildlam.runs.folder import Run
from wildlam.types import StateBatch
from wildlam.video.decode import decode_at
from wildlam.video.index import index

TIMES = torch.arange(4).double() / 4


@pytest.fixture
def manifest(videos):
    return index(videos, progress=False)


@pytest.fixture
def held_out(manifest):
    """A clip of 4 states from each video; of the first video two."""
    generator = torch.Generator().manual_seed(0)
    rows = [manifest[0], *manifest]
    states = torch.randn(len(rows), 4, 4, 448, generator=generator)
    names, sources = [row.path for row in rows], [row.source for row in rows]
    return [StateBatch(states, names, sources, [0.0] * len(rows), TIMES.expand(len(rows), -1))]


@pytest.mark.usefixtures("tiny_models")
def test_the_page_of_one_recording(manifest, held_out, tmp_path, bars, monkeypatch):
    """Nothing to show is one sentence, and no interval stands on it."""
    (batch,) = held_out
    one = dataclasses.replace(batch, names=[batch.names[0]] * len(batch.names), sources=["a"] * len(batch.names))
    run, encoder = Run(tmp_path / "run"), Lite0(image_size=64, dtype="float32").build("cpu")
    run.create("", 7, encoder.spec)
    model = ModelConfig().build(448, (2, 2)).eval()
    (tmp_path / "actions.svg").write_text("of an evaluation before")
    made = bars(suite)
    monkeypatch.setattr(suite, "umap_to_compile", lambda: True)
    monkeypatch.setattr(suite, "SCENES", 2)
    found = evaluate_all(
        model,
        encoder,
        infer_clips(model, [one]),
        bounds={},
        pixels=None,
        after_cut=None,
        backgrounds=(torch.zeros(0, 3, 64, 64, dtype=torch.uint8), []),
        labelled=[],
        progress=False,
    )
    assert made[0].n == made[0].total == 8 * 7
    assert made[0].postfix == "latent space: UMAP compiles, about half a minute"
    assert made[0].steps.count(7) > 3  # the scenes of locality take the place of as many clips
    summary = {"clips": 7, **error_table(found.one_step), "evaluations": found.summary()}
    write_run_report(run, tmp_path, model, manifest, found, summary)
    page = (tmp_path / "report.html").read_text()
    assert "Inconclusive." in page
    assert "7 clips of 1 recording are held out" in page
    assert "No source has a second held-out recording in which to look for the same action." in page
    assert "No source has a second held-out recording to cut to or to carry actions to." in page
    assert "bootstrap intervals" not in page
    assert not re.search(r"<td>[-.\d]+ \(", page)
    assert not (tmp_path / "actions.svg").exists()


@pytest.mark.usefixtures("tiny_models")
def test_the_page(manifest, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(intervals, "FEWEST_CLIPS", 7)
    run = Run(tmp_path / "run")
    spec = Lite0(image_size=64, dtype="float32").build("cpu").spec
    run.create("", 7, dataclasses.replace(spec, name="some-encoder"))
    for step in (1, 2):
        run.log(step, {"loss": 1.0 / step, "prediction": 1.0, "held_out/idm": 0.5, "kl_per_dimension": [0.1, 0.2]})
    model = ModelConfig().build(448, (2, 2)).eval()
    encoder = Lite0(image_size=64, dtype="float32").build("cpu")
    found = evaluate_all(
        model,
        encoder,
        infer_clips(model, held_out),
        bounds={},
        pixels=None,
        after_cut=None,
        backgrounds=(torch.zeros(0, 3, 64, 64, dtype=torch.uint8), []),
        labelled=[],
        prior=Gaussian().build(model.state_shape, model.bottleneck),
        progress=False,
    )
    summary = {"clips": 7, **error_table(found.one_step), "evaluations": found.summary()}
    write_run_report(run, tmp_path, model, manifest, found, summary)
    page = (tmp_path / "report.html").read_text()
    assert "prior, which sees the state, are distinguished from inferred ones in" in page
    assert {"sampling_of_prior_alone", "sampling_of_prior_pairs"} <= found.per_clip().keys()
    assert not (run.path / "report.html").exists()
    for text in ("some-encoder states of", "seed 7", "7 held-out clips", "a/train/a0.mp4, 0.00 s to 0.75 s"):
        assert text in page
    assert re.search(r", seed 7, \d{4}-\d\d-\d\d \d\d:\d\d UTC<", page)
    assert len(set(re.findall(r"Error maps of (\S+),", page))) == 4  # two clips of each source, of unlike videos
    assert "KL divergence that each dimension" in page
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles[0] == "What actions are in my videos?"
    assert titles.index("The same latent action in other videos") < titles.index("Did the training pass its tests?")
    assert page.count('class="tile"') == 3
    for title in ("Further ahead", "Does z hold the next state", "Does a motion stay in its place", "The latent space"):
        assert title in page
    assert "Can the true actions be read from z" not in page
    between = re.sub(r"<(style|script).*?</\1>|<[^>]*>", "", page, flags=re.DOTALL)
    assert "\\n" not in between  # no part is shown as what Python calls it
    assert b"<svg" in (tmp_path / "actions.svg").read_bytes()


@pytest.mark.usefixtures("tiny_models")
def test_films_where_there_is_a_decoder(manifest, held_out):
    encoder = Lite0(image_size=64, dtype="float32").build("cpu")
    model = ModelConfig().build(448, (2, 2)).eval()
    decoder = DecoderConfig(image_size=16, upsample=1).build(encoder.spec).eval()
    clips = infer_clips(model, held_out)

    def frames(clip):
        return decode_at(manifest.file(clips.names[clip]), clips.times[clip].tolist(), 64)

    predicted, transferred, strips = pictures_section(model, Painter(decoder, frames, 4), clips)
    assert strips.html.count('src="data:image/svg') == 4  # two clips of each of two sources
    assert predicted.html.count("<video") == transferred.html.count("<video") == 4
    assert predicted.html.count("autoplay loop muted") == 4
    assert "its first frame is known" in predicted.html
    assert "wildlam-tiny's decoder" not in predicted.html
    borrowed, *_ = pictures_section(model, Painter(decoder, frames, 4, own=False), clips)
    assert "wildlam-tiny's decoder, which was trained on other videos" in borrowed.html.replace("&#x27;", "'")
