"""One name for each fact of an architecture, whatever config.json calls it."""

from typing import Any

import pytest

from trivet.checkpoint.architecture import Architecture
from trivet.errors import ModelError

BERT = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 64,
}
GPT_NAMES = {"n_embd": 8, "n_inner": 16, "n_layer": 3, "n_head": 2, "vocab_size": 100, "n_positions": 64}
DISTILBERT_NAMES = {
    "dim": 8, "hidden_dim": 16, "n_layers": 3, "n_heads": 2, "vocab_size": 100, "max_position_embeddings": 64,
}  # fmt: skip


def of(**fields: Any) -> Architecture:
    return Architecture("here", fields)


@pytest.mark.parametrize("config", [BERT, GPT_NAMES, DISTILBERT_NAMES])
def test_sizes_are_found_under_every_name(config: dict[str, int]) -> None:
    found = of(**config)
    sizes = (found.hidden_size, found.intermediate_size, found.layers, found.heads, found.vocab_size, found.max_tokens)
    assert sizes == (8, 16, 3, 2, 100, 64)


@pytest.mark.parametrize("value", [None, 0, True, "8"])
def test_a_missing_size_raises_when_it_is_read(value: Any) -> None:
    with pytest.raises(ModelError, match=r"here: config\.json states no hidden_size or n_embd or dim"):
        assert of(hidden_size=value).hidden_size


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "xlm-roberta-xl"])
def test_positions_after_the_padding_id(family: str) -> None:
    for pad, first in (({}, 2), ({"pad_token_id": 1}, 2), ({"pad_token_id": 0}, 1)):
        found = of(model_type=family, max_position_embeddings=514, **pad)
        assert (found.first_position, found.max_tokens) == (first, 514 - first)


def test_other_positions_begin_at_zero() -> None:
    found = of(model_type="bert", max_position_embeddings=512, pad_token_id=3)
    assert (found.first_position, found.max_tokens) == (0, 512)


def test_the_smallest_stated_limit_counts() -> None:
    assert of(n_positions=8192, max_trained_positions=2048).max_tokens == 2048
    assert of(n_positions=0, max_trained_positions=2048).max_tokens == 2048
    assert of().max_tokens is None


def test_what_is_not_stated_has_the_usual_value() -> None:
    plain = of()
    assert (plain.model_type, plain.pad_id, plain.token_types, plain.labels) == ("", None, 0, {})
    assert (plain.has_absolute_positions, plain.is_decoder, plain.has_gated_mlp) == (True, False, False)


def test_traits_of_families() -> None:
    for gated in (
        {"model_type": "modernbert"},
        {"model_type": "qwen3"},
        {"model_type": "nomic_bert"},
        {"model_type": "nomic_bert", "activation_function": "swiglu"},
        {"model_type": "bert", "feed_forward_type": "geglu"},
    ):
        assert of(**gated).has_gated_mlp
    assert not of(model_type="nomic_bert", activation_function="gelu").has_gated_mlp
    assert of(model_type="deberta-v2").has_disentangled_attention
    assert not of(position_embedding_type="relative_key").has_absolute_positions
    assert of(is_decoder=True).is_decoder
    assert of(type_vocab_size=2).token_types == 2
    assert of(id2label={"0": "no", "1": "yes"}).labels == {"no": 0, "yes": 1}
