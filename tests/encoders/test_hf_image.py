"""Per-frame vision transformers with tiny random weights: patch grid, known answers, errors."""

import json

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModel,
    Dinov2Config,
    Dinov2Model,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    ViTConfig,
    ViTModel,
    VJEPA2Config,
    VJEPA2Model,
)

from wildlam.encoders import HFImage
from wildlam.types import WildlamError

TINY = {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    models = {
        "dinov2": Dinov2Model(Dinov2Config(**TINY, image_size=28, patch_size=14)),
        "dinov3": DINOv3ViTModel(
            DINOv3ViTConfig(**TINY, image_size=32, patch_size=16, intermediate_size=96, num_register_tokens=4)
        ),
        "vit": ViTModel(ViTConfig(**TINY, image_size=32, patch_size=16, intermediate_size=96), add_pooling_layer=False),
    }
    root = tmp_path_factory.mktemp("models")
    for name, model in models.items():
        model.save_pretrained(root / name)
    return {name: str(root / name) for name in models}


@pytest.mark.parametrize(
    ("name", "size", "side", "prefix"),
    [("dinov2", 28, 2, 1), ("dinov2", 56, 4, 1), ("dinov3", 32, 2, 5), ("dinov3", 64, 4, 5), ("vit", 64, 4, 1)],
)
def test_states_are_the_standardised_patch_tokens(folders, name, size, side, prefix):
    encoder = HFImage(model=folders[name], image_size=size, dtype="float32").build("cpu")
    spec = encoder.spec
    assert (spec.frames_per_state, spec.grid, spec.width, spec.context) == (1, (side, side), 48, "frame")
    video = torch.randint(0, 256, (2, 3, 3, size, size), dtype=torch.uint8)
    states = encoder.encode(video)
    assert states.shape == (2, 3, side * side, 48)
    assert not states.requires_grad

    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    options = {"interpolate_pos_encoding": True} if name == "vit" else {}
    with torch.no_grad():
        model = AutoModel.from_pretrained(folders[name]).eval()
        hidden = model((video[1] / 255 - mean) / std, **options).last_hidden_state
    assert hidden.shape[1] == prefix + side * side
    torch.testing.assert_close(states[1], F.layer_norm(hidden[:, prefix:], (48,)), rtol=1e-4, atol=1e-4)


def test_a_frame_changes_its_own_state_only(folders):
    encoder = HFImage(model=folders["dinov3"], image_size=32, dtype="float32").build("cpu")
    video = torch.randint(0, 256, (1, 4, 3, 32, 32), dtype=torch.uint8)
    states = encoder.encode(video)
    video[:, 2] = 255 - video[:, 2]
    changed = encoder.encode(video)
    assert torch.equal(changed[:, [0, 1, 3]], states[:, [0, 1, 3]])
    assert not torch.equal(changed[:, 2], states[:, 2])


def test_weights_without_a_pooler_keep_their_fingerprint(folders):
    config = HFImage(model=folders["vit"], image_size=32)
    assert config.build("cpu").spec.fingerprint == config.build("cpu").spec.fingerprint


def test_pixels_follow_the_preprocessor(folders, tmp_path):
    torch.manual_seed(0)
    ViTModel(ViTConfig(**TINY, image_size=32, patch_size=16)).save_pretrained(tmp_path)
    plain = HFImage(model=str(tmp_path), image_size=32).build("cpu").spec.fingerprint
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    encoder = HFImage(model=str(tmp_path), image_size=32).build("cpu")
    assert encoder.mean == [0.5] * 3
    assert encoder.spec.fingerprint != plain


def test_image_size_must_fit_the_patch(folders):
    with pytest.raises(WildlamError, match="image_size is 32; choose a multiple of 14"):
        HFImage(model=folders["dinov2"], image_size=32).build("cpu")


def test_models_of_video_are_refused(tmp_path):
    config = VJEPA2Config(
        **TINY, crop_size=32, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1
    )
    VJEPA2Model(config).save_pretrained(tmp_path)
    with pytest.raises(WildlamError, match="VJEPA2Model does not take single images"):
        HFImage(model=str(tmp_path), image_size=32).build("cpu")


def test_a_missing_folder_is_named():
    with pytest.raises(WildlamError, match=r"^\./nowhere: .*no such folder"):
        HFImage(model="./nowhere").build("cpu")
