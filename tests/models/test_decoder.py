import itertools

import pytest
import torch

from wildlam.models.decoder import DecoderConfig, shrink
from wildlam.models.transformer import SIZES, Block
from wildlam.training.optimizers import is_hidden_matrix
from wildlam.types import EncoderSpec

from .conftest import awaken

COARSE = EncoderSpec("a", 1, (2, 2), 6, 32, "frame", "f")
FINE = EncoderSpec("b", 2, (8, 8), 5, 64, "clip", "g")


def make(spec=COARSE, **config):
    torch.manual_seed(0)
    return awaken(DecoderConfig(**{"image_size": 16, **config}).build(spec)).eval()


def states_of(spec, frames=5):
    return torch.randn(2, frames, spec.tokens, spec.width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("spec", [COARSE, FINE])
def test_pictures_depend_on_no_later_state(spec):
    decoder, states, f = make(spec), states_of(spec), spec.frames_per_state
    before = decoder.decode(states)
    assert before.shape == (2, 5 * f, 3, 16, 16)
    for t in range(1, 5):
        changed = states.clone()
        changed[:, t] += 1
        after = decoder.decode(changed)
        assert torch.equal(after[:, : t * f], before[:, : t * f])
        assert (after[:, t * f :] != before[:, t * f :]).flatten(2).any(dim=2).all()


def test_a_clip_may_be_cut_short():
    decoder, states = make(), states_of(COARSE)
    whole = decoder.decode(states)
    torch.testing.assert_close(decoder.decode(states[:, :1]), whole[:, :1])
    torch.testing.assert_close(decoder.decode(states[:, :3]), whole[:, :3])


@pytest.mark.parametrize(("upsample", "overlap"), [(1, 4), (2, 2)])
def test_every_token_paints_its_own_place_and_a_margin(upsample, overlap):
    """Without the blocks, which mix the tokens: a place of 8 x 8 pixels, and half a patch beyond it."""
    decoder = make(upsample=upsample)
    decoder.blocks = torch.nn.ModuleList()
    states = states_of(COARSE, frames=1)
    before = decoder.decode(states)
    near, far = slice(0, 8 + overlap), slice(8 - overlap, 16)
    for token, (rows, columns) in enumerate(itertools.product((near, far), repeat=2)):
        changed = states.clone()
        changed[:, :, token] += 1
        differs = (decoder.decode(changed) != before)[0, 0].any(dim=0)
        assert differs[rows, columns].all()
        differs[rows, columns] = False
        assert not differs.any()


def test_patches_of_one_colour_make_a_picture_without_seams():
    """Where neighbours agree nothing shows their borders, those of the picture included."""
    decoder = make(upsample=2)
    torch.nn.init.zeros_(decoder.head.weight)
    torch.nn.init.constant_(decoder.head.bias, 0.3)
    pictures = decoder.decode(states_of(COARSE))
    torch.testing.assert_close(pictures, torch.full_like(pictures, 0.3).sigmoid())


def test_loss_of_pictures_learnt_by_heart_falls():
    decoder = DecoderConfig(image_size=16).build(COARSE)
    generator = torch.Generator().manual_seed(2)
    video = torch.randint(0, 256, (2, 3, 3, 4, 4), dtype=torch.uint8, generator=generator).repeat_interleave(8, 3)
    video = video.repeat_interleave(8, 4)
    states = states_of(COARSE, frames=3)
    optimizer = torch.optim.Adam(decoder.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = decoder(states, video)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append(loss.total.item())
    assert losses[-1] < 0.6 * losses[0]
    assert loss.statistics().keys() == {"l1"}
    pictures = decoder.decode(states).detach()
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert loss.total.item() == pytest.approx(float((pictures - shrink(video, 16)).abs().mean()), abs=0.05)


class Squares:
    """Stands for a network that compares pictures."""

    name = "squares"

    def __init__(self):
        self.seen = []

    def __call__(self, one, other):
        self.seen.append(len(one))
        return (one - other).square().mean(dim=(1, 2, 3))


def test_perceptual_distance_of_some_random_frames_is_added():
    config = DecoderConfig(image_size=16, perceptual_weight=2.0, perceptual_frames=4)
    squares = Squares()
    decoder = awaken(config.build(COARSE, squares))
    states, video = states_of(COARSE), torch.zeros(2, 5, 3, 32, 32, dtype=torch.uint8)

    def once(seed):
        torch.manual_seed(seed)
        loss = decoder(states, video)
        return loss.total.item(), {name: float(value) for name, value in loss.statistics().items()}

    total, terms = once(0)
    assert terms.keys() == {"l1", "squares"}
    assert total == pytest.approx(terms["l1"] + 2 * terms["squares"])
    assert once(0)[0] == total
    assert once(1)[1]["squares"] != terms["squares"]
    assert squares.seen == [4, 4, 4]
    assert not [name for name in decoder.state_dict() if "perceptual" in name]


def test_shrinking_averages_areas():
    video = torch.arange(16, dtype=torch.uint8).view(1, 1, 1, 4, 4).expand(1, 1, 3, 4, 4)
    expected = torch.tensor([[2.5, 4.5], [10.5, 12.5]]) / 255
    torch.testing.assert_close(shrink(video, 2)[0, 0, 0], expected)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"image_size": 18}, "decoder.image_size=18: .* 4 x 4 patches"),
        ({"image_size": 0}, "decoder.image_size must be at least 1"),
        ({"upsample": 0}, "decoder.upsample must be at least 1"),
        ({"perceptual_frames": 0}, "decoder.perceptual_frames must be at least 1"),
        ({"perceptual_weight": -1.0}, "decoder.perceptual_weight must not be negative"),
    ],
)
def test_impossible_settings_are_refused(config, said):
    with pytest.raises(ValueError, match=said):
        make(**config)


def test_states_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected states \[B, T, 4, 6\], got \[2, 5, 64, 5\]"):
        make().decode(states_of(FINE))


def test_first_and_last_layers_are_left_to_adamw():
    decoder = make()
    hidden = {name for name, p in decoder.named_parameters() if is_hidden_matrix(name, p)}
    assert hidden == {name for name, p in decoder.named_parameters() if name.startswith("blocks") and p.ndim == 2}


def test_a_block_sees_what_its_bias_allows():
    size = SIZES["tiny"]
    torch.manual_seed(0)
    block, x = Block(size.width, size.heads), torch.randn(1, 3, size.width)
    still = torch.zeros(3, size.width // size.heads // 2)
    angles = still.cos(), still.sin()
    causal = torch.full((3, 3), float("-inf")).triu(1)
    changed = x.clone()
    changed[:, 2] += 1
    assert torch.equal(block(changed, angles, causal)[:, :2], block(x, angles, causal)[:, :2])
    assert not torch.equal(block(changed, angles)[:, :2], block(x, angles)[:, :2])
