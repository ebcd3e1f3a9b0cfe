"""A packed forward equals the padded one, for every model that can be packed and every pooling mode."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.checkpoint.architecture import Architecture
from trivet.config import Task
from trivet.engine.batch.layout import WIDEST, pack
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.models.load import load_torch_model
from trivet.engine.models.pooling import Pooling
from trivet.engine.openvino.export.packed import PackedModel, can_be_packed

pytestmark = pytest.mark.slow  # loads every kind of model

MODELS: list[tuple[str, Task]] = [
    ("minilm", "embedder"),
    ("nomic-embed-text-v2-moe", "embedder"),
    ("bge-reranker-base", "reranker"),
    ("starter-reranker", "reranker"),
    ("starter-classifier", "classifier"),
]
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
lengths = st.lists(st.integers(3, 200), min_size=1, max_size=7)


def batch_of(given_lengths: list[int]) -> TokenBatch:
    rng = np.random.default_rng(sum(given_lengths))
    ids = [rng.integers(5, 900, size=length, dtype=np.int32) for length in given_lengths]
    return TokenBatch.of(ids, types_from=[min(given_lengths) // 2 + 1] * len(ids), pad_id=1)


def with_fields(architecture: Architecture, **fields: Any) -> Architecture:
    return replace(architecture, config={**architecture.config, **fields})


def run(model: Any, arrays: dict[str, Any]) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = model(**{name: torch.from_numpy(arrays[name]) for name in model.input_names})
    return result


@cache
def loaded(path: Path, task: Task) -> Any:
    """A model that no test changes."""
    return load_torch_model(path, task, for_export=True)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *MODELS[:-1],
        # Its body is that of the other starter.
        pytest.param(*MODELS[-1], marks=pytest.mark.models),
    ],
)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_lengths=lengths)
def test_packed_equals_padded(checkpoints: dict[str, Path], name: str, task: Task, given_lengths: list[int]) -> None:
    model = loaded(checkpoints[name], task)
    batch = batch_of(given_lengths)
    torch.testing.assert_close(run(PackedModel(model), batch.binned()), run(model, batch.padded()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_every_pooling_reads_its_own_sequence(checkpoints: dict[str, Path], mode: str) -> None:
    model = load_torch_model(checkpoints["minilm"], "embedder", for_export=True)
    model.head.pooling = Pooling((mode,))
    batch = batch_of([90, 5, 61, 17])
    assert len(pack(batch.lengths).sequences) < 4, "some share a bin"
    torch.testing.assert_close(run(PackedModel(model), batch.binned()), run(model, batch.padded()), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "task"), MODELS)
def test_these_can_be_packed(checkpoints: dict[str, Path], name: str, task: Task) -> None:
    assert can_be_packed(loaded(checkpoints[name], task))


def test_several_poolings_stand_side_by_side(checkpoints: dict[str, Path]) -> None:
    model = load_torch_model(checkpoints["minilm"], "embedder", for_export=True)
    model.head.pooling = Pooling(("cls", "mean"))
    batch = batch_of([40, 12])
    packed = run(PackedModel(model), batch.binned())
    assert packed.shape == (2, 768)
    torch.testing.assert_close(packed, run(model, batch.padded()), rtol=0, atol=1e-5)


def test_a_model_of_long_texts_is_not_packed(checkpoints: dict[str, Path]) -> None:
    assert not can_be_packed(load_torch_model(checkpoints["ModernBERT-large-zeroshot-v2.0"], "classifier"))
    model = load_torch_model(checkpoints["bge-reranker-base"], "reranker")
    model.architecture = with_fields(model.architecture, max_position_embeddings=8194)
    assert not can_be_packed(model)


def test_nomic_is_packed_only_where_a_bin_is_no_longer_than_its_positions(checkpoints: dict[str, Path]) -> None:
    model = load_torch_model(checkpoints["nomic-embed-text-v2-moe"], "embedder")
    model.architecture = with_fields(model.architecture, max_trained_positions=WIDEST - 1)
    assert not can_be_packed(model)


@pytest.mark.parametrize("kind", ["electra", "roberta", "xlm-roberta", "bert"])
@pytest.mark.parametrize("task", ["embedder", "classifier"])
def test_every_kind_that_counts_as_packable_is(tmp_path: Path, kind: str, task: Task) -> None:
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    torch.manual_seed(3)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model(kind, vocab_size=1000, max_position_embeddings=300, num_labels=3, **sizes)
    auto = AutoModel if task == "embedder" else AutoModelForSequenceClassification
    auto.from_config(config).save_pretrained(tmp_path)
    model = load_torch_model(tmp_path, task, for_export=True)
    assert can_be_packed(model)
    batch = batch_of([90, 5, 61, 17])
    torch.testing.assert_close(run(PackedModel(model), batch.binned()), run(model, batch.padded()), rtol=0, atol=1e-5)


def test_tokens_of_the_padding_id_take_no_position(checkpoints: dict[str, Path]) -> None:
    """As in transformers, wherever they stand: a text can name the padding token."""
    model = loaded(checkpoints["bge-reranker-base"], "reranker")
    padding = model.architecture.pad_id
    texts = ([0, padding, 8, 9, 2], [0, *range(5, 60), 2], [0, 7, padding, padding, 8, padding, 2], [0, 8, 9, 2])
    batch = TokenBatch.of([np.array(ids, dtype=np.int32) for ids in texts], pad_id=padding)
    packed = run(PackedModel(model), batch.binned())
    alone = [run(model, TokenBatch.of([np.array(ids, dtype=np.int32)], pad_id=padding).padded()) for ids in texts]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=0, atol=2e-6)
    assert not torch.allclose(packed[0], packed[3], atol=1e-4)
