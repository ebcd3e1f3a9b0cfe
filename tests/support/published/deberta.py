"""DeBERTa-v2 and -v3: zero-shot classifiers, nli-deberta-v3, mxbai-rerank-v1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.support.published.layout import write_json
from tests.support.published.vocabularies import BERT_NAMES, NO_LIMIT, deberta, write_tokenizer
from tests.support.published.weights import ATTENTION, HEAD, Weights

HIDDEN, INNER, LAYERS, HEADS = 64, 128, 3, 4
POSITIONS, BUCKETS = 512, 256


def _write(folder: Path, seed: int, labels: dict[str, int], dtype: torch.dtype, **more: Any) -> None:
    names = {"bos_token": "[CLS]", "eos_token": "[SEP]", **BERT_NAMES}
    entries = write_tokenizer(
        folder, deberta(), "DebertaV2Tokenizer", do_lower_case=False, model_max_length=NO_LIMIT, split_by_punct=False,
        sp_model_kwargs={}, vocab_type="spm", **names,
    )  # fmt: skip
    config = {
        "architectures": ["DebertaV2ForSequenceClassification"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "id2label": {str(at): label for label, at in labels.items()},
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "label2id": labels,
        "layer_norm_eps": 1e-07,
        "max_position_embeddings": POSITIONS,
        "max_relative_positions": -1,
        "model_type": "deberta-v2",
        "norm_rel_ebd": "layer_norm",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 0,
        "pooler_dropout": 0,
        "pooler_hidden_act": "gelu",
        "pooler_hidden_size": HIDDEN,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "position_buckets": BUCKETS,
        "relative_attention": True,
        "share_att_key": True,
        "type_vocab_size": 0,
        "vocab_size": entries,
        **more,
    }
    write_json(folder / "config.json", config)
    weights = Weights(seed, prefix="deberta.")
    weights.embedding("embeddings.word_embeddings", entries, HIDDEN)
    weights.norm("embeddings.LayerNorm", HIDDEN)
    weights.embedding("encoder.rel_embeddings", 2 * BUCKETS, HIDDEN)
    weights.norm("encoder.LayerNorm", HIDDEN)
    for at in range(LAYERS):
        layer = f"encoder.layer.{at}"
        for name, gain in (("query", ATTENTION), ("key", ATTENTION), ("value", 1.0)):
            weights.linear(f"{layer}.attention.self.{name}_proj", HIDDEN, HIDDEN, gain=gain)
        weights.linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        weights.norm(f"{layer}.attention.output.LayerNorm", HIDDEN)
        weights.linear(f"{layer}.intermediate.dense", INNER, HIDDEN)
        weights.linear(f"{layer}.output.dense", HIDDEN, INNER)
        weights.norm(f"{layer}.output.LayerNorm", HIDDEN)
    weights.prefix = ""
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.linear("classifier", len(labels), HIDDEN, gain=HEAD)
    weights.save(folder, dtype)


def write_deberta_zeroshot(folder: Path) -> None:
    """deberta-v3-base-zeroshot-v2.0: two labels, fp16."""
    _write(folder, 81, {"entailment": 0, "not_entailment": 1}, torch.float16, torch_dtype="float16")


def write_nli_deberta(folder: Path) -> None:
    """nli-deberta-v3-base: three labels, contradiction first."""
    _write(folder, 82, {"contradiction": 0, "entailment": 1, "neutral": 2}, torch.float32)


def write_mxbai_rerank_v1(folder: Path) -> None:
    """mxbai-rerank-base-v1: one label, fp16."""
    _write(folder, 83, {"LABEL_0": 0}, torch.float16, torch_dtype="float16")
