"""What config.json may say: defaults as transformers has them, everything else refused with a reason."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.models.flat.support import ENCODERS, SIZES
from tests.support.checkpoints import KINDS, write_checkpoint
from trivet.checkpoint.flat.decoders import DecoderConfig
from trivet.checkpoint.flat.encoders import BertConfig, ModernBertConfig, RotaryEncoderConfig
from trivet.checkpoint.flat.fields import ACTIVATION_NAMES
from trivet.checkpoint.flat.heads import ClassifierHeadConfig, read_classifier
from trivet.checkpoint.flat.model import padded_because, read_body
from trivet.config import Task
from trivet.engine.models.flat.layers import ACTIVATIONS
from trivet.errors import ModelError

BERT = {"model_type": "bert", "vocab_size": 100}
MODERN = {"model_type": "modernbert"}
NOMIC = {
    "model_type": "nomic_bert",
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 48,
    "n_layer": 2,
    "activation_function": "swiglu",
    "rotary_emb_fraction": 1.0,
    "rotary_emb_base": 1000,
    "vocab_size": 100,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
}
GTE = {"model_type": "gte"}
NEW = {
    "model_type": "new",
    "hidden_size": 32,
    "num_attention_heads": 4,
    "rope_theta": 20_000,
    "rope_scaling": {"type": "ntk", "factor": 8.0},
}


def unsupported_reason(config: dict[str, Any], task: Task) -> str | None:
    """Why an encoder is not computed, as far as its config.json tells."""
    try:
        body = read_body(config)
        assert not isinstance(body, DecoderConfig)
        if task != "embedder":
            read_classifier(config, body, task)
    except ModelError as error:
        return error.message
    return None


def classifier(config: dict[str, Any]) -> ClassifierHeadConfig:
    body = read_body(config)
    assert not isinstance(body, DecoderConfig)
    return read_classifier(config, body, "reranker")


@pytest.mark.parametrize(
    ("config", "task", "reason"),
    [
        ({}, "embedder", "the model type is None"),
        ({"model_type": "deberta-v2"}, "classifier", "the model type is 'deberta-v2'"),
        ({"model_type": "mpnet"}, "embedder", "the model type is 'mpnet'"),
        ({"model_type": "t5"}, "embedder", "the model type is 't5'"),
        ({"model_type": ["bert"]}, "embedder", "the model type is"),
        (BERT | {"quantization_config": {"bits": 4}}, "embedder", "quantised"),
        (BERT | {"is_decoder": True}, "embedder", "is_decoder is True"),
        (BERT | {"add_cross_attention": True}, "embedder", "add_cross_attention is True"),
        (BERT | {"position_embedding_type": "relative_key"}, "embedder", "position_embedding_type is 'relative_key'"),
        (BERT | {"hidden_act": "mish"}, "embedder", "hidden_act is 'mish'"),
        (BERT | {"num_attention_heads": 7}, "embedder", r"768 channels do not give 7 heads (num_attention_heads)"),
        (BERT | {"num_hidden_layers": "12"}, "embedder", "num_hidden_layers is '12'"),
        (BERT | {"layer_norm_eps": 0}, "embedder", "layer_norm_eps is 0"),
        (BERT | {"layer_norm_eps": float("nan")}, "embedder", "layer_norm_eps is nan"),
        ({"model_type": "bert"}, "embedder", "vocab_size is None"),
        ({"model_type": "roberta", "vocab_size": 100, "pad_token_id": None}, "embedder", "pad_token_id is None"),
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
        (BERT | {"id2label": {"0": "a"}, "num_labels": 3}, "reranker", "num_labels is 3, only None or 1"),
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


SCALARS = st.none() | st.booleans() | st.integers(-3, 900) | st.floats() | st.text(max_size=3)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=3)
FIELDS = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", "pad_token_id",
    "hidden_act", "layer_norm_eps", "id2label", "type_vocab_size", "layer_types", "rope_parameters", "rope_scaling",
    "local_attention", "head_dim", "classifier_pooling", "norm_bias", "n_embd", "n_head", "rotary_emb_base", "dim",
    "global_rope_theta", "embedding_size", "is_decoder", "quantization_config", "mlp_fc1_bias",
)  # fmt: skip


@given(
    base=st.sampled_from(
        [
            BERT,
            MODERN,
            NOMIC,
            {"model_type": "nomic_bert"},
            {"model_type": "distilbert"},
            BERT | {"model_type": "electra"},
            GTE,
            NEW,
        ]
    ),
    field=st.sampled_from(FIELDS),
    value=VALUES,
    task=st.sampled_from(["embedder", "reranker"]),
)
def test_no_value_of_a_field_does_worse_than_a_reason(base: Any, field: str, value: Any, task: Any) -> None:
    reason = unsupported_reason({**base, field: value}, task)
    assert reason is None or reason


def test_a_head_that_is_not_used_is_not_judged() -> None:
    assert unsupported_reason(MODERN | {"classifier_pooling": "max"}, "embedder") is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_flagships_are_supported(kind: Any, tmp_path: Path) -> None:
    task: Task = {"n": "embedder", "b": "reranker", "M": "classifier"}[kind[0]]  # type: ignore[assignment]
    assert padded_because(write_checkpoint(kind, "tiny", tmp_path), task) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Bert", "Electra", "Roberta", "XLMRoberta", "Camembert"])
def test_defaults_of_the_bert_family_are_those_of_transformers(name: str) -> None:
    """A published config.json leaves out what equals a default."""
    import transformers

    theirs = getattr(transformers, f"{name}Config")()
    stated = {"model_type": theirs.model_type, "vocab_size": theirs.vocab_size}
    ours = read_body(stated)
    assert isinstance(ours, BertConfig)
    assert (ours.hidden_size, ours.heads, ours.inner_size, ours.layers, ours.positions, ours.token_types) == (
        theirs.hidden_size,
        theirs.num_attention_heads,
        theirs.intermediate_size,
        theirs.num_hidden_layers,
        theirs.max_position_embeddings,
        theirs.type_vocab_size,
    )
    assert (ours.activation, ours.norm_eps, classifier(stated).labels) == (
        theirs.hidden_act,
        theirs.layer_norm_eps,
        theirs.num_labels,
    )
    assert ours.embedding_size == getattr(theirs, "embedding_size", theirs.hidden_size)
    assert ours.padding_id == (None if name in ("Bert", "Electra") else theirs.pad_token_id)


def test_defaults_of_distilbert_are_those_of_transformers() -> None:
    from transformers import DistilBertConfig

    theirs, ours = DistilBertConfig(), read_body({"model_type": "distilbert"})
    assert isinstance(ours, BertConfig)
    assert (ours.vocab_size, ours.hidden_size, ours.heads, ours.inner_size, ours.layers, ours.positions) == (
        theirs.vocab_size,
        theirs.dim,
        theirs.n_heads,
        theirs.hidden_dim,
        theirs.n_layers,
        theirs.max_position_embeddings,
    )
    assert (ours.activation, ours.token_types, ours.padding_id) == (theirs.activation, 0, None)


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


def test_defaults_of_the_native_nomic_are_those_of_transformers() -> None:
    from transformers import NomicBertConfig

    theirs, ours = NomicBertConfig(), read_body({"model_type": "nomic_bert"})
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


def test_defaults_of_gte_are_those_of_transformers() -> None:
    from transformers import GteConfig

    theirs, ours = GteConfig(), read_body(GTE)
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
    assert ours.feed_forward.activation == theirs.hidden_act
    assert ours.rotary.base == theirs.rope_parameters["rope_theta"]


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


def test_activations_have_one_list() -> None:
    assert set(ACTIVATIONS) == ACTIVATION_NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ACTIVATION_NAMES))
def test_activations_are_those_of_transformers(name: str) -> None:
    import torch
    from transformers.activations import ACT2FN

    x = torch.linspace(-6, 6, 400)
    torch.testing.assert_close(ACTIVATIONS[name](x), ACT2FN[name](x), rtol=0, atol=1e-6)


def test_the_families_of_these_tests_are_all_there_are() -> None:
    kinds = {ENCODERS[name](1)[0].model_type for name in ENCODERS}
    assert kinds == {"bert", "electra", "roberta", "xlm-roberta", "camembert", "distilbert", "modernbert", "gte"}
    assert all(unsupported_reason({"model_type": kind, **SIZES}, "reranker") is None for kind in kinds)
