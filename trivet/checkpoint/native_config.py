"""Translates config.json of families that were published with remote code into the fields of transformers' own classes.

Remote code is never run. Where transformers computes the same model natively, only names and defaults differ; a field
that chooses a formula which the native class does not have is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from trivet.checkpoint.architecture import DECODERS
from trivet.checkpoint.files import CheckpointMismatch
from trivet.checkpoint.nomic import FORMULA

_BIDIRECTIONAL = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Decoders that transformers computes both ways where `is_causal` is false."""
_KNOWS_BIDIRECTIONAL = frozenset({"gemma2", "gemma3", "gemma3_text", "embedding_gemma2"})
"""Families that have `use_bidirectional_attention` themselves."""

_NEW_PINNED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("gelu",),
    "layer_norm_type": ("layer_norm",),
    "logn_attention_scale": (False,),
    "pack_qkv": (True,),
    "position_embedding_type": ("rope",),
}
_NOMIC_PINNED: dict[str, tuple[Any, ...]] = {
    **FORMULA,
    "activation_function": ("swiglu",),
    "mlp_fc1_bias": (False,),
    "mlp_fc2_bias": (False,),
    "qkv_proj_bias": (False,),
    "rotary_emb_fraction": (1.0,),
}
_NOMIC_REQUIRED = ("activation_function", "rotary_emb_fraction")
"""Fields of the formula whose defaults in the remote code are another formula."""
_NOMIC_NAMES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "layer_norm_eps": "layer_norm_epsilon",
}


def native_config(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the fields with which transformers computes this model, `model_type` among them.

    Args:
        config: the content of config.json.

    Returns:
        None if transformers reads config.json right as it is.

    Raises:
        CheckpointMismatch: a field asks for something that the native class does not compute; the message names it.
    """
    if str(config.get("position_embedding_type")).startswith("relative"):
        raise CheckpointMismatch(
            f"config.json: position_embedding_type is {config['position_embedding_type']!r}; positions between tokens "
            "are not computed"
        )
    if config.get("quantization_config"):
        raise CheckpointMismatch(
            "config.json: quantization_config: quantised weights are not read; use the weights that they were made of, "
            "and `cpu.precision` for a smaller model"
        )
    _check_rope(config)
    _check_bases(config)
    _check_direction(config)
    match config.get("model_type"):
        case "new":
            return _gte(config)
        case "gte" if config.get("rope_scaling"):
            return _gte(config)
        case "nomic_bert" if "n_embd" in config and not config.get("num_experts"):
            return _nomic(config)
    return _bidirectional(config)


def _gte(config: Mapping[str, Any]) -> dict[str, Any]:
    """`new` of Alibaba-NLP. Fixed NTK scaling turns at base · factor, all frequencies divided by factor^(2/head size):
    the native class has that as linear scaling."""
    _check(config, _NEW_PINNED)
    _check_stated(config, ("hidden_size", "num_attention_heads", "rope_theta"))
    scaling = config.get("rope_scaling") or {"type": "ntk", "factor": 1.0}
    is_object = isinstance(scaling, dict)
    kind = scaling.get("type", scaling.get("rope_type")) if is_object else None
    if kind != "ntk" or set(scaling) - {"type", "rope_type"} != {"factor"} or not _is_positive(scaling["factor"]):
        raise CheckpointMismatch(
            f"config.json: rope_scaling is {scaling!r}; of `new` only type ntk with a factor is known"
        )
    for name in ("hidden_size", "num_attention_heads", "rope_theta"):
        if not _is_positive(config[name]):
            raise CheckpointMismatch(f"config.json: {name} is {config[name]!r}, not a positive number")
    factor = float(scaling["factor"])
    head_size = max(1, config["hidden_size"] // config["num_attention_heads"])
    rope: dict[str, Any] = {"rope_theta": float(config["rope_theta"]) * factor, "rope_type": "default"}
    if factor != 1.0:
        rope |= {"rope_type": "linear", "factor": factor ** (2 / head_size)}
    return _without(config, "auto_map", "rope_scaling", "rope_theta", *_NEW_PINNED.keys() - {"hidden_act"}) | {
        "model_type": "gte",
        "rope_parameters": rope,
    }


def _nomic(config: Mapping[str, Any]) -> dict[str, Any]:
    """nomic_bert by GPT-2's field names. The native class has other names, and defaults that hide a missing one."""
    _check(config, _NOMIC_PINNED)
    _check_stated(config, (*_NOMIC_NAMES.values(), "rotary_emb_base", *_NOMIC_REQUIRED))
    multiple = config.get("pad_vocab_size_multiple") or 1
    return {
        **{native: config[name] for native, name in _NOMIC_NAMES.items()},
        "model_type": "nomic_bert",
        "vocab_size": -(-config["vocab_size"] // multiple) * multiple,
        "type_vocab_size": config.get("type_vocab_size", 2),
        "max_position_embeddings": config.get("n_positions", 8192),
        "hidden_act": "silu",
        "pad_token_id": config.get("pad_token_id") or 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": float(config["rotary_emb_base"])},
    }


def _bidirectional(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Decoders that attend both ways: transformers knows the field of Gemma alone."""
    model_type = str(config.get("model_type"))
    if model_type == "llama_bidirec":
        return _without(config, "auto_map") | {"model_type": "llama", "is_causal": False}
    if not config.get("use_bidirectional_attention") or model_type in _KNOWS_BIDIRECTIONAL:
        return None
    if model_type not in _BIDIRECTIONAL:
        raise CheckpointMismatch(
            f"config.json: use_bidirectional_attention is not known for model_type {model_type}; it is for "
            f"{', '.join(sorted(_BIDIRECTIONAL | _KNOWS_BIDIRECTIONAL))}"
        )
    return _without(config, "auto_map") | {"is_causal": False}


def _check_rope(config: Mapping[str, Any]) -> None:
    """Refuse angles that depend on the longest text of a batch: a text must not change with its company."""
    for field in ("rope_scaling", "rope_parameters"):
        stated = config.get(field)
        nested = stated.values() if isinstance(stated, dict) else ()
        for rope in (stated, *nested):
            if isinstance(rope, dict) and rope.get("rope_type", rope.get("type")) == "longrope":
                raise CheckpointMismatch(
                    f"config.json: {field} is of type longrope, which reads a text differently beside longer ones; it "
                    "is not computed"
                )


def _check_bases(config: Mapping[str, Any]) -> None:
    """Refuse a base that is null: transformers 5 computes with it, earlier versions read it as the global one."""
    if config.get("model_type") == "modernbert" and not config.get("rope_parameters"):
        for field in ("global_rope_theta", "local_rope_theta"):
            if field in config and config[field] is None:
                raise CheckpointMismatch(f"config.json: {field} is null; it must be a positive number")


def _check_direction(config: Mapping[str, Any]) -> None:
    """Refuse what leaves open whether tokens see the ones after them."""
    causal, both_ways = config.get("is_causal"), config.get("use_bidirectional_attention")
    model_type = config.get("model_type")
    if "is_causal" in config and not isinstance(causal, bool):
        raise CheckpointMismatch(f"config.json: is_causal is {causal!r}; it must be true or false")
    if causal is False and not both_ways and model_type in _KNOWS_BIDIRECTIONAL - {"embedding_gemma2"}:
        raise CheckpointMismatch(
            f"config.json: is_causal is false; models of type {model_type} say use_bidirectional_attention instead"
        )
    if causal and both_ways:
        raise CheckpointMismatch("config.json: is_causal and use_bidirectional_attention are both true")
    if causal and model_type not in DECODERS:
        raise CheckpointMismatch(f"config.json: is_causal is true, but encoders of type {model_type} attend both ways")


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _check_stated(config: Mapping[str, Any], names: Iterable[str]) -> None:
    missing = [name for name in names if config.get(name) is None]
    if missing:
        raise CheckpointMismatch(f"config.json of a {config.get('model_type')} states no {', '.join(missing)}")


def _check(config: Mapping[str, Any], pinned: Mapping[str, tuple[Any, ...]]) -> None:
    wrong = [
        f"{name} is {config[name]!r}, only {' or '.join(map(repr, allowed))} is computed"
        for name, allowed in pinned.items()
        if name in config and config[name] not in allowed
    ]
    if wrong:
        raise CheckpointMismatch(f"config.json of {config.get('model_type')}: {'; '.join(wrong)}")


def _without(config: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in names}
