"""Small config.json contents of every family of encoders, and what is read from them."""

from typing import Any

from trivet.checkpoint.flat.decoders import DecoderConfig
from trivet.checkpoint.flat.heads import ClassifierHeadConfig, read_classifier
from trivet.checkpoint.flat.model import read_body
from trivet.config import Task
from trivet.errors import ModelError

BERT = {"model_type": "bert", "vocab_size": 100}
MODERN = {"model_type": "modernbert"}
NOMIC = {
    "model_type": "nomic_bert",
    "n_embd": 32,
    "n_head": 4,
    "n_inner": 48,
    "n_layer": 2,
    "activation_function": "swiglu",
    "rotary_emb_fraction": 1.0,
    "rotary_emb_base": 1000,
    "vocab_size": 100,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
}
GTE = {"model_type": "gte"}
NEW = {
    "model_type": "new",
    "hidden_size": 32,
    "num_attention_heads": 4,
    "rope_theta": 20_000,
    "rope_scaling": {"type": "ntk", "factor": 8.0},
}


def unsupported_reason(config: dict[str, Any], task: Task) -> str | None:
    """Why an encoder is not computed, as far as its config.json tells."""
    try:
        body = read_body(config)
        assert not isinstance(body, DecoderConfig)
        if task != "embedder":
            read_classifier(config, body, task)
    except ModelError as error:
        return error.message
    return None


def classifier(config: dict[str, Any]) -> ClassifierHeadConfig:
    body = read_body(config)
    assert not isinstance(body, DecoderConfig)
    return read_classifier(config, body, "reranker")
