"""Locality with known answers: models made up to carry a place in their latent action, or not to."""

import json

import pytest
import torch
from torch import nn

from wildlam.encoders import Lite0
from wildlam.errors import WildlamError
from wildlam.evaluation.composed_scenes import compose
from wildlam.evaluation.locality import KINDS, locality
from wildlam.models import ModelConfig
from wildlam.models.bottlenecks import Deterministic
from wildlam.types import EncoderSpec


class CellMeans:
    """Each token is the mean colour of its cell, over the frames of a state: it sees nothing beyond."""

    device = torch.device("cpu")

    def __init__(self, grid=(4, 4), image_size=64, frames_per_state=1):
        self.spec = EncoderSpec("cells", frames_per_state, grid, 3, image_size, "frame", "0")

    def encode(self, video):
        of_state = video.float().unflatten(1, (-1, self.spec.frames_per_state)).mean(dim=2)
        cells = nn.functional.adaptive_avg_pool2d(of_state.flatten(0, 1), self.spec.grid)
        return cells.flatten(2).transpose(1, 2).unflatten(0, of_state.shape[:2])


class PerPlace(nn.Module):
    """Its latent action is the change of every token; predicting adds it there."""

    def __init__(self):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))

    def infer(self, states):
        return (states[:, 1:] - states[:, :-1]).flatten(2)

    def predict(self, states, actions):
        return states + actions.view_as(states)


class Everywhere(PerPlace):
    """Its latent action is how much changes; predicting adds it to all tokens."""

    def infer(self, states):
        return (states[:, 1:] - states[:, :-1]).abs().mean(dim=2)

    def predict(self, states, actions):
        return states + actions[:, :, None]


class Drifting(PerPlace):
    """Expects the last token to change by itself, whatever the action."""

    def predict(self, states, actions):
        drift = torch.zeros_like(states)
        drift[:, :, -1] = 100
        return super().predict(states, actions) + drift


@pytest.fixture(scope="module")
def lite0():
    return Lite0(image_size=64, pool=1).build("cpu", torch.float32)


@pytest.mark.parametrize("encoder", [CellMeans(), CellMeans((5, 7)), CellMeans((8, 8), frames_per_state=2)])
def test_a_place_is_carried_where_tokens_see_their_cell_alone(encoder):
    result = locality(PerPlace(), encoder, scenes=8)
    for kind in ("true", "own", "transferred"):
        assert result.share(kind).low > 0.99
    assert result.share("other side").high < 0.01
    assert result.concentration("true").low > 4
    assert result.slope("true").mean == pytest.approx(1, abs=0.1)
    assert result.carried().mean == pytest.approx(1, abs=0.1)


def test_an_amount_without_a_place_is_spread_evenly():
    result = locality(Everywhere(), CellMeans(), scenes=8)
    for kind in KINDS[1:]:
        assert result.share(kind).mean == pytest.approx(0.5, abs=1e-4)
        assert result.concentration(kind).mean == pytest.approx(1, abs=1e-4)
    assert result.slope("transferred").mean == pytest.approx(0, abs=1e-4)
    assert result.slope("true").mean == pytest.approx(1, abs=0.1)


def test_what_a_model_expects_of_itself_is_not_put_down_to_the_action():
    plain, drifting = (locality(model, CellMeans(), scenes=4) for model in (PerPlace(), Drifting()))
    torch.testing.assert_close(drifting.maps["transferred"], plain.maps["transferred"], atol=1e-3, rtol=0)


def test_a_real_encoder_blurs_the_truth_and_the_measure_says_so(lite0):
    perfect, even = (locality(model, lite0, scenes=8) for model in (PerPlace(), Everywhere()))
    true = perfect.share("true").mean
    assert 0.65 < true < 0.99
    assert perfect.share("own").mean == pytest.approx(true, abs=1e-4)
    assert perfect.share("transferred").mean == pytest.approx(true, abs=0.1)
    assert perfect.share("other side").mean == pytest.approx(1 - true, abs=0.1)
    assert perfect.summary()["effect"]["own"]["mean"] == pytest.approx(1, abs=1e-4)
    assert perfect.carried().mean == pytest.approx(1, abs=0.25)
    assert even.share("transferred").mean == pytest.approx(0.5, abs=1e-3)
    assert even.carried().mean == pytest.approx(0, abs=1e-3)


def test_a_model_whose_actions_do_nothing_has_no_share(tiny_models):
    model = ModelConfig(bottleneck=Deterministic(dim=4)).build(3, (4, 4)).eval()
    summary = locality(model, CellMeans(), scenes=4).summary()
    assert summary["share"]["transferred"] is None
    assert summary["effect"]["transferred"]["mean"] == 0
    assert summary["carried"]["mean"] == 0
    json.dumps(summary, allow_nan=False)


def test_only_the_moved_place_of_a_composed_scene_changes():
    frames = torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8)
    for number in range(6):
        spec = CellMeans(frames_per_state=2).spec
        scene = compose(number, frames, spec, 4, 2, torch.Generator().manual_seed(number))
        for name in ("source", "target"):
            rests, moves = scene.films[f"{name} rests"], scene.films[f"{name} moves"]
            assert torch.equal(rests[:2], moves[:2])  # the first state is the same
            assert (rests == rests[:1]).all()
            changed = (rests[3] != moves[3]).any(dim=0)
            top, left = 16 * scene.row, 16 * scene.columns[0]
            assert changed[top : top + 16, left : left + 16].any()
            changed[top : top + 16, left : left + 16] = False
            assert not changed.any()
        assert scene.columns[0] != scene.columns[1]


def test_scenes_stand_on_the_given_frames_and_depend_on_the_seed():
    frames = torch.stack([torch.full((3, 64, 64), 50 * i, dtype=torch.uint8) for i in range(3)])
    result = locality(PerPlace(), CellMeans(), frames, scenes=6)
    assert {int(film[0, 0, 0, 0]) for film in result.films[0].values()} == {0, 50}  # corners of two frames
    assert set(result.scenes.names) == {"frame 0", "frame 1", "frame 2"}
    assert result.scenes.recordings == result.scenes.names
    cameras = locality(PerPlace(), CellMeans(), frames, scenes=6, recordings=["one", "one", "other"])
    one = {cameras.scenes.recordings[i] for i, name in enumerate(cameras.scenes.names) if name != "frame 2"}
    assert one == {"one"}
    again, other = (locality(PerPlace(), CellMeans(), frames, seed=seed, scenes=6) for seed in (0, 1))
    assert torch.equal(again.films[0]["target"], result.films[0]["target"])
    assert not torch.equal(other.films[0]["target"], result.films[0]["target"])


def test_one_frame_alone_gives_way_to_textures():
    one = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    assert locality(PerPlace(), CellMeans(), one, scenes=4).share("true").mean > 0.99


def test_scenes_are_counted_as_they_are_done():
    counted = []
    locality(PerPlace(), CellMeans(), scenes=12, count=counted.append)
    assert counted == [8, 4]


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(WildlamError, match="two or more along each axis"):
        locality(PerPlace(), CellMeans((1, 4)))
    with pytest.raises(ValueError, match="64, 64"):
        locality(PerPlace(), CellMeans(), torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
