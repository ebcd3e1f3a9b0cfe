"""What the config.json of a ModernBERT may say: defaults as transformers has them, the rest refused."""

from typing import Any

import pytest

from tests.checkpoint.flat.configs import MODERN, classifier, unsupported_reason
from trivet.checkpoint.flat.model import read_body
from trivet.checkpoint.flat.modernbert import ModernBertConfig
from trivet.config import Task


@pytest.mark.parametrize(
    ("config", "task", "reason"),
    [
        (MODERN | {"rope_scaling": {"type": "yarn"}}, "embedder", "rope_scaling"),
        (MODERN | {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "embedder", "'yarn'"),
        (
            MODERN | {"rope_parameters": {"full_attention": {"partial_rotary_factor": 0.5}}},
            "embedder",
            "partial_rotary_factor is 0.5",
        ),
        (MODERN | {"rope_parameters": {"rope_type": "yarn"}}, "embedder", "rope_parameters has rope_type"),
        (MODERN | {"rope_parameters": "none"}, "embedder", "rope_parameters is 'none', not an object"),
        (MODERN | {"layer_types": ["full_attention"]}, "embedder", "for 22 layers"),
        (MODERN | {"layer_types": ["chunked_attention"] * 22}, "embedder", "chunked_attention"),
        (MODERN | {"head_dim": 32}, "embedder", "head_dim is 32"),
        (MODERN | {"classifier_pooling": "max"}, "reranker", "classifier_pooling is 'max'"),
        (MODERN | {"classifier_activation": "mish"}, "reranker", "classifier_activation is 'mish'"),
        (MODERN | {"norm_bias": 1}, "embedder", "norm_bias is 1"),
        (MODERN | {"num_attention_heads": 768}, "embedder", "heads of even size"),
        (MODERN | {"local_rope_theta": None}, "embedder", "local_rope_theta is None"),
        (MODERN | {"global_rope_theta": -1}, "embedder", "global_rope_theta is -1"),
    ],
)
def test_what_is_not_computed_is_refused_with_a_reason(config: dict[str, Any], task: Task, reason: str) -> None:
    assert reason in str(unsupported_reason(config, task))


def test_a_head_that_is_not_used_is_not_judged() -> None:
    assert unsupported_reason(MODERN | {"classifier_pooling": "max"}, "embedder") is None


def test_defaults_of_modernbert_are_those_of_transformers() -> None:
    from transformers import ModernBertConfig as Theirs

    theirs, ours, head = Theirs(), read_body(MODERN), classifier(MODERN)
    assert isinstance(ours, ModernBertConfig)
    for name in ("vocab_size", "hidden_size", "norm_eps", "norm_bias", "attention_bias", "mlp_bias"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (ours.heads, ours.inner_size, ours.layers) == (
        theirs.num_attention_heads,
        theirs.intermediate_size,
        theirs.num_hidden_layers,
    )
    assert (ours.reach_tokens, ours.max_tokens) == (theirs.sliding_window, theirs.max_position_embeddings)
    assert ours.local_layers == tuple(kind == "sliding_attention" for kind in theirs.layer_types)
    assert ours.global_base == theirs.rope_parameters["full_attention"]["rope_theta"]
    assert ours.local_base == theirs.rope_parameters["sliding_attention"]["rope_theta"]
    assert (head.pool, head.dense_bias, head.activation) == (
        theirs.classifier_pooling,
        theirs.classifier_bias,
        theirs.classifier_activation,
    )


def test_modernberts_older_fields_mean_what_the_newer_do() -> None:
    older = MODERN | {"global_rope_theta": 7.0, "local_rope_theta": 5.0, "global_attn_every_n_layers": 2}
    kinds = ["sliding_attention" if index % 2 else "full_attention" for index in range(22)]
    newer = MODERN | {
        "layer_types": kinds,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 7.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5.0},
        },
    }
    assert read_body(older) == read_body(newer)
