"""What the config.json of nomic-embed and gte may say: defaults as transformers has them, the rest refused."""

from typing import Any

import pytest

from tests.checkpoint.flat.configs import GTE, NEW, NOMIC, unsupported_reason
from trivet.checkpoint.flat.model import read_body
from trivet.checkpoint.flat.rotary_encoder import RotaryEncoderConfig
from trivet.config import Task


@pytest.mark.parametrize(
    ("config", "task", "reason"),
    [
        (NOMIC, "reranker", "cannot serve as a reranker"),
        (NOMIC | {"activation_function": "gelu"}, "embedder", "activation_function is 'gelu'"),
        (NOMIC | {"prenorm": True}, "embedder", "prenorm is True"),
        (NOMIC | {"rotary_scaling_factor": 2.0}, "embedder", "rotary_scaling_factor is 2.0"),
        (NOMIC | {"rotary_emb_fraction": 0.5}, "embedder", "rotary_emb_fraction is 0.5"),
        (NOMIC | {"mlp_fc1_bias": True}, "embedder", "mlp_fc1_bias and mlp_fc2_bias differ"),
        (
            {name: value for name, value in NOMIC.items() if name != "qkv_proj_bias"},
            "embedder",
            "config.json states no qkv_proj_bias",
        ),
        (NOMIC | {"causal": True}, "embedder", "causal is True"),
        ({"model_type": "nomic_bert", "head_dim": 32}, "embedder", "head_dim is 32"),
        ({"model_type": "nomic_bert", "hidden_act": "gelu"}, "embedder", "hidden_act is 'gelu'"),
        (
            {"model_type": "nomic_bert", "rope_parameters": {"rope_type": "linear"}},
            "embedder",
            "rotary positions are of type 'linear'",
        ),
        ({"model_type": "nomic_bert", "num_experts": 8}, "embedder", "n_embd is missing"),
        (GTE | {"type_vocab_size": -1}, "embedder", "type_vocab_size is -1, not a whole number from 0 on"),
        (GTE | {"head_dim": 32}, "embedder", "head_dim is 32"),
        (GTE | {"position_embedding_type": "absolute"}, "embedder", "position_embedding_type is 'absolute'"),
        (GTE | {"logn_attention_scale": True}, "embedder", "logn_attention_scale is True"),
        (GTE | {"layer_norm_type": "rms_norm"}, "embedder", "layer_norm_type is 'rms_norm'"),
        (GTE | {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "embedder", "of type 'dynamic'"),
        (GTE | {"rope_parameters": {"rope_type": "linear"}}, "embedder", "factor is None"),
        (NEW | {"rope_theta": None}, "embedder", "states no rope_theta"),
        (NEW | {"pack_qkv": False}, "embedder", "pack_qkv is False"),
    ],
)
def test_what_is_not_computed_is_refused_with_a_reason(config: dict[str, Any], task: Task, reason: str) -> None:
    assert reason in str(unsupported_reason(config, task))


def assert_defaults(ours: object, theirs: Any) -> None:
    """What is read of an empty config.json is what transformers takes it for."""
    assert isinstance(ours, RotaryEncoderConfig)
    assert (ours.vocab_size, ours.hidden_size, ours.heads, ours.inner_size, ours.layers, ours.max_tokens) == (
        theirs.vocab_size,
        theirs.hidden_size,
        theirs.num_attention_heads,
        theirs.intermediate_size,
        theirs.num_hidden_layers,
        theirs.max_position_embeddings,
    )
    assert (ours.norm_eps, ours.token_types) == (theirs.layer_norm_eps, theirs.type_vocab_size)
    assert ours.rotary.base == theirs.rope_parameters["rope_theta"]


def test_defaults_of_the_native_nomic_are_those_of_transformers() -> None:
    from transformers import NomicBertConfig

    assert_defaults(read_body({"model_type": "nomic_bert"}), NomicBertConfig())


def test_defaults_of_gte_are_those_of_transformers() -> None:
    from transformers import GteConfig

    theirs, ours = GteConfig(), read_body(GTE)
    assert_defaults(ours, theirs)
    assert isinstance(ours, RotaryEncoderConfig)
    assert ours.feed_forward.activation == theirs.hidden_act
