"""A miniature base encoder and a shipped model made from it, with the file names of the real ones."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from trivet.starter.assemble import BASE_FILES, base_tensors
from trivet.starter.base import sha256_of
from trivet.starter.card import BaseReference, StarterCard
from trivet.starter.delta import encode_delta

HIDDEN = 8


def write_base(directory: Path) -> Path:
    """Write a folder like the one that the package with the base weights installs."""
    rng = np.random.default_rng(0)
    directory.mkdir(parents=True)
    save_file(
        {
            "embeddings.word_embeddings.weight": rng.normal(size=(11, HIDDEN)).astype(np.float32),
            "embeddings.position_ids": np.arange(4)[None, :],
            "encoder.layer.0.output.dense.weight": rng.normal(size=(HIDDEN, HIDDEN)).astype(np.float32),
            "encoder.layer.0.output.dense.bias": rng.normal(size=HIDDEN).astype(np.float32),
        },
        directory / "model.safetensors",
    )
    config = {"_name_or_path": "someone/else", "architectures": ["BertModel"], "hidden_size": HIDDEN}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "truncation": {"max_length": 128}, "padding": {"strategy": {"Fixed": 128}}})
    )
    (directory / "vocab.txt").write_text("[PAD]\n")
    (directory / "special_tokens_map.json").write_text("{}")
    return directory


def write_shipped(directory: Path, base: Path, *, move: float = 0.01) -> Path:
    """Write a folder like `trivet/starter/reranker`, of `base` with every weight changed by about `move`."""
    rng = np.random.default_rng(1)
    original = base_tensors(base)
    trained = {
        name: value + rng.normal(scale=move, size=value.shape).astype(np.float32)
        for name, value in original.items()
        if "word_embeddings" not in name
    }
    trained["classifier.weight"] = rng.normal(size=(1, HIDDEN)).astype(np.float32)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(encode_delta(original, trained), directory / "delta.safetensors")
    card = StarterCard(
        task="reranker",
        version="test",
        base=BaseReference(
            distribution="tiny-base", version="0", sha256={name: sha256_of(base / name) for name in BASE_FILES}
        ),
        delta_sha256=sha256_of(directory / "delta.safetensors"),
        id2label={0: "relevance"},
    )
    (directory / "model.json").write_text(card.model_dump_json())
    return directory


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_base(tmp_path / "base")


@pytest.fixture
def ship(tmp_path: Path, base: Path) -> Callable[..., Path]:
    """Makes another shipped model: `ship("name", move=0.02)`."""

    def make(name: str, *, move: float = 0.01) -> Path:
        return write_shipped(tmp_path / name, base, move=move)

    return make


@pytest.fixture
def shipped(ship: Callable[..., Path]) -> Path:
    return ship("shipped")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
