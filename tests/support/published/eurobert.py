"""EuroBERT embedders, such as jina-embeddings-v5-text-nano's base."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.support.published.layout import write_json, write_sentence_transformer
from tests.support.published.vocabularies import llama3, write_tokenizer
from tests.support.published.weights import ATTENTION, Weights

HIDDEN, INNER, LAYERS, HEADS, PAIRS = 64, 96, 3, 4, 2


def write_eurobert(folder: Path) -> None:
    """EuroBERT-210m under a mean: Llama's layers without a causal mask; the file declares remote code."""
    tokenizer = llama3(eos="<|end_of_text|>")
    begin, end, mask = (tokenizer.token_to_id(t) for t in ("<|begin_of_text|>", "<|end_of_text|>", "<|mask|>"))
    entries = write_tokenizer(
        folder, tokenizer, "PreTrainedTokenizerFast", model_max_length=8192, bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>", pad_token="<|end_of_text|>", mask_token="<|mask|>",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    config = {
        "architectures": ["EuroBertForMaskedLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "auto_map": {
            "AutoConfig": "configuration_eurobert.EuroBertConfig",
            "AutoModel": "modeling_eurobert.EuroBertModel",
        },
        "bos_token": "<|begin_of_text|>",
        "bos_token_id": begin,
        "clf_pooling": "late",
        "eos_token": "<|end_of_text|>",
        "eos_token_id": end,
        "head_dim": HIDDEN // HEADS,
        "hidden_act": "silu",
        "hidden_dropout": 0.0,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "mask_token": "<|mask|>",
        "mask_token_id": mask,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "model_type": "eurobert",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": PAIRS,
        "pad_token": "<|end_of_text|>",
        "pad_token_id": end,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 250000,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.40.0.dev0",
        "use_cache": False,
        "vocab_size": entries,
    }
    write_json(folder / "config.json", config)
    weights = Weights(71, prefix="model.")
    weights.embedding("embed_tokens", entries, HIDDEN)
    for at in range(LAYERS):
        layer = f"layers.{at}"
        narrow = HIDDEN * PAIRS // HEADS
        for name, size, gain in (("q", HIDDEN, ATTENTION), ("k", narrow, ATTENTION), ("v", narrow, 1.0)):
            weights.linear(f"{layer}.self_attn.{name}_proj", size, HIDDEN, bias=False, gain=gain)
        weights.linear(f"{layer}.self_attn.o_proj", HIDDEN, HIDDEN, bias=False)
        weights.linear(f"{layer}.mlp.gate_proj", INNER, HIDDEN, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.up_proj", INNER, HIDDEN, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.down_proj", HIDDEN, INNER, bias=False)
        weights.norm(f"{layer}.input_layernorm", HIDDEN, bias=False)
        weights.norm(f"{layer}.post_attention_layernorm", HIDDEN, bias=False)
    weights.norm("norm", HIDDEN, bias=False)
    weights.prefix = ""
    weights.linear("lm_head", entries, HIDDEN, bias=False)
    weights.save(folder, torch.bfloat16)
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", normalize=False, max_seq_length=8192)
