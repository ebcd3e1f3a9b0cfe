"""`new` and `gte`: gte-multilingual-base and gte-en-v1.5 by remote code, the native layout, arctic-embed-m-v2.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.support.published.layout import (
    write_dense,
    write_json,
    write_modules,
    write_pooling,
    write_sentence_transformer,
)
from tests.support.published.vocabularies import write_bert_tokenizer, write_xlm_r_tokenizer
from tests.support.published.weights import ATTENTION, HEAD, Weights

HIDDEN, INNER, LAYERS, HEADS = 64, 96, 3, 4
_REMOTE = "Alibaba-NLP/new-impl--"


def _config(entries: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["NewModel"],
        "attention_probs_dropout_prob": 0.0,
        "auto_map": {
            "AutoConfig": f"{_REMOTE}configuration.NewConfig",
            "AutoModel": f"{_REMOTE}modeling.NewModel",
            "AutoModelForMaskedLM": f"{_REMOTE}modeling.NewForMaskedLM",
            "AutoModelForSequenceClassification": f"{_REMOTE}modeling.NewForSequenceClassification",
        },
        "classifier_dropout": 0.0,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-12,
        "layer_norm_type": "layer_norm",
        "logn_attention_clip1": False,
        "logn_attention_scale": False,
        "max_position_embeddings": 8192,
        "model_type": "new",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pack_qkv": True,
        "pad_token_id": 1,
        "position_embedding_type": "rope",
        "rope_scaling": {"factor": 8.0, "type": "ntk"},
        "rope_theta": 20000,
        "torch_dtype": "float16",
        "transformers_version": "4.39.1",
        "type_vocab_size": 1,
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
        "vocab_size": entries,
        **more,
    }


def _encoder(weights: Weights, entries: int, types: int) -> None:
    weights.embedding("embeddings.word_embeddings", entries, HIDDEN)
    if types:
        weights.embedding("embeddings.token_type_embeddings", types, HIDDEN)
    weights.norm("embeddings.LayerNorm", HIDDEN)
    for at in range(LAYERS):
        layer = f"encoder.layer.{at}"
        weights.linear(f"{layer}.attention.qkv_proj", 3 * HIDDEN, HIDDEN, gain=ATTENTION)
        weights.linear(f"{layer}.attention.o_proj", HIDDEN, HIDDEN)
        weights.norm(f"{layer}.attn_ln", HIDDEN)
        weights.linear(f"{layer}.mlp.up_gate_proj", 2 * INNER, HIDDEN, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.down_proj", HIDDEN, INNER)
        weights.norm(f"{layer}.mlp_ln", HIDDEN)


def write_gte_multilingual(folder: Path) -> None:
    """gte-multilingual-base: prefix `new.`, NTK scaling, an extra classifier for sparse weights, fp16."""
    entries = write_xlm_r_tokenizer(folder, limit=8192)
    write_json(folder / "config.json", _config(entries, architectures=["NewForTokenClassification"]))
    weights = Weights(51, prefix="new.")
    _encoder(weights, entries, types=1)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.prefix = ""
    weights.linear("classifier", 1, HIDDEN, gain=HEAD)
    weights.save(folder, torch.float16)
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", max_seq_length=8192)


def write_gte_en_v15(folder: Path) -> None:
    """gte-base-en-v1.5: BERT's pieces, no token types, rope_theta 500,000 with NTK factor 2."""
    entries = write_bert_tokenizer(folder, limit=32768)
    config = _config(
        entries, pad_token_id=0, type_vocab_size=0, rope_theta=500000, rope_scaling={"factor": 2.0, "type": "ntk"},
        torch_dtype="float32",
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(52)
    _encoder(weights, entries, types=0)
    weights.save(folder)
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", normalize=False, max_seq_length=8192)


def write_stella(folder: Path) -> None:
    """stella_en_400M_v5: `new` with a Dense module, and prompts for two tasks."""
    entries = write_bert_tokenizer(folder, limit=512)
    config = _config(
        entries, pad_token_id=0, type_vocab_size=2, rope_theta=160000, rope_scaling=None, torch_dtype="float32"
    )
    write_json(folder / "config.json", config)
    weights = Weights(53, prefix="new.")
    _encoder(weights, entries, types=2)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder)
    wide = 2 * HIDDEN
    query = "Instruct: Given a web search query, retrieve relevant passages that answer the query.\nQuery: "
    prompts = {"s2p_query": query, "s2s_query": "Instruct: Retrieve semantically similar text.\nQuery: "}
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", max_seq_length=512, prompts=prompts)
    _, pooling, dense = write_modules(folder, ["Transformer", "Pooling", "Dense"])
    write_pooling(pooling, "mean", HIDDEN)
    write_dense(dense, weights, (HIDDEN, wide), bias=True)


def write_native_gte(folder: Path) -> None:
    """gte-multilingual-base as transformers reads it natively: model_type `gte`, rope_parameters, the same tensors."""
    entries = write_xlm_r_tokenizer(folder, limit=8192)
    config = _config(
        entries, model_type="gte", architectures=["GteModel"],
        rope_parameters={"rope_type": "linear", "factor": 8.0 ** (2 * HEADS / HIDDEN), "rope_theta": 160000.0},
    )  # fmt: skip
    for remote in ("auto_map", "rope_scaling", "rope_theta", "pack_qkv", "unpad_inputs", "layer_norm_type",
                   "logn_attention_clip1", "logn_attention_scale", "use_memory_efficient_attention",
                   "position_embedding_type"):  # fmt: skip
        del config[remote]
    write_json(folder / "config.json", config)
    weights = Weights(54, prefix="new.")
    _encoder(weights, entries, types=1)
    weights.save(folder, torch.float16)
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", max_seq_length=8192)


def write_arctic_m_v2(folder: Path) -> None:
    """snowflake-arctic-embed-m-v2.0: model_type `gte` with the fields of `new`, NTK scaling among them."""
    entries = write_xlm_r_tokenizer(folder, limit=32768)
    local = {
        "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
        "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
    }
    config = _config(
        entries, model_type="gte", architectures=["GteModel"], auto_map=local, rope_theta=160000, rope_scaling=None,
        torch_dtype="float32", matryoshka_dimensions=[16],
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(55)
    _encoder(weights, entries, types=1)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder)
    prompts = {"query": "query: "}
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", max_seq_length=8192, prompts=prompts)


def write_gte_with_ntk(folder: Path) -> None:
    """A model_type `gte` whose config.json keeps the remote code's `rope_scaling: {type: ntk}`."""
    write_gte_multilingual(folder)
    entries = write_xlm_r_tokenizer(folder, limit=8192)
    write_json(folder / "config.json", _config(entries, model_type="gte"))
