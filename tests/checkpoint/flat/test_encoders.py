"""Which model types are encoders that the flat modules compute, and that no value of a field fails otherwise."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.checkpoint.flat.configs import BERT, GTE, MODERN, NEW, NOMIC, unsupported_reason
from tests.engine.models.flat.support import ENCODERS, SIZES
from tests.support.checkpoints import KINDS, write_checkpoint
from trivet.checkpoint.flat.fields import ACTIVATION_NAMES
from trivet.checkpoint.flat.model import padded_because
from trivet.config import Task
from trivet.engine.models.flat.layers import ACTIVATIONS


@pytest.mark.parametrize(
    ("config", "task", "reason"),
    [
        ({}, "embedder", "the model type is None"),
        ({"model_type": "deberta-v2"}, "classifier", "the model type is 'deberta-v2'"),
        ({"model_type": "mpnet"}, "embedder", "the model type is 'mpnet'"),
        ({"model_type": "t5"}, "embedder", "the model type is 't5'"),
        ({"model_type": ["bert"]}, "embedder", "the model type is"),
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_flagships_are_supported(kind: Any, tmp_path: Path) -> None:
    task: Task = {"n": "embedder", "b": "reranker", "M": "classifier"}[kind[0]]  # type: ignore[assignment]
    assert padded_because(write_checkpoint(kind, "tiny", tmp_path), task) is None


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
