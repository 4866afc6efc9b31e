"""V-JEPA 2 with tiny random weights: causality, known answers, the per-frame mode, errors."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model, VJEPA2Config, VJEPA2ForVideoClassification, VJEPA2Model

from wildlam.encoders import VJEPA2
from wildlam.encoders.identity import computing_fields
from wildlam.errors import WildlamError

from ..helpers import SIDE, TOKENS, WIDTH, save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("vjepa2"))


@pytest.fixture(scope="module")
def encoder(folder):
    return VJEPA2(model=folder, dtype="float32").build("cpu")


@pytest.fixture(scope="module")
def per_frame(folder):
    return VJEPA2(model=folder, dtype="float32", mode="per_frame").build("cpu")


@pytest.fixture
def video():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 8, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


def own_output(folder, video):
    """What transformers gives for the clip with full attention, standardised."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    model = VJEPA2Model.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = model((video / 255 - mean) / std, skip_predictor=True).last_hidden_state
    return F.layer_norm(hidden, (WIDTH,)).unflatten(1, (-1, TOKENS))


def test_spec(encoder, per_frame):
    spec = encoder.spec
    assert (spec.frames_per_state, spec.grid, spec.width, spec.image_size, spec.context) == (2, (2, 2), 48, 32, "clip")
    spec = per_frame.spec
    assert (spec.frames_per_state, spec.grid, spec.width, spec.image_size, spec.context) == (1, (2, 2), 48, 32, "frame")
    assert encoder.spec.fingerprint != per_frame.spec.fingerprint


def test_states_are_standardised(encoder, video):
    states = encoder.encode(video)
    assert states.shape == (2, 4, TOKENS, WIDTH)
    assert states.dtype == torch.float32
    assert not states.requires_grad
    torch.testing.assert_close(states.mean(-1), torch.zeros(2, 4, TOKENS), atol=1e-5, rtol=0)
    torch.testing.assert_close(states.var(-1, unbiased=False), torch.ones(2, 4, TOKENS), atol=1e-3, rtol=0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("frame", [2, 5, 7])
def test_a_frame_changes_its_own_and_later_states_only(folder, video, dtype, frame):
    encoder = VJEPA2(model=folder, dtype=dtype).build("cpu")
    states = encoder.encode(video)
    video[:, frame] = 255 - video[:, frame]
    changed = encoder.encode(video)
    state = frame // 2
    assert torch.equal(changed[:, :state], states[:, :state])
    for later in range(state, 4):
        assert not torch.equal(changed[:, later], states[:, later])


def test_one_latent_frame_is_what_transformers_gives(folder, encoder, video):
    torch.testing.assert_close(encoder.encode(video[:, :2]), own_output(folder, video[:, :2]), rtol=1e-4, atol=1e-5)


def test_last_state_of_one_layer_sees_everything(tmp_path, video):
    """With a single layer the last frame attends to all frames, causal or not, so there the two must agree."""
    config = VJEPA2Config(
        hidden_size=WIDTH, num_attention_heads=4, num_hidden_layers=1, crop_size=SIDE, frames_per_clip=8,
        pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    VJEPA2Model(config).save_pretrained(tmp_path)
    states = VJEPA2(model=str(tmp_path), dtype="float32").build("cpu").encode(video)
    full = own_output(str(tmp_path), video)
    torch.testing.assert_close(states[:, -1], full[:, -1], rtol=1e-4, atol=1e-5)
    assert (states[:, 0] - full[:, 0]).abs().max() > 1e-2


def test_per_frame_states_are_those_of_each_frame_alone(folder, per_frame, video):
    states = per_frame.encode(video)
    assert states.shape == (2, 8, TOKENS, WIDTH)
    alone = torch.stack([per_frame.encode(video[:, [t]])[:, 0] for t in range(8)], dim=1)
    torch.testing.assert_close(states, alone, rtol=1e-4, atol=1e-5)
    doubled = own_output(folder, video[:, [3, 3]])
    torch.testing.assert_close(states[:, 3], doubled[:, 0], rtol=1e-4, atol=1e-5)


def test_fingerprint_follows_weights_and_precision(folder, encoder, tmp_path):
    def spec(**settings):
        return VJEPA2(**{"model": folder, "dtype": "float32"} | settings).build("cpu").spec

    assert spec().fingerprint == encoder.spec.fingerprint
    assert spec(dtype="bfloat16").fingerprint != encoder.spec.fingerprint
    assert spec(model=save_tiny(tmp_path, seed=1)).fingerprint != encoder.spec.fingerprint


def test_wrong_input_is_refused(encoder):
    with pytest.raises(ValueError, match="multiple of 2"):
        encoder.encode(torch.zeros(1, 3, 3, SIDE, SIDE, dtype=torch.uint8))
    with pytest.raises(ValueError, match="32 x 32"):
        encoder.encode(torch.zeros(1, 2, 3, 64, 64, dtype=torch.uint8))


def test_a_missing_folder_is_named():
    with pytest.raises(WildlamError, match=r"^/nowhere/at/all.*no such folder"):
        VJEPA2(model="/nowhere/at/all").build("cpu")


def test_a_model_out_of_reach_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        WildlamError, match=r"some-lab/some-vjepa2: cannot be loaded .*hf download some-lab/some-vjepa2"
    ):
        VJEPA2(model="some-lab/some-vjepa2").build("cpu")


def test_another_kind_of_model_is_refused(tmp_path):
    Dinov2Model(Dinov2Config(hidden_size=48, num_attention_heads=4, num_hidden_layers=1)).save_pretrained(tmp_path)
    with pytest.raises(WildlamError, match="type dinov2, not vjepa2"):
        VJEPA2(model=str(tmp_path)).build("cpu")


def test_damaged_and_unfitting_weights_are_refused(tmp_path):
    folder = save_tiny(tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WildlamError, match="cannot be loaded"):
        VJEPA2(model=folder).build("cpu")
    weights.write_bytes(whole)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(WildlamError, match=r"lacks .* weights of VJEPA2Model"):
        VJEPA2(model=folder).build("cpu")


def variant(folder, path, fields=None, weights=None):
    """A copy of a checkpoint with other fields in its config and other weights."""
    shutil.copytree(folder, path)
    config = path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | (fields or {})))
    if weights is not None:
        file = path / "model.safetensors"
        save_file(weights(load_file(file)), file, {"format": "pt"})
    return str(path)


def weights_fingerprint(model):
    return VJEPA2(model=model, dtype="float32").build("cpu").spec.fingerprint


def test_fewer_layers_than_the_weights_have_are_refused(folder, tmp_path):
    short = variant(folder, tmp_path / "short", {"num_hidden_layers": 1})
    with pytest.raises(
        WildlamError, match=r"16 weights that VJEPA2Model has no place for, such as encoder\.layer\.1\."
    ):
        VJEPA2(model=short).build("cpu")


@pytest.mark.parametrize("prefix", ["", "vjepa2."])
@pytest.mark.parametrize(
    "name", ["encoder.embeddings.video_mod_embed", "encoder.norms_block.0.weight", "adapter.weight"]
)
def test_weights_without_a_place_are_refused_by_name(folder, tmp_path, prefix, name):
    def more(weights):
        return {f"{prefix}{key}": weight for key, weight in (weights | {name: torch.ones(WIDTH)}).items()}

    with pytest.raises(WildlamError, match=rf"1 weights that VJEPA2Model has no place for, such as {prefix}{name}"):
        VJEPA2(model=variant(folder, tmp_path / "more", weights=more)).build("cpu")


def test_weights_of_another_width_are_refused_by_name(folder, tmp_path):
    wide = variant(folder, tmp_path / "wide", {"mlp_ratio": 2})
    with pytest.raises(WildlamError, match=r"encoder\.layer\.0\.mlp\.fc1\.bias: \[192\] where \[96\] should be"):
        VJEPA2(model=wide).build("cpu")


@pytest.mark.parametrize(
    "field", [{"use_rope_interleave": True}, {"interpolate_rope": True}, {"hierarchical_layers": [1]}]
)
def test_another_version_under_the_same_type_is_refused_by_name(folder, tmp_path, field):
    other = variant(folder, tmp_path / "other", field)
    with pytest.raises(WildlamError, match=f"config has {next(iter(field))}: a V-JEPA"):
        VJEPA2(model=other).build("cpu")
    with pytest.raises(WildlamError, match=r"V-JEPA 2\.1"):
        VJEPA2(model=other).hollow()


def test_unknown_fields_are_refused_by_name(folder, tmp_path):
    code = {"AutoModel": "modeling.Other"}
    other = variant(folder, tmp_path / "other", {"auto_map": code, "qk_norm": False, "use_cache": True})
    with pytest.raises(WildlamError, match=r"vjepa2 without auto_map = .*Other.*, qk_norm = False\)"):
        VJEPA2(model=other).build("cpu")


def test_fields_of_released_configs_and_of_another_version_switched_off_change_nothing(folder, encoder, tmp_path):
    released = {
        "image_size": 256,
        "use_SiLU": False,
        "wide_SiLU": True,
        "hidden_dropout_prob": 0.0,
        "torch_dtype": "float32",
    }
    off = {"use_rope_interleave": False, "hierarchical_layers": None, "num_distillation_outputs": 1, "new": None}
    assert weights_fingerprint(variant(folder, tmp_path / "same", released | off)) == encoder.spec.fingerprint
    with pytest.raises(WildlamError, match="use_SiLU = True"):
        VJEPA2(model=variant(folder, tmp_path / "silu", {"use_SiLU": True})).build("cpu")


def test_a_classifier_is_named_and_left(encoder, tmp_path, caplog):
    """Also a predictor of another size, which no state needs."""
    config = VJEPA2Config(
        hidden_size=WIDTH, num_attention_heads=4, num_hidden_layers=2, crop_size=SIDE, frames_per_clip=8,
        pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1, num_pooler_layers=1,
    )  # fmt: skip
    whole = VJEPA2ForVideoClassification(config)
    whole.save_pretrained(tmp_path / "head")
    whole.vjepa2.save_pretrained(tmp_path / "bare")
    with caplog.at_level("INFO", logger="wildlam"):
        told = weights_fingerprint(str(tmp_path / "head"))
    assert "not used, as no state needs them: classifier (2 weights), pooler (" in caplog.text
    assert told == weights_fingerprint(str(tmp_path / "bare"))
    assert told == weights_fingerprint(variant(tmp_path / "bare", tmp_path / "other", {"pred_hidden_size": 48}))


@pytest.mark.parametrize(
    "field",
    [{"num_attention_heads": 2}, {"layer_norm_eps": 1e-3}, {"hidden_act": "relu"}, {"crop_size": 64}],
    ids=lambda field: next(iter(field)),
)
def test_the_fingerprint_tells_apart_what_computes_otherwise_with_the_same_weights(folder, tmp_path, field):
    assert weights_fingerprint(variant(folder, tmp_path / "other", field)) != weights_fingerprint(folder)


def test_fingerprints_of_released_models_are_those_of_before_fields_entered_them():
    """Sizes and heads of ViT-L, H and g (arXiv 2506.09985, table 1), at their side of the frames."""
    for width, heads, side in ((1024, 16, 256), (1280, 16, 256), (1408, 22, 256), (1408, 22, 384)):
        assert computing_fields(VJEPA2Config(hidden_size=width, num_attention_heads=heads, crop_size=side)) == {}
    assert computing_fields(VJEPA2Config(num_attention_heads=8)) == {"num_attention_heads": 8}
    assert computing_fields(VJEPA2Config(crop_size=384)) == {"crop_size": 384}


def test_sharded_weights_are_the_same_model(folder, encoder, tmp_path):
    VJEPA2Model.from_pretrained(folder).save_pretrained(tmp_path, max_shard_size="50KB")
    assert not (tmp_path / "model.safetensors").exists()
    assert weights_fingerprint(str(tmp_path)) == encoder.spec.fingerprint
    sorted(tmp_path.glob("model-*.safetensors"))[0].unlink()
    with pytest.raises(WildlamError, match=r"model-00001-of-"):
        VJEPA2(model=str(tmp_path)).build("cpu")


def test_pixels_follow_the_video_preprocessor(folder, encoder, video, tmp_path):
    model = variant(folder, tmp_path / "own")
    file = tmp_path / "own" / "video_preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}))
    assert weights_fingerprint(model) == encoder.spec.fingerprint
    file.write_text(json.dumps({"image_mean": 0.5, "image_std": [0.5]}))
    own = VJEPA2(model=model, dtype="float32").build("cpu")
    assert own.spec.fingerprint != encoder.spec.fingerprint
    assert (own.encode(video) - encoder.encode(video)).abs().max() > 0.01


def test_a_patch_given_as_a_list_is_read(folder, encoder, tmp_path):
    assert weights_fingerprint(variant(folder, tmp_path / "list", {"patch_size": [16, 16]})) == encoder.spec.fingerprint


def test_offline_is_named_as_the_cause(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WildlamError, match=r"HF_HUB_OFFLINE is set, and not all of its files are in .*; where the hub"):
        VJEPA2(model="some-lab/some-vjepa2").build("cpu")
