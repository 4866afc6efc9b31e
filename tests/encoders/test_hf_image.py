"""Per-frame vision transformers with tiny random weights: patch grid, known answers, errors."""

import json
import shutil

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
    ViTForImageClassification,
    ViTForMaskedImageModeling,
    ViTModel,
    VJEPA2Config,
    VJEPA2Model,
)

from wildlam.encoders import HFImage
from wildlam.encoders.hub import pixel_statistics
from wildlam.encoders.identity import computing_fields
from wildlam.errors import WildlamError

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


def variant(folder, path, fields):
    shutil.copytree(folder, path)
    config = path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))
    return str(path)


def build(model):
    return HFImage(model=model, image_size=56 if "dinov2" in model else 32, dtype="float32").build("cpu")


def test_weights_without_a_place_are_refused_by_name(folders, tmp_path):
    short = variant(folders["vit"], tmp_path / "vit", {"num_hidden_layers": 1})
    with pytest.raises(WildlamError, match=r"weights that ViTModel has no place for, such as \S*layers?\.1\."):
        build(short)


def test_unknown_fields_are_refused_by_name(folders, tmp_path):
    other = variant(folders["vit"], tmp_path / "vit", {"rope_mode": "axial"})
    with pytest.raises(WildlamError, match=r"vit without rope_mode = 'axial'\)"):
        build(other)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("vit", {"num_attention_heads": 2}),
        ("vit", {"hidden_act": "relu"}),
        ("dinov2", {"layer_norm_eps": 1e-3}),
        ("dinov3", {"rope_theta": 10.0}),
    ],
)
def test_the_fingerprint_tells_apart_what_computes_otherwise_with_the_same_weights(folders, tmp_path, name, field):
    assert (
        build(variant(folders[name], tmp_path / name, field)).spec.fingerprint != build(folders[name]).spec.fingerprint
    )


def test_fingerprints_of_released_models_are_those_of_before_fields_entered_them():
    """Widths, depths and heads of the released sizes; DINOv3's larger ones have a gated MLP."""
    for width, layers, heads in ((384, 12, 6), (768, 12, 12), (1024, 24, 16), (1536, 40, 24)):
        sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
        for config in (Dinov2Config(**sizes, image_size=518), ViTConfig(**sizes), DINOv3ViTConfig(**sizes)):
            assert computing_fields(config) == {}
    assert computing_fields(ViTConfig(hidden_size=1280, num_attention_heads=16, patch_size=14)) == {}
    for width, heads in ((384, 6), (1280, 20), (4096, 32)):
        sizes = {"hidden_size": width, "num_attention_heads": heads}
        assert computing_fields(DINOv3ViTConfig(**sizes, use_gated_mlp=True, hidden_act="silu")) == {}


def test_heads_are_named_and_left(tmp_path, caplog):
    config = ViTConfig(**TINY, image_size=32, patch_size=16, intermediate_size=96, encoder_stride=16)
    for whole in (ViTForImageClassification(config), ViTForMaskedImageModeling(config)):
        whole.save_pretrained(tmp_path / "head")
        whole.vit.save_pretrained(tmp_path / "bare")
        told = build(str(tmp_path / "bare")).spec.fingerprint
        caplog.clear()
        with caplog.at_level("INFO", logger="wildlam"):
            assert build(str(tmp_path / "head")).spec.fingerprint == told
        assert "not used, as no state needs them: " in caplog.text
        assert "(2 weights)" in caplog.text


@pytest.mark.parametrize(
    ("said", "mean", "std"),
    [
        ({"image_mean": 0.5, "image_std": [0.25]}, [0.5] * 3, [0.25] * 3),
        ({"image_mean": None, "image_std": None, "do_normalize": False}, [0.0] * 3, [1.0] * 3),
        ({"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "do_rescale": False}, [0.0] * 3, [1 / 255] * 3),
        ({"image_mean": [1, 1, 1], "image_std": [1, 1, 1], "rescale_factor": 2 / 255}, [0.5] * 3, [0.5] * 3),
        ({"image_std": [0.5, 0.25, 0.5], "rescale_factor": 1 / 255}, [0.485, 0.456, 0.406], [0.5, 0.25, 0.5]),
    ],
)
def test_what_a_preprocessor_says_of_pixels_is_read(folders, tmp_path, said, mean, std):
    model = variant(folders["vit"], tmp_path / "vit", {})
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(said))
    encoder = build(model)
    assert encoder.mean == pytest.approx(mean)
    assert encoder.std == pytest.approx(std)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('{"image_mean": null}', "image_mean in the configuration of its preprocessor is null; write three numbers"),
        ('{"image_mean": [0.5, 0.5]}', r"image_mean .* is \[0.5, 0.5\]"),
        ('{"image_std": ["a", "b", "c"]}', "image_std .* is"),
        ('{"image_std": 0}', r"image_std .* is \[0, 0, 0\]; write numbers above 0"),
        ('{"rescale_factor": null, "image_std": NaN}', "image_std .* is NaN"),
        ('{"image_mean": [0.5,', "cannot be loaded .* not a valid JSON file"),
        ("[]", "cannot be loaded .*preprocessor"),
    ],
)
def test_a_preprocessor_that_says_nothing_usable_is_refused(folders, tmp_path, said, told):
    model = variant(folders["vit"], tmp_path / "vit", {})
    (tmp_path / "vit" / "preprocessor_config.json").write_text(said)
    with pytest.raises(WildlamError, match=told):
        build(model)


def test_pixels_normalised_by_guess_are_told(monkeypatch, caplog, folders):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pixel_statistics(folders["vit"])
    assert not caplog.text
    assert pixel_statistics("some-lab/some-vit") == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert "some-lab/some-vit: no preprocessor_config.json in the hub's cache" in caplog.text
