"""Identity of a checkpoint of ``transformers``: its weights and config, compared with the class that computes it.

``from_pretrained`` takes whatever fits: it fills missing weights with noise, drops those it has no place for, and keeps
fields of the config that it does not know without using them. The same weights computed in another way give other
states, so here every weight and every field has a place, is known to be unneeded, or the checkpoint is refused.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

log = logging.getLogger(__name__)

# What older releases of transformers wrote for any model, and what is about training, text or files: no state depends
# on it. A mapping gives the only value of which that is true.
_IDLE = {
    "model_type", "_attn_implementation_autoset", "_num_labels", "torchscript", "use_bfloat16", "tf_legacy_loss",
    "finetuning_task", "task_specific_params", "tokenizer_class", "prefix", "bos_token_id", "pad_token_id",
    "eos_token_id", "sep_token_id", "decoder_start_token_id", "gradient_checkpointing", "use_cache",
    "tie_word_embeddings", "tie_encoder_decoder", "loss_type"
}  # fmt: skip
_IDLE_AT = {"is_decoder": False, "add_cross_attention": False, "pruned_heads": {}}

# Fields that the names or shapes of the weights show, ...
_SHOWN = {
    "hidden_size", "intermediate_size", "mlp_ratio", "num_hidden_layers", "patch_size", "tubelet_size",
    "num_channels", "in_chans", "image_size", "qkv_bias", "query_bias", "key_bias", "value_bias", "proj_bias",
    "mlp_bias", "use_swiglu_ffn", "use_gated_mlp", "use_mask_token", "num_register_tokens"
}  # fmt: skip
# ... that matter in training alone, ...
_TRAINING = {
    "initializer_range", "hidden_dropout_prob", "attention_probs_dropout_prob", "attention_dropout", "drop_path_rate",
    "layerscale_value", "pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale", "frames_per_clip"
}  # fmt: skip
# ... or belong to heads and to backbones' outputs, which are not used.
_ELSEWHERE = {
    "pooler_output_size", "pooler_act", "num_pooler_layers", "encoder_stride", "stage_names", "out_features",
    "out_indices", "_out_features", "_out_indices", "apply_layernorm", "reshape_hidden_states", "pred_hidden_size",
    "pred_num_attention_heads", "pred_num_hidden_layers", "pred_num_mask_tokens", "pred_zero_init_mask_tokens",
    "pred_mlp_ratio"
}  # fmt: skip

_HEADS = {(1280, False): 16, (4096, True): 32}
"""Attention heads of released models, by width and whether their MLP is gated, where a head is not 64 wide."""
_CROPS = {1408: (256, 384)}
"""Sides of the frames of released V-JEPA 2 models, by width, where 256 is not the only one."""


def unknown_fields(settings: Any, harmless: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config that its class does not know, and that are not known to be irrelevant.

    Args:
        settings: a config of ``transformers`` as read from a checkpoint.
        harmless: fields of this kind of model that change nothing while they have the value given; None is any.
    """
    own = vars(type(settings)())
    harmless = {**_IDLE_AT, **harmless}
    return {
        name: value
        for name, value in vars(settings).items()
        if value is not None
        and not (name in own or name in _IDLE)
        and not (name in harmless and harmless[name] in (None, value))
    }


def computing_fields(settings: Any) -> dict[str, Any]:
    """The fields of a config that change states while the weights keep their names and shapes, for fingerprints.

    Only what differs from the defaults, and from released models where these differ from the defaults: fingerprints
    of released models stay those that stores and runs were made with before fields entered them.
    """
    from transformers import PretrainedConfig

    usual = vars(type(settings)())
    width, gated = settings.hidden_size, getattr(settings, "use_gated_mlp", False)
    usual["num_attention_heads"] = _HEADS.get((width, gated), width // 64)
    if gated:  # DINOv3's larger models
        usual["hidden_act"] = "silu"
    if settings.model_type == "vjepa2" and settings.crop_size in _CROPS.get(width, ()):
        usual["crop_size"] = settings.crop_size
    apart = _SHOWN | _TRAINING | _ELSEWHERE | vars(PretrainedConfig()).keys()
    return {
        name: value for name, value in vars(settings).items() if name in usual.keys() - apart and value != usual[name]
    }


def strange_weights(network: Any, found: Mapping[str, Iterable[Any]], unused: tuple[str, ...]) -> str | None:
    """What is wrong with the weights of a checkpoint, or None; parts that are not needed are named and left.

    Args:
        network: a model of ``transformers`` that they were loaded into.
        found: the loading report of ``from_pretrained``.
        unused: parts of models that are not needed, by the beginnings of their weights' names.
    """
    name_of, prefix = type(network).__name__, f"{network.base_model_prefix}."  # which checkpoints with a head have

    def needed(names: Iterable[Any]) -> list[str]:
        return sorted(name for name in map(str, names) if not name.removeprefix(prefix).startswith(unused))

    if lacking := needed(found["missing_keys"]):
        return f"it lacks {len(lacking)} weights of {name_of}, such as {lacking[0]}"
    unfit = {
        str(name): f"{list(there)} where {list(wanted)} should be" for name, there, wanted in found["mismatched_keys"]
    }
    if wrong := needed(unfit):
        return f"{len(wrong)} weights have other shapes than its config says, such as {wrong[0]}: {unfit[wrong[0]]}"
    extra = {str(name) for name in found["unexpected_keys"]}
    if unknown := needed(extra):
        return (
            f"it has {len(unknown)} weights that {name_of} has no place for, such as {unknown[0]}: it is another "
            "model, or another version of it, than its config says"
        )
    if parts := Counter(name.removeprefix(prefix).split(".")[0] for name in extra):
        names = ", ".join(f"{part} ({count} weights)" for part, count in sorted(parts.items()))
        log.info("not used, as no state needs them: %s", names)
    return None
