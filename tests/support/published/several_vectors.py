"""Models with another output than one vector: SPLADE, ColBERT (Stanford's, PyLate's, sentence-transformers'),
model2vec."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from tests.support.published.bert import HIDDEN, bert_config, bert_encoder
from tests.support.published.layout import (
    write_dense,
    write_json,
    write_modules,
    write_sentence_transformer,
    write_versions,
)
from tests.support.published.modernbert import _encoder as modernbert_model
from tests.support.published.vocabularies import word_piece, write_bert_tokenizer, write_tokenizer
from tests.support.published.weights import HEAD, Weights

TOKEN_WIDTH = 32


def write_splade(folder: Path) -> None:
    """splade-v3: BERT with its masked-language head, MLMTransformer → SpladePooling."""
    entries = write_bert_tokenizer(folder)
    write_json(folder / "config.json", bert_config(entries, architectures=["BertForMaskedLM"]))
    weights = Weights(121, prefix="bert.")
    bert_encoder(weights, entries)
    weights.prefix = "cls.predictions."
    weights.vector("bias", entries)
    weights.linear("transform.dense", HIDDEN, HIDDEN)
    weights.norm("transform.LayerNorm", HIDDEN)
    weights.save(folder)
    _, pooling = write_modules(folder, ["MLMTransformer", "SpladePooling"])
    config = {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": entries}
    write_json(pooling / "config.json", config)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    write_versions(folder, prompts={}, similarity="dot", model_type="SparseEncoder")


def write_splade_plain(folder: Path) -> None:
    """splade-cocondenser-ensembledistil: a masked-language model without any file of sentence-transformers."""
    write_splade(folder)
    for file in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / file).unlink()


def write_colbert_stanford(folder: Path) -> None:
    """colbertv2.0: BERT and `linear.weight` in one file, `HF_ColBERT`, settings in artifact.metadata."""
    entries = write_bert_tokenizer(folder)
    write_json(folder / "config.json", bert_config(entries, architectures=["HF_ColBERT"]))
    weights = Weights(122, prefix="bert.")
    weights.ids("embeddings.position_ids", 512)
    bert_encoder(weights, entries)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.prefix = ""
    weights.linear("linear", TOKEN_WIDTH, HIDDEN, bias=False, gain=HEAD)
    weights.save(folder)
    settings: dict[str, Any] = {
        "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_token": "[Q]", "doc_token": "[D]",
        "attend_to_mask_tokens": False, "similarity": "cosine", "dim": TOKEN_WIDTH, "doc_maxlen": 180,
        "query_maxlen": 32, "mask_punctuation": True,
    }  # fmt: skip
    write_json(folder / "artifact.metadata", settings)


def write_colbert_pylate(folder: Path) -> None:
    """GTE-ModernColBERT-v1: PyLate's layout, Transformer → pylate Dense, prefixes and lengths in one file."""
    weights = modernbert_model(folder, 123)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    write_json(folder / "modules.json", modules)
    write_dense(folder / "1_Dense", weights, (HIDDEN, TOKEN_WIDTH), bias=False)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 299, "do_lower_case": False})
    write_versions(
        folder, prompts={}, similarity="MaxSim", query_prefix="[Q] ", document_prefix="[D] ", query_length=32,
        document_length=300, attend_to_expansion_tokens=False, skiplist_words=list(string.punctuation),
        do_query_expansion=True, model_type="ColBERT",
    )  # fmt: skip


def write_colbert_modules(folder: Path) -> None:
    """A ColBERT in sentence-transformers 6's own layout: Transformer → Dense → MultiVectorMask → Normalize."""
    weights = modernbert_model(folder, 124)
    _, dense, mask, normalize = write_modules(folder, ["Transformer", "Dense", "MultiVectorMask", "Normalize"], era=6)
    tokens = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    write_dense(dense, weights, (HIDDEN, TOKEN_WIDTH), bias=False, **tokens)
    punctuation = {"skiplist_words": list(string.punctuation), "skiplist_tasks": ["document"]}
    write_json(mask / "config.json", {**punctuation, "keep_only_token_ids": None})
    write_json(normalize / "config.json", tokens)
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
            "document_length": 300,
            "query_expansion": {"strategy": "fixed", "attend": False, "token": None, "length": 32},
        },
    )
    prompts = {"query": "query: ", "document": "document: "}
    write_versions(folder, prompts=prompts, similarity="maxsim", model_type="MultiVectorEncoder")


def write_model2vec(folder: Path) -> None:
    """potion-base-8M: no transformer; a vector for each token and their mean."""
    tokenizer = word_piece()
    tokenizer.post_processor = None
    entries = write_tokenizer(folder, tokenizer, "BertTokenizer", do_lower_case=True, model_max_length=512)
    config = {
        "model_type": "model2vec", "architectures": ["StaticModel"], "tokenizer_name": "baai/bge-base-en-v1.5",
        "apply_pca": 32, "apply_zipf": True, "hidden_dim": 32, "seq_length": 1000000, "normalize": True,
    }  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(125)
    weights.matrix("embeddings", entries, 32)
    weights.save(folder)
    modules = [
        {"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
        {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    write_json(folder / "modules.json", modules)
    write_versions(folder)


def write_gliclass(folder: Path) -> None:
    """gliclass-base-v1.0: labels and text in one sequence, by a package of its own; a nested encoder configuration."""
    entries = write_bert_tokenizer(folder)
    config = {
        "architectures": ["GLiClassModel"], "model_type": "GLiClass", "architecture_type": "uni-encoder",
        "class_token_index": entries, "text_token_index": entries + 1, "encoder_config": bert_config(entries),
        "encoder_model_name": "microsoft/deberta-v3-base", "hidden_size": HIDDEN, "pooling_strategy": "first",
        "prompt_first": False, "scorer_type": "simple", "max_num_classes": 25, "vocab_size": entries + 2,
    }  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(126, prefix="model.encoder_model.")
    bert_encoder(weights, entries + 2)
    weights.prefix = "model."
    weights.linear("text_projector.linear_1", HIDDEN, HIDDEN)
    weights.linear("classes_projector.linear_1", HIDDEN, HIDDEN)
    weights.vector("logit_scale", 1)
    weights.save(folder)
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls")
    for file in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (folder / file).unlink()
