"""A decoder from a run's videos: trained, interrupted, used by other runs of its encoder and by no others."""

import re
import shutil
from dataclasses import replace

import pytest
import torch

from wildlam.config import dump_config, read_as
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models.decoder import DecoderConfig
from wildlam.models.perceptual import PerceptualConfig
from wildlam.pretrained import TINY
from wildlam.runs import checkpoints
from wildlam.runs.folder import Run
from wildlam.training import TrainingConfig
from wildlam.workflows.decoder import DecodingConfig, find_decoder, load_decoder, train_decoder

from ..helpers import make_run

pytestmark = pytest.mark.usefixtures("tiny_models")

CONFIG = DecodingConfig(
    decoder=DecoderConfig(image_size=16, upsample=1),
    training=TrainingConfig(steps=2, batch_size=2, log_every=1, save_every=1, eval_every=2, precision="fp32"),
)


@pytest.fixture
def run(videos, tmp_path):
    return make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"))


def weights(folder):
    return checkpoints.last(Run(folder).checkpoints).model_tensors()


def test_a_decoder_is_a_run_of_its_own(run):
    folder = train_decoder(run, CONFIG)
    assert folder == run / "decoder"
    assert read_as(DecodingConfig, folder / "config.yaml") == CONFIG
    rows = Run(folder).metrics()
    assert [row["step"] for row in rows] == [1, 2]
    assert rows[0]["l1"] == rows[0]["loss"]
    assert {"held_out/l1", "held_out/psnr", "held_out/ssim"} <= rows[1].keys()
    spec = Run.open(run).encoder_spec
    decoder = load_decoder(run, spec, given=folder)
    assert not decoder.training
    pictures = decoder.decode(torch.zeros(1, 3, spec.tokens, spec.width))
    assert pictures.shape == (1, 3, 3, 16, 16)
    assert torch.equal(pictures, load_decoder(run, spec).decode(torch.zeros(1, 3, spec.tokens, spec.width)))


def test_what_is_left_of_a_decoder_is_told(run, caplog, monkeypatch):
    caplog.set_level("INFO", logger="wildlam")
    folder = train_decoder(run, CONFIG)
    assert "On this machine" not in caplog.text  # so few steps
    unmeasured = weights(folder)
    monkeypatch.setattr("wildlam.workflows.durations.SHORT", 0)
    monkeypatch.setattr("wildlam.workflows.durations.FEW_STEPS", 0)
    shutil.rmtree(folder)
    train_decoder(run, CONFIG)
    assert re.search(r"train +2 steps +[\d.]+ (ms|s)\n +judge +1 times 16 clips +[\d.]+ (ms|s)\n +all", caplog.text)
    assert all(torch.equal(weight, unmeasured[name]) for name, weight in weights(folder).items())


def test_a_handful_of_slow_steps_is_told_of(run, caplog, monkeypatch):
    """Twenty steps of a decoder may take minutes."""
    caplog.set_level("INFO", logger="wildlam")
    monkeypatch.setattr("wildlam.workflows.durations.fit_seconds", lambda *_: 5.0)
    monkeypatch.setattr("wildlam.workflows.decoder.fit_auxiliary", lambda *_, **__: None)
    train_decoder(run, replace(CONFIG, training=replace(CONFIG.training, steps=5)))
    assert re.search(r"train +5 steps +\d", caplog.text)


def test_an_interrupted_decoder_becomes_the_same(run, tmp_path, videos):
    twin = make_run(tmp_path / "twin", videos, Lite0(image_size=64, dtype="float32"))
    train_decoder(run, CONFIG)
    checkpoint = train_decoder(twin, CONFIG) / "checkpoints/step_00000002"
    shutil.rmtree(checkpoint)  # as if killed before it was written
    train_decoder(twin, CONFIG)
    one, other = weights(run / "decoder"), weights(twin / "decoder")
    assert all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())
    assert Run(run / "decoder").metrics() == Run(twin / "decoder").metrics()


def test_a_folder_with_another_decoder_is_refused(run):
    train_decoder(run, CONFIG)
    with pytest.raises(WildlamError, match="holds a decoder with seed 0, not 1"):
        train_decoder(run, replace(CONFIG, seed=1))


def test_states_of_another_encoder_are_refused(run):
    train_decoder(run, CONFIG)
    other = Lite0(image_size=64, pool=2, dtype="float32").build("cpu").spec
    with pytest.raises(WildlamError, match=f"on states of lite0 .*, this encoder is lite0 {other.fingerprint}"):
        load_decoder(run, other)


def test_impossible_pictures_are_refused_before_anything_is_written(run):
    with pytest.raises(WildlamError, match=r"decoder\.image_size=15"):
        train_decoder(run, replace(CONFIG, decoder=DecoderConfig(image_size=15)))
    assert not (run / "decoder").exists()


def test_a_run_without_a_decoder_says_how_to_get_one(run):
    with pytest.raises(WildlamError, match="has no decoder; train one with `wildlam decoder train`"):
        load_decoder(run, Run.open(run).encoder_spec)


def test_a_run_of_the_default_encoder_borrows_the_decoder_that_comes_with_the_package(tmp_path, caplog):
    caplog.set_level("INFO", logger="wildlam")
    run = tmp_path / "run"
    shutil.copytree(TINY, run, ignore=shutil.ignore_patterns("decoder"))
    spec = Run.open(run).encoder_spec
    states = torch.randn(1, 2, spec.tokens, spec.width)
    own = load_decoder(TINY, spec, "cpu").decode(states)
    assert not caplog.messages
    for _ in range(2):
        assert torch.equal(load_decoder(run, spec, "cpu").decode(states), own)
    train = f"wildlam decoder train {run}"
    assert caplog.messages == [f"pictures by wildlam-tiny's decoder; `{train}` trains one on these videos"]
    (run / "decoder").mkdir()  # begun, and no checkpoint yet
    assert find_decoder(run, spec) == TINY / "decoder"
    assert find_decoder(run, replace(spec, fingerprint="another")) is None
    with pytest.raises(WildlamError, match="elsewhere has no decoder"):  # no other is taken for what was named
        load_decoder(run, spec, given=tmp_path / "elsewhere")


def test_configurations_survive_being_written(tmp_path):
    config = replace(CONFIG, perceptual=PerceptualConfig(metric="lpips", backbone=tmp_path / "vgg16.pth"))
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert read_as(DecodingConfig, tmp_path / "config.yaml") == config
    (tmp_path / "config.yaml").write_text(dump_config(config)[:60])
    with pytest.raises(WildlamError, match=r"config\.yaml"):
        read_as(DecodingConfig, tmp_path / "config.yaml")
