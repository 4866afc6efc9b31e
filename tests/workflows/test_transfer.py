"""One video's latent actions done to another, by a model and a decoder with known answers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models.decoder import DecoderConfig
from wildlam.training import TrainingConfig
from wildlam.video.decode import decode_grid
from wildlam.workflows.decoded_films import check_output
from wildlam.workflows.decoder import DecodingConfig, train_decoder
from wildlam.workflows.trained import load
from wildlam.workflows.transfer import transfer

from ..helpers import make_models_tiny, make_run

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture(scope="module")
def run(_six_videos, tmp_path_factory):
    """A run with a decoder, which no test changes."""
    folder = tmp_path_factory.mktemp("run")
    videos = shutil.copytree(_six_videos, folder / "videos")
    training = TrainingConfig(steps=1, batch_size=2, save_every=1)
    with pytest.MonkeyPatch.context() as patch:
        make_models_tiny(patch)
        path = make_run(folder / "run", videos, Lite0(image_size=64, dtype="float32"))
        train_decoder(path, DecodingConfig(decoder=DecoderConfig(image_size=16, upsample=1), training=training))
    return path


def test_a_video_done_to_another(run, make_video, tmp_path):
    target = make_video(tmp_path / "b.mp4", frames=96, rotation=180)
    shares = []
    found = load(run).transfer(make_video(tmp_path / "a.mp4", frames=96), target, count=shares.append)
    assert len(shares) > 4  # where the playground can cancel it
    assert sum(shares) == pytest.approx(1)
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
        WildlamError, match=r"short\.mp4: lasts 2\.21 s, 2\.25 s are needed; .* video, or lower seconds to 1\.75$"
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
    with pytest.raises(WildlamError, match=r"choose another output$"):
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


def test_videos_in_memory_are_done_to_each_other(run, make_video, tmp_path):
    model, video = load(run), make_video(tmp_path / "a.mp4", frames=96)
    ((_, frames),) = list(decode_grid(video, 24.0, 64, chunk=200))
    found = model.transfer(frames, str(video), fps=24)
    assert torch.equal(found.films["source"], found.films["target"])
    assert found.videos == (video,)
    assert "<video" in found._repr_html_()
    several = model.transfer(torch.stack([frames, frames.flip(0)]), video, fps=24)
    assert several[0].errors == found.errors
    with pytest.raises(WildlamError, match="batches of different sizes: 2 in source, 3 in target"):
        model.transfer(torch.stack([frames] * 2), torch.stack([frames] * 3), fps=24)
    with pytest.raises(WildlamError, match=r"^target: lasts 0\.50 s, 2\.25 s are needed"):
        model.transfer(video, frames[:12], fps=24)


def test_latent_actions_are_unrolled_as_pictures(run, make_video, tmp_path):
    model, video = load(run), make_video(tmp_path / "a.mp4", frames=96)
    actions = model.infer(video)
    found = model.rollout(video, actions)
    assert (found.known, len(found.film), len(found.states)) == (1, 16, 16)
    few = model.rollout(video, actions.z[:1].numpy())
    assert (few.known, len(few.film)) == (3, 4)  # of the four states of a clip in training
    picture = np.zeros((1, 64, 64, 3), np.uint8)
    assert model.rollout(picture, actions.z[:2], fps=4).known == 1  # one picture is a beginning
    batch = model.rollout(np.stack([picture] * 2), actions.z[None, :2].repeat(2, 1, 1), fps=4)
    assert len(batch) == len(model.rollout(np.stack([picture] * 2), actions, fps=4)) == 2
    assert found.save(tmp_path / "rollout.mp4").stat().st_size > 1000
    assert "<video" in found._repr_html_()
    assert "tensor" not in repr(found)
    with pytest.raises(WildlamError, match=r"ends in \.mp4"):
        found.save(tmp_path / "rollout.gif")


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (None, "actions is a NoneType; give LatentActions, or floats"),
        ([[0.0] * 4], "actions is a list"),
        (torch.zeros(4), r"actions must be finite floats \[H, 4\], got torch.float32 \[4\]"),
        (torch.zeros(2, 5), r"got torch.float32 \[2, 5\]"),
        (torch.zeros(0, 4), r"got torch.float32 \[0, 4\]"),
        (torch.zeros(2, 4, dtype=torch.int64), "got torch.int64"),
        (torch.full((2, 4), float("nan")), "finite floats, 8 of 8 are NaN or infinite"),
    ],
)
def test_what_are_no_actions_is_named(run, actions, message):
    with pytest.raises(WildlamError, match=message):
        load(run).rollout(np.zeros((1, 64, 64, 3), np.uint8), actions, fps=4)


def test_the_workflow_writes_the_film(run, make_video, tmp_path):
    video = make_video(tmp_path / "a.mp4", frames=96)
    found = transfer(run=run, source=video, target=str(video), output=tmp_path / "film.mp4")
    assert found.film == tmp_path / "film.mp4"
    assert found.film.is_file()
    assert found.errors == found.transfer.errors
    assert "<video" in found._repr_html_()
