"""One video's latent actions done to another, by a model and a decoder with known answers."""

import json
from pathlib import Path

import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models.decoder import DecoderConfig
from wildlam.training import TrainingConfig
from wildlam.workflows.decoder import DecodingConfig, train_decoder
from wildlam.workflows.infer import load
from wildlam.workflows.transfer import check_output

from ..helpers import make_run

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def run(videos, tmp_path):
    path = make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"))
    training = TrainingConfig(steps=1, batch_size=2, save_every=1)
    train_decoder(path, DecodingConfig(decoder=DecoderConfig(image_size=16, upsample=1), training=training))
    return path


def test_a_video_done_to_another(run, make_video, tmp_path):
    target = make_video(tmp_path / "b.mp4", frames=96, rotation=180)
    found = load(run).transfer(make_video(tmp_path / "a.mp4", frames=96), target)
    assert {name: tuple(film.shape) for name, film in found.films.items()} == {
        "source": (9, 3, 64, 64),
        "target": (9, 3, 64, 64),
        "transferred": (9, 3, 16, 16),
    }
    assert found.known == 1  # 2 s at 4 frames/s, after one frame
    assert not torch.equal(found.films["source"], found.films["target"])
    errors = found.errors
    # An untrained model copies its last state, whatever the actions.
    assert errors.source == pytest.approx(errors.copy)
    assert errors.cycled == pytest.approx(errors.copy)
    path = found.save(tmp_path / "out" / "film.mp4")
    assert path.stat().st_size > 1000
    assert json.loads(path.with_name("film.mp4.json").read_text()) == pytest.approx(vars(errors))


def test_a_video_done_to_itself_agrees_with_itself(run, make_video, tmp_path):
    """Where the model predicts perfectly: here, as nothing moves."""
    still = make_video(tmp_path / "still.mp4", frames=1, fps=24)
    video = make_video(tmp_path / "a.mp4", frames=96)
    with pytest.raises(WildlamError, match=r"still\.mp4: lasts .* needed; give a longer video$"):
        load(run).transfer(still, video)
    short = make_video(tmp_path / "short.mp4", frames=53, fps=24)
    with pytest.raises(
        WildlamError, match=r"short\.mp4: lasts 2\.21 s, 2\.25 s are needed; .* video or --seconds 1\.75$"
    ):
        load(run).transfer(video, short)
    assert len(load(run).transfer(video, short, seconds=1.75).films["target"]) == 8
    found = load(run).transfer(video, video, seconds=0.5)
    assert len(found.films["source"]) == 4
    assert found.known == 2  # of the four states that the model was trained on, two are predicted
    assert found.errors.effect == pytest.approx(0, abs=1e-3) or found.errors.effect == pytest.approx(1)


def test_what_cannot_be_is_refused(run, make_video, tmp_path):
    model, video = load(run), make_video(tmp_path / "a.mp4", frames=96)
    with pytest.raises(WildlamError, match=r"a latent action takes 0\.25 s"):
        model.transfer(video, video, seconds=0.1)
    with pytest.raises(WildlamError, match=r"ends in \.mp4"):
        model.transfer(video, video).save(tmp_path / "film.gif")
    with pytest.raises(WildlamError, match="is one of the videos"):
        model.transfer(video, video).save(video)
    with pytest.raises(WildlamError, match="a latent action takes"):
        model.transfer(video, video, seconds=float("nan"))
    (tmp_path / "file").write_text("")
    with pytest.raises(WildlamError, match="choose another --output"):
        model.transfer(video, video).save(tmp_path / "file" / "film.mp4")


def test_other_videos_are_not_replaced(tmp_path):
    film = tmp_path / "film.mp4"
    film.touch()
    with pytest.raises(WildlamError, match=r"film.mp4 is not a film of `wildlam transfer`"):
        check_output(film, tmp_path / "a.mp4", tmp_path / "b.mp4")
    (tmp_path / "film.mp4.json").touch()
    check_output(film, tmp_path / "a.mp4", tmp_path / "b.mp4")


def test_without_a_decoder_the_remedy_is_named(videos, make_video, tmp_path):
    path = make_run(tmp_path / "bare", videos, Lite0(image_size=64, dtype="float32"))
    video = make_video(tmp_path / "a.mp4", frames=96)
    with pytest.raises(WildlamError, match="wildlam decoder train"):
        load(path).transfer(video, video)
    assert load(path).path == Path(path)
