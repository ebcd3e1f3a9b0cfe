"""The configuration of jina-embeddings-v2, checked field by field.

Its config.json says ``model_type: bert``; what differs from BERT is left to remote code. There are two published
implementations, which their tensors tell apart (`trivet.engine.models.jina_bert`). A field that chooses a formula is
refused unless it has the value that is implemented.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from trivet.checkpoint.files import CheckpointMismatch

_SIZES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "type_vocab_size",
)  # fmt: skip
_PINNED: dict[str, tuple[Any, ...]] = {
    "feed_forward_type": ("geglu",),
    "hidden_act": ("gelu",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}


def is_jina_bert(config: Mapping[str, Any]) -> bool:
    """Whether a config.json describes the architecture, whose attention is biased by the distance (ALiBi)."""
    return config.get("model_type") == "bert" and config.get("position_embedding_type") == "alibi"


@dataclass(frozen=True, slots=True)
class JinaBertConfig:
    """Its dimensions."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    token_types: int
    layer_norm_eps: float

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Self:
        """Take the fields of a config.json.

        Raises:
            CheckpointMismatch: a size is missing, or a field asks for another formula; the message names it.
        """
        missing = [name for name in _SIZES if not isinstance(config.get(name), int) or config[name] < 1]
        if missing:
            raise CheckpointMismatch(f"config.json of a BERT with ALiBi states no {', '.join(missing)}")
        for name, allowed in _PINNED.items():
            if config.get(name, allowed[0]) not in allowed:
                raise CheckpointMismatch(
                    f"config.json of a BERT with ALiBi: {name} is {config[name]!r}, only {allowed[0]!r} is computed"
                )
        if config["hidden_size"] % config["num_attention_heads"]:
            raise CheckpointMismatch("config.json: hidden_size is no multiple of num_attention_heads")
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            intermediate_size=config["intermediate_size"],
            token_types=config["type_vocab_size"],
            layer_norm_eps=float(config.get("layer_norm_eps", 1e-12)),
        )
