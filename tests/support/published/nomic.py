"""nomic_bert by the field names of its remote code: nomic-embed-text-v1.5 (CodeRankEmbed) and v2-moe."""

from __future__ import annotations

from pathlib import Path

from tests.support.checkpoints import write_checkpoint
from tests.support.published.layout import write_json, write_sentence_transformer
from tests.support.published.vocabularies import write_bert_tokenizer
from tests.support.published.weights import ATTENTION, Weights

HIDDEN, INNER, LAYERS, HEADS = 64, 96, 3, 4
_REMOTE = "nomic-ai/nomic-bert-2048--"


def write_nomic_v15(folder: Path) -> None:
    """nomic-embed-text-v1.5: GPT-2's field names, SwiGLU without biases, rotary base 1000, 2,048 trained positions."""
    entries = write_bert_tokenizer(folder, limit=8192)
    padded = -(-entries // 64) * 64
    config = {
        "activation_function": "swiglu",
        "architectures": ["NomicBertModel"],
        "attn_pdrop": 0.0,
        "auto_map": {
            "AutoConfig": f"{_REMOTE}configuration_hf_nomic_bert.NomicBertConfig",
            "AutoModel": f"{_REMOTE}modeling_hf_nomic_bert.NomicBertModel",
            "AutoModelForMaskedLM": f"{_REMOTE}modeling_hf_nomic_bert.NomicBertForPreTraining",
        },
        "bos_token_id": None,
        "causal": False,
        "dense_seq_output": True,
        "embd_pdrop": 0.0,
        "eos_token_id": None,
        "fused_bias_fc": True,
        "fused_dropout_add_ln": True,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-12,
        "max_trained_positions": 2048,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "model_type": "nomic_bert",
        "n_embd": HIDDEN,
        "n_head": HEADS,
        "n_inner": INNER,
        "n_layer": LAYERS,
        "n_positions": 8192,
        "pad_vocab_size_multiple": 64,
        "parallel_block": False,
        "parallel_block_tied_norm": False,
        "prenorm": False,
        "qkv_proj_bias": False,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.0,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "torch_dtype": "float32",
        "type_vocab_size": 2,
        "use_cache": True,
        "use_flash_attn": True,
        "use_rms_norm": False,
        "use_xentropy": True,
        "vocab_size": padded,
    }
    write_json(folder / "config.json", config)
    weights = Weights(41)
    weights.embedding("embeddings.word_embeddings", padded, HIDDEN)
    weights.embedding("embeddings.token_type_embeddings", 2, HIDDEN)
    weights.norm("emb_ln", HIDDEN)
    for at in range(LAYERS):
        layer = f"encoder.layers.{at}"
        weights.linear(f"{layer}.attn.Wqkv", 3 * HIDDEN, HIDDEN, bias=False, gain=ATTENTION)
        weights.linear(f"{layer}.attn.out_proj", HIDDEN, HIDDEN, bias=False)
        weights.norm(f"{layer}.norm1", HIDDEN)
        weights.linear(f"{layer}.mlp.fc11", INNER, HIDDEN, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.fc12", INNER, HIDDEN, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.fc2", HIDDEN, INNER, bias=False)
        weights.norm(f"{layer}.norm2", HIDDEN)
    weights.save(folder)
    # The card tells people to write the prompts themselves; no file holds them.
    write_sentence_transformer(folder, width=HIDDEN, pooling="mean", normalize=False, max_seq_length=8192)


def write_nomic_v2_moe(folder: Path) -> None:
    """nomic-embed-text-v2-moe: the flagship's writer has it."""
    write_checkpoint("nomic-embed-text-v2-moe", "tiny", folder, seed=42)
