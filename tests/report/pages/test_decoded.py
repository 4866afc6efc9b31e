"""A run's predictions as pictures, end to end with an untrained model."""

import numpy as np
import pytest
import torch

from wildlam.encoders import VJEPA2, Lite0
from wildlam.errors import WildlamError
from wildlam.report.pages.decoded import informative_clips
from wildlam.workflows.decoder import decoded_strips, train_decoder, write_decoded

from ...helpers import make_run, save_tiny
from ...workflows.test_decoder import CONFIG

pytestmark = pytest.mark.usefixtures("tiny_models")


@pytest.fixture
def run(videos, tmp_path):
    path = make_run(tmp_path / "run", videos, Lite0(image_size=64, dtype="float32"))
    train_decoder(path, CONFIG)
    return path


def test_strips_show_truth_and_predictions(run):
    strips = decoded_strips(run, clips=2)
    assert {strip.name.split("/")[0] for strip in strips} == {"a", "b"}
    for strip in strips:
        assert list(strip.rows) == ["true frame", "true state", "one step", "rollout"]
        assert all(frames.shape == (4, 3, 16, 16) and frames.dtype == np.uint8 for frames in strip.rows.values())
        np.testing.assert_allclose(np.diff(strip.seconds), 0.25)
        # The first state is given. An untrained model copies the last one, so that its rollout stands still.
        np.testing.assert_array_equal(strip.rows["one step"][0], strip.rows["true state"][0])
        assert not np.array_equal(strip.rows["true frame"][0], strip.rows["true frame"][-1])
    assert len(decoded_strips(run, clips=1)) == 1


def test_a_state_of_two_frames_shows_both(videos, tmp_path):
    run = make_run(tmp_path / "run", videos, VJEPA2(model=save_tiny(tmp_path / "vjepa2"), dtype="float32"))
    train_decoder(run, CONFIG)
    for strip in decoded_strips(run):
        assert len(strip.seconds) == 4
        assert all(len(frames) == 4 for frames in strip.rows.values())


def test_pages_and_pictures(run, tmp_path):
    page = write_decoded(run, clips=2)
    assert page == run / "decoded.html"
    assert page.read_text().count("<img") == 2
    assert write_decoded(run, tmp_path / "new/s.svg", clips=1).read_bytes().count(b"<image") == 16
    assert write_decoded(run, tmp_path / "s.png", clips=1).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(WildlamError, match=r"s\.gif: give a name that ends in"):
        write_decoded(run, tmp_path / "s.gif")


def test_another_runs_decoder_does_as_well(run, videos, tmp_path):
    twin = make_run(tmp_path / "twin", videos, Lite0(image_size=64, dtype="float32"))
    one, other = decoded_strips(run, clips=1), decoded_strips(twin, clips=1, decoder=run)
    np.testing.assert_array_equal(one[0].rows["true state"], other[0].rows["true state"])


def test_clips_in_which_something_moves_are_shown_one_of_each_video():
    still, busy = torch.full((4, 3, 32, 32), 90, dtype=torch.uint8), torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    busy[::2, :, ::2, ::2] = 255  # a texture that flickers by as much everywhere
    busy[1::2, :, 1::2, 1::2] = 255
    moving = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    for t in range(4):
        moving[t, :, :, 8 * t : 8 * t + 8] = 200
    films = [still, moving, moving, busy, moving // 2]
    names, sources = ["a", "b", "b", "c", "d"], ["x"] * 5
    assert informative_clips(films.__getitem__, names, sources, 2) == [1, 4]
    assert informative_clips(films.__getitem__, names, ["x", "x", "y", "y", "y"], 1) == [1, 2]
    # A video whose other clips are still does not fall behind for that.
    films = [moving, still, moving // 2, moving // 4]
    assert informative_clips(films.__getitem__, ["a", "a", "b", "c"], ["x"] * 4, 1) == [0]
