"""Drives: what a step sees, going back, and films of them; by a model whose weights are drawn by chance."""

import pytest
import torch

from wildlam.config import RunConfig
from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Noisy
from wildlam.models.decoder import DecoderConfig
from wildlam.models.transformer import SIZES, Size
from wildlam.models.world_model import Unrolling
from wildlam.video.config import DataConfig
from wildlam.video.decode import probe
from wildlam.workflows.drive import Drive, frames_known
from wildlam.workflows.trained import Trained


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A run, and a decoder."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", Size(width=16, depth=2, heads=1))
        encoder = Lite0(image_size=64, dtype="float32").build(torch.device("cpu"))
        config = ModelConfig(bottleneck=Noisy(dim=4))
        model = config.build(encoder.spec.width, encoder.spec.grid).eval().requires_grad_(False)
        decoder = DecoderConfig(size="tiny", image_size=16, upsample=1).build(encoder.spec).eval().requires_grad_(False)
    for parameter in [*model.parameters(), *decoder.parameters()]:
        if not parameter.any():  # an untrained model only copies
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path_factory.mktemp("run")
    run = RunConfig(data=DataConfig(path=folder, frames=8), model=config)
    return Trained(model, encoder, run, folder), decoder


@pytest.fixture
def frames():
    return torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def actions():
    return torch.randn(20, 4, generator=torch.Generator().manual_seed(1))


def test_its_first_steps_are_those_of_a_rollout(parts, frames, actions):
    trained, decoder = parts
    known = trained.encoder.encode(frames[None]).float()
    drive = Drive(trained, decoder, frames)
    # Four states are known, a step sees four to six of them; the seventh begins anew.
    expected = trained.model.rollout(known, actions[None, :2])[0]
    for t in range(2):
        drive.step(actions[t])
        torch.testing.assert_close(drive.state, expected[t], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected[0], known[0, -1], atol=1e-3)


def test_no_step_sees_more_states_than_a_clip_of_the_training(parts, frames, actions, monkeypatch):
    trained, decoder = parts
    seen, step = [], Unrolling.step

    def spying(self, latents):
        seen.append(self._frame + 1)
        return step(self, latents)

    monkeypatch.setattr(Unrolling, "step", spying)
    drive = Drive(trained, decoder, frames)
    for z in actions:
        drive.step(z)
    assert len(seen) == len(actions)
    assert max(seen) <= 7
    assert min(seen) >= 4
    assert drive.state.isfinite().all()


def test_back_and_the_same_actions_lead_to_the_same_pictures(parts, frames, actions):
    drive = Drive(*parts, frames)
    for z in actions[:9]:
        drive.step(z)
    film = drive.film
    assert film.shape == (10, 3, 16, 16)
    for _ in range(5):
        assert drive.back()
    assert len(drive) == 4
    assert torch.equal(drive.film, film[:5])
    for z in actions[4:9]:
        drive.step(z)
    assert torch.equal(drive.film, film)


def test_at_the_start_it_cannot_go_back_and_reset_leads_there(parts, frames, actions):
    drive = Drive(*parts, frames)
    first = drive.picture
    assert not drive.back()
    for z in actions[:3]:
        drive.step(z)
    assert not torch.equal(drive.picture, first)
    drive.reset()
    assert len(drive) == 0
    assert torch.equal(drive.picture, first)


def test_one_picture_will_do(parts, frames, actions):
    drive = Drive(*parts, frames[:1])
    assert drive.step(actions[0]).shape == (3, 16, 16)
    assert frames_known(parts[0]) == 4


def test_a_film_of_it(parts, frames, actions, tmp_path):
    drive = Drive(*parts, frames)
    for z in actions[:7]:
        drive.step(z)
    info = probe(drive.save(tmp_path / "drive.mp4"))
    assert (info.frames, info.fps) == (8, pytest.approx(4))
    with pytest.raises(WildlamError, match=r"give a name that ends in \.mp4"):
        drive.save(tmp_path / "drive.gif")


def test_what_is_no_latent_action_is_refused_and_changes_nothing(parts, frames, actions):
    drive = Drive(*parts, frames)
    for wrong in (torch.zeros(3), torch.full((4,), float("nan")), torch.zeros(1, 4)):
        with pytest.raises(WildlamError, match="a latent action is 4 finite numbers"):
            drive.step(wrong)
    assert len(drive) == 0
    with pytest.raises(WildlamError, match="needs a picture"):
        Drive(*parts, frames[:0])


def test_a_drive_has_an_end(parts, frames, actions, monkeypatch):
    monkeypatch.setattr("wildlam.workflows.drive.LONGEST", 2)
    drive = Drive(*parts, frames)
    drive.step(actions[0])
    drive.step(actions[1])
    with pytest.raises(WildlamError, match="2 steps long; save it, then reset"):
        drive.step(actions[2])
