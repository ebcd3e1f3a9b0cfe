"""jina-embeddings-v2 (English and code), -v5 and jina-reranker-v2 by remote code; -v3-hf, which transformers has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.support.published.eurobert import write_eurobert
from tests.support.published.layout import write_json, write_sentence_transformer
from tests.support.published.vocabularies import (
    ROBERTA_NAMES,
    roberta,
    write_bert_tokenizer,
    write_tokenizer,
    write_xlm_r_tokenizer,
)
from tests.support.published.weights import ATTENTION, Weights

HIDDEN, INNER, LAYERS, HEADS = 64, 96, 3, 4


def _config(entries: int, implementation: str, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["JinaBertForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "attn_implementation": None,
        "auto_map": {
            "AutoConfig": f"jinaai/{implementation}--configuration_bert.JinaBertConfig",
            "AutoModel": f"jinaai/{implementation}--modeling_bert.JinaBertModel",
            "AutoModelForMaskedLM": f"jinaai/{implementation}--modeling_bert.JinaBertForMaskedLM",
        },
        "classifier_dropout": None,
        "emb_pooler": "mean",
        "feed_forward_type": "geglu",
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 8192,
        "model_max_length": 8192,
        "model_type": "bert",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 0,
        "position_embedding_type": "alibi",
        "torch_dtype": "float16",
        "transformers_version": "4.26.0",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": entries,
        **more,
    }


def _embeddings(weights: Weights, entries: int) -> None:
    weights.embedding("embeddings.word_embeddings", entries, HIDDEN)
    weights.embedding("embeddings.token_type_embeddings", 2, HIDDEN)
    weights.norm("embeddings.LayerNorm", HIDDEN)


def _attention(weights: Weights, layer: str) -> None:
    for name, gain in (("query", ATTENTION), ("key", ATTENTION), ("value", 1.0)):
        weights.linear(f"{layer}.attention.self.{name}", HIDDEN, HIDDEN, gain=gain)
    weights.linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
    weights.norm(f"{layer}.attention.output.LayerNorm", HIDDEN)


def write_jina_v2(folder: Path) -> None:
    """jina-embeddings-v2-base-en: BERT with ALiBi and a gated feed-forward, first half gated; mean."""
    entries = write_bert_tokenizer(folder, limit=8192)
    write_json(folder / "config.json", _config(entries, "jina-bert-implementation"))
    weights = Weights(61)
    _embeddings(weights, entries)
    for at in range(LAYERS):
        layer = f"encoder.layer.{at}"
        _attention(weights, layer)
        weights.linear(f"{layer}.mlp.gated_layers", 2 * INNER, HIDDEN, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.wo", HIDDEN, INNER)
        weights.norm(f"{layer}.mlp.layernorm", HIDDEN)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder, torch.float16)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", normalize=False, max_seq_length=8192)


def write_jina_v2_code(folder: Path) -> None:
    """jina-embeddings-v2-base-code: RoBERTa's pieces, normed queries and keys, a norm more, second half gated."""
    tokenizer = roberta()
    entries = write_tokenizer(folder, tokenizer, "RobertaTokenizer", model_max_length=8192, **ROBERTA_NAMES)
    write_json(folder / "config.json", _config(entries, "jina-bert-v2-qk-post-norm", pad_token_id=1))
    weights = Weights(62)
    _embeddings(weights, entries)
    for at in range(LAYERS):
        layer = f"encoder.layer.{at}"
        _attention(weights, layer)
        for name in ("q", "k"):
            weights.norm(f"{layer}.attention.self.layer_norm_{name}", HIDDEN)
        weights.norm(f"{layer}.layer_norm_1", HIDDEN)
        weights.linear(f"{layer}.mlp.up_gated_layer", 2 * INNER, HIDDEN, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.down_layer", HIDDEN, INNER)
        weights.norm(f"{layer}.layer_norm_2", HIDDEN)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder, torch.float16)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", normalize=False, max_seq_length=8192)


def write_jina_v3_hf(folder: Path) -> None:
    """jina-embeddings-v3-hf: XLM-R with rotary positions, base 20,000, fused qkv under the names of flash attention."""
    entries = write_xlm_r_tokenizer(folder, limit=8194)
    config = {
        "architectures": ["JinaEmbeddingsV3Model"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "classifier_dropout": None,
        "dtype": "bfloat16",
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 8194,
        "model_type": "jina_embeddings_v3",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 1,
        "rope_parameters": {"rope_theta": 20000.0, "rope_type": "default"},
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": entries,
    }
    write_json(folder / "config.json", config)
    weights = Weights(63)
    weights.embedding("embeddings.word_embeddings", entries, HIDDEN)
    weights.embedding("embeddings.token_type_embeddings", 1, HIDDEN)
    weights.norm("embeddings.LayerNorm", HIDDEN)
    for at in range(LAYERS):
        layer = f"layers.{at}"
        for name, gain in (("q", ATTENTION), ("k", ATTENTION), ("v", 1.0), ("o", 1.0)):
            weights.linear(f"{layer}.self_attn.{name}_proj", HIDDEN, HIDDEN, gain=gain)
        weights.norm(f"{layer}.post_attention_layernorm", HIDDEN)
        weights.linear(f"{layer}.mlp.fc1", INNER, HIDDEN, gain=1.0)
        weights.linear(f"{layer}.mlp.fc2", HIDDEN, INNER)
        weights.norm(f"{layer}.post_mlp_layernorm", HIDDEN)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder, torch.bfloat16)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", max_seq_length=8194)


def write_jina_v5(folder: Path) -> None:
    """jina-embeddings-v5-text-nano: EuroBERT under a model_type of its own code, LoRA adapters in folders."""
    write_eurobert(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text()) | {
        "architectures": ["JinaEmbeddingsV5Model"],
        "auto_map": {
            "AutoConfig": "configuration_jina_embeddings_v5.JinaEmbeddingsV5Config",
            "AutoModel": "modeling_jina_embeddings_v5.JinaEmbeddingsV5Model",
        },
        "is_decoder": False,
        "model_type": "jina_embeddings_v5",
        "task_names": ["retrieval", "text-matching", "clustering", "classification"],
    }
    write_json(file, config)
    for task in config["task_names"]:
        adapter = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
        write_json(folder / "adapters" / task / "adapter_config.json", adapter)


def write_jina_reranker_v2(folder: Path) -> None:
    """jina-reranker-v2-base-multilingual: XLM-R with the tensor names of flash attention's implementation."""
    entries = write_xlm_r_tokenizer(folder, limit=1024)
    positions = 1026
    code = "modeling_xlm_roberta.XLMRobertaFor"
    config = {
        "architectures": ["XLMRobertaForSequenceClassification"],
        "attention_probs_dropout_prob": 0.1,
        "auto_map": {
            "AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig",
            "AutoModel": "modeling_xlm_roberta.XLMRobertaModel",
            "AutoModelForSequenceClassification": f"{code}SequenceClassification",
        },
        "bos_token_id": 0,
        "classifier_dropout": None,
        "emb_pooler": None,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-05,
        "load_trained_adapters": False,
        "max_position_embeddings": positions,
        "model_type": "xlm-roberta",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "bfloat16",
        "type_vocab_size": 1,
        "use_cache": False,
        "use_flash_attn": True,
        "vocab_size": entries,
    }
    write_json(folder / "config.json", config)
    weights = Weights(64, prefix="roberta.")
    weights.embedding("embeddings.word_embeddings", entries, HIDDEN)
    weights.embedding("embeddings.position_embeddings", positions, HIDDEN)
    weights.embedding("embeddings.token_type_embeddings", 1, HIDDEN)
    weights.norm("emb_ln", HIDDEN)
    for at in range(LAYERS):
        layer = f"encoder.layers.{at}"
        weights.linear(f"{layer}.mixer.Wqkv", 3 * HIDDEN, HIDDEN, gain=ATTENTION)
        weights.linear(f"{layer}.mixer.out_proj", HIDDEN, HIDDEN)
        weights.norm(f"{layer}.norm1", HIDDEN)
        weights.linear(f"{layer}.mlp.fc1", INNER, HIDDEN, gain=1.0)
        weights.linear(f"{layer}.mlp.fc2", HIDDEN, INNER)
        weights.norm(f"{layer}.norm2", HIDDEN)
    weights.prefix = ""
    weights.linear("classifier.dense", HIDDEN, HIDDEN)
    weights.linear("classifier.out_proj", 1, HIDDEN)
    weights.save(folder, torch.bfloat16)
