"""What a decoder's config.json may say: defaults as transformers has them, everything else refused with a reason."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.models.flat.support import DECODERS
from trivet.checkpoint.flat.decoders import DecoderConfig
from trivet.checkpoint.flat.model import read_body
from trivet.checkpoint.flat.rotary import RotaryConfig
from trivet.errors import ModelError

SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA, GEMMA3 = (
    {"model_type": kind, **SIZES} for kind in ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma3_text")
)


def read(config: Mapping[str, Any]) -> DecoderConfig:
    body = read_body(config)
    assert isinstance(body, DecoderConfig)
    return body


def windows(config: Mapping[str, Any]) -> tuple[int | None, ...]:
    return tuple(layer.window for layer in read(config).layers)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (LLAMA | {"hidden_size": None}, "hidden_size is None"),
        (LLAMA | {"num_key_value_heads": 3}, "num_key_value_heads is 3, which 4 heads cannot share"),
        (LLAMA | {"head_dim": 7}, "head_dim is 7"),
        (LLAMA | {"hidden_act": "mish"}, "hidden_act is 'mish'"),
        (LLAMA | {"sliding_window": 64}, "sliding_window is 64"),
        (LLAMA | {"rms_norm_eps": 0}, "rms_norm_eps is 0"),
        (LLAMA | {"attention_bias": None}, "attention_bias is None"),
        (LLAMA | {"is_causal": None}, "is_causal is None"),
        (LLAMA | {"is_causal": True, "use_bidirectional_attention": True}, "are both true"),
        (LLAMA | {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        (LLAMA | {"original_max_position_embeddings": 64}, "original_max_position_embeddings is 64"),
        (LLAMA | {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "of type 'dynamic'"),
        (LLAMA | {"rope_scaling": {"type": "longrope", "factor": 2.0}}, "longrope"),
        (LLAMA | {"rope_scaling": {"type": "linear"}}, "factor is None"),
        (LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.0, "beta": 1}}, "of type 'linear' have beta"),
        (LLAMA | {"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": 1}}, "of type 'yarn' have mscale"),
        (LLAMA | {"rope_scaling": {"rope_type": "llama3", "factor": 2.0, "high_freq_factor": 4}}, "low_freq_factor"),
        (
            LLAMA
            | {"rope_scaling": {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 4, "high_freq_factor": 1}},
            "low_freq_factor is 4.0, not below high_freq_factor",
        ),
        (
            LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_theta": 7.0}},
            "rope_scaling and rope_parameters are both stated",
        ),
        (LLAMA | {"rope_parameters": {"full_attention": {"rope_theta": 7.0}}}, "have full_attention"),
        (LLAMA | {"rope_theta": None}, "rope_theta is None"),
        (LLAMA | {"final_logit_softcapping": 30.0}, "final_logit_softcapping is 30.0"),
        (LLAMA | {"quantization_config": {"bits": 4}}, "quantised"),
        (MISTRAL | {"sliding_window": 0}, "sliding_window is 0"),
        (MISTRAL | {"layer_types": ["sliding_attention"] * 3}, "layer_types is"),
        (QWEN2 | {"use_sliding_window": None}, "use_sliding_window is None"),
        (QWEN3 | {"layer_types": ["sliding_attention"] * 3}, "sliding_window is None"),
        (QWEN3 | {"layer_types": ["full_attention"]}, "for 3 layers"),
        (QWEN3 | {"layer_types": ["linear_attention"] * 3}, "linear_attention"),
        (GEMMA | {"use_bidirectional_attention": True}, "use_bidirectional_attention is not known"),
        (GEMMA3 | {"is_causal": False}, "is_causal"),
        (GEMMA3 | {"use_bidirectional_attention": "both"}, "use_bidirectional_attention is 'both'"),
        (GEMMA3 | {"sliding_window": None}, "sliding_window is None"),
        (GEMMA3 | {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        (GEMMA3 | {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar is 0"),
        (GEMMA3 | {"_sliding_window_pattern": 2}, "_sliding_window_pattern is 2"),
        (GEMMA3 | {"rope_local_base_freq": None}, "rope_local_base_freq is None"),
        (GEMMA3 | {"rope_parameters": {"rope_theta": 7.0}}, "rope_parameters has rope_theta"),
        (
            GEMMA3
            | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_parameters": {"full_attention": {}}},
            "rope_scaling and rope_parameters are both stated",
        ),
    ],
)
def test_what_is_not_computed_is_refused_with_a_reason(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(config)
    assert reason in caught.value.message


def test_windows_are_counted_as_transformers_counts_them() -> None:
    sliding = {"sliding_window": 8}
    assert windows(MISTRAL | sliding) == (7, 7, 7), "a causal window counts the token itself"
    assert windows(MISTRAL | sliding | {"is_causal": False}) == (8, 8, 8), "one of two sides does not"
    assert windows(MISTRAL | {"sliding_window": None}) == (None, None, None)
    assert windows(QWEN3 | sliding) == (None, None, None)
    assert windows(QWEN3 | sliding | {"use_sliding_window": True, "max_window_layers": 1}) == (None, 7, 7)
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    assert windows(QWEN2 | sliding | {"use_sliding_window": True, "layer_types": kinds}) == (7, None, 7)
    assert windows(GEMMA3 | sliding | {"layer_types": kinds}) == (7, None, 7)
    assert windows(GEMMA3 | sliding | {"layer_types": kinds, "use_bidirectional_attention": True}) == (4, None, 4)
    assert windows(GEMMA3 | sliding | {"sliding_window_pattern": 2}) == (7, None, 7)


def test_gemma_3_turns_its_two_kinds_of_layers_differently() -> None:
    config = read(GEMMA3 | {"sliding_window_pattern": 3, "rope_theta": 7.0, "rope_local_base_freq": 5.0})
    assert [layer.rotary for layer in config.layers] == [RotaryConfig(5.0), RotaryConfig(5.0), RotaryConfig(7.0)]


def test_older_fields_mean_what_the_newer_do() -> None:
    scaling = {"rope_type": "linear", "factor": 8.0}
    older = LLAMA | {"rope_theta": 7.0, "rope_scaling": {"type": "linear", "factor": 8.0}}
    assert read(older) == read(LLAMA | {"rope_parameters": {"rope_theta": 7.0, **scaling}})
    older = GEMMA3 | {"rope_theta": 7.0, "rope_local_base_freq": 5.0, "rope_scaling": scaling}
    of_kinds = {"full_attention": {"rope_theta": 7.0, **scaling}, "sliding_attention": {"rope_theta": 5.0}}
    assert read(older) == read(GEMMA3 | {"rope_parameters": of_kinds})


def test_another_name_of_llama() -> None:
    assert read(LLAMA | {"model_type": "llama_bidirec"}) == read(LLAMA | {"is_causal": False})


SCALARS = st.none() | st.booleans() | st.integers(-3, 900) | st.floats() | st.text(max_size=3)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=3)
FIELDS = (
    "model_type", *SIZES, "head_dim", "hidden_act", "hidden_activation", "rms_norm_eps", "rope_theta", "rope_scaling",
    "rope_parameters", "rope_local_base_freq", "sliding_window", "use_sliding_window", "max_window_layers",
    "layer_types", "attention_bias", "mlp_bias", "is_causal", "use_bidirectional_attention", "query_pre_attn_scalar",
    "max_position_embeddings", "tie_word_embeddings", "final_logit_softcapping", "sliding_window_pattern",
)  # fmt: skip


@given(base=st.sampled_from([LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA, GEMMA3]), field=st.sampled_from(FIELDS), value=VALUES)
def test_no_value_of_a_field_does_worse_than_a_reason(base: dict[str, Any], field: str, value: Any) -> None:
    try:
        read_body({**base, field: value})
    except ModelError as error:
        assert error.message  # noqa: PT017 - either is right


# ── transformers' own classes ───────────────────────────────────────────────────────────────────────────────────────

CHANGE_NOTHING = {
    # Training, generation and storage.
    "initializer_range", "attention_dropout", "use_cache", "bos_token_id", "eos_token_id", "pad_token_id",
    # Of transformers before 5: products cut into slices, which changes no number.
    "pretraining_tp",
}  # fmt: skip


class Watched(Mapping[str, Any]):
    """A config.json that notes which fields are asked for."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma3Text"])
def test_every_field_of_transformers_class_is_read_or_changes_nothing(name: str) -> None:
    import transformers

    theirs = getattr(transformers, f"{name}Config")
    common = {field.name for field in dataclasses.fields(transformers.PreTrainedConfig)} - {"tie_word_embeddings"}
    fields = {field.name for field in dataclasses.fields(theirs)} - common
    asked: set[str] = set()
    # What is read depends on what is stated: windows only where they are used.
    for more in ({}, {"use_sliding_window": True, "max_window_layers": 0}):
        config = Watched({"model_type": theirs.model_type, **SIZES, **more})
        read(config)
        asked |= config.asked
    assert fields - asked - CHANGE_NOTHING == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma3Text"])
def test_defaults_are_those_of_transformers(name: str) -> None:
    import transformers

    given = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"} | {"num_attention_heads": 32}
    given["hidden_size"] = 4096
    theirs: Any = getattr(transformers, f"{name}Config")(**given)
    ours = read({"model_type": theirs.model_type, **given})
    head_size = getattr(theirs, "head_dim", None) or 4096 // 32
    assert (ours.key_value_heads, ours.head_size) == (theirs.num_key_value_heads, head_size)
    assert ours.max_tokens == theirs.max_position_embeddings
    assert ours.norm_eps == theirs.rms_norm_eps
    assert ours.activation == getattr(theirs, "hidden_act", None) or theirs.hidden_activation
    assert ours.projection_bias == getattr(theirs, "attention_bias", name == "Qwen2")
    assert ours.mlp_bias == getattr(theirs, "mlp_bias", False)
    assert ours.ties_words == theirs.tie_word_embeddings
    assert ours.attention_scale == (getattr(theirs, "query_pre_attn_scalar", None) or head_size) ** -0.5
    ropes = (
        theirs.rope_parameters if name == "Gemma3Text" else dict.fromkeys(("full_attention",), theirs.rope_parameters)
    )
    bases = {kind: rope["rope_theta"] for kind, rope in ropes.items()}
    kinds = theirs.layer_types if name == "Gemma3Text" else ["full_attention"] * 3
    assert [layer.rotary.base for layer in ours.layers] == [bases[kind] for kind in kinds]
    window = theirs.sliding_window - 1 if name in ("Mistral", "Gemma3Text") else None
    local = [kind == "sliding_attention" or name == "Mistral" for kind in kinds]
    assert [layer.window for layer in ours.layers] == [window if is_local else None for is_local in local]


def test_the_families_of_these_tests_are_all_there_are() -> None:
    kinds = {DECODERS[name](1)[0].model_type for name in DECODERS}
    assert kinds == {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma3_text"}
