"""bart-large-mnli."""

from __future__ import annotations

from pathlib import Path

from tests.support.published.layout import write_json
from tests.support.published.vocabularies import ROBERTA_NAMES, roberta, write_tokenizer
from tests.support.published.weights import ATTENTION, HEAD, Weights

HIDDEN, INNER, LAYERS, HEADS, POSITIONS = 64, 96, 2, 4, 1024


def write_bart_mnli(folder: Path) -> None:
    """bart-large-mnli: an encoder and a decoder; the head reads the decoder at the last `</s>` of the text."""
    entries = write_tokenizer(folder, roberta(), "BartTokenizer", model_max_length=POSITIONS, **ROBERTA_NAMES)
    labels = {"contradiction": 0, "neutral": 1, "entailment": 2}
    config = {
        "_num_labels": 3,
        "activation_dropout": 0.0,
        "activation_function": "gelu",
        "add_final_layer_norm": False,
        "architectures": ["BartForSequenceClassification"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "classif_dropout": 0.0,
        "classifier_dropout": 0.0,
        "d_model": HIDDEN,
        "decoder_attention_heads": HEADS,
        "decoder_ffn_dim": INNER,
        "decoder_layerdrop": 0.0,
        "decoder_layers": LAYERS,
        "decoder_start_token_id": 2,
        "dropout": 0.1,
        "encoder_attention_heads": HEADS,
        "encoder_ffn_dim": INNER,
        "encoder_layerdrop": 0.0,
        "encoder_layers": LAYERS,
        "eos_token_id": 2,
        "forced_eos_token_id": 2,
        "gradient_checkpointing": False,
        "id2label": {str(at): label for label, at in labels.items()},
        "init_std": 0.02,
        "is_encoder_decoder": True,
        "label2id": labels,
        "max_position_embeddings": POSITIONS,
        "model_type": "bart",
        "normalize_before": False,
        "num_hidden_layers": LAYERS,
        "output_past": False,
        "pad_token_id": 1,
        "scale_embedding": False,
        "use_cache": True,
        "vocab_size": entries,
    }
    write_json(folder / "config.json", config)
    weights = Weights(91, prefix="model.")
    weights.embedding("shared", entries, HIDDEN)
    for side in ("encoder", "decoder"):
        weights.embedding(f"{side}.embed_positions", POSITIONS + 2, HIDDEN)
        weights.norm(f"{side}.layernorm_embedding", HIDDEN)
        for at in range(LAYERS):
            layer = f"{side}.layers.{at}"
            for attention in ("self_attn", *(["encoder_attn"] if side == "decoder" else [])):
                for name, gain in (("q", ATTENTION), ("k", ATTENTION), ("v", 1.0), ("out", 1.0)):
                    weights.linear(f"{layer}.{attention}.{name}_proj", HIDDEN, HIDDEN, gain=gain)
                weights.norm(f"{layer}.{attention}_layer_norm", HIDDEN)
            weights.linear(f"{layer}.fc1", INNER, HIDDEN, gain=1.0)
            weights.linear(f"{layer}.fc2", HIDDEN, INNER)
            weights.norm(f"{layer}.final_layer_norm", HIDDEN)
    weights.prefix = ""
    weights.linear("classification_head.dense", HIDDEN, HIDDEN)
    weights.linear("classification_head.out_proj", 3, HIDDEN, gain=HEAD)
    weights.save(folder)
