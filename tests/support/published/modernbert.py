"""ModernBERT: gte-modernbert, modernbert-embed; gte-reranker-modernbert, ettin-reranker; zero-shot."""

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
    write_versions,
)
from tests.support.published.vocabularies import write_modernbert_tokenizer
from tests.support.published.weights import ATTENTION, HEAD, Weights

HIDDEN, INNER, LAYERS, HEADS = 64, 96, 4, 4


def _config(entries: int, **more: Any) -> dict[str, Any]:
    unknown = entries - 5
    return {
        "architectures": ["ModernBertModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": unknown + 1,
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "classifier_dropout": 0.0,
        "classifier_pooling": "mean",
        "cls_token_id": unknown + 1,
        "decoder_bias": True,
        "deterministic_flash_attn": False,
        "embedding_dropout": 0.0,
        "eos_token_id": unknown + 2,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "gradient_checkpointing": False,
        "hidden_activation": "gelu",
        "hidden_size": HIDDEN,
        "initializer_cutoff_factor": 2.0,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-05,
        "local_attention": 128,
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "model_type": "modernbert",
        "norm_bias": False,
        "norm_eps": 1e-05,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": unknown + 3,
        "position_embedding_type": "absolute",
        "reference_compile": False,
        "repad_logits_with_grad": False,
        "sep_token_id": unknown + 2,
        "sparse_pred_ignore_index": -100,
        "sparse_prediction": False,
        "torch_dtype": "float32",
        "transformers_version": "4.48.0",
        "vocab_size": entries,
        **more,
    }


def modernbert_encoder(weights: Weights, entries: int) -> None:
    """Tensors below the prefix: none for an encoder alone, `model.` with a head."""
    weights.embedding("embeddings.tok_embeddings", entries, HIDDEN)
    weights.norm("embeddings.norm", HIDDEN, bias=False)
    for at in range(LAYERS):
        layer = f"layers.{at}"
        if at > 0:  # layer 0 reads the norm of the embeddings
            weights.norm(f"{layer}.attn_norm", HIDDEN, bias=False)
        weights.linear(f"{layer}.attn.Wqkv", 3 * HIDDEN, HIDDEN, bias=False, gain=ATTENTION)
        weights.linear(f"{layer}.attn.Wo", HIDDEN, HIDDEN, bias=False)
        weights.norm(f"{layer}.mlp_norm", HIDDEN, bias=False)
        weights.linear(f"{layer}.mlp.Wi", 2 * INNER, HIDDEN, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.Wo", HIDDEN, INNER, bias=False)
    weights.norm("final_norm", HIDDEN, bias=False)


def _encoder(folder: Path, seed: int, dtype: torch.dtype = torch.float32, **more: Any) -> Weights:
    entries = write_modernbert_tokenizer(folder)
    write_json(folder / "config.json", _config(entries, **more))
    weights = Weights(seed)
    modernbert_encoder(weights, entries)
    weights.save(folder, dtype)
    return weights


def write_gte_modernbert(folder: Path) -> None:
    """gte-modernbert-base: first token, not normalised by a module, fp16."""
    _encoder(folder, 21, torch.float16, torch_dtype="float16")
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", normalize=False, max_seq_length=8192)


def write_modernbert_embed(folder: Path) -> None:
    """modernbert-embed-base: mean, Normalize; nomic's prompts, named query and document."""
    _encoder(folder, 22)
    prompts = {"query": "search_query: ", "document": "search_document: "}
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", max_seq_length=8192, prompts=prompts)


def _classifier(folder: Path, seed: int, labels: dict[str, int], **more: Any) -> None:
    entries = write_modernbert_tokenizer(folder)
    names = {"id2label": {str(at): label for label, at in labels.items()}, "label2id": labels}
    architecture = {"architectures": ["ModernBertForSequenceClassification"]}
    write_json(folder / "config.json", _config(entries, **architecture, **names, **more))
    weights = Weights(seed, prefix="model.")
    modernbert_encoder(weights, entries)
    weights.prefix = ""
    weights.linear("head.dense", HIDDEN, HIDDEN, bias=False)
    weights.norm("head.norm", HIDDEN, bias=False)
    weights.linear("classifier", len(labels), HIDDEN, gain=HEAD)
    weights.save(folder)


def write_gte_reranker_modernbert(folder: Path) -> None:
    """gte-reranker-modernbert-base: one label, the head reads the mean."""
    activation = {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "4.0.1"}}
    _classifier(folder, 23, {"LABEL_0": 0}, classifier_pooling="mean", **activation)


def write_granite_reranker_r2(folder: Path) -> None:
    """granite-embedding-reranker-english-r2: one label, the head reads the first token."""
    _classifier(folder, 24, {"LABEL_0": 0}, classifier_pooling="cls")


def write_modernbert_zeroshot(folder: Path) -> None:
    """ModernBERT-large-zeroshot-v2.0: two NLI labels."""
    _classifier(folder, 25, {"entailment": 0, "not_entailment": 1}, problem_type="single_label_classification")


def write_ettin_reranker(folder: Path) -> None:
    """ettin-reranker-17m-v1: the head is modules, Transformer → Pooling → Dense → LayerNorm → Dense."""
    weights = _encoder(folder, 26, classifier_pooling="cls")
    _, pooling, dense, norm, scores = write_modules(
        folder, ["Transformer", "Pooling", "Dense", "LayerNorm", "Dense"], era=6
    )
    write_pooling(pooling, "cls", HIDDEN, era=6)
    write_dense(
        dense, weights, (HIDDEN, HIDDEN), bias=False, activation="torch.nn.modules.activation.GELU",
        module_input_name="sentence_embedding", module_output_name="sentence_embedding",
    )  # fmt: skip
    write_json(norm / "config.json", {"dimension": HIDDEN})
    own = weights.another_file()
    own.norm("norm", HIDDEN)
    own.save(norm)
    write_dense(
        scores, weights, (HIDDEN, 1), bias=True,
        module_input_name="sentence_embedding", module_output_name="scores",
    )  # fmt: skip
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
        },
    )
    write_versions(
        folder, prompts={}, similarity=None, model_type="CrossEncoder",
        activation_fn="torch.nn.modules.linear.Identity",
    )  # fmt: skip
