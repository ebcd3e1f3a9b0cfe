"""XLM-RoBERTa: multilingual-e5-large-instruct, bge-m3, arctic-l-v2; bge-reranker; bge-m3 zero-shot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.support.published.bert import HEADS, HIDDEN, INNER, LAYERS, bert_encoder
from tests.support.published.layout import write_json, write_pooling, write_sentence_transformer, write_versions
from tests.support.published.vocabularies import write_xlm_r_tokenizer
from tests.support.published.weights import HEAD, Weights

SHORT, LONG = 514, 8194
"""Positions: 512 or 8,192 tokens, and two that padding takes."""


def _config(entries: int, positions: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["XLMRobertaModel"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "classifier_dropout": None,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": positions,
        "model_type": "xlm-roberta",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "output_past": True,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": entries,
        **more,
    }


def write_e5_large_instruct(folder: Path) -> None:
    """multilingual-e5-large-instruct: fp16; "Instruct: … Query: " is in its card alone, in no file."""
    entries = write_xlm_r_tokenizer(folder)
    write_json(folder / "config.json", _config(entries, SHORT, torch_dtype="float16"))
    weights = Weights(11)
    bert_encoder(weights, entries, types=1, positions=SHORT)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder, torch.float16)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean")


def write_arctic_l_v2(folder: Path) -> None:
    """snowflake-arctic-embed-l-v2.0: 8,192 tokens, first token, a prompt for queries."""
    entries = write_xlm_r_tokenizer(folder, limit=8192)
    write_json(folder / "config.json", _config(entries, LONG))
    weights = Weights(12)
    bert_encoder(weights, entries, types=1, positions=LONG)
    weights.save(folder)
    prompts = {"query": "query: "}
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", max_seq_length=8192, prompts=prompts)


def write_bge_m3(folder: Path) -> None:
    """bge-m3: pickles alone, and two heads beside them for sparse weights and token vectors."""
    entries = write_xlm_r_tokenizer(folder, limit=8192)
    write_json(folder / "config.json", _config(entries, LONG))
    weights = Weights(13)
    bert_encoder(weights, entries, types=1, positions=LONG)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save_pickle(folder / "pytorch_model.bin")
    for file, outputs in (("sparse_linear.pt", 1), ("colbert_linear.pt", HIDDEN)):
        head = weights.another_file()
        head.matrix("weight", outputs, HIDDEN, HEAD)
        head.vector("bias", outputs)
        head.save_pickle(folder / file)
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", max_seq_length=8192)


def write_m3_zeroshot(folder: Path) -> None:
    """bge-m3-zeroshot-v2.0: two NLI labels."""
    labels = {"entailment": 0, "not_entailment": 1}
    _write_classifier(folder, 14, LONG, labels, architectures=["XLMRobertaForSequenceClassification"])


def write_bge_reranker(folder: Path) -> None:
    """bge-reranker-base: one label."""
    _write_classifier(folder, 15, SHORT, {"LABEL_0": 0}, architectures=["XLMRobertaForSequenceClassification"])


def write_bge_reranker_m3(folder: Path) -> None:
    """bge-reranker-v2-m3: one label, 8,192 tokens."""
    _write_classifier(folder, 16, LONG, {"LABEL_0": 0}, architectures=["XLMRobertaForSequenceClassification"])


def _write_classifier(folder: Path, seed: int, positions: int, labels: dict[str, int], **more: Any) -> None:
    entries = write_xlm_r_tokenizer(folder, limit=positions - 2)
    names = {"id2label": {str(at): label for label, at in labels.items()}, "label2id": labels}
    write_json(folder / "config.json", _config(entries, positions, **names, **more))
    weights = Weights(seed, prefix="roberta.")
    bert_encoder(weights, entries, types=1, positions=positions)
    weights.prefix = ""
    weights.linear("classifier.dense", HIDDEN, HIDDEN, gain=1.0)
    weights.linear("classifier.out_proj", len(labels), HIDDEN, gain=HEAD)
    weights.save(folder)


# ── settings that are easily missed ─────────────────────────────────────────────────────────────────


def write_limit_of_its_own_name(folder: Path) -> None:
    """`sentence_xlm-roberta_config.json` instead of `sentence_bert_config.json`: max_seq_length 128."""
    entries = write_xlm_r_tokenizer(folder)
    write_json(folder / "config.json", _config(entries, SHORT))
    weights = Weights(17)
    bert_encoder(weights, entries, types=1, positions=SHORT)
    weights.save(folder)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", normalize=False, max_seq_length=None)
    write_json(folder / "sentence_xlm-roberta_config.json", {"max_seq_length": 128})
    write_pooling(folder / "1_Pooling", "mean", HIDDEN)
    write_versions(folder)
