import pytest
import torch

from wildlam.evaluation.clips import infer_clips
from wildlam.evaluation.pixel_rollout import pixel_rollout
from wildlam.models.decoder import Decoder, DecoderConfig
from wildlam.types import EncoderSpec

from .conftest import WIDTH, make_batches

SPEC = EncoderSpec("made up", 1, (2, 2), WIDTH, 16, "frame", "abc")


class Shows(Decoder):
    """Paints the first channel of each token as a grey square."""

    def decode(self, states):
        grey = states[..., 0].unflatten(-1, (2, 2)).mul(0.1).add(0.5).clamp(0, 1)
        return grey.repeat_interleave(8, -1).repeat_interleave(8, -2)[:, :, None].expand(-1, -1, 3, -1, -1)


@pytest.fixture
def shows(tiny_models):
    return Shows(DecoderConfig(image_size=16, upsample=1), SPEC).eval()


@pytest.mark.slow
def test_known_answers(model, clips, shows):
    def frames(i):
        return (shows.decode(clips.states[i : i + 1].float())[0] * 255).round().byte()

    found = pixel_rollout(model, shows, clips, frames).summary()
    assert found.keys() == {"idm", "permuted", "copy", "true states"}
    assert found["idm"].keys() == {"l1", "psnr", "ssim"}
    assert found["true states"]["l1"]["mean"] == pytest.approx(0, abs=0.003)  # rounded to bytes
    assert found["idm"]["l1"]["mean"] < 0.5 * found["permuted"]["l1"]["mean"]
    assert found["idm"]["psnr"]["low"] > found["copy"]["psnr"]["high"]


def test_only_the_predicted_frames_count(model, shows):
    """Known frames that are wrong do not matter."""
    clips = infer_clips(model, make_batches(states=12))

    def frames(i):
        shown = (shows.decode(clips.states[i : i + 1].float())[0] * 255).round().byte()
        shown[:4] = 255 - shown[:4]
        return shown

    assert pixel_rollout(model, shows, clips, frames).summary()["true states"]["l1"]["mean"] < 0.003


def test_clips_are_spread_over_all(model, shows, monkeypatch):
    monkeypatch.setattr("wildlam.evaluation.pixel_rollout.CLIPS", 3)
    clips = infer_clips(model, make_batches())
    found = pixel_rollout(model, shows, clips, lambda i: torch.zeros(9, 3, 16, 16, dtype=torch.uint8))
    assert found.per_clip.names == [clips.names[i] for i in (0, 12, 23)]
