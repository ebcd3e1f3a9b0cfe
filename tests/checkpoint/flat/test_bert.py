"""What the config.json of the BERT family may say: defaults as transformers has them, the rest refused."""

from typing import Any

import pytest

from tests.checkpoint.flat.configs import BERT, classifier, unsupported_reason
from trivet.checkpoint.flat.bert import BertConfig
from trivet.checkpoint.flat.model import read_body
from trivet.config import Task


@pytest.mark.parametrize(
    ("config", "task", "reason"),
    [
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
        (BERT | {"id2label": {"0": "a"}, "num_labels": 3}, "reranker", "num_labels is 3, only None or 1"),
    ],
)
def test_what_is_not_computed_is_refused_with_a_reason(config: dict[str, Any], task: Task, reason: str) -> None:
    assert reason in str(unsupported_reason(config, task))


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
