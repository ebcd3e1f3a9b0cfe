"""Fields of remote code that a native class does not have are refused by name. Their numbers: tests/models."""

from typing import Any

import pytest

from trivet.checkpoint.files import CheckpointMismatch
from trivet.checkpoint.native_config import native_config

NEW = {"model_type": "new", "hidden_size": 64, "num_attention_heads": 4, "rope_theta": 20000}


def test_what_transformers_reads_right_is_left_alone() -> None:
    assert native_config({"model_type": "bert"}) is None
    assert native_config({"model_type": "qwen3", "is_causal": False}) is None
    assert native_config({"model_type": "gemma3_text", "use_bidirectional_attention": True}) is None
    assert native_config({"model_type": "modernbert", "local_rope_theta": 10_000.0}) is None


def test_ntk_scaling_becomes_a_base_and_a_linear_factor() -> None:
    native = native_config({**NEW, "rope_scaling": {"type": "ntk", "factor": 8.0}})
    assert native is not None
    assert native["rope_parameters"] == {"rope_type": "linear", "factor": 8.0 ** (2 / 16), "rope_theta": 160000.0}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({**NEW, "rope_scaling": {"type": "yarn", "factor": 8.0}}, "rope_scaling"),
        ({**NEW, "rope_scaling": {"type": "ntk", "factor": 8.0, "mixed_b": 0.1}}, "mixed_b"),
        ({**NEW, "rope_scaling": {"type": "ntk", "factor": "8"}}, "rope_scaling"),
        ({**NEW, "rope_scaling": "ntk"}, "rope_scaling is 'ntk'"),
        ({**NEW, "num_attention_heads": 0}, "num_attention_heads is 0"),
        ({**NEW, "logn_attention_scale": True}, "logn_attention_scale"),
        ({"model_type": "gemma3_text", "is_causal": False}, "is_causal is false; .* say use_bidirectional_attention"),
        ({"model_type": "modernbert", "local_rope_theta": None}, "local_rope_theta is null"),
        ({"model_type": "nomic_bert", "n_embd": 64, "prenorm": True}, "prenorm"),
        ({"model_type": "nomic_bert", "n_embd": 64}, "n_layer"),
        ({"model_type": "bert", "position_embedding_type": "relative_key_query"}, "position_embedding_type is 'rel"),
        ({"model_type": "bert", "quantization_config": {"bits": 4}}, "quantization_config"),
        ({"model_type": "phi3", "use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ],
)
def test_what_no_native_class_computes_is_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointMismatch, match=named):
        native_config(config)
