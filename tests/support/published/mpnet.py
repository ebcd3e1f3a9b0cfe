"""all-mpnet-base-v2."""

from __future__ import annotations

from pathlib import Path

from tests.support.published.bert import HEADS, HIDDEN, INNER, LAYERS
from tests.support.published.layout import write_json, write_sentence_transformer
from tests.support.published.vocabularies import ROBERTA_NAMES, mpnet, write_tokenizer
from tests.support.published.weights import ATTENTION, Weights

POSITIONS = 514


def write_all_mpnet(folder: Path) -> None:
    """all-mpnet-base-v2: mean, Normalize, 384 of 512 tokens; one table of relative positions for all layers."""
    entries = write_tokenizer(
        folder, mpnet(), "MPNetTokenizer", do_lower_case=True, model_max_length=512, strip_accents=None,
        tokenize_chinese_chars=True, **{**ROBERTA_NAMES, "unk_token": "[UNK]"},
    )  # fmt: skip
    config = {
        "architectures": ["MPNetForMaskedLM"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": POSITIONS,
        "model_type": "mpnet",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "pad_token_id": 1,
        "relative_attention_num_buckets": 32,
        "transformers_version": "4.8.2",
        "vocab_size": entries,
    }
    write_json(folder / "config.json", config)
    weights = Weights(31)
    weights.ids("embeddings.position_ids", POSITIONS)
    weights.embedding("embeddings.word_embeddings", entries, HIDDEN)
    weights.embedding("embeddings.position_embeddings", POSITIONS, HIDDEN)
    weights.norm("embeddings.LayerNorm", HIDDEN)
    weights.embedding("encoder.relative_attention_bias", 32, HEADS)
    for at in range(LAYERS):
        layer = f"encoder.layer.{at}"
        for name, gain in (("q", ATTENTION), ("k", ATTENTION), ("v", 1.0), ("o", 1.0)):
            weights.linear(f"{layer}.attention.attn.{name}", HIDDEN, HIDDEN, gain=gain)
        weights.norm(f"{layer}.attention.LayerNorm", HIDDEN)
        weights.linear(f"{layer}.intermediate.dense", INNER, HIDDEN)
        weights.linear(f"{layer}.output.dense", HIDDEN, INNER)
        weights.norm(f"{layer}.output.LayerNorm", HIDDEN)
    weights.linear("pooler.dense", HIDDEN, HIDDEN)
    weights.save(folder)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", max_seq_length=384)
