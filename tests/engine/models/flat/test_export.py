"""Flat models as OpenVINO graphs over bins: the flat model's numbers, at other shapes than the traced one."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.models.flat.support import FAMILIES, TYPED, lay_in_bins, run, sequences, token_types, write_family
from tests.support.checkpoints import write_checkpoint
from trivet.config import Task
from trivet.engine.models.flat.export import BinModel, HeadModel
from trivet.engine.models.flat.heads import ClassificationHead
from trivet.engine.models.flat.load import load_flat_model
from trivet.engine.models.pooling import Pooling
from trivet.engine.openvino.backend import settings_for
from trivet.starter import prepare_starter

import openvino  # isort: skip - after trivet, which shuts its telemetry

pytestmark = pytest.mark.slow  # each test traces and compiles a model

LENGTHS = (1, 5, 300, 37, 129, 2, 64, 65, 200)


def _bins(parts: Sequence[Tensor], bins: int) -> dict[str, Tensor]:
    layout = lay_in_bins([len(part) for part in parts], bins)
    given = {
        "positions": layout.positions,
        "sequence_ids": layout.sequence_ids,
        "first_token_indices": layout.first_token_indices,
    }
    for name, values in (("input_ids", parts), ("token_type_ids", [token_types(part) for part in parts])):
        given[name] = torch.full_like(layout.sequence_ids, 7 if name == "input_ids" else 0)
        given[name].view(-1)[layout.places] = torch.cat(list(values))
    return given


def _graph(module: nn.Module, example: dict[str, Tensor], names: Sequence[str]) -> Any:
    inputs = [
        (name, openvino.PartialShape([-1] * (example[name].ndim - (name == "pooled")) + [32] * (name == "pooled")))
        for name in names
    ]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of every Python `if` on a length
        return openvino.convert_model(module.eval(), example_input={n: example[n] for n in names}, input=inputs)


def _compiled(graph: Any, precision: Any = "fp32") -> Any:
    return openvino.compile_model(graph, "CPU", settings_for(precision, 1))


def _answer(compiled: Any, given: dict[str, Tensor], names: Sequence[str]) -> Tensor:
    answer: Tensor = torch.from_numpy(np.array(compiled({name: given[name].numpy() for name in names})[0]))
    return answer


def _check(folder: Path, task: Task, vocab_size: int, *, typed: bool, blocks: bool = True) -> None:
    parts = sequences(LENGTHS, vocab_size)
    types = [token_types(part) for part in parts] if typed else None
    expected = run(load_flat_model(folder, task), parts, types)
    model = BinModel(load_flat_model(folder, task), takes_token_types=typed, blocks=blocks)
    compiled = _compiled(_graph(model, _bins(sequences((150, 70), vocab_size), 1), model.input_names))
    for bins in (1, 3):
        ours = _answer(compiled, _bins(parts, bins), model.input_names)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    alone = _answer(compiled, _bins(parts[2:3], 1), model.input_names)
    torch.testing.assert_close(alone, expected[2:3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("family", ["modernbert", "modernbert-mean"])
def test_local_attention_in_both_forms(family: str, blocks: bool, tmp_path: Path) -> None:
    write_family(family, tmp_path, labels=2)
    _check(tmp_path, "classifier", 200, typed=False, blocks=blocks)


@pytest.mark.parametrize("family", [name for name in FAMILIES if not name.startswith("modernbert")])
def test_the_bert_family(family: str, tmp_path: Path) -> None:
    write_family(family, tmp_path, labels=1)
    _check(tmp_path, "reranker", 200, typed=family in TYPED)


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("nomic-embed-text-v2-moe", "embedder"),
        ("bge-reranker-base", "reranker"),
        ("ModernBERT-large-zeroshot-v2.0", "classifier"),
    ],
)
def test_flagships(kind: Any, task: Task, tmp_path: Path) -> None:
    _check(write_checkpoint(kind, "tiny", tmp_path, seed=7), task, 900, typed=False)


@pytest.mark.parametrize("task", ["embedder", "reranker"])
def test_starters(task: Any, tmp_path: Path) -> None:
    _check(prepare_starter(task, tmp_path), task, 30_000, typed=task == "reranker")


@pytest.mark.parametrize("modes", [("mean",), ("cls", "lasttoken"), ("weightedmean", "mean_sqrt_len_tokens"), ("max",)])
def test_pooling_modes(modes: tuple[str, ...], tmp_path: Path) -> None:
    write_family("bert", tmp_path, labels=None)
    parts = sequences(LENGTHS)
    flat = load_flat_model(tmp_path, "embedder")
    flat.head = Pooling(modes)
    expected = run(flat, parts)
    model = BinModel(flat, takes_token_types=False, blocks=True)
    compiled = _compiled(_graph(model, _bins(sequences((150, 70)), 1), model.input_names))
    torch.testing.assert_close(_answer(compiled, _bins(parts, 2), model.input_names), expected, rtol=0, atol=1e-5)


def test_a_head_of_its_own_keeps_500_scores_apart_in_bf16(tmp_path: Path) -> None:
    """As one graph in bf16 the starter gives 139."""
    folder = prepare_starter("reranker", tmp_path)
    query, documents = sequences((6,), 30_000)[0], sequences([12] * 500, 30_000, seed=1)
    parts = [torch.cat([query, document]) for document in documents]
    flat = load_flat_model(folder, "reranker")
    assert isinstance(flat.head, ClassificationHead)
    body = BinModel(flat, takes_token_types=False, blocks=True, with_head=False)
    compiled = _compiled(_graph(body, _bins(sequences((150, 70), 30_000), 1), body.input_names), "bf16")
    pooled = torch.cat(
        [_answer(compiled, _bins(parts[start : start + 100], 4), body.input_names) for start in range(0, 500, 100)]
    )
    with torch.inference_mode():
        scores = HeadModel(flat.head)(pooled)
    assert len(scores.unique()) == 500
    torch.testing.assert_close(scores, run(load_flat_model(folder, "reranker"), parts), rtol=0, atol=0.1)


def test_heads_convert(tmp_path: Path) -> None:
    write_family("modernbert-mean", tmp_path, labels=3)
    flat = load_flat_model(tmp_path, "classifier")
    assert isinstance(flat.head, ClassificationHead)
    pooled = {"pooled": torch.randn(5, 32)}
    compiled = _compiled(_graph(HeadModel(flat.head), {"pooled": torch.randn(2, 32)}, ("pooled",)))
    with torch.inference_mode():
        expected = flat.head.classify(pooled["pooled"])
    torch.testing.assert_close(_answer(compiled, pooled, ("pooled",)), expected, rtol=0, atol=1e-5)
