"""BERT and ELECTRA: MiniLM, bge, mxbai-embed, arctic, multilingual-e5-small; ms-marco-MiniLM, ms-marco-electra."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.support.published.layout import (
    write_json,
    write_modules,
    write_pooling,
    write_sentence_transformer,
    write_versions,
)
from tests.support.published.vocabularies import write_bert_tokenizer, write_xlm_r_tokenizer
from tests.support.published.weights import ATTENTION, HEAD, Weights

HIDDEN, INNER, LAYERS, HEADS, POSITIONS = 64, 128, 3, 4, 512
QUERY = "Represent this sentence for searching relevant passages: "
E5 = {"query": "query: ", "passage": "passage: "}


def bert_config(entries: int, **more: Any) -> dict[str, Any]:
    """`config.json` of BERT's kind."""
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "classifier_dropout": None,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": POSITIONS,
        "model_type": "bert",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "transformers_version": "4.8.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": entries,
        **more,
    }


def bert_encoder(weights: Weights, entries: int, *, types: int = 2, positions: int = POSITIONS) -> None:
    """Tensors of BERT's and XLM-RoBERTa's encoder, below the prefix that the model has."""
    weights.embedding("embeddings.word_embeddings", entries, HIDDEN)
    weights.embedding("embeddings.position_embeddings", positions, HIDDEN)
    weights.embedding("embeddings.token_type_embeddings", types, HIDDEN)
    weights.norm("embeddings.LayerNorm", HIDDEN)
    for at in range(LAYERS):
        bert_layer(weights, f"encoder.layer.{at}")


def bert_layer(weights: Weights, layer: str) -> None:
    """One layer; post-norm."""
    for name, gain in (("query", ATTENTION), ("key", ATTENTION), ("value", 1.0)):
        weights.linear(f"{layer}.attention.self.{name}", HIDDEN, HIDDEN, gain=gain)
    weights.linear(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
    weights.norm(f"{layer}.attention.output.LayerNorm", HIDDEN)
    weights.linear(f"{layer}.intermediate.dense", INNER, HIDDEN)
    weights.linear(f"{layer}.output.dense", HIDDEN, INNER)
    weights.norm(f"{layer}.output.LayerNorm", HIDDEN)


def _embedder(folder: Path, seed: int, *, dtype: torch.dtype = torch.float32, pooler: bool = True, **more: Any) -> None:
    entries = write_bert_tokenizer(folder)
    write_json(folder / "config.json", bert_config(entries, **more))
    weights = Weights(seed)
    weights.ids("embeddings.position_ids", POSITIONS)
    bert_encoder(weights, entries)
    if pooler:
        weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder, dtype)


def write_minilm(folder: Path) -> None:
    """all-MiniLM-L6-v2: mean, Normalize, 256 of 512 positions; truncation to 128 is baked into tokenizer.json."""
    _embedder(folder, 1)
    write_bert_tokenizer(folder, cut_at=128)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", max_seq_length=256)


def write_saved_by_version_6(folder: Path) -> None:
    """all-MiniLM-L6-v2 fine-tuned and saved by sentence-transformers 6: other class paths, the limit in
    tokenizer_config.json alone, a name for the pooling, a configuration for Normalize."""
    _embedder(folder, 10)
    write_bert_tokenizer(folder, limit=256)
    _, pooling, normalize = write_modules(folder, ["Transformer", "Pooling", "Normalize"], era=6)
    write_pooling(pooling, "mean", HIDDEN, era=6)
    names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
    write_json(normalize / "config.json", names)
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
        },
    )
    write_versions(
        folder,
        prompts={"query": "ask: ", "document": "read: "},
        default_prompt_name="document",
        model_type="SentenceTransformer",
    )


def write_bge_en(folder: Path) -> None:
    """bge-small-en-v1.5: first token, Normalize; do_lower_case over a tokenizer that lower-cases anyway."""
    _embedder(folder, 2, id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", do_lower_case=True)


def write_mxbai_embed(folder: Path) -> None:
    """mxbai-embed-large-v1: first token, not normalised, fp16, an empty prompt for passages."""
    _embedder(folder, 3, dtype=torch.float16, torch_dtype="float16", use_cache=False)
    prompts = {"query": QUERY, "passage": ""}
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", normalize=False, prompts=prompts)


def write_arctic_s(folder: Path) -> None:
    """snowflake-arctic-embed-s: first token, Normalize, a prompt for queries alone, no pooler."""
    _embedder(folder, 4, pooler=False, torch_dtype="float32")
    write_sentence_transformer(folder, width=HIDDEN, pooling="cls", prompts={"query": QUERY})


def write_e5_small(folder: Path) -> None:
    """multilingual-e5-small: BERT with XLM-R's tokenizer; config.json says that 0 pads, the tokenizer says 1."""
    entries = write_xlm_r_tokenizer(folder)
    write_json(folder / "config.json", bert_config(entries, tokenizer_class="XLMRobertaTokenizer"))
    weights = Weights(5)
    weights.ids("embeddings.position_ids", POSITIONS)
    bert_encoder(weights, entries)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean")


def write_ms_marco_minilm(folder: Path, *, scale: float = 1.0) -> None:
    """ms-marco-MiniLM-L6-v2: one label; a cross-encoder's activation is named in config.json.

    Args:
        folder: where.
        scale: of the last layer. With -30 all logits are about 17 to 32, where the logistic function is 1 in fp32.
    """
    entries = write_bert_tokenizer(folder)
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    activation = {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}
    architecture = {"architectures": ["BertForSequenceClassification"]}
    write_json(folder / "config.json", bert_config(entries, **architecture, **labels, **activation))
    weights = Weights(6, prefix="bert.")
    weights.ids("embeddings.position_ids", POSITIONS)
    bert_encoder(weights, entries)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.prefix = ""
    weights.linear("classifier", 1, HIDDEN, gain=HEAD * scale)
    weights.save(folder)


def write_two_labels(folder: Path) -> None:
    """A relevance model trained with two classes and published with transformers' default names for them."""
    entries = write_bert_tokenizer(folder)
    # transformers leaves two default labels out of the file: nothing in config.json says that there are two.
    write_json(folder / "config.json", bert_config(entries, architectures=["BertForSequenceClassification"]))
    weights = Weights(7, prefix="bert.")
    bert_encoder(weights, entries)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.prefix = ""
    weights.linear("classifier", 2, HIDDEN, gain=HEAD)
    weights.save(folder)


def write_electra(folder: Path) -> None:
    """ms-marco-electra-base: embeddings of another width than the layers, a head of two layers."""
    narrow = HIDDEN // 2
    entries = write_bert_tokenizer(folder)
    config = bert_config(
        entries, architectures=["ElectraForSequenceClassification"], model_type="electra", embedding_size=narrow,
        summary_activation="gelu", summary_last_dropout=0.1, summary_type="first", summary_use_proj=True,
        id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0},
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(8, prefix="electra.")
    weights.embedding("embeddings.word_embeddings", entries, narrow)
    weights.embedding("embeddings.position_embeddings", POSITIONS, narrow)
    weights.embedding("embeddings.token_type_embeddings", 2, narrow)
    weights.norm("embeddings.LayerNorm", narrow)
    weights.linear("embeddings_project", HIDDEN, narrow)
    for at in range(LAYERS):
        bert_layer(weights, f"encoder.layer.{at}")
    weights.prefix = ""
    weights.linear("classifier.dense", HIDDEN, HIDDEN)
    weights.linear("classifier.out_proj", 1, HIDDEN, gain=HEAD)
    weights.save(folder)


# ── settings that are easily missed ───────────────────────────────────────────────────────────


def write_lower_cased(folder: Path) -> None:
    """do_lower_case over a tokenizer that keeps case: sentence-transformers lower-cases the text itself."""
    entries = write_bert_tokenizer(folder, lowercase=False)
    write_json(folder / "config.json", bert_config(entries))
    weights = Weights(9)
    bert_encoder(weights, entries)
    weights.save(folder)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", do_lower_case=True)


def write_lower_cased_by_tokenizer_config(folder: Path) -> None:
    """do_lower_case in tokenizer_config.json over a tokenizer.json that keeps case: transformers rebuilds BERT's
    tokenizer from the former."""
    write_lower_cased(folder)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean")
    file = folder / "tokenizer_config.json"
    write_json(file, json.loads(file.read_text()) | {"do_lower_case": True})
