"""The report of a run on made-up results: which transitions it chooses, and that it shows what it should."""

import dataclasses
import re

import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.evaluation import intervals, suite
from wildlam.evaluation.clips import InferredClips, infer_clips
from wildlam.evaluation.one_step import error_table
from wildlam.evaluation.suite import evaluate_all
from wildlam.models import ModelConfig
from wildlam.models.decoder import DecoderConfig
from wildlam.models.priors import Gaussian
from wildlam.report.pages.pictures import pictures_section
from wildlam.report.pages.run import NEIGHBOURS, QUERIES, nearest_transitions, write_run_report
from wildlam.runs.folder import Run
from wildlam.types import StateBatch
from wildlam.video.decode import decode_at
from wildlam.video.index import index

TIMES = torch.arange(4).double() / 4


def inferred(actions, names, sources=None):
    """Clips of 4 states with given latent actions, ``[clips, 3, Z]``."""
    states = torch.zeros(len(names), 4, 1, 1)
    return InferredClips(states, actions, names, sources or ["one"] * len(names), TIMES.expand(len(names), -1))


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


def test_neighbours_are_near_and_of_other_videos(manifest):
    names = [video.path for video in manifest]
    actions = torch.arange(1.0, 7.0).view(6, 1, 1).expand(-1, 3, 2).clone()  # each video has its own action, all alike
    result = inferred(actions, names)
    queries, neighbours = nearest_transitions(result, manifest)
    assert len(queries) == QUERIES
    for query, found in zip(queries, neighbours, strict=True):
        videos = [transition.name for transition in found]
        assert len(set(videos)) == NEIGHBOURS
        assert query.name not in videos
        distances = [transition.distance for transition in found]
        assert distances == sorted(distances)
        position = names.index(query.name)
        expected = sorted(2**0.5 * abs(position - other) for other in range(6) if other != position)
        assert distances == pytest.approx(expected, rel=1e-3)


def test_another_camera_of_the_same_recording_is_no_neighbour(manifest):
    names = [video.path for video in manifest]
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    cameras = dataclasses.replace(inferred(actions, names), recordings=[names[i // 2 * 2] for i in range(6)])
    for query, found in zip(*nearest_transitions(cameras, manifest), strict=True):
        assert len(found) == 2  # of the other two recordings, one each
        assert len({names.index(transition.name) // 2 for transition in [query, *found]}) == 3


def test_queries_are_unlike_large_and_occur_more_than_once(manifest):
    actions = torch.zeros(6, 3, 2)  # of the fifth video no action, of the others:
    actions[:2, :, 0], actions[2:4, :, 0], actions[5, :, 1] = 5.0, -5.0, 50.0
    names = [video.path for video in manifest]
    queries, _ = nearest_transitions(inferred(actions, names), manifest)
    chosen = {names.index(query.name) for query in queries}
    assert chosen & {0, 1}
    assert chosen & {2, 3}
    assert not chosen & {4, 5}


def test_only_the_source_with_the_most_clips_is_shown(manifest):
    names = [video.path for video in manifest]
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    sources = ["few", "few", "many", "many", "many", "many"]
    queries, neighbours = nearest_transitions(inferred(actions, names, sources), manifest)
    assert {t.name for t in [*queries, *(t for found in neighbours for t in found)]} <= set(names[2:])


def test_a_source_of_one_video_gives_way_to_one_of_several(manifest):
    names = [video.path for video in manifest]
    names = [names[0]] * 4 + names[1:3]
    actions = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))
    queries, neighbours = nearest_transitions(inferred(actions, names, ["lone"] * 4 + ["pair"] * 2), manifest)
    assert {query.name for query in queries} <= set(names[4:])
    assert all(len(found) == 1 for found in neighbours)


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
    assert len(set(re.findall(r"Error maps of (\S+),", page))) == 4  # two clips of each source, of unlike videos
    assert "KL divergence that each dimension" in page
    for title in ("Further ahead", "Does z hold the next state", "Does a motion stay in its place", "The latent space"):
        assert title in page
    assert "Can the true actions be read from z" not in page
    assert b"<svg" in (tmp_path / "actions.svg").read_bytes()


@pytest.mark.usefixtures("tiny_models")
def test_films_where_there_is_a_decoder(manifest, held_out):
    encoder = Lite0(image_size=64, dtype="float32").build("cpu")
    model = ModelConfig().build(448, (2, 2)).eval()
    decoder = DecoderConfig(image_size=16, upsample=1).build(encoder.spec).eval()
    clips = infer_clips(model, held_out)

    def frames(clip):
        return decode_at(manifest.file(clips.names[clip]), clips.times[clip].tolist(), 64)

    predicted, transferred = pictures_section(model, decoder, clips, frames, fps=4)
    assert (predicted.html.count("<svg") + predicted.html.count("image/svg")) == 4  # two clips of each of two sources
    assert predicted.html.count("<video") == transferred.html.count("<video") == 4
    assert "its first frame is known" in predicted.html
