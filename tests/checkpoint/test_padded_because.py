"""Which checkpoints the flat modules take, by all of their description and not by config.json alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoint.flat.test_decoders import SIZES
from tests.engine.models.flat.support import write_family
from tests.support.published import decoders
from trivet.checkpoint.flat.model import padded_because
from trivet.config import Task
from trivet.engine.models.flat.load import load_flat_model
from trivet.errors import ModelError


def add_modules(folder: Path, *kinds: str) -> None:
    configs = {
        "Pooling": {"pooling_mode": "mean"},
        "Dense": {"in_features": 32, "out_features": 8, "bias": True},
        "Normalize": {},
    }
    chain = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, kind in enumerate(kinds, start=1):
        chain.append({"path": f"{index}_{kind}", "type": f"sentence_transformers.models.{kind}"})
        (folder / f"{index}_{kind}").mkdir()
        (folder / f"{index}_{kind}" / "config.json").write_text(json.dumps(configs[kind]))
    (folder / "modules.json").write_text(json.dumps(chain))


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (("Pooling", "Normalize"), None),
        (("Pooling", "Dense", "Normalize"), None),
        (("Dense", "Normalize"), "more than one vector or number of a text"),
        ((), "there is no pooling"),
    ],
)
def test_which_modules_keep_an_embedder_padded(tmp_path: Path, kinds: tuple[str, ...], reason: str | None) -> None:
    write_family("bert", tmp_path, labels=None)
    add_modules(tmp_path, *kinds)
    found = padded_because(tmp_path, "embedder")
    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)


@pytest.mark.parametrize(
    ("task", "config", "reason"),
    [
        ("classifier", {"architectures": ["Qwen3ForCausalLM"]}, "a causal language model cannot serve as a classifier"),
        ("reranker", {"model_type": "bert", "architectures": ["BertForCausalLM"]}, "an encoder that scores by words"),
        ("reranker", {"architectures": ["VoyageQwen3BidirectionalEmbedModel"], "num_labels": 8}, "there is no pooling"),
        ("embedder", {"model_type": "nomic_bert", "num_experts": 8}, "n_embd is missing"),
    ],
)
def test_heads_that_keep_a_model_padded(tmp_path: Path, task: Task, config: dict[str, Any], reason: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3", **SIZES} | config))
    assert reason in str(padded_because(tmp_path, task))


@pytest.mark.parametrize(("mode", "reason"), [("mean", None), ("max", "pooling max of projected tokens")])
def test_a_projection_of_tokens_passes_through_pooling_that_is_linear(
    tmp_path: Path, mode: str, reason: str | None
) -> None:
    decoders.write_voyage_nano(tmp_path)
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": mode}))
    found = padded_because(tmp_path, "embedder")
    assert found is None if reason is None else reason in str(found)


def test_a_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    write_family("bert", tmp_path, labels=None)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors is no safetensors file, or not a whole one"):
        load_flat_model(tmp_path, "embedder")
